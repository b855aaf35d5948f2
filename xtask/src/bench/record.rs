//! What is kept under docs/benchmarks: the data, and the tables and plots drawn from it.

use super::results::Results;
use super::{excerpt, svg, table};
use crate::marked::Marks;
use crate::process::{self, program};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::PathBuf;

const RESULTS: &str = "docs/benchmarks/results.json";
const MARKS: Marks = Marks {
    begin: "<!-- results: written by cargo xtask bench --record -->",
    end: "<!-- end of results -->",
};

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
    MARKS.write(&folder.join("README.md"), &table::markdown(results))?;
    MARKS.write(&process::root().join("README.md"), &excerpt::markdown(results))?;
    println!("kept under {}, and an excerpt in README.md", folder.display());
    Ok(())
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
