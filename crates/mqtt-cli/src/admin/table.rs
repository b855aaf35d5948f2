//! Answers of the API as tables for people, or as JSON for programs.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::exit;

/// How an answer is printed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    pub(super) json: bool,
}

/// A column: what stands above it, which field it shows, and how.
#[derive(Clone, Copy)]
pub(super) struct Column(pub(super) &'static str, pub(super) &'static str, pub(super) Show);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    Text,
    Number,
    /// A moment, to the second.
    Time,
    /// The beginning of bytes that are spelled in base64.
    Payload,
}

impl Output {
    pub(super) fn list(self, columns: &[Column], rows: &[Value]) -> anyhow::Result<()> {
        if self.json {
            return self.value(&Value::Array(rows.to_vec()));
        }
        exit::output(io::stdout().lock().write_all(table(columns, rows).as_bytes()))
    }

    /// One thing: a line for each of its fields.
    pub(super) fn value(self, value: &Value) -> anyhow::Result<()> {
        let mut text = String::new();
        if self.json {
            text = format!("{value:#}\n");
        } else {
            let mut fields = Vec::new();
            flatten("", value, &mut fields);
            let width = fields.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
            for (name, value) in fields {
                let _ = writeln!(text, "{name:width$}  {value}"); // A string takes everything.
            }
        }
        exit::output(io::stdout().lock().write_all(text.as_bytes()))
    }

    /// That something was done.
    pub(super) fn done(self, what: &str) -> anyhow::Result<()> {
        let line = if self.json { "{}".to_owned() } else { printable(what) };
        exit::output(writeln!(io::stdout().lock(), "{line}"))
    }
}

/// Text of a client, safe for a terminal: no control character gets through, nor one that turns the direction of writing.
pub(crate) fn printable(text: &str) -> String {
    let is_harmful = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if is_harmful(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

fn table(columns: &[Column], rows: &[Value]) -> String {
    let cells: Vec<Vec<String>> =
        rows.iter().map(|row| columns.iter().map(|column| column.cell(row)).collect()).collect();
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let all = cells.iter().filter_map(|row| row.get(index)).map(|cell| cell.chars().count());
            all.max().unwrap_or(0).max(column.0.chars().count())
        })
        .collect();
    let heads = columns.iter().map(|column| column.0.to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(heads).chain(cells) {
        let parts = row.iter().zip(columns).zip(&widths).map(|((cell, column), &width)| match column.2 {
            Show::Number => format!("{cell:>width$}"),
            _ => format!("{cell:width$}"),
        });
        text.push_str(parts.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

impl Column {
    fn cell(&self, row: &Value) -> String {
        let value = row.get(self.1).unwrap_or(&Value::Null);
        match self.2 {
            Show::Time => moment(value),
            Show::Payload => payload(value),
            _ => plain(value),
        }
    }
}

fn moment(value: &Value) -> String {
    match value.as_str() {
        Some(text) if !text.starts_with("0001-") => {
            printable(&text.chars().take(19).collect::<String>().replace('T', " "))
        }
        _ => "-".to_owned(),
    }
}

fn payload(value: &Value) -> String {
    const SHOWN: usize = 60;
    let bytes = STANDARD.decode(value.as_str().unwrap_or_default()).unwrap_or_default();
    printable(&String::from_utf8_lossy(&bytes).chars().take(SHOWN).collect::<String>())
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => printable(text),
        other => other.to_string(),
    }
}

fn flatten(name: &str, value: &Value, fields: &mut Vec<(String, String)>) {
    match value {
        Value::Object(all) => {
            for (key, value) in all {
                let name =
                    if name.is_empty() { printable(key) } else { format!("{name}.{}", printable(key)) };
                flatten(&name, value, fields);
            }
        }
        other => fields.push((name.to_owned(), plain(other))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let columns = [
            Column("CLIENT", "id", Show::Text),
            Column("N", "n", Show::Number),
            Column("AT", "at", Show::Time),
        ];
        let rows = [
            json!({"id": "a", "n": 1, "at": "2026-01-02T03:04:05.678901Z"}),
            json!({"id": "longer than that", "n": 1234, "at": "0001-01-01T00:00:00Z"}),
        ];
        let expected = "CLIENT               N  AT\na                    1  2026-01-02 03:04:05\nlonger than that  1234  -\n";
        assert_eq!(table(&columns, &rows), expected);
    }

    #[test]
    fn what_a_client_calls_itself_does_nothing_to_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\u{202e}c\n"), "a\\u{1b}[2Jb\\u{202e}c\\n");
        assert_eq!(printable("grün 漢字"), "grün 漢字");
    }

    #[test]
    fn nested_values_become_dotted_names() {
        let mut fields = Vec::new();
        flatten("", &json!({"a": {"b": 1, "c": [1, 2]}, "d": null}), &mut fields);
        let expected = [("a.b", "1"), ("a.c", "[1,2]"), ("d", "-")];
        assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
