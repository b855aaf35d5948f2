//! `cargo xtask tidy`: the rules of the design that no compiler checks, as small functions over sources and manifests.

mod arrows;
mod links;
mod map;
mod shape;
mod words;

use crate::process;
use crate::source::{self, SourceFile};
use anyhow::{Result, bail};
use std::fmt;

/// Checks the rules of the design that no compiler checks.
///
/// Dependency arrows between the crates and what each may never depend on; a `//!` at the head of each module; no file
/// over 600 lines, no function over 70; in mqtt-broker tokio only in net/, and no clock anywhere below it; no todo!,
/// unimplemented!, dbg!; no `#[ignore]` without its reason; no link between the project's pages that leads nowhere, and
/// no page that the book's contents forget; docs/architecture.md names what is there, and nothing else.
///
/// Each finding is one line: where, what, and what to do about it.
#[derive(clap::Args)]
pub(crate) struct Options {}

pub(crate) fn run(_options: &Options) -> Result<()> {
    let files = source::workspace_files()?;
    let mut findings = arrows::check(&process::root())?;
    for file in &files {
        shape::check(file, &mut findings);
        words::check(file, &mut findings);
    }
    links::check(&process::root(), &mut findings)?;
    map::check(&process::root(), &mut findings)?;
    findings.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("tidy: {} in {} files read", plural(findings.len(), "finding"), files.len());
    }
    println!("tidy: {} files read, no finding", files.len());
    Ok(())
}

/// One broken rule at one place.
#[derive(Debug)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    what: String,
    remedy: &'static str,
}

impl Finding {
    fn new(path: &str, line: usize, what: impl Into<String>, remedy: &'static str) -> Finding {
        Finding { path: path.to_owned(), line, what: what.into(), remedy }
    }

    fn in_file(file: &SourceFile, line: usize, what: impl Into<String>, remedy: &'static str) -> Finding {
        Finding::new(&file.path, line, what, remedy)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}; {}", self.path, self.line, self.what, self.remedy)
    }
}

fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
fn findings_of(check: fn(&SourceFile, &mut Vec<Finding>), path: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    check(&SourceFile::parse(path, text).unwrap(), &mut findings);
    findings.iter().map(ToString::to_string).collect()
}
