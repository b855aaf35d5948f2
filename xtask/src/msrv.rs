//! `cargo xtask msrv`: the oldest Rust that the manifests promise still compiles everything.

use crate::process::{self, program};
use anyhow::{Context, Result, bail};
use std::fs;
use std::process::Command;

/// Compiles everything with the oldest Rust that Cargo.toml promises (rust-version).
///
/// If that is the toolchain in use, every other part of `cargo xtask test` does so already. Else rustup has to have it.
#[derive(clap::Args, Default)]
pub(crate) struct Options {}

pub(crate) fn run(_: &Options) -> Result<()> {
    let promised = promised()?;
    let used = version_of(&mut Command::new("rustc"))?;
    if is_of(&used, &promised) {
        println!("Cargo.toml promises {promised}, which is what compiles here: {used}");
        return Ok(());
    }
    let run = ["run", &promised, "rustc"];
    if version_of(program("rustup").args(run)).is_err() {
        bail!(
            "Cargo.toml promises {promised}, this is {used}: to try it, rustup toolchain install {promised}"
        );
    }
    let mut check = program("rustup");
    check.args(["run", &promised, "cargo", "check", "--workspace", "--all-targets", "--locked"]);
    // A folder of its own: another compiler would throw the usual builds away.
    process::run(check.env("CARGO_TARGET_DIR", process::target_folder().join("msrv")))
}

fn promised() -> Result<String> {
    let manifest: toml::Table = fs::read_to_string(process::root().join("Cargo.toml"))?.parse()?;
    let package = manifest.get("workspace").and_then(|workspace| workspace.get("package"));
    let version = package.and_then(|package| package.get("rust-version")).and_then(toml::Value::as_str);
    version.map(str::to_owned).context("Cargo.toml has no rust-version")
}

/// Such as `rustc 1.95.0 (59807616e 2026-04-14)`.
fn version_of(rustc: &mut Command) -> Result<String> {
    let output = rustc.arg("--version").output().context("cannot start rustc")?;
    if !output.status.success() {
        bail!("rustc --version failed");
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn is_of(used: &str, promised: &str) -> bool {
    used.strip_prefix("rustc ").is_some_and(|version| version.starts_with(&format!("{promised}.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_of_the_promised_version_is_it_and_a_later_one_is_not() {
        assert!(is_of("rustc 1.95.2 (59807616e 2026-04-14)", "1.95"));
        assert!(!is_of("rustc 1.950.0", "1.95") && !is_of("rustc 1.96.0", "1.95"));
        assert!(promised().unwrap().starts_with("1."));
    }
}
