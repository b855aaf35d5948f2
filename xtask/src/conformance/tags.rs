//! The `[MQTT-x.y.z-n]` tags of the crates: in code they say "obeyed here", in tests "proved here".

use crate::source::{self, SourceFile};
use anyhow::Result;
use std::fs;
use std::path::Path;

/// One tag, where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) label: String,
    pub(super) path: String,
    pub(super) line: usize,
    /// The function it stands in or above; test data and declarations have none.
    pub(super) function: Option<String>,
    pub(super) proves: bool,
}

impl Tag {
    /// Without the line, which would change with every edit above it.
    pub(super) fn place(&self) -> String {
        match &self.function {
            Some(function) => format!("{}: {function}", self.path),
            None => self.path.clone(),
        }
    }
}

/// Every tag under `crates/`: in Rust files, and in the test data next to them.
pub(super) fn scan(root: &Path) -> Result<Vec<Tag>> {
    let mut tags = Vec::new();
    for file in source::workspace_files()? {
        if file.path.starts_with("crates/") {
            tags.extend(of_file(&file));
        }
    }
    let mut data = Vec::new();
    for extension in ["txt", "tsv", "toml"] {
        source::collect(&root.join("crates"), extension, &mut data)?;
    }
    for path in data {
        let path_here = source::relative(root, &path);
        if path_here.contains("/tests/") {
            tags.extend(of_data(&path_here, &fs::read_to_string(&path)?));
        }
    }
    Ok(tags)
}

fn of_file(file: &SourceFile) -> Vec<Tag> {
    let tag = |(line, label)| Tag {
        label,
        path: file.path.clone(),
        line,
        function: file.function_at(line).map(|function| function.name.clone()),
        proves: file.is_test(line),
    };
    labels(&file.text).map(tag).collect()
}

fn of_data(path: &str, text: &str) -> Vec<Tag> {
    let tag = |(line, label)| Tag { label, path: path.to_owned(), line, function: None, proves: true };
    labels(text).map(tag).collect()
}

/// What stands between `[MQTT-` and `]`, with its line: also what is no label, so that a slip is found.
fn labels(text: &str) -> impl Iterator<Item = (usize, String)> + '_ {
    text.lines().zip(1..).flat_map(|(line, number)| {
        line.split("[MQTT-").skip(1).map(move |rest| {
            let label = rest.split(']').next().unwrap_or_default();
            (number, format!("MQTT-{label}"))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_and_test_tags_are_told_apart_and_carry_their_function() {
        let text = "\
//! A module. [MQTT-1.5.3-1]
fn obeys() {
    // [MQTT-3.1.0-1] [MQTT-3.1.0-2]
}
#[cfg(test)]
mod tests {
    /// [MQTT-3.1.0-1]
    #[test]
    fn proves() {}
}
";
        let file = SourceFile::parse("crates/a/src/b.rs", text).unwrap();
        let found: Vec<_> =
            of_file(&file).iter().map(|tag| (tag.label.clone(), tag.place(), tag.proves)).collect();
        let expected = [
            ("MQTT-1.5.3-1", "crates/a/src/b.rs: obeys", false),
            ("MQTT-3.1.0-1", "crates/a/src/b.rs: obeys", false),
            ("MQTT-3.1.0-2", "crates/a/src/b.rs: obeys", false),
            ("MQTT-3.1.0-1", "crates/a/src/b.rs: proves", true),
        ]
        .map(|(label, place, proves)| (label.to_owned(), place.to_owned(), proves));
        assert_eq!(found, expected);
    }

    #[test]
    fn test_data_proves() {
        let tags = of_data("crates/a/tests/corpus/x.txt", "10 00  [MQTT-3.1.0-1]\n");
        assert!(tags[0].proves && tags[0].line == 1 && tags[0].place() == "crates/a/tests/corpus/x.txt");
    }
}
