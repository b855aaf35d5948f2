//! `cargo xtask dist`: what a release consists of, made below target/dist: a tarball, a Debian package, a list of what is in
//! them, and checksums.
//!
//! The tarball and the package hold one tree, so what is tried in one holds for the other.

mod bill;
mod debian_package;
mod sizes;
mod target;
mod tree;
mod trial;

use crate::process::{self, cargo, program};
use anyhow::{Context, Result, bail, ensure};
use sizes::Sizes;
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
    /// Write the sizes into docs/operations/install.md
    #[arg(long)]
    record: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let make: fn(&Target) -> Result<()> = if options.no_build { find } else { compile };
    let (target, passed_over) = target::first_that_works(target::of_this_machine()?, make)?;
    let release = Release { version: env!("CARGO_PKG_VERSION").to_owned(), target };
    let sizes = release.pack_all()?;
    sizes.print();
    if options.record {
        sizes.keep()?;
    }
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
    fn pack_all(&self) -> Result<Sizes> {
        fs::create_dir_all(folder())?;
        let tree = tree::plant(&self.target.products())?;
        let bill = bill::write(&self.target.name, &folder().join(format!("{}.cdx.json", self.name())))?;
        let tarball = self.pack(&tree)?;
        let package = self.debian_package();
        debian_package::pack(self, &package, None)?;
        checksums(&[&tarball, &package, &bill])?;
        Sizes::of(self, &tree.join("usr/bin/gmqtt"), &[&tarball, &package, &bill])
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
