//! Links between the project's own pages lead somewhere: to a file that is there, and to a heading that is in it; and the
//! book's table of contents has every page. Links to other hosts are not followed.

use super::Finding;
use crate::process;
use anyhow::{Context, Result};
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Component, Path, PathBuf};

const CONTENTS: &str = "docs/SUMMARY.md";

/// What a page links to, and what may be linked to in it.
#[derive(Default)]
struct Page {
    /// Targets with their lines.
    links: Vec<(String, usize)>,
    anchors: BTreeSet<String>,
}

pub(super) fn check(root: &Path, findings: &mut Vec<Finding>) -> Result<()> {
    let mut pages = BTreeMap::new();
    for path in tracked_pages()? {
        let text = fs::read_to_string(root.join(&path)).with_context(|| format!("cannot read {path}"))?;
        pages.insert(PathBuf::from(path), Page::read(&text));
    }
    for (path, page) in &pages {
        for (link, line) in &page.links {
            if let Some(what) = fault(root, &pages, path, link) {
                let remedy = "mend the link, or what it leads to";
                findings.push(Finding::new(&path.display().to_string(), *line, what, remedy));
            }
        }
    }
    contents_are_whole(&pages, findings);
    Ok(())
}

fn tracked_pages() -> Result<Vec<String>> {
    let output = process::program("git").args(["ls-files", "*.md"]).output().context("cannot start git")?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// What is wrong with a link, if anything is.
fn fault(root: &Path, pages: &BTreeMap<PathBuf, Page>, from: &Path, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (target, anchor) =
        link.split_once('#').map_or((link, None), |(target, anchor)| (target, Some(anchor)));
    let path = if target.is_empty() { from.to_path_buf() } else { resolved(from, target) };
    if !root.join(&path).exists() {
        return Some(format!("a link to {link}, which is not there"));
    }
    let (anchor, page) = (anchor?, pages.get(&path)?);
    (!page.anchors.contains(anchor)).then(|| format!("a link to {link}: no such heading"))
}

fn resolved(from: &Path, target: &str) -> PathBuf {
    let mut path = from.parent().unwrap_or(Path::new("")).to_path_buf();
    for component in Path::new(target).components() {
        match component {
            Component::ParentDir => drop(path.pop()),
            Component::Normal(name) => path.push(name),
            _ => {}
        }
    }
    path
}

fn contents_are_whole(pages: &BTreeMap<PathBuf, Page>, findings: &mut Vec<Finding>) {
    let Some(contents) = pages.get(Path::new(CONTENTS)) else { return };
    let listed: BTreeSet<PathBuf> =
        contents.links.iter().map(|(link, _)| resolved(Path::new(CONTENTS), link)).collect();
    for path in pages.keys().filter(|path| path.starts_with("docs") && path != &Path::new(CONTENTS)) {
        if !listed.contains(path) {
            let what = format!("{} is not in the book", path.display());
            findings.push(Finding::new(CONTENTS, 1, what, "give it a line"));
        }
    }
}

impl Page {
    fn read(text: &str) -> Self {
        let (mut page, mut heading, mut seen) = (Self::default(), None::<String>, HashMap::new());
        for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    let line = text.get(..range.start).unwrap_or_default().lines().count().max(1);
                    page.links.push((dest_url.to_string(), line));
                }
                Event::Start(Tag::Heading { level, .. }) if level <= HeadingLevel::H6 => {
                    heading = Some(String::new());
                }
                Event::End(TagEnd::Heading(_)) => {
                    page.anchors.extend(heading.take().map(|heading| anchor(&heading, &mut seen)));
                }
                Event::Text(words) | Event::Code(words) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&words);
                    }
                }
                _ => {}
            }
        }
        page
    }
}

/// As those who render Markdown name a heading: lower case, a dash for each space, no punctuation, and a number behind
/// what was there before.
fn anchor(heading: &str, seen: &mut HashMap<String, usize>) -> String {
    let plain = heading.trim().to_lowercase();
    let kept = plain.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
    let count = seen.entry(anchor.clone()).or_insert(0);
    *count += 1;
    if *count == 1 { anchor } else { format!("{anchor}-{}", *count - 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(link: &str) -> Option<String> {
        let text = "# One, two\n\n## `code` here\n\n## One two\n";
        let pages = BTreeMap::from([(PathBuf::from("README.md"), Page::read(text))]);
        fault(&process::root(), &pages, Path::new("docs/page.md"), link)
    }

    #[test]
    fn links_are_followed_to_file_and_heading() {
        assert_eq!(faults("../README.md"), None);
        assert_eq!(faults("../README.md#one-two"), None);
        assert_eq!(faults("../README.md#one-two-1"), None);
        assert_eq!(faults("../README.md#code-here"), None);
        assert_eq!(faults("https://example.org/nowhere#x"), None);
        assert_eq!(faults("../README.md#three").unwrap(), "a link to ../README.md#three: no such heading");
        assert_eq!(faults("README.md").unwrap(), "a link to README.md, which is not there");
    }

    #[test]
    fn a_page_that_the_contents_forget_is_found() {
        let contents = Page::read("- [a](a.md)\n");
        let pages = BTreeMap::from([
            (PathBuf::from(CONTENTS), contents),
            (PathBuf::from("docs/a.md"), Page::default()),
            (PathBuf::from("docs/b.md"), Page::default()),
        ]);
        let mut findings = Vec::new();
        contents_are_whole(&pages, &mut findings);
        let findings: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(findings, ["docs/SUMMARY.md:1: docs/b.md is not in the book; give it a line"]);
    }
}
