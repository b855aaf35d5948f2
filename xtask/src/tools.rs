//! Cargo's own extensions that a command needs: built below target/tools, at versions that do not change by themselves.

use crate::process::{self, cargo};
use anyhow::Result;
use std::path::PathBuf;

/// A program that crates.io has.
pub(crate) struct Tool {
    /// The crate, which gives the program its name too.
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// What else `cargo install` is told.
    pub(crate) options: &'static [&'static str],
}

/// The program, built if this very version is not there yet.
pub(crate) fn ensure(tool: &Tool) -> Result<PathBuf> {
    let root = process::target_folder().join("tools");
    let binary = root.join("bin").join(tool.name);
    if !binary.exists() || !is_recorded(tool) {
        // Unoptimised: it runs for seconds, and builds in a fraction of the time.
        let spelled = format!("{}@{}", tool.name, tool.version);
        let mut install = cargo(&["install", "--locked", "--debug", "--root"]);
        process::run(install.arg(&root).args(tool.options).arg(spelled))?;
    }
    Ok(binary)
}

/// Cargo keeps a list of what it has installed below a root, with lines such as `"cargo-deb 3.8.0 (registry+…)" = […]`.
fn is_recorded(tool: &Tool) -> bool {
    let list = process::target_folder().join("tools/.crates.toml");
    let wanted = format!("\"{} {} ", tool.name, tool.version);
    std::fs::read_to_string(list).is_ok_and(|list| list.contains(&wanted))
}
