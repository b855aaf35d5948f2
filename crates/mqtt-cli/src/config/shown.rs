//! A configuration as it is in force, written as TOML or JSON: every key, with secrets masked.

use std::{collections::BTreeMap, fmt::Write, path::PathBuf};

use anyhow::Context;

use super::{
    key::{Change, Key, Section},
    raw::{Raw, RawListener},
    value::Kind,
};

/// A section with what its keys hold.
struct Part {
    heading: String,
    keys: Vec<(Key, Option<toml::Value>)>,
}

fn paths(value: &toml::Value) -> Vec<PathBuf> {
    match value {
        toml::Value::Array(values) => values.iter().flat_map(paths).collect(),
        value => value.as_str().map(PathBuf::from).into_iter().collect(),
    }
}

/// A key, a listener's with the listener's name, that holds something else than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) key: String,
    pub(crate) change: Change,
}

impl Part {
    fn of<S: Section>(section: &S, is_repeated: bool) -> Self {
        let heading = match (S::PATH, is_repeated) {
            ("", _) => String::new(),
            (path, true) => format!("[[{path}]]"),
            (path, false) => format!("[{path}]"),
        };
        Self { heading, keys: S::keys().into_iter().zip(section.shown()).collect() }
    }

    fn listener_name(&self) -> String {
        let name = self.keys.iter().find(|(key, _)| key.name == "name").and_then(|(_, value)| value.as_ref());
        name.and_then(toml::Value::as_str).unwrap_or_default().to_owned()
    }
}

impl Raw {
    /// As a file that says the same.
    pub(crate) fn to_toml(&self) -> String {
        let mut text = String::new();
        for part in self.parts() {
            if !text.is_empty() {
                text.push('\n');
            }
            if !part.heading.is_empty() {
                text.push_str(&part.heading);
                text.push('\n');
            }
            for (key, value) in part.keys {
                if let Some(value) = value {
                    // Writing to a string cannot fail.
                    let _ = writeln!(text, "{} = {value}", key.name);
                }
            }
        }
        text
    }

    /// The same as JSON.
    pub(crate) fn to_json(&self) -> anyhow::Result<serde_json::Value> {
        let table: toml::Table =
            toml::from_str(&self.to_toml()).context("what was just written cannot be read")?;
        serde_json::to_value(&table).context("cannot write JSON")
    }

    /// Which keys hold something else than in `earlier`, in alphabetical order.
    pub(crate) fn changes_since(&self, earlier: &Self) -> Vec<Changed> {
        let (now, before) = (self.by_name(), earlier.by_name());
        let gone = before.iter().filter(|(key, _)| !now.contains_key(*key));
        let new =
            now.iter().filter(|(key, (_, value))| before.get(*key).map(|(_, value)| value) != Some(value));
        let mut all: Vec<Changed> =
            new.chain(gone).map(|(key, (change, _))| Changed { key: key.clone(), change: *change }).collect();
        all.sort_by(|a, b| a.key.cmp(&b.key));
        all
    }

    /// The files that it names, and that may change while the broker runs.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.files_by_key().map(|(_, file)| file).collect()
    }

    /// The same, each with the key that names it.
    pub(crate) fn files_by_key(&self) -> impl Iterator<Item = (String, PathBuf)> {
        self.by_key()
            .into_iter()
            .filter(|(name, key, _)| {
                matches!(key.kind, Kind::Path | Kind::List(Kind::Path)) && !name.starts_with("storage.")
            })
            .flat_map(|(name, _, value)| {
                let files = value.iter().flat_map(paths).collect::<Vec<_>>();
                files.into_iter().map(move |file| (name.clone(), file))
            })
    }

    fn by_name(&self) -> BTreeMap<String, (Change, Option<toml::Value>)> {
        self.by_key().into_iter().map(|(name, key, value)| (name, (key.change, value))).collect()
    }

    /// All keys in their order, each by its name in the whole configuration.
    fn by_key(&self) -> Vec<(String, Key, Option<toml::Value>)> {
        let mut listener = String::new();
        let mut all = Vec::new();
        for part in self.parts() {
            if part.heading == "[[listener]]" {
                listener = part.listener_name();
            }
            let path = part.heading.trim_matches(['[', ']']);
            for (key, value) in part.keys {
                let name = match path.strip_prefix("listener") {
                    Some(below) => format!("listener {listener}{below}: {}", key.name),
                    None if path.is_empty() => key.name.to_owned(),
                    None => format!("{path}.{}", key.name),
                };
                all.push((name, key, value));
            }
        }
        all
    }

    fn parts(&self) -> Vec<Part> {
        let mut parts = vec![Part::of(&self.top, false)];
        parts.extend(self.listeners.iter().flat_map(RawListener::parts));
        parts.extend([
            Part::of(&self.access, false),
            Part::of(&self.token, false),
            Part::of(&self.http, false),
            Part::of(&self.admin, false),
            Part::of(&self.bans, false),
            Part::of(&self.storage, false),
            Part::of(&self.limits, false),
            Part::of(&self.log, false),
        ]);
        parts
    }
}

impl RawListener {
    fn parts(&self) -> Vec<Part> {
        let tls = self.tls.as_ref().map(|tls| Part::of(tls, false));
        let websocket = self.websocket.as_ref().map(|websocket| Part::of(websocket, false));
        let access = self.access.as_ref().map(|access| Part::of(access, false));
        [Some(Part::of(&self.keys, true)), tls, websocket, access].into_iter().flatten().collect()
    }
}
