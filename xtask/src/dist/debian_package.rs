//! The Debian package, made by cargo-deb of the tree and of what crates/mqtt-cli/Cargo.toml says.

use super::Release;
use crate::process::{self, program};
use crate::tools::{self, Tool};
use anyhow::Result;
use std::path::Path;

const CARGO_DEB: Tool = Tool { name: "cargo-deb", version: "3.8.0", options: &["--no-default-features"] };

/// Packs the tree that is laid out; under another version than the crate's, if one is given.
pub(super) fn pack(release: &Release, package: &Path, version: Option<&str>) -> Result<()> {
    let mut deb = program(tools::ensure(&CARGO_DEB)?);
    deb.args(["--package", "mqtt-cli", "--no-build", "--no-strip", "--output"]).arg(package);
    if release.target.is_foreign {
        deb.args(["--target", &release.target.name]);
    }
    if let Some(version) = version {
        deb.args(["--deb-version", version]);
    }
    process::run(&mut deb)
}
