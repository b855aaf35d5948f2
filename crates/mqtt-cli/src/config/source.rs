//! [`Sources`]: where values come from, weakest first: the file, the environment, the arguments. [`Table`] takes them out,
//! key by key, and notes what nobody asked for.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::{
    key::{Setting, variable_of},
    mistake::{Mistakes, Origin},
    raw::{self, RawListener},
    value::{Value, Written},
};

/// What was written, before anything is known of its meaning.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    pub(crate) file: Option<File>,
    /// Those of the environment that begin with `GMQTT_`.
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) arguments: Vec<Argument>,
    /// Those of the command line; with any, the file's are not used.
    pub(crate) listeners: Vec<RawListener>,
    /// Whether the command line lets anybody in, everywhere.
    pub(crate) allow_anonymous: bool,
}

/// A configuration file.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// A value from the command line.
#[derive(Clone, Debug)]
pub(crate) struct Argument {
    /// The key that it is for, and that key's section.
    pub(crate) section: &'static str,
    pub(crate) key: &'static str,
    /// As the operator spelled it, for a complaint: `--max-inflight`.
    pub(crate) spelling: String,
    pub(crate) text: String,
}

/// What is read from, and what was found wrong so far.
pub(super) struct Reader<'s> {
    sources: &'s Sources,
    pub(super) mistakes: Mistakes,
}

/// A table of the file, overridden by variables and arguments.
pub(crate) struct Table<'r, 's> {
    reader: &'r mut Reader<'s>,
    path: &'static str,
    /// Where it begins.
    line: usize,
    entries: Vec<Entry<'r>>,
    /// Names that stand for something here.
    known: Vec<&'static str>,
    /// Tables of which there are several are for the file alone.
    can_be_overridden: bool,
}

struct Entry<'r> {
    name: &'r str,
    line: usize,
    value: &'r DeValue<'r>,
}

impl Sources {
    /// Where the file is.
    fn folder(&self) -> &Path {
        self.file.as_ref().and_then(|file| file.path.parent()).unwrap_or(Path::new(""))
    }
}

impl<'s> Reader<'s> {
    pub(super) fn new(sources: &'s Sources) -> Self {
        let file = sources.file.as_ref().map(|file| file.path.clone());
        Self { sources, mistakes: Mistakes::of(file) }
    }

    /// The file's tables; what is no TOML is noted. Then there are none: values that were read past a mistake of that kind
    /// are not what somebody meant.
    pub(super) fn parse(&mut self) -> DeTable<'s> {
        let text = self.sources.file.as_ref().map_or("", |file| file.text.as_str());
        let (document, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            return document.into_inner();
        }
        for error in errors {
            let line = error.span().map_or(0, |span| line_at(text, span.start));
            self.mistakes.add(&Origin::File(line), format!("not TOML: {}", error.message()));
        }
        DeTable::new()
    }

    /// The document as a whole.
    pub(super) fn root<'r>(&'r mut self, document: &'r DeTable<'r>) -> Table<'r, 's> {
        Table::new(self, "", 0, Some(document), true)
    }

    /// A variable that is nearly a key's was misspelled. Others may be anybody's: Kubernetes makes `GMQTT_LOG_PORT` and
    /// `GMQTT_LOG_SERVICE_HOST` for a service that is called gmqtt-log.
    pub(super) fn complain_of_unknown_variables(&mut self) {
        let sections = raw::sections();
        for section in sections.iter().filter(|section| !section.has_variables()) {
            let of_keys: Vec<_> =
                section.keys.iter().map(|key| variable_of(section.path, key.name)).collect();
            for (name, _) in self.sources.variables.iter().filter(|(name, _)| of_keys.contains(name)) {
                let what = format!("keys of {} have no variables: write it into a file", section.heading());
                self.mistakes.add(&Origin::Variable(name.clone()), what);
            }
        }
        for section in sections.iter().filter(|section| section.has_variables() && !section.path.is_empty()) {
            let prefix = variable_of(section.path, "");
            for (name, _) in &self.sources.variables {
                let Some(key) = name.strip_prefix(&prefix).map(str::to_ascii_lowercase) else { continue };
                let near = nearest(&key, section.keys.iter().map(|key| key.name));
                if let Some(near) = near.filter(|near| *near != key) {
                    let what =
                        format!("there is no such key; did you mean {}?", variable_of(section.path, near));
                    self.mistakes.add(&Origin::Variable(name.clone()), what);
                }
            }
        }
    }

    fn line_at(&self, index: usize) -> usize {
        self.sources.file.as_ref().map_or(0, |file| line_at(&file.text, index))
    }
}

fn line_at(text: &str, index: usize) -> usize {
    1 + text.bytes().take(index).filter(|byte| *byte == b'\n').count()
}

impl<'r, 's> Table<'r, 's> {
    fn new(
        reader: &'r mut Reader<'s>,
        path: &'static str,
        line: usize,
        table: Option<&'r DeTable<'r>>,
        can_be_overridden: bool,
    ) -> Self {
        let entries = table.into_iter().flat_map(|table| table.iter());
        let entries = entries
            .map(|(name, value)| Entry {
                name: name.get_ref(),
                line: reader.line_at(name.span().start),
                value: value.get_ref(),
            })
            .collect();
        Self { reader, path, line, entries, known: Vec::new(), can_be_overridden }
    }

    pub(crate) fn origin(&self) -> Origin {
        Origin::File(self.line)
    }

    /// What a key holds: the strongest source's word, else `default`. Each source is checked, heard or not.
    pub(crate) fn take<T: Value>(
        &mut self,
        key: &'static str,
        short_variable: Option<&'static str>,
        default: T,
    ) -> Setting<T> {
        let mut setting = Setting { value: default, origin: Origin::Default };
        let entry = self.take_entry(key);
        if let Some(entry) = entry {
            let read = T::read(&Written::Toml(entry.value, self.reader.sources.folder()))
                .map_err(|wrong| format!("`{key}` {wrong}"));
            self.note(&mut setting, read, Origin::File(entry.line));
        }
        if !self.can_be_overridden {
            return setting;
        }
        let sources = self.reader.sources;
        let long = variable_of(self.path, key);
        let names = [short_variable, Some(&long)].into_iter().flatten();
        for name in names {
            if let Some((_, text)) = sources.variables.iter().find(|(known, _)| known == name) {
                self.note(&mut setting, T::read(&Written::Untyped(text)), Origin::Variable(name.to_owned()));
            }
        }
        let mut arguments = sources.arguments.iter();
        if let Some(given) = arguments.find(|given| given.section == self.path && given.key == key) {
            let read = T::read(&Written::Untyped(&given.text));
            self.note(&mut setting, read, Origin::Argument(given.spelling.clone()));
        }
        setting
    }

    fn note<T>(&mut self, setting: &mut Setting<T>, read: Result<T, String>, origin: Origin) {
        match read {
            Ok(value) => setting.value = value,
            Err(wrong) => self.reader.mistakes.add(&origin, wrong),
        }
        setting.origin = origin;
    }

    fn take_entry(&mut self, name: &'static str) -> Option<Entry<'r>> {
        self.known.push(name);
        let at = self.entries.iter().position(|entry| entry.name == name)?;
        Some(self.entries.swap_remove(at))
    }

    /// Reads the table `[path]`, whose name here is `name`; it is read if nobody wrote it, too.
    pub(super) fn section<T>(
        &mut self,
        name: &'static str,
        path: &'static str,
        read: impl FnOnce(&mut Table<'_, 's>) -> T,
    ) -> T {
        let entry = self.take_entry(name);
        let line = entry.as_ref().map_or(0, |entry| entry.line);
        let table = match entry.map(|entry| entry.value) {
            Some(DeValue::Table(table)) => Some(table),
            Some(_) => {
                self.reader.mistakes.add(&Origin::File(line), format!("`{name}` is a table: write [{path}]"));
                None
            }
            None => None,
        };
        let mut table = Table::new(self.reader, path, line, table, self.can_be_overridden);
        let read = read(&mut table);
        table.complain_of_the_rest();
        read
    }

    /// The same, but `None` if nobody wrote it.
    pub(super) fn optional_section<T>(
        &mut self,
        name: &'static str,
        path: &'static str,
        read: impl FnOnce(&mut Table<'_, 's>) -> T,
    ) -> Option<T> {
        if self.entries.iter().any(|entry| entry.name == name) {
            return Some(self.section(name, path, read));
        }
        self.known.push(name);
        None
    }

    /// Reads every `[[path]]`.
    pub(super) fn sections<T>(
        &mut self,
        name: &'static str,
        path: &'static str,
        mut read: impl FnMut(&mut Table<'_, 's>) -> T,
    ) -> Vec<T> {
        let Some(entry) = self.take_entry(name) else { return Vec::new() };
        let DeValue::Array(parts) = entry.value else {
            let what = format!("there may be several `{name}`: write [[{path}]], in two pairs of brackets");
            self.reader.mistakes.add(&Origin::File(entry.line), what);
            return Vec::new();
        };
        let mut all = Vec::new();
        for part in parts {
            let line = self.reader.line_at(part.span().start);
            let DeValue::Table(table) = part.get_ref() else {
                self.reader
                    .mistakes
                    .add(&Origin::File(line), format!("`{name}` holds tables: write [[{path}]]"));
                continue;
            };
            let mut table = Table::new(self.reader, path, line, Some(table), false);
            all.push(read(&mut table));
            table.complain_of_the_rest();
        }
        all
    }

    /// Names in the file that mean nothing here.
    pub(super) fn complain_of_the_rest(&mut self) {
        for entry in std::mem::take(&mut self.entries) {
            let place =
                if self.path.is_empty() { "before all tables".into() } else { format!("in [{}]", self.path) };
            let advice = advice(entry.name, &self.known, self.path);
            let what = format!("there is no `{}` {place}{advice}", entry.name);
            self.reader.mistakes.add(&Origin::File(entry.line), what);
        }
    }
}

/// What whoever wrote `name` may have meant.
fn advice(name: &str, known: &[&'static str], path: &str) -> String {
    if let Some(near) = nearest(name, known.iter().copied()) {
        return format!("; did you mean `{near}`?");
    }
    let elsewhere = raw::sections()
        .into_iter()
        .find(|section| section.path != path && section.keys.iter().any(|key| key.name == name));
    match elsewhere {
        Some(section) => format!("; it belongs into {}", section.heading()),
        None => "; docs/configuration.md and `gmqtt config example` have all there are".into(),
    }
}

/// The most similar of these names, if no more than a third of it has to change.
pub(super) fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let scored = known.map(|known| (strsim::damerau_levenshtein(name, known), known));
    let best = scored.min_by_key(|(distance, _)| *distance);
    best.filter(|(distance, known)| *distance <= known.len() / 3).map(|(_, known)| known)
}
