//! Debian packages that a command needs: installed when they are missing and we may, asked for in plain words otherwise.

use crate::process::{self, program};
use anyhow::{Result, bail};
use std::process::{Command, Stdio};

/// Sees to it that `binary` can be started, which the Debian package `package` brings.
pub(crate) fn ensure(binary: &str, package: &str) -> Result<()> {
    if is_installed(binary) {
        return Ok(());
    }
    install(package)?;
    if !is_installed(binary) {
        bail!("apt-get installed {package}, yet `{binary}` cannot be found");
    }
    Ok(())
}

/// Installs a package, if we may; a service that comes with it is stopped again.
pub(crate) fn install(package: &str) -> Result<()> {
    let may = is_root() && is_installed("apt-get");
    if !may {
        bail!("{package} is missing and only root may install it; run: apt-get install {package}");
    }
    let noninteractive = |command: &mut Command| {
        process::run(command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()))
    };
    noninteractive(program("apt-get").args(["update", "-qq"]))?;
    noninteractive(program("apt-get").args(["install", "-y", "-qq", "--no-install-recommends", package]))?;
    // Debian starts the service of a package it has installed; most packages have none, and then this fails.
    succeeds(Command::new("service").args([package, "stop"]));
    Ok(())
}

/// Looks the name up as a shell does; `/usr/sbin` too, which an ordinary user's path may lack.
pub(crate) fn is_installed(binary: &str) -> bool {
    let lookup = format!("PATH=\"$PATH:/usr/sbin\" command -v {binary}");
    succeeds(Command::new("sh").args(["-c", &lookup]))
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_found_and_what_is_not_is_not() {
        assert!(is_installed("sh"));
        assert!(!is_installed("no-such-program-anywhere"));
    }
}
