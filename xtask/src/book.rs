//! `cargo xtask book`: docs/ as a book to read in a browser, built by mdBook below target/book.

use crate::process::{self, cargo, program};
use anyhow::Result;
use std::path::PathBuf;

const MDBOOK: &str = "mdbook@0.5.4";

/// Builds docs/ as a book below target/book.
///
/// The first run builds mdBook below target/tools, which takes minutes. Whether links lead somewhere is checked by
/// `cargo xtask tidy`.
#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// Show it in the browser
    #[arg(long)]
    open: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let mut build = program(mdbook()?);
    build.args(["build", "docs"]);
    if options.open {
        build.arg("--open");
    }
    process::run(&mut build)
}

fn mdbook() -> Result<PathBuf> {
    let tools = process::target_folder().join("tools");
    let binary = tools.join("bin/mdbook");
    if !binary.exists() {
        // Unoptimised: it runs for a second, and builds in a fraction of the time.
        let install = ["install", "--locked", "--debug", "--no-default-features", "--features", "search"];
        process::run(cargo(&install).args([MDBOOK, "--root"]).arg(&tools))?;
    }
    Ok(binary)
}
