//! `cargo xtask book`: docs/ as a book to read in a browser, built by mdBook below target/book.

use crate::process::{self, program};
use crate::tools::{self, Tool};
use anyhow::Result;

const MDBOOK: Tool =
    Tool { name: "mdbook", version: "0.5.4", options: &["--no-default-features", "--features", "search"] };

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
    let mut build = program(tools::ensure(&MDBOOK)?);
    build.args(["build", "docs"]);
    if options.open {
        build.arg("--open");
    }
    process::run(&mut build)
}
