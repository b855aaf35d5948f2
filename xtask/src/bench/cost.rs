//! `cargo xtask bench cost`: instructions and system calls a message, which do not depend on the machine's mood.
//!
//! Each path is run N times and 2 N times under callgrind; the difference, divided by N, is the cost of one.

use super::{counting, system_calls, table};
use crate::debian;
use crate::machine;
use crate::process::{self, cargo, program};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Path of benches/src/bin/cost.rs, what one of it is, and how many.
pub(super) const PATHS: [(&str, &str, usize); 6] = [
    ("codec", "a 64-byte QoS 1 PUBLISH split, decoded, encoded", 20_000),
    ("router", "a receiver found among 10,000 subscriptions", 20_000),
    ("deliver-qos0", "a message in and out, one a read", 5_000),
    ("deliver-qos0-burst", "the same, 32 a read", 19_200),
    ("deliver-qos1", "a message in and out and acknowledged, one a read", 5_000),
    ("deliver-qos1-burst", "the same, 16 a read", 9_600),
];
/// More than this above the recorded figure fails. The same binary always gives the same figures, but for what random
/// hash seeds do to a table; the margin is for changes that shift code about without meaning to.
const MARGIN: f64 = 0.05;

/// Counts instructions (callgrind) and system calls (strace, where present) a message.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Fail if a path costs more instructions than recorded, by more than 5 %; no system calls then
    #[arg(long, conflicts_with = "record")]
    check: bool,
    /// Keep the figures in docs/benchmarks/cost.json
    #[arg(long)]
    record: bool,
    /// Compare with a build that counts no packets and no messages: what the broker's own counting costs
    #[arg(long, conflicts_with_all = ["check", "record"])]
    counting: bool,
}

impl Options {
    /// As `cargo xtask test` runs it.
    pub(crate) fn check() -> Options {
        Options { check: true, record: false, counting: false }
    }
}

/// What is kept.
#[derive(Serialize, Deserialize)]
struct Costs {
    machine: String,
    architecture: String,
    rustc: String,
    commit: String,
    /// Instructions of one, by path.
    instructions: BTreeMap<String, f64>,
    /// System calls a message of the real binary, by QoS and name.
    system_calls: BTreeMap<String, BTreeMap<String, f64>>,
}

/// What `--check` came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing got dearer; or nothing was to be checked.
    Ok,
    /// The record is of another compiler or processor.
    NotJudged,
}

pub(crate) fn run(options: &Options) -> Result<Verdict> {
    debian::ensure("valgrind", "valgrind").context("instructions are counted by valgrind")?;
    if options.counting {
        return counting::run().map(|()| Verdict::Ok);
    }
    process::run(&mut cargo(&["build", "--release", "--package", "mqtt-benches", "--bin", "cost"]))?;
    let recorded = recorded().ok();
    let mut now = Costs {
        machine: machine::machine(),
        architecture: std::env::consts::ARCH.into(),
        rustc: machine::output("rustc", &["--version"]),
        commit: machine::commit(),
        instructions: BTreeMap::new(),
        system_calls: BTreeMap::new(),
    };
    for (path, _, count) in PATHS {
        now.instructions.insert(path.into(), instructions(path, count)?);
    }
    print!("{}", render(&now, recorded.as_ref()));
    if options.check {
        let recorded = recorded.context("nothing is recorded; run: cargo xtask bench cost --record")?;
        return check(&now, &recorded);
    }
    now.system_calls = system_calls::count()?;
    for (qos, calls) in &now.system_calls {
        let calls = calls.iter().map(|(name, count)| format!("{name} {count:.2}"));
        println!("system calls a message, one at a time, {qos}: {}", calls.collect::<Vec<_>>().join(", "));
    }
    if options.record {
        let file = file();
        fs::write(&file, serde_json::to_string_pretty(&now)? + "\n")
            .with_context(|| format!("cannot write {}", file.display()))?;
        println!("kept in {}", file.display());
    }
    Ok(Verdict::Ok)
}

/// An error if something got dearer. With another compiler or processor the figures say nothing about the change, so that
/// is said, and nothing fails.
fn check(now: &Costs, recorded: &Costs) -> Result<Verdict> {
    if (&now.architecture, &now.rustc) != (&recorded.architecture, &recorded.rustc) {
        println!(
            "not judged: recorded on {} by {}, this is {} and {}; record anew with the compiler",
            recorded.architecture, recorded.rustc, now.architecture, now.rustc
        );
        return Ok(Verdict::NotJudged);
    }
    let dearer: Vec<&str> =
        PATHS.iter().map(|(path, ..)| *path).filter(|path| is_dearer(path, now, recorded)).collect();
    if !dearer.is_empty() {
        bail!(
            "dearer than recorded by more than {:.0} %: {}; make it cheaper, or say why in the commit that records it anew \
             (cargo xtask bench cost --record)",
            MARGIN * 100.0,
            dearer.join(", ")
        );
    }
    Ok(Verdict::Ok)
}

/// A path that was never recorded is dearer than nothing.
fn is_dearer(path: &str, now: &Costs, recorded: &Costs) -> bool {
    let (Some(now), recorded) = (now.instructions.get(path), recorded.instructions.get(path)) else {
        return true;
    };
    recorded.is_none_or(|recorded| *now > recorded * (1.0 + MARGIN))
}

fn render(now: &Costs, recorded: Option<&Costs>) -> String {
    let mut text = format!("{:<20} {:>12} {:>10}\n", "path", "instructions", "recorded");
    for (path, about, _) in PATHS {
        let cost = now.instructions.get(path).copied().unwrap_or_default();
        let before = recorded.and_then(|recorded| recorded.instructions.get(path)).copied();
        let shown = before.map_or_else(String::new, table::amount);
        let change =
            before.map_or_else(String::new, |before| format!("{:+.1} %", (cost / before - 1.0) * 100.0));
        text += format!("{path:<20} {:>12} {shown:>10} {change:>8}  {about}", table::amount(cost)).trim_end();
        text.push('\n');
    }
    text
}

fn instructions(path: &str, count: usize) -> Result<f64> {
    instructions_of(&process::target_folder().join("release/cost"), path, count)
}

pub(super) fn instructions_of(binary: &Path, path: &str, count: usize) -> Result<f64> {
    let once = callgrind(binary, path, count)?;
    let twice = callgrind(binary, path, 2 * count)?;
    Ok((twice as f64 - once as f64) / count as f64)
}

fn callgrind(binary: &Path, path: &str, count: usize) -> Result<u64> {
    let output = program("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(binary)
        .args([path, &count.to_string()])
        .output()
        .context("cannot start valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("callgrind of {path}: {}", said.lines().last().unwrap_or_default());
    }
    collected(&said).with_context(|| format!("callgrind of {path} told no count"))
}

/// `==1234== Collected : 56789`
fn collected(said: &str) -> Option<u64> {
    let line = said.lines().find(|line| line.contains("Collected :"))?;
    line.rsplit(' ').next()?.parse().ok()
}

fn file() -> PathBuf {
    super::record::folder().join("cost.json")
}

fn recorded() -> Result<Costs> {
    let file = file();
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} holds no costs", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(rustc: &str, router: f64) -> Costs {
        let mut instructions: BTreeMap<String, f64> =
            PATHS.iter().map(|(path, ..)| ((*path).into(), 100.0)).collect();
        instructions.insert("router".into(), router);
        Costs {
            machine: String::new(),
            architecture: "x86_64".into(),
            rustc: rustc.into(),
            commit: String::new(),
            instructions,
            system_calls: BTreeMap::new(),
        }
    }

    #[test]
    fn what_got_dearer_fails_by_its_name() {
        let recorded = costs("1", 100.0);
        assert_eq!(check(&costs("1", 104.0), &recorded).unwrap(), Verdict::Ok);
        let error = check(&costs("1", 106.0), &recorded).unwrap_err().to_string();
        assert!(error.contains(": router;"), "{error}");
        assert_eq!(check(&costs("2", 900.0), &recorded).unwrap(), Verdict::NotJudged);
    }

    #[test]
    fn a_path_without_a_record_fails() {
        let mut recorded = costs("1", 100.0);
        recorded.instructions.remove("codec");
        assert!(check(&costs("1", 100.0), &recorded).is_err());
    }

    #[test]
    fn the_count_is_read_from_what_callgrind_says() {
        assert_eq!(collected("==7== \n==7== Collected : 56789\n==7== I   refs: 1"), Some(56_789));
        assert_eq!(collected("==7== nothing"), None);
    }
}
