//! `docs/conformance.toml`: the exceptions, written by hand, and below a marker the entries, written by this tool.

use super::judgement::Judgement;
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;
use toml::{Table, Value};

pub(super) const PATH: &str = "docs/conformance.toml";
const MARKER: &str =
    "# From here on written by `cargo xtask conformance --write`: edit the tags, not this.\n";

/// The committed file.
pub(super) struct Record {
    pub(super) text: String,
    /// Label to reason.
    pub(super) exceptions: BTreeMap<String, String>,
    by_hand: String,
}

pub(super) fn read(root: &Path) -> Result<Record> {
    let text = fs::read_to_string(root.join(PATH)).with_context(|| format!("cannot read {PATH}"))?;
    Record::parse(text)
}

pub(super) fn write(root: &Path, text: &str) -> Result<()> {
    fs::write(root.join(PATH), text).with_context(|| format!("cannot write {PATH}"))
}

impl Record {
    fn parse(text: String) -> Result<Record> {
        // What stands below the marker is never read, so a conflict in it cannot stand in the way of writing it anew.
        let by_hand = text.split(MARKER).next().unwrap_or_default().to_owned();
        let table: Table = by_hand.parse().with_context(|| format!("{PATH} is not TOML"))?;
        let mut exceptions = BTreeMap::new();
        for (label, reason) in table.get("exceptions").and_then(Value::as_table).into_iter().flatten() {
            let Some(reason) = reason.as_str() else {
                bail!("{PATH}: the reason of {label} is not a string")
            };
            exceptions.insert(label.clone(), reason.to_owned());
        }
        Ok(Record { text, exceptions, by_hand })
    }

    /// The whole file as it ought to be.
    pub(super) fn with_entries(&self, judgement: &Judgement) -> String {
        let mut text = self.by_hand.trim_end().to_owned();
        let _ = write!(text, "\n\n{MARKER}");
        for entry in &judgement.entries {
            if entry.code.is_empty() && entry.tests.is_empty() {
                continue;
            }
            let _ = writeln!(text, "\n[statements.\"{}\"]", entry.statement.label);
            push_places(&mut text, "code", &entry.code);
            push_places(&mut text, "tests", &entry.tests);
        }
        text
    }
}

fn push_places(text: &mut String, key: &str, places: &BTreeSet<String>) {
    let _ = writeln!(text, "{key} = [");
    for place in places {
        let _ = writeln!(text, "  \"{place}\",");
    }
    text.push_str("]\n");
}

#[cfg(test)]
mod tests {
    use super::super::{statements::Statement, tags::Tag};
    use super::*;

    #[test]
    fn what_is_written_by_hand_stays_and_what_is_written_is_stable() {
        let by_hand = "# Head\n\n[exceptions]\n\"MQTT-6.0.0-1\" = \"later\"\n";
        let record = Record::parse(format!("{by_hand}\n{MARKER}<<<<<<< a conflict\n")).unwrap();
        assert_eq!(record.exceptions["MQTT-6.0.0-1"], "later");
        let label = "MQTT-3.1.0-1".to_owned();
        let statement = Statement { label: label.clone(), side: "server".into(), wording: String::new() };
        let tag = Tag {
            label,
            path: "crates/a/src/b.rs".into(),
            line: 3,
            function: Some("f".into()),
            proves: false,
        };
        let judgement = Judgement::of(&[statement], &[tag], &record.exceptions);
        let written = record.with_entries(&judgement);
        assert!(written.starts_with(by_hand));
        assert_eq!(Record::parse(written.clone()).unwrap().with_entries(&judgement), written);
        let table: Table = written.parse().unwrap();
        let code = table["statements"]["MQTT-3.1.0-1"]["code"].as_array().unwrap();
        assert_eq!(code[0].as_str(), Some("crates/a/src/b.rs: f"));
    }
}
