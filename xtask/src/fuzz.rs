//! `cargo xtask fuzz`: the bolero targets, which are plain tests, given more time than `cargo test` gives them.

use crate::process::{self, Tally, cargo, run_counting, run_reading};
use crate::source;
use anyhow::{Result, bail};
use std::fs;
use std::process::Command;
use toml::{Table, Value};

/// Runs the fuzz targets for longer than `cargo test` does.
///
/// A target is a test in a module `fuzz`, or one whose name begins with `fuzz_`, of a crate that uses bolero: random
/// inputs on the stable toolchain. A failure is printed with its shrunk input and the seed that repeats it:
/// `BOLERO_RANDOM_SEED=N`. With no target, all of them run, one after another.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Part of the target's name; --list shows them
    target: Option<String>,
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Name the targets and run none
    #[arg(long)]
    list: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let mut targets = list()?;
    if let Some(part) = &options.target {
        targets.retain(|target| target.contains(part.as_str()));
    }
    if targets.is_empty() {
        bail!("no such fuzz target; --list shows them");
    }
    if options.list {
        println!("{}", targets.join("\n"));
        return Ok(());
    }
    println!("{} for {} s each", targets.join(", "), options.seconds);
    let mut command = test_fuzzed_crates(&["--no-fail-fast", "--"])?;
    // One at a time: each has the machine to itself for the time it was given.
    command.args(["--test-threads=1", "--nocapture", "--exact"]).args(&targets);
    command.env("BOLERO_RANDOM_TEST_TIME_MS", (options.seconds * 1000).to_string());
    let (Tally { passed, failed }, outcome) = run_counting(&mut command);
    println!("fuzz: {passed} targets passed, {failed} failed");
    outcome
}

/// The names of all tests that are fuzz targets.
fn list() -> Result<Vec<String>> {
    let mut targets = Vec::new();
    run_reading(&mut test_fuzzed_crates(&["--", "--list", "--format=terse"])?, |line| {
        targets.extend(line.strip_suffix(": test").filter(|name| is_target(name)).map(str::to_owned));
    })?;
    targets.sort();
    targets.dedup();
    Ok(targets)
}

/// `cargo test` over the crates that use bolero: building the others would only take time.
fn test_fuzzed_crates(arguments: &[&str]) -> Result<Command> {
    let mut command = cargo(&["test", "--profile", "fast", "--tests"]);
    let mut manifests = Vec::new();
    source::collect(&process::root().join("crates"), "toml", &mut manifests)?;
    for path in manifests.iter().filter(|path| path.ends_with("Cargo.toml")) {
        let manifest: Table = fs::read_to_string(path)?.parse()?;
        let fuzzed = manifest.get("dev-dependencies").is_some_and(|tests| tests.get("bolero").is_some());
        let name = manifest.get("package").and_then(|package| package.get("name")).and_then(Value::as_str);
        if let (true, Some(name)) = (fuzzed, name) {
            command.args(["-p", name]);
        }
    }
    command.args(arguments);
    Ok(command)
}

/// By a whole word of the path, so that a test *about* fuzzing is not taken for one.
fn is_target(name: &str) -> bool {
    name.split("::").any(|part| part == "fuzz" || part.starts_with("fuzz_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_told_by_its_name() {
        assert!(is_target("fuzz::decoder") && is_target("wire::tests::fuzz_decode") && is_target("fuzz"));
        assert!(!is_target("tests::what_fuzzing_found"));
    }
}
