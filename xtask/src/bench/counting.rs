//! `cargo xtask bench cost --counting`: what it costs a message that the broker counts, in instructions.
//!
//! The same paths are run with and without counting, one after the other. Only the code of the broker is in them: a message
//! on a socket costs the system many times as much, so the share of throughput is smaller than the share that stands here.

use super::cost::{PATHS, instructions_of};
use crate::process::{self, cargo};
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;

pub(super) fn run() -> Result<()> {
    let without = build("uncounted", &["--features", "uncounted"])?;
    let with = build("counted", &[])?;
    println!("{:<20} {:>8} {:>10} {:>12} {:>8}", "path", "counted", "uncounted", "for counting", "share");
    for (path, _, count) in PATHS.into_iter().filter(|(path, ..)| path.starts_with("deliver")) {
        let (with, without) = (instructions_of(&with, path, count)?, instructions_of(&without, path, count)?);
        let (more, share) = (with - without, (with / without - 1.0) * 100.0);
        println!("{path:<20} {with:>8.0} {without:>10.0} {more:>12.0} {share:>6.1} %");
    }
    Ok(())
}

/// The counting binary, kept where the next build does not replace it.
fn build(name: &str, features: &[&str]) -> Result<PathBuf> {
    let build = ["build", "--release", "--package", "mqtt-benches", "--bin", "cost"];
    process::run(cargo(&build).args(features))?;
    let release = process::target_folder().join("release");
    let kept = release.join(format!("cost-{name}"));
    fs::copy(release.join("cost"), &kept).with_context(|| format!("cannot write {}", kept.display()))?;
    Ok(kept)
}
