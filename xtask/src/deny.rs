//! `cargo xtask deny`: licences, sources and doubles of everything we depend on, judged by cargo-deny and deny.toml.

use crate::process::{self, cargo, program};
use anyhow::Result;

const CARGO_DENY: &str = "cargo-deny@0.20.2";

/// Checks licences, sources and bans of every dependency with cargo-deny.
///
/// The first run builds cargo-deny below target/tools, which takes minutes; so this is run before a release and when a
/// dependency changes, and is no part of `cargo xtask test`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Check known vulnerabilities too (fetches the advisory database)
    #[arg(long)]
    advisories: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let tools = process::target_folder().join("tools");
    let binary = tools.join("bin/cargo-deny");
    if !binary.exists() {
        // Unoptimised: it runs for a second, and builds in a fraction of the time.
        process::run(cargo(&["install", "--locked", "--debug", CARGO_DENY, "--root"]).arg(&tools))?;
    }
    let mut check = program(binary);
    check.args(["--all-features", "check", "bans", "licenses", "sources"]);
    if options.advisories {
        check.arg("advisories");
    }
    process::run(&mut check)
}
