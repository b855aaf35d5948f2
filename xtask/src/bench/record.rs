//! What is kept under docs/benchmarks: the data, and the tables and plots drawn from it.

use super::results::Results;
use super::{excerpt, svg, table};
use crate::process::{self, program};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

const RESULTS: &str = "docs/benchmarks/results.json";
const BEGIN: &str = "<!-- results: written by cargo xtask bench --record -->";
const END: &str = "<!-- end of results -->";

/// File, title, figure.
const PLOTS: [(&str, &str, &str); 2] = [
    ("throughput.svg", "Deliveries a second (more is better)", "deliveries/s"),
    (
        "cpu.svg",
        "Microseconds of the server's CPU time a delivery, or a client (less is better)",
        "CPU µs each",
    ),
];

/// The folder of everything that is kept.
pub(super) fn folder() -> PathBuf {
    process::root().join("docs/benchmarks")
}

/// Writes data and plots, the table into their README and a few of its lines into the project's, between two marks.
pub(super) fn keep(results: &Results) -> Result<()> {
    let folder = folder();
    fs::create_dir_all(&folder)?;
    fs::write(process::root().join(RESULTS), results.json()?)?;
    for (file, title, metric) in PLOTS {
        if let Some(svg) = svg::bars(results, title, metric) {
            fs::write(folder.join(file), svg)?;
        }
    }
    write_between_marks(&folder.join("README.md"), &table::markdown(results))?;
    write_between_marks(&process::root().join("README.md"), &excerpt::markdown(results))?;
    println!("kept under {}, and an excerpt in README.md", folder.display());
    Ok(())
}

fn write_between_marks(file: &Path, table: &str) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let text = with_results(&text, table).with_context(|| format!("in {}", file.display()))?;
    Ok(fs::write(file, text)?)
}

/// The results that were kept at a revision.
pub(super) fn at_revision(revision: &str) -> Result<Results> {
    let object = format!("{revision}:{RESULTS}");
    let output = program("git").args(["show", &object]).output().context("cannot start git")?;
    if !output.status.success() {
        bail!("git show {object}: {}", String::from_utf8_lossy(output.stderr.trim_ascii()));
    }
    Results::parse(&String::from_utf8_lossy(&output.stdout)).context(object)
}

fn with_results(text: &str, table: &str) -> Result<String> {
    let begin = text.find(BEGIN).with_context(|| format!("no line {BEGIN:?}"))? + BEGIN.len();
    let end = text.find(END).filter(|end| *end >= begin).with_context(|| format!("no line {END:?}"))?;
    let (before, after) = (text.get(..begin).unwrap_or_default(), text.get(end..).unwrap_or_default());
    Ok(format!("{before}\n\n{table}\n{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_replaces_what_stands_between_the_marks() {
        let text = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        let new = with_results(&text, "new\n").unwrap();
        assert_eq!(new, format!("a\n{BEGIN}\n\nnew\n\n{END}\nb\n"));
        assert_eq!(with_results(&new, "new\n").unwrap(), new);
        assert!(with_results("no marks", "new").is_err());
    }
}
