//! The documentation of the keys: `docs/configuration.md`, and the example file. Both are made from the table of keys.

use std::fmt::Write;

use super::{
    key::{Change, Key, variable_of},
    raw::{Described, sections},
    value::Kind,
};

/// Behind a value that nobody has who does not write it.
const NO_DEFAULT: &str = "   # an example: there is no default";
/// How long a line of the example may be.
const WIDTH: usize = 100;

/// A file with every key as a comment that holds its default, or an example where it has none.
pub(crate) fn example() -> String {
    let mut text = String::from(
        "# Configuration of gmqtt: every key, with its default, or with an example where it has none.\n\
         # docs/configuration.md explains files like this one.\n\
         # What is commented out is as if it was not there: take the # away and change what you want to change.\n",
    );
    for section in sections() {
        text.push('\n');
        comment(&mut text, section.about);
        if section.is_table() {
            let mark = if section.is_optional() { "#" } else { "" };
            let _ = writeln!(text, "{mark}{}", section.heading());
        }
        for key in &section.keys {
            text.push('\n');
            comment(&mut text, key.about);
            let is_needed = section.path == "listener" && key.name == "address";
            let (mark, value) =
                if is_needed { ("", "\"localhost:1883\"".into()) } else { ("#", key.sample()) };
            let note = if is_needed || key.default.is_some() { "" } else { NO_DEFAULT };
            let _ = writeln!(text, "{mark}{} = {value}{note}", key.name);
        }
    }
    text
}

/// The page of the documentation.
pub(crate) fn reference() -> String {
    let mut text = String::from(include_str!("reference.md"));
    for section in sections() {
        let heading =
            if section.is_table() { format!("`{}`", section.heading()) } else { "Before all tables".into() };
        let _ = writeln!(text, "\n## {heading}\n\n{}\n", paragraphs(section.about));
        text.push_str("| key | is | default | meaning | changes at |\n|---|---|---|---|---|\n");
        for key in &section.keys {
            let default = key.default.as_ref().map_or("none".into(), |default| format!("`{default}`"));
            let change = match key.change {
                Change::Reload => "reload",
                Change::Restart => "restart",
            };
            let kind = describe(key.kind);
            let _ = writeln!(
                text,
                "| `{}` | {kind} | {default} | {} | {change} |",
                key.name,
                meaning(&section, key).replace('|', "\\|")
            );
        }
    }
    text
}

fn meaning(section: &Described, key: &Key) -> String {
    let mut meaning = key.summary();
    if let Some(details) = key.details() {
        meaning = format!("{meaning} {details}");
    }
    if section.has_variables()
        && let Some(short) = key.variable
    {
        let long = variable_of(section.path, key.name);
        meaning = format!("{meaning} Also as `${short}`, beside `${long}`.");
    }
    meaning
}

fn describe(kind: Kind) -> String {
    match kind {
        Kind::Number => "number".into(),
        Kind::Size => "size".into(),
        Kind::Time => "time".into(),
        Kind::Switch => "`true` or `false`".into(),
        Kind::Text => "text".into(),
        Kind::Path => "path".into(),
        Kind::Choice(names) => {
            names.iter().map(|name| format!("`\"{name}\"`")).collect::<Vec<_>>().join(", ")
        }
        Kind::List(of) => format!("list: {}", describe(*of)),
    }
}

impl Key {
    /// Its default as it is written, or what it could be.
    fn sample(&self) -> String {
        match (&self.default, self.kind) {
            (Some(default), _) => default.to_string(),
            (None, Kind::Number) => "1000".into(),
            (None, Kind::Size) => "\"64KiB\"".into(),
            (None, Kind::Time) => "\"30s\"".into(),
            (None, Kind::Switch) => "false".into(),
            (None, Kind::Text) if self.name == "address" => "\"127.0.0.1:18083\"".into(),
            (None, Kind::Text) if self.name.ends_with("_url") => "\"http://127.0.0.1:8080/mqtt\"".into(),
            (None, Kind::Text) => "\"...\"".into(),
            (None, Kind::Path) => format!("\"/etc/gmqtt/{}\"", self.name),
            (None, Kind::Choice(names)) => format!("\"{}\"", names.first().unwrap_or(&"")),
            // An empty list is no example: it would say that nobody is asked.
            (None, Kind::List(Kind::Choice(names))) => format!("{names:?}"),
            (None, Kind::List(_)) => "[]".into(),
        }
    }
}

/// The lines of a text as one line a paragraph.
fn paragraphs(lines: &[&str]) -> String {
    let paragraphs = lines.split(|line| line.trim().is_empty());
    let joined = paragraphs.map(|lines| lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" "));
    joined.collect::<Vec<_>>().join("\n\n")
}

/// As comments, with lines of a readable length.
fn comment(text: &mut String, lines: &[&str]) {
    for paragraph in paragraphs(lines).split("\n\n") {
        let mut line = String::from("#");
        for word in paragraph.split(' ') {
            if line.len() + 1 + word.len() > WIDTH {
                let _ = writeln!(text, "{line}");
                line = String::from("#");
            }
            line.push(' ');
            line.push_str(word);
        }
        let _ = writeln!(text, "{line}");
    }
}
