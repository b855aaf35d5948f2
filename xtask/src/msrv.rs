//! `cargo xtask msrv`: the oldest Rust that the manifests promise still compiles everything.

use crate::process::{self, program};
use anyhow::{Context, Result, bail};
use std::fs;
use std::process::Command;

/// Compiles everything with the oldest Rust that Cargo.toml promises (rust-version).
///
/// If that is the toolchain in use, every other part of `cargo xtask test` does so already. Else rustup has it, or installs it.
#[derive(clap::Args, Default)]
pub(crate) struct Options {}

pub(crate) fn run(_: &Options) -> Result<()> {
    let promised = promised()?;
    let used = version_of(&mut Command::new("rustc"))?;
    if is_of(&used, &promised) {
        println!("Cargo.toml promises {promised}, which is what compiles here: {used}");
        return Ok(());
    }
    install("rustup", &promised).with_context(|| {
        format!("Cargo.toml promises {promised}, this is {used}, and rustup brings no other")
    })?;
    let mut check = program("rustup");
    check.args(["run", &promised, "cargo", "check", "--workspace", "--all-targets", "--locked"]);
    // A folder of its own: another compiler would throw the usual builds away.
    process::run(check.env("CARGO_TARGET_DIR", process::target_folder().join("msrv")))
}

/// Sees to it that rustup has this toolchain.
fn install(rustup: &str, promised: &str) -> Result<()> {
    if version_of(program(rustup).args(["run", promised, "rustc"])).is_ok() {
        return Ok(());
    }
    process::run(program(rustup).args(["toolchain", "install", promised, "--profile", "minimal"]))
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
    /// Played by a shell script: the first time it has no such toolchain, once it was told to install it it has.
    #[test]
    fn a_toolchain_that_is_missing_is_installed() {
        let folder = std::env::temp_dir().join(format!("gmqtt-xtask-msrv-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (rustup, asked) = (folder.join("rustup"), folder.join("asked"));
        let script = "echo \"$*\" >> asked; [ \"$1\" = toolchain ] && touch installed; test -e installed";
        fs::write(&rustup, format!("#!/bin/sh\ncd {} && {{ {script}; }}\n", folder.display())).unwrap();
        process::run(program("chmod").arg("+x").arg(&rustup)).unwrap();
        let installed = install(&rustup.display().to_string(), "1.2");
        let again = install(&rustup.display().to_string(), "1.2");
        let asked = fs::read_to_string(asked).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        installed.and(again).unwrap();
        let run = "run 1.2 rustc --version";
        assert_eq!(asked.lines().collect::<Vec<_>>(), [run, "toolchain install 1.2 --profile minimal", run]);
        assert!(install("no-such-program-anywhere", "1.2").is_err());
    }
}
