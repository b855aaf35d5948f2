//! For which target the binary of a release is: musl's if that works, else the toolchain's own.

use crate::process;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A target that the binary can be for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// As rustc names it.
    pub(super) name: String,
    /// Whether cargo has to be told: it is not the toolchain's own.
    pub(super) is_foreign: bool,
}

impl Target {
    /// Where cargo leaves the binary.
    pub(super) fn products(&self) -> PathBuf {
        let folder = process::target_folder();
        if self.is_foreign { folder.join(&self.name).join("release") } else { folder.join("release") }
    }
}

/// Targets of this machine, the best first.
pub(super) struct Candidates {
    pub(super) targets: Vec<Target>,
    /// Why a better one is not among them.
    pub(super) passed_over: Vec<String>,
}

/// What this toolchain has.
pub(super) fn of_this_machine() -> Result<Candidates> {
    let host = super::first_line(Command::new("rustc").args(["--print", "host-tuple"]))?;
    Ok(candidates(host, has_standard_library))
}

/// A binary that is linked statically runs on more machines.
fn candidates(host: String, is_installed: impl Fn(&str) -> bool) -> Candidates {
    let musl = host.replace("-gnu", "-musl");
    let (mut targets, mut passed_over) = (Vec::new(), Vec::new());
    if musl != host {
        if is_installed(&musl) {
            targets.push(Target { name: musl, is_foreign: true });
        } else {
            passed_over.push(format!(
                "no {musl} in this toolchain (rustup target add {musl}): the binary needs a C library"
            ));
        }
    }
    targets.push(Target { name: host, is_foreign: false });
    Candidates { targets, passed_over }
}

/// The first target for which there is a binary once `attempt` is through, and why there is none for better ones.
pub(super) fn first_that_works(
    candidates: Candidates,
    attempt: impl Fn(&Target) -> Result<()>,
) -> Result<(Target, Vec<String>)> {
    let Candidates { targets, mut passed_over } = candidates;
    let mut targets = targets.into_iter().peekable();
    while let Some(target) = targets.next() {
        let Err(error) = attempt(&target) else { return Ok((target, passed_over)) };
        if targets.peek().is_none() {
            return Err(error).with_context(|| format!("no binary for {}", target.name));
        }
        let reason = format!("no binary for {}: {error:#}", target.name);
        println!("{reason}");
        passed_over.push(reason);
    }
    bail!("no target to build for")
}

fn has_standard_library(target: &str) -> bool {
    let folder =
        super::first_line(Command::new("rustc").args(["--print", "target-libdir", "--target", target]));
    folder.is_ok_and(|folder| Path::new(&folder).is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::ensure;

    fn musl_and_gnu() -> Candidates {
        candidates("x-gnu".into(), |_| true)
    }

    #[test]
    fn musl_is_the_first_if_the_toolchain_has_it_and_is_missed_if_not() {
        let names = |candidates: &Candidates| {
            candidates
                .targets
                .iter()
                .map(|target| (target.name.clone(), target.is_foreign))
                .collect::<Vec<_>>()
        };
        let (both, one) = (musl_and_gnu(), candidates("x-gnu".into(), |_| false));
        assert_eq!(names(&both), [("x-musl".to_owned(), true), ("x-gnu".to_owned(), false)]);
        assert_eq!(names(&one), [("x-gnu".to_owned(), false)]);
        assert!(both.passed_over.is_empty() && one.passed_over[0].contains("rustup target add x-musl"));
        let native = candidates("x-musl".into(), |_| panic!("nothing is asked"));
        assert_eq!((names(&native), native.passed_over.len()), (vec![("x-musl".to_owned(), false)], 0));
    }

    #[test]
    fn the_best_target_that_works_is_taken_and_what_came_before_is_told() {
        let (target, passed_over) = first_that_works(musl_and_gnu(), |_| Ok(())).expect("all work");
        assert_eq!((target.name.as_str(), passed_over.len()), ("x-musl", 0));

        let no_compiler = |target: &Target| {
            ensure!(target.name != "x-musl", "no C compiler");
            Ok(())
        };
        let (target, passed_over) = first_that_works(musl_and_gnu(), no_compiler).expect("one works");
        assert_eq!(target.name, "x-gnu");
        assert_eq!(passed_over, ["no binary for x-musl: no C compiler"]);
    }

    #[test]
    fn what_does_not_compile_for_the_last_target_is_an_error() {
        let error = first_that_works(musl_and_gnu(), |target| bail!("broken for {}", target.name));
        assert_eq!(format!("{:#}", error.expect_err("none works")), "no binary for x-gnu: broken for x-gnu");
    }
}
