//! Gives the program the commit that it was built from.

use std::{path::Path, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=GMQTT_COMMIT={}", commit().as_deref().unwrap_or("unknown"));
}

/// `None` outside a checkout of this project, and without git.
fn commit() -> Option<String> {
    // In an unpacked release that lies inside somebody else's checkout, git would name that one's commit.
    git(&["ls-files", "--error-unmatch", "Cargo.toml"])?;
    rerun_when_head_moves();
    git(&["rev-parse", "--short=12", "HEAD"])
}

/// A commit changes the branch's file, or, once branches are packed, at least the log of HEAD.
fn rerun_when_head_moves() {
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["HEAD", "logs/HEAD", "packed-refs"].into_iter().chain(branch.as_deref()) {
        // A file that is not there would mean a build at every run.
        if let Some(path) = git(&["rev-parse", "--git-path", name]).filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
