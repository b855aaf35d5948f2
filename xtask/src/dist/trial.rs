//! The Debian package tried in a Debian of its own: debootstrap makes one, systemd-nspawn boots a copy of it without a network,
//! and `trial.sh` installs, upgrades and purges in there, beside a real systemd.

use super::folder;
use crate::debian;
use crate::process::{self, program};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

const SCRIPT: &str = include_str!("trial.sh");

/// Started at the end of the boot; whatever comes of it, the machine is switched off, and what it printed stays.
const UNIT: &str = "\
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'sh /trial/trial.sh >/trial/output 2>&1 && touch /trial/passed'
ExecStopPost=/bin/systemctl --no-block poweroff
TimeoutStartSec=5min
";

pub(super) fn run(package: &Path, later: &Path) -> Result<()> {
    debian::ensure("debootstrap", "debootstrap")?;
    debian::ensure("systemd-nspawn", "systemd-container")?;
    let (root, shared) = (debian_root()?, folder().join("trial"));
    let _ = fs::remove_dir_all(&shared);
    fs::create_dir_all(&shared)?;
    for (from, name) in [(package, "gmqtt.deb"), (later, "later.deb")] {
        fs::copy(from, shared.join(name)).with_context(|| from.display().to_string())?;
    }
    fs::write(shared.join("trial.sh"), SCRIPT)?;
    boot(&root, &shared)?;
    let output = fs::read_to_string(shared.join("output")).unwrap_or_default();
    println!("{output}");
    if !shared.join("passed").exists() {
        bail!("the package did not live through its trial; the last line above is where it stopped");
    }
    println!("installed, started, upgraded, removed and purged");
    Ok(())
}

/// A minimal Debian with systemd, made once.
fn debian_root() -> Result<PathBuf> {
    let root = folder().join("debian");
    let stamp = folder().join("debian-is-made");
    if !stamp.exists() {
        let _ = fs::remove_dir_all(&root);
        let mut make = program("debootstrap");
        make.args(["--variant=minbase", "--include=systemd,systemd-sysv,dbus,procps", "bookworm"]).arg(&root);
        process::run(&mut make)?;
        // As the installer of Debian does, and debootstrap does not.
        fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n::1 localhost\n")?;
        let units = root.join("etc/systemd/system");
        fs::write(units.join("trial.service"), UNIT)?;
        let wants = units.join("default.target.wants");
        fs::create_dir_all(&wants)?;
        std::os::unix::fs::symlink("/etc/systemd/system/trial.service", wants.join("trial.service"))?;
        fs::write(stamp, "")?;
    }
    Ok(root)
}

/// `--ephemeral`: what happens in there happens to a copy.
fn boot(root: &Path, shared: &Path) -> Result<()> {
    let mut boot = program("systemd-nspawn");
    boot.args(["--quiet", "--boot", "--ephemeral", "--private-network", "--register=no", "--keep-unit"]);
    boot.args(["--console=pipe", "--machine=gmqtt-trial", "--directory"]).arg(root);
    boot.arg(format!("--bind={}:/trial", shared.display()));
    process::run(boot.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()))
}
