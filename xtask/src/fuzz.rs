//! `cargo xtask fuzz`: the bolero targets, which are plain tests, given more time than `cargo test` gives them.

use crate::process::{self, Tally, cargo, run_reading};
use crate::source;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::collections::VecDeque;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use toml::Table;

/// Runs the fuzz targets for longer than `cargo test` does.
///
/// A target is a test in a module `fuzz`, or in a test program of that name: random inputs on the stable toolchain, with
/// nothing to install. Each runs in a process of its own, one on each processor at a time. A failure is printed with its
/// shrunk input and the seed that repeats it: `BOLERO_RANDOM_SEED=N`. With no target, all of them run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Part of the target's name; --list shows them
    target: Option<String>,
    /// How long each target runs
    #[arg(long, default_value_t = SECONDS)]
    seconds: u64,
    /// With the programs of the unit tests: fewer inputs a second, but arithmetic and assertions are checked
    #[arg(long)]
    checked: bool,
    /// Name the targets and run none
    #[arg(long)]
    list: bool,
}

impl Options {
    /// As a part of `cargo xtask test`, where those programs have been built already.
    pub(crate) fn of_the_test_command() -> Self {
        Self { target: None, seconds: SECONDS, checked: true, list: false }
    }
}

const SECONDS: u64 = 60;
/// How much longer than its time a target may take, for its last input, or for shrinking one that fails.
const GRACE: Duration = Duration::from_mins(2);

/// A program with fuzz targets.
#[derive(Clone)]
struct Program {
    path: PathBuf,
    /// Where its package is: cargo runs tests there.
    folder: PathBuf,
    /// What its tests' names stand below.
    name: String,
}

struct Target {
    program: Program,
    /// The name of the test.
    test: String,
}

pub(crate) fn run(options: &Options) -> (Tally, Result<()>) {
    let mut tally = Tally::default();
    let outcome = run_all(options, &mut tally);
    (tally, outcome)
}

fn run_all(options: &Options, tally: &mut Tally) -> Result<()> {
    let mut targets = Vec::new();
    for program in build(options.checked)? {
        targets.extend(program.targets()?);
    }
    if let Some(part) = &options.target {
        targets.retain(|target| target.name().contains(part.as_str()));
    }
    if targets.is_empty() {
        bail!("no such fuzz target; --list shows them");
    }
    if options.list {
        for target in &targets {
            println!("{}", target.name());
        }
        return Ok(());
    }
    let at_once = thread::available_parallelism().map_or(1, usize::from);
    println!("{} targets for {} s each, {at_once} at a time", targets.len(), options.seconds);
    let (waiting, tallied) = (Mutex::new(VecDeque::from(targets)), Mutex::new(Tally::default()));
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some(target) = next(&waiting) {
                    let passed = target.run(Duration::from_secs(options.seconds));
                    let one = Tally { passed: passed.into(), failed: (!passed).into() };
                    tallied.lock().unwrap_or_else(PoisonError::into_inner).add(one);
                }
            });
        }
    });
    *tally = tallied.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("fuzz: {} targets passed, {} failed", tally.passed, tally.failed);
    ensure!(tally.failed == 0, "{} fuzz targets failed", tally.failed);
    Ok(())
}

fn next(waiting: &Mutex<VecDeque<Target>>) -> Option<Target> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
}

/// Builds the test programs that may hold targets: those named `fuzz`, and those of the packages' own sources.
fn build(checked: bool) -> Result<Vec<Program>> {
    let mut command = cargo(&["test", "--lib", "--bins", "--test", "fuzz", "--no-run"]);
    let packages = fuzzed_packages()?;
    if checked {
        // As the unit tests are built: another choice of packages would be other features, and another build of all.
        command.arg("--workspace");
    } else {
        command.args(["--profile", "fast"]);
        for package in &packages {
            command.args(["-p", package]);
        }
    }
    let mut programs = Vec::new();
    run_reading(command.arg("--message-format=json-render-diagnostics"), |line| {
        programs.extend(serde_json::from_str(line).ok().as_ref().and_then(program_of));
    })?;
    programs.retain(|program| packages.iter().any(|package| program.is_of(package)));
    Ok(programs)
}

/// The packages that have bolero for their tests.
fn fuzzed_packages() -> Result<Vec<String>> {
    let mut manifests = Vec::new();
    source::collect(&process::root().join("crates"), "toml", &mut manifests)?;
    let mut packages = Vec::new();
    for path in manifests.iter().filter(|path| path.ends_with("Cargo.toml")) {
        let manifest: Table = fs::read_to_string(path)?.parse()?;
        let is_fuzzed = manifest.get("dev-dependencies").is_some_and(|tests| tests.get("bolero").is_some());
        let name = manifest.get("package").and_then(|package| package.get("name")?.as_str());
        packages.extend(name.filter(|_| is_fuzzed).map(str::to_owned));
    }
    Ok(packages)
}

/// Out of one of cargo's messages.
fn program_of(message: &Value) -> Option<Program> {
    if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
        return None;
    }
    let path = message["executable"].as_str()?.into();
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?.to_path_buf();
    let (package, target) = (folder.file_name()?.to_str()?, message["target"]["name"].as_str()?);
    let name = if target == "fuzz" { format!("{package}::fuzz") } else { package.to_owned() };
    Some(Program { path, folder, name })
}

impl Program {
    fn is_of(&self, package: &str) -> bool {
        self.name.split("::").next() == Some(package)
    }

    fn targets(&self) -> Result<Vec<Target>> {
        let mut targets = Vec::new();
        run_reading(self.command().args(["--list", "--format=terse"]), |line| {
            let Some(test) = line.strip_suffix(": test") else { return };
            let target = Target { program: self.clone(), test: test.to_owned() };
            targets.extend(is_target(&target.name()).then_some(target));
        })?;
        Ok(targets)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.current_dir(&self.folder);
        command
    }
}

impl Target {
    fn name(&self) -> String {
        format!("{}::{}", self.program.name, self.test)
    }

    /// Runs it for so long, prints a line, and if it failed all that it said.
    fn run(&self, time: Duration) -> bool {
        let begin = Instant::now();
        let outcome = self.run_quietly(time);
        let seconds = begin.elapsed().as_secs();
        match &outcome {
            Ok(()) => println!("ok fuzz {} ({seconds} s)", self.name()),
            Err(error) => println!("FAILED fuzz {} ({seconds} s): {error:#}", self.name()),
        }
        outcome.is_ok()
    }

    fn run_quietly(&self, time: Duration) -> Result<()> {
        let mut command = self.program.command();
        command.args(["--exact", &self.test, "--nocapture"]).stdin(Stdio::null());
        command.env("BOLERO_RANDOM_TEST_TIME_MS", time.as_millis().to_string());
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("it does not start")?;
        let outputs = [child.stdout.take().map(gathered), child.stderr.take().map(gathered)];
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if begin.elapsed() > time + GRACE {
                child.kill()?;
                child.wait()?;
                bail!("it hangs: no end {} s after its time", GRACE.as_secs());
            }
            thread::sleep(Duration::from_millis(50));
        };
        let said: String = outputs.into_iter().flatten().filter_map(|output| output.join().ok()).collect();
        if !status.success() {
            bail!("{status}\n{said}");
        }
        // A name that is no longer there would pass without a word.
        if !said.contains("1 passed") {
            bail!("it did not run\n{said}");
        }
        Ok(())
    }
}

/// Reads it to its end: a full pipe would stop the program.
fn gathered(mut stream: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// By a whole word of the path, so that a test *about* fuzzing is not taken for one.
fn is_target(name: &str) -> bool {
    name.split("::").any(|part| part == "fuzz")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_told_by_its_name() {
        assert!(
            is_target("mqtt-broker::net::websocket::fuzz::frames")
                && is_target("mqtt-codec::fuzz::any_bytes")
        );
        assert!(!is_target("mqtt-codec::tests::what_fuzzing_found"));
    }

    #[test]
    fn programs_are_found_among_what_cargo_says() {
        let said = |target: &str, test: bool| {
            serde_json::json!({
                "reason": "compiler-artifact", "profile": { "test": test }, "executable": "/target/x",
                "manifest_path": "/crates/mqtt-codec/Cargo.toml", "target": { "name": target },
            })
        };
        let name = |message: Value| program_of(&message).map(|program| program.name);
        assert_eq!(name(said("fuzz", true)).as_deref(), Some("mqtt-codec::fuzz"));
        assert_eq!(name(said("mqtt_codec", true)).as_deref(), Some("mqtt-codec"));
        assert_eq!(name(said("mqtt_codec", false)), None);
    }
}
