//! `cargo xtask publish`: what crates.io would get, packed and compiled from the packages; nothing is uploaded.

use crate::process::{self, cargo, program};
use crate::tools::{self, Tool};
use anyhow::{Result, bail};

const SEMVER_CHECKS: Tool = Tool { name: "cargo-semver-checks", version: "0.51.0", options: &[] };

/// The crates that others depend on, in the order in which they have to be published.
const LIBRARIES: [&str; 3] = ["mqtt-codec", "mqtt-router", "mqtt-broker"];

/// Packs the libraries and compiles them from their packages, each on the others' packages; uploads nothing.
///
/// Then compares their public APIs with an earlier revision: what breaks a user needs another version (cargo-semver-checks, which
/// the first run builds below target/tools).
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The revision to compare with [default: the newest tag, if there is one]
    #[arg(long, value_name = "REV")]
    baseline: Option<String>,
    /// Compare alone, and pack nothing
    #[arg(long)]
    only_compare: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if !options.only_compare {
        // Uncommitted changes are packed as they are: this is a rehearsal.
        let mut publish = cargo(&["publish", "--dry-run", "--locked", "--allow-dirty"]);
        process::run(publish.args(LIBRARIES.iter().flat_map(|name| ["--package", name])))?;
    }
    let Some(baseline) = options.baseline.clone().or_else(newest_tag) else {
        if options.only_compare {
            bail!("there is no tag to compare with: name a revision with --baseline");
        }
        println!("no tag to compare the public APIs with; --baseline names a revision");
        return Ok(());
    };
    let mut compare = program(tools::ensure(&SEMVER_CHECKS)?);
    compare.args(["semver-checks", "--baseline-rev", &baseline]);
    process::run(compare.args(LIBRARIES.iter().flat_map(|name| ["--package", name])))
}

fn newest_tag() -> Option<String> {
    let output = program("git").args(["describe", "--tags", "--abbrev=0"]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
