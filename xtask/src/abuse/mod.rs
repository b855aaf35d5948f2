//! `cargo xtask abuse`: our release binary under attack, with a well-behaved pair beside it that must not notice.
//!
//! The attacks are those of `mqtt-abuse`, the pair is that of `gmqtt bench rate`; here they are started and judged.

mod record;
mod scene;
mod table;

use crate::machine;
use crate::median::median;
use crate::process::{self, cargo, program};
use anyhow::{Context, Result, bail};
use scene::Scene;
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

/// Attacks the broker, as it ships, on this machine's loopback network, and looks at the others.
///
/// Each attack has a broker of its own. A pair of clients, 200 messages a second with QoS 1, is measured before it and
/// beside it. With three rounds all of it takes about nine minutes. A row fails if the pair loses a message, if its 99th percentile beside the attack is more than three times
/// that before it (the medians of the rounds), if the broker's memory goes beyond the row's bound, or if the broker ends.
#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Options {
    /// List the attacks and start nothing
    #[arg(long)]
    list: bool,
    /// This attack alone (may be given more than once)
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Rounds of each attack [default: 3, with --quick 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    rounds: Option<u8>,
    /// Two seconds each, and no judgement of latency: does the broker live, and does the pair get its messages?
    #[arg(long)]
    quick: bool,
    /// Of `cargo build --profile`
    #[arg(long, default_value = "release")]
    profile: String,
    /// Take the programs that are there, and compile nothing
    #[arg(long)]
    no_build: bool,
    /// Keep the table in docs/under-attack.md, whatever it says: with all attacks, judged
    #[arg(long, conflicts_with_all = ["quick", "only", "list", "no_build"])]
    record: bool,
    /// Write the results here
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The most that the pair's 99th percentile may grow.
const MAX_RATIO: f64 = 3.0;

/// The memory that the broker may have under each attack, in MiB: what it has at rest with its store, and what the attack
/// may cost by `docs/limits.md`.
const MEMORY_BOUNDS_MIB: &[(&str, u64)] = &[
    ("slowloris-connect", 32),
    ("connect-flood", 32),
    ("take-over-loop", 32),
    ("tls-handshake-flood", 48),
    ("websocket-upgrade-flood", 32),
    ("random-bytes", 32),
    ("huge-remaining-length", 32),
    ("ping-flood", 32),
    ("subscription-bomb", 48),
    // Seven seconds of 2,000 messages of 1 KiB a second, in memory and in what the store has not written yet.
    ("retained-flood", 96),
    // A queue of 2,048 messages of 4 KiB, which the subscribers share, and 256 KiB for the socket of each.
    ("slow-reader", 48),
    ("unreleased-qos2", 32),
];

/// What all attacks came to, and where.
#[derive(Serialize)]
struct Results {
    at: String,
    machine: String,
    commit: String,
    /// As cargo calls it.
    profile: String,
    rounds: usize,
    /// How much the machine was busy with before, and at the end.
    load: [f64; 2],
    rows: Vec<Row>,
}

/// One attack and what came of it.
#[derive(Serialize)]
struct Row {
    name: String,
    about: String,
    /// What the attack did, in all rounds.
    acts: u64,
    /// The pair's 99th percentile, the median of the rounds, in microseconds.
    quiet_p99_micros: f64,
    attacked_p99_micros: f64,
    /// The most that the broker ever had.
    peak_memory_mib: f64,
    memory_bound_mib: u64,
    /// Why the row is out of its bounds.
    faults: Vec<String>,
}

impl Row {
    /// How many times what it was the pair's 99th percentile became.
    fn ratio(&self) -> f64 {
        self.attacked_p99_micros / self.quiet_p99_micros
    }
}

/// One round of an attack.
struct Round {
    acts: u64,
    quiet_p99_micros: f64,
    attacked_p99_micros: f64,
    peak_memory_mib: f64,
    faults: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    // One after the other: together they would share features, and the broker would not be the one that ships.
    let packages: &[&str] = if options.no_build { &[] } else { &["mqtt-cli", "mqtt-abuse"] };
    for package in packages {
        process::run(&mut cargo(&["build", "--profile", &options.profile, "--package", package]))?;
    }
    let programs = process::target_folder().join(&options.profile);
    let attacks = attacks(&programs)?;
    if options.list {
        for (name, about) in &attacks {
            println!("{name:<24} {about}");
        }
        return Ok(());
    }
    if let Some(unknown) = options.only.iter().find(|name| attacks.iter().all(|(known, _)| known != *name)) {
        bail!("there is no attack {unknown}: --list prints them");
    }
    let rounds = options.rounds.map_or(if options.quick { 1 } else { 3 }, usize::from);
    let scene = Scene::new(&programs, if options.quick { 2 } else { 5 })?;
    let mut results = Results {
        at: machine::now(),
        machine: machine::machine(),
        commit: machine::commit(),
        profile: options.profile.clone(),
        rounds,
        load: [machine::load_average(); 2],
        rows: Vec::new(),
    };
    for (name, about) in attacks {
        if options.only.is_empty() || options.only.contains(&name) {
            let row = attack(&scene, name, about, rounds, !options.quick)?;
            eprintln!("{}", table::line(&row));
            results.rows.push(row);
        }
    }
    results.load[1] = machine::load_average();
    report(options, &results)
}

/// Shows and keeps them; an error if a row is out of its bounds.
fn report(options: &Options, results: &Results) -> Result<()> {
    println!("{}", table::text(&results.rows));
    if let Some(file) = &options.json {
        fs::write(file, serde_json::to_string_pretty(results)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    if options.record {
        record::keep(results)?;
    }
    match results.rows.iter().filter(|row| !row.faults.is_empty()).count() {
        0 => Ok(()),
        failed => bail!("{failed} of {} attacks got out of bounds", results.rows.len()),
    }
}

/// Names, and what they do.
fn attacks(programs: &Path) -> Result<Vec<(String, String)>> {
    let output =
        program(programs.join(scene::ATTACKER)).arg("list").output().context("cannot start mqtt-abuse")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().filter_map(|line| line.split_once('\t')).map(|(a, b)| (a.into(), b.into())).collect())
}

fn attack(scene: &Scene, name: String, about: String, rounds: usize, judge_latency: bool) -> Result<Row> {
    let bound = MEMORY_BOUNDS_MIB.iter().find(|(known, _)| *known == name).map(|(_, bound)| *bound);
    let memory_bound_mib = bound.with_context(|| format!("{name} has no memory bound: add one"))?;
    let mut done = Vec::new();
    for _ in 0..rounds {
        done.push(scene.round(&name)?);
    }
    let of = |figure: fn(&Round) -> f64| -> Vec<f64> { done.iter().map(figure).collect() };
    let mut row = Row {
        name,
        about,
        acts: done.iter().map(|round| round.acts).sum(),
        quiet_p99_micros: median(&of(|round| round.quiet_p99_micros)),
        attacked_p99_micros: median(&of(|round| round.attacked_p99_micros)),
        peak_memory_mib: done.iter().map(|round| round.peak_memory_mib).fold(0.0, f64::max),
        memory_bound_mib,
        faults: done.into_iter().flat_map(|round| round.faults).collect(),
    };
    judge(&mut row, judge_latency);
    Ok(row)
}

#[allow(clippy::cast_precision_loss, reason = "bounds are small numbers")]
fn judge(row: &mut Row, judge_latency: bool) {
    let ratio = row.ratio();
    if judge_latency && (ratio.is_nan() || ratio > MAX_RATIO) {
        row.faults.push(format!("the pair's 99th percentile is {ratio:.1} times what it was"));
    }
    if row.peak_memory_mib > row.memory_bound_mib as f64 {
        row.faults.push(format!("{:.0} MiB of memory", row.peak_memory_mib));
    }
    if row.acts == 0 {
        row.faults.push("the attack did nothing".into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row {
            name: "flood".into(),
            about: String::new(),
            acts: 1,
            quiet_p99_micros: 100.0,
            attacked_p99_micros: 300.0,
            peak_memory_mib: 64.0,
            memory_bound_mib: 64,
            faults: Vec::new(),
        }
    }

    fn faults(change: impl FnOnce(&mut Row), judge_latency: bool) -> usize {
        let mut row = row();
        change(&mut row);
        judge(&mut row, judge_latency);
        row.faults.len()
    }

    #[test]
    fn a_row_fails_beyond_each_of_its_bounds() {
        assert_eq!(faults(|_| {}, true), 0);
        assert_eq!(faults(|row| row.attacked_p99_micros = 301.0, true), 1);
        assert_eq!(faults(|row| row.attacked_p99_micros = 301.0, false), 0);
        assert_eq!(faults(|row| row.attacked_p99_micros = f64::NAN, true), 1);
        assert_eq!(faults(|row| row.peak_memory_mib = 64.1, true), 1);
        assert_eq!(faults(|row| row.acts = 0, true), 1);
        assert_eq!(faults(|row| row.faults.push("3 lost".into()), true), 1);
    }
}
