//! `docs/architecture.md` is true: what it names is there, and what is there it names: every crate, and of each crate, in the
//! section whose heading ends with the crate's name, every module of the top level and every folder beside `src/`.
//!
//! A name is a path in code quotes or in a drawing. It may leave out its first folders: `net/accept.rs` stands for
//! `crates/mqtt-broker/src/net/accept.rs`.

use super::Finding;
use crate::process;
use anyhow::{Context, Result};
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const MAP: &str = "docs/architecture.md";

/// A heading, and the paths that are named below it.
struct Section {
    heading: String,
    line: usize,
    /// Each with its line.
    names: Vec<(String, usize)>,
}

/// Every file and folder of the workspace that git does not ignore; folders end in a slash.
struct Places(BTreeSet<String>);

pub(super) fn check(root: &Path, findings: &mut Vec<Finding>) -> Result<()> {
    let text = fs::read_to_string(root.join(MAP)).with_context(|| format!("cannot read {MAP}"))?;
    let listed = process::program("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .output()
        .context("cannot start git")?;
    let listed = String::from_utf8_lossy(&listed.stdout);
    compare(&sections(&text), &Places::of(listed.lines().filter(|file| root.join(file).exists())), findings);
    Ok(())
}

fn compare(map: &[Section], places: &Places, findings: &mut Vec<Finding>) {
    let crates = places.crates();
    for section in map {
        let within = crates.get(section.crate_name()).map_or("", String::as_str);
        for (name, line) in &section.names {
            if !places.has(within, name) {
                let what = format!("{name} is not there");
                findings.push(Finding::new(MAP, *line, what, "name what took its place"));
            }
        }
    }
    for (name, folder) in &crates {
        let Some(section) = map.iter().find(|section| section.crate_name() == name) else {
            let what = format!("nothing is said of {folder}");
            findings.push(Finding::new(MAP, 1, what, "give it a section whose heading ends with its name"));
            continue;
        };
        for part in places.parts(folder).iter().filter(|part| !section.names(part)) {
            let what = format!("{folder}{part} is not on the map");
            findings.push(Finding::new(MAP, section.line, what, "name it in this section"));
        }
    }
}

impl Section {
    fn crate_name(&self) -> &str {
        self.heading.rsplit(' ').next().unwrap_or_default()
    }

    /// Whether a module or folder is named: by itself, or with something that is in it.
    fn names(&self, part: &str) -> bool {
        let part = in_source(part);
        let (file, folder) = (format!("{part}.rs"), format!("{part}/"));
        let is_it = |name: &str| name == part || name == file || name.starts_with(&folder);
        self.names.iter().any(|(name, _)| is_it(in_source(name)))
    }
}

impl Places {
    fn of<'a>(files: impl Iterator<Item = &'a str>) -> Self {
        let mut places = BTreeSet::new();
        for file in files {
            places.extend(file.match_indices('/').map(|(end, _)| file[..=end].to_owned()));
            places.insert(file.to_owned());
        }
        Self(places)
    }

    /// The folder of each crate, by its name.
    fn crates(&self) -> BTreeMap<String, String> {
        let folders = self.0.iter().filter_map(|file| file.strip_suffix("Cargo.toml"));
        let named =
            folders.filter_map(|folder| Some((folder.trim_end_matches('/').rsplit('/').next()?, folder)));
        named
            .filter(|(name, _)| !name.is_empty())
            .map(|(name, folder)| (name.into(), folder.into()))
            .collect()
    }

    /// What a section has to name of a crate: `src/session` is a module, `tests` a folder.
    fn parts(&self, folder: &str) -> BTreeSet<String> {
        let mut parts = BTreeSet::new();
        for place in self.0.iter().filter_map(|place| place.strip_prefix(folder)) {
            if let Some(module) = place.strip_prefix("src/") {
                let module = module.split('/').next().unwrap_or_default();
                let is_root = matches!(module, "" | "lib.rs" | "main.rs");
                let module = module.strip_suffix(".rs").unwrap_or(module);
                parts.extend((!is_root).then(|| format!("src/{module}")));
            } else if let Some((beside, _)) = place.split_once('/') {
                parts.insert(beside.to_owned());
            }
        }
        parts
    }

    fn has(&self, within: &str, name: &str) -> bool {
        let inner = format!("/{name}");
        let is_it = |place: &String| {
            let place = if name.ends_with('/') { place } else { place.trim_end_matches('/') };
            place == name || place.ends_with(&inner)
        };
        self.0.iter().filter(|place| place.starts_with(within)).any(is_it)
    }
}

fn sections(text: &str) -> Vec<Section> {
    let mut sections = vec![Section { heading: String::new(), line: 1, names: Vec::new() }];
    let (mut in_heading, mut in_drawing) = (false, false);
    for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        let line = 1 + text.get(..range.start).unwrap_or_default().matches('\n').count();
        match event {
            Event::Start(Tag::Heading { level, .. }) if level <= HeadingLevel::H6 => {
                in_heading = true;
                sections.push(Section { heading: String::new(), line, names: Vec::new() });
            }
            Event::End(TagEnd::Heading(_)) => in_heading = false,
            Event::Start(Tag::CodeBlock(_)) => in_drawing = true,
            Event::End(TagEnd::CodeBlock) => in_drawing = false,
            Event::Text(words) | Event::Code(words) if in_heading => {
                sections.last_mut().expect("one is there from the start").heading.push_str(&words);
            }
            Event::Text(drawing) if in_drawing => {
                for (below, words) in drawing.lines().enumerate() {
                    let names = words.split_whitespace().filter(|word| is_path(word));
                    let names = names.map(|name| (name.to_owned(), line + below));
                    sections.last_mut().expect("one is there from the start").names.extend(names);
                }
            }
            Event::Code(word) if is_path(&word) => {
                sections
                    .last_mut()
                    .expect("one is there from the start")
                    .names
                    .push((word.to_string(), line));
            }
            _ => {}
        }
    }
    sections
}

/// A module's name does not begin with the folder of all modules.
fn in_source(name: &str) -> &str {
    name.strip_prefix("src/").unwrap_or(name)
}

/// `net/`, `core.rs`, `crates/mqtt-cli/packaging`; not a command, and not a topic.
fn is_path(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_');
    word.starts_with(|first: char| first.is_ascii_alphanumeric())
        && word.chars().all(plain)
        && (word.contains('/') || Path::new(word).extension().is_some_and(|extension| extension == "rs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: [&str; 7] = [
        "Cargo.toml",
        "crates/mqtt-x/Cargo.toml",
        "crates/mqtt-x/src/lib.rs",
        "crates/mqtt-x/src/net.rs",
        "crates/mqtt-x/src/net/accept.rs",
        "crates/mqtt-x/src/topic/mod.rs",
        "crates/mqtt-x/tests/it/main.rs",
    ];

    fn findings(map: &str) -> Vec<String> {
        let mut findings = Vec::new();
        compare(&sections(map), &Places::of(FILES.into_iter()), &mut findings);
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_map_that_is_true_has_no_finding() {
        let true_map = "# Map\n\n```text\nnet/accept.rs --- topic/\n```\n\n## Inside mqtt-x\n\n\
            | where | what |\n|---|---|\n| `net.rs`, `topic/mod.rs` | `$SYS/a`, `cargo x/y`, `/api` |\n| `tests/` | |\n";
        assert_eq!(findings(true_map), [""; 0]);
    }

    #[test]
    fn what_is_named_and_gone_is_found_in_prose_tables_and_drawings() {
        let stale = "# Map\n\n`net/gone.rs`\n\n```text\na\nold.rs ---\n```\n\n## Inside mqtt-x\n\n\
            | a |\n|---|\n| `net/`, `topic/`, `tests/`, `accept/`, `Cargo.toml`, `mqtt-y/src` |\n";
        let found = findings(stale);
        assert_eq!(
            found,
            [
                "docs/architecture.md:3: net/gone.rs is not there; name what took its place",
                "docs/architecture.md:7: old.rs is not there; name what took its place",
                "docs/architecture.md:14: accept/ is not there; name what took its place",
                "docs/architecture.md:14: mqtt-y/src is not there; name what took its place",
            ]
        );
    }

    #[test]
    fn a_section_speaks_of_its_own_crate_alone() {
        let mut findings = Vec::new();
        let files =
            ["crates/a/Cargo.toml", "crates/a/src/one.rs", "crates/b/Cargo.toml", "crates/b/src/two.rs"];
        let map = "# a\n\n`one.rs`, `two.rs`\n\n# b\n\n`two.rs`\n";
        compare(&sections(map), &Places::of(files.into_iter()), &mut findings);
        let findings: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(findings, ["docs/architecture.md:3: two.rs is not there; name what took its place"]);
    }

    #[test]
    fn what_is_there_and_not_named_is_found() {
        let remedy = "name it in this section";
        assert_eq!(
            findings("# Map\n\n`topic/`\n\n## Inside mqtt-x\n\n`net/accept.rs`\n"),
            [
                format!("docs/architecture.md:5: crates/mqtt-x/src/topic is not on the map; {remedy}"),
                format!("docs/architecture.md:5: crates/mqtt-x/tests is not on the map; {remedy}"),
            ]
        );
        assert_eq!(
            findings("# Map\n"),
            [
                "docs/architecture.md:1: nothing is said of crates/mqtt-x/; give it a section whose heading ends with its name"
            ]
        );
    }
}
