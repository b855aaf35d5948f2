//! `cargo xtask deny`: licences, sources and doubles of everything we depend on, judged by cargo-deny and deny.toml.

use crate::process::{self, program};
use crate::tools::{self, Tool};
use anyhow::Result;

const CARGO_DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2", options: &[] };

/// Checks licences, sources and bans of every dependency with cargo-deny.
///
/// The first run builds cargo-deny below target/tools, which takes minutes.
#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// Check known vulnerabilities too (fetches the advisory database)
    #[arg(long)]
    advisories: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let mut check = program(tools::ensure(&CARGO_DENY)?);
    check.args(["--all-features", "check", "bans", "licenses", "sources"]);
    if options.advisories {
        check.arg("advisories");
    }
    process::run(&mut check)
}
