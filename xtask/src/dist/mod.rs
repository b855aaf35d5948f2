//! `cargo xtask dist`: what a release consists of, made below target/dist: a tarball, a Debian package, a list of what is in
//! them, and checksums.
//!
//! The tarball and the package hold one tree, so what is tried in one holds for the other.

mod bill;
mod debian_package;
mod target;
mod tree;
mod trial;

use crate::process::{self, cargo, program};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use target::Target;

/// Builds what a release consists of below target/dist.
///
/// A tarball and a .deb with the stripped binary, completions, manual pages, a systemd unit and an example configuration; a
/// `CycloneDX` list of all crates in the binary; SHA256SUMS. If the toolchain has the target for musl, and a C compiler for it,
/// the binary is linked statically, else it needs the C library that it was built with, or a newer one.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Try the .deb in a Debian that debootstrap makes below target/dist: install, start, upgrade, purge (root only)
    #[arg(long)]
    r#try: bool,
    /// Take the release binary that is there, and compile nothing
    #[arg(long)]
    no_build: bool,
}

/// What the binary with everything in it should stay below.
const WANTED_BINARY_BYTES: u64 = 12 * 1024 * 1024;

pub(crate) fn run(options: &Options) -> Result<()> {
    let make: fn(&Target) -> Result<()> = if options.no_build { find } else { compile };
    let (target, passed_over) = target::first_that_works(target::of_this_machine()?, make)?;
    let release = Release { version: env!("CARGO_PKG_VERSION").to_owned(), target };
    release.pack_all()?;
    for reason in &passed_over {
        println!("{reason}");
    }
    if options.r#try {
        // What an upgrade is tried with: the same once more.
        let later = folder().join("later.deb");
        debian_package::pack(&release, &later, Some(&format!("{}-2", release.version)))?;
        trial::run(&release.debian_package(), &later)?;
    }
    Ok(())
}

/// What is made, for which machine, and where.
struct Release {
    version: String,
    target: Target,
}

impl Release {
    fn pack_all(&self) -> Result<()> {
        fs::create_dir_all(folder())?;
        let tree = tree::plant(&self.target.products())?;
        let bill = bill::write(&self.target.name, &folder().join(format!("{}.cdx.json", self.name())))?;
        let tarball = self.pack(&tree)?;
        let package = self.debian_package();
        debian_package::pack(self, &package, None)?;
        checksums(&[&tarball, &package, &bill])?;
        self.report(&tree.join("usr/bin/gmqtt"), &[&tarball, &package, &bill])
    }

    fn name(&self) -> String {
        format!("gmqtt-{}-{}", self.version, self.target.name)
    }

    fn debian_package(&self) -> PathBuf {
        folder().join(format!("{}.deb", self.name()))
    }

    /// The same bytes for the same tree: names in order, nobody's files, the time of the commit.
    fn pack(&self, tree: &Path) -> Result<PathBuf> {
        let tarball = folder().join(format!("{}.tar.gz", self.name()));
        let time = first_line(program("git").args(["log", "-1", "--format=%ct"]))?;
        let mut tar = program("tar");
        tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner"]);
        tar.arg(format!("--mtime=@{time}")).arg(format!("--transform=s,^\\.,{},", self.name()));
        tar.args(["--use-compress-program=gzip -9n", "-cf"]).arg(&tarball).arg("-C").arg(tree).arg(".");
        process::run(&mut tar)?;
        Ok(tarball)
    }

    fn report(&self, binary: &Path, files: &[&Path]) -> Result<()> {
        println!("\nin {}:", folder().display());
        for file in files {
            println!("{:>10}  {}", bytes(fs::metadata(file)?.len()), name_of(file));
        }
        let size = fs::metadata(binary)?.len();
        println!("{:>10}  gmqtt itself, stripped, for {}", bytes(size), self.target.name);
        if let Some(version) = newest_glibc(binary) {
            println!("it runs where the GNU C library is {version} or newer");
        }
        if size > WANTED_BINARY_BYTES {
            println!("the aim, {}, is not met", bytes(WANTED_BINARY_BYTES));
        }
        Ok(())
    }
}

fn compile(target: &Target) -> Result<()> {
    let mut build = cargo(&["build", "--release", "--locked", "-p", "mqtt-cli"]);
    if !target.is_foreign {
        return process::run(&mut build);
    }
    process::run(build.args(["--target", &target.name]))
        .context("is its C compiler missing? on Debian and Ubuntu: apt install musl-tools")
}

fn find(target: &Target) -> Result<()> {
    let binary = target.products().join("gmqtt");
    ensure!(binary.is_file(), "{} is not there", binary.display());
    Ok(())
}

/// Where all of it goes.
fn folder() -> PathBuf {
    process::target_folder().join("dist")
}

fn checksums(files: &[&Path]) -> Result<()> {
    let mut sum = Command::new("sha256sum");
    sum.current_dir(folder()).args(files.iter().map(|file| name_of(file)));
    let output = sum.output().context("cannot start sha256sum")?;
    if !output.status.success() {
        bail!("sha256sum failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    fs::write(folder().join("SHA256SUMS"), output.stdout).context("SHA256SUMS")
}

/// The newest glibc that the binary asks for; `None` if it is static.
fn newest_glibc(binary: &Path) -> Option<String> {
    let output = Command::new("objdump").arg("-T").arg(binary).output().ok()?;
    newest_glibc_of(&String::from_utf8_lossy(&output.stdout))
}

/// Of a list of symbols such as `0000 DF *UND* 0000 (GLIBC_2.34) pthread_join`.
fn newest_glibc_of(symbols: &str) -> Option<String> {
    let versions = symbols.split(['(', ')', ' ']).filter_map(|word| word.strip_prefix("GLIBC_"));
    let numbers =
        |version: &str| version.split('.').map(|part| part.parse().unwrap_or(0)).collect::<Vec<u32>>();
    versions.max_by_key(|version| numbers(version)).map(str::to_owned)
}

fn first_line(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().trim().to_owned())
}

fn name_of(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn bytes(count: u64) -> String {
    let tenths = (count * 10 + 512 * 1024) / (1024 * 1024);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_glibc_is_found_by_number() {
        let symbols = "0 DF *UND* 0 (GLIBC_2.9) a\n0 DF *UND* 0 (GLIBC_2.34) b\n0 DF *UND* 0 (GCC_3.0) c\n";
        assert_eq!(newest_glibc_of(symbols).as_deref(), Some("2.34"));
        assert_eq!(newest_glibc_of("0 DF .text 0 Base d\n"), None);
    }
}
