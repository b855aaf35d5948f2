//! The bill of materials: every crate in the binary, its version and licence, as `CycloneDX`.

use crate::process::{self, program, root};
use crate::tools::{self, Tool};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

const CARGO_CYCLONEDX: Tool = Tool { name: "cargo-cyclonedx", version: "0.5.9", options: &[] };

/// A name that no file of ours has: cargo-cyclonedx writes beside every Cargo.toml of the workspace, and knows no other place.
const LEFT_BEHIND: &str = "xtask-dist-bill";

pub(super) fn write(target: &str, to: &Path) -> Result<PathBuf> {
    let mut list = program(tools::ensure(&CARGO_CYCLONEDX)?);
    list.args(["cyclonedx", "--quiet", "--format", "json", "--spec-version", "1.5", "--target", target]);
    list.args(["--override-filename", LEFT_BEHIND, "--manifest-path", "crates/mqtt-cli/Cargo.toml"]);
    let outcome = process::run(&mut list);
    let file = format!("{LEFT_BEHIND}.json");
    let wanted = root().join("crates/mqtt-cli").join(&file);
    let moved = fs::copy(&wanted, to).with_context(|| format!("no {}", wanted.display()));
    for folder in workspace_members()? {
        let _ = fs::remove_file(folder.join(&file));
    }
    outcome.and(moved)?;
    Ok(to.to_path_buf())
}

fn workspace_members() -> Result<Vec<PathBuf>> {
    let mut folders = vec![root().join("xtask"), root().join("benches")];
    for entry in fs::read_dir(root().join("crates"))? {
        folders.push(entry?.path());
    }
    Ok(folders)
}
