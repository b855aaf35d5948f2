//! `docs/conformance.md`: the table of statements for readers, shorter than the record, which has every place.

use super::judgement::{Entry, Judgement};
use crate::marked::Marks;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;

pub(super) const PATH: &str = "docs/conformance.md";

const MARKS: Marks = Marks {
    begin: "<!-- statements: written by cargo xtask conformance --write -->",
    end: "<!-- end of statements -->",
};

/// How many tests of a statement are named.
const MOST_TESTS: usize = 3;

/// Whether it says what the tags say.
pub(super) fn is_up_to_date(root: &Path, judgement: &Judgement) -> Result<bool> {
    let page = fs::read_to_string(root.join(PATH)).with_context(|| format!("cannot read {PATH}"))?;
    Ok(page.contains(&table(judgement)))
}

pub(super) fn write(root: &Path, judgement: &Judgement) -> Result<()> {
    MARKS.write(&root.join(PATH), &table(judgement))
}

fn table(judgement: &Judgement) -> String {
    let mut text = format!("{}.\n\n", judgement.summary());
    text.push_str("| statement | asks | obeyed in | proved by |\n|---|---|---|---|\n");
    for entry in &judgement.entries {
        let Entry { statement, code, tests, exception } = entry;
        let (code, tests) = match exception {
            Some(reason) => ("–".to_owned(), reason.clone()),
            None => (files(code), some(tests)),
        };
        let label = statement.label.trim_start_matches("MQTT-");
        let _ = writeln!(text, "| {label} | {} | {code} | {tests} |", statement.wording);
    }
    text
}

/// `mqtt-broker/connection/publish.rs` for `crates/mqtt-broker/src/connection/publish.rs: handle`, each once.
fn files(places: &BTreeSet<String>) -> String {
    let file = |place: &String| {
        let path = place.split(": ").next().unwrap_or_default();
        format!("`{}`", path.trim_start_matches("crates/").replacen("/src/", "/", 1))
    };
    places.iter().map(file).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
}

/// `qos1.rs: name` for `crates/mqtt-broker/tests/conformance/qos1.rs: name`; not all of many.
fn some(places: &BTreeSet<String>) -> String {
    let name = |place: &String| format!("`{}`", place.rsplit('/').next().unwrap_or_default());
    let named = places.iter().take(MOST_TESTS).map(name).collect::<Vec<_>>().join(", ");
    match places.len().saturating_sub(MOST_TESTS) {
        0 => named,
        more => format!("{named}, and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_once_and_of_many_tests_a_few() {
        let places = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let code = places(&["crates/a/src/b/c.rs", "crates/a/src/b/c.rs: f"]);
        assert_eq!(files(&code), "`a/b/c.rs`");
        let tests = places(&["x/tests/t.rs: a", "x/tests/t.rs: b", "x/tests/t.rs: c", "x/tests/t.rs: d"]);
        assert_eq!(some(&tests), "`t.rs: a`, `t.rs: b`, `t.rs: c`, and 1 more");
    }
}
