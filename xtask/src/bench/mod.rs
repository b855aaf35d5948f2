//! `cargo xtask bench`: our release binary beside other brokers and the raw limit of the machine.
//!
//! It starts servers and drives the generator (`gmqtt bench`); it measures nothing itself but memory.

#![allow(
    clippy::cast_precision_loss,
    reason = "counts become figures for people, which need no more than 52 bits"
)]

mod aims;
mod cases;
mod compare;
pub(crate) mod cost;
mod counting;
mod durable;
mod excerpt;
mod measure;
mod record;
mod recovery;
mod results;
mod scraping;
mod servers;
mod svg;
mod system_calls;
mod table;

use crate::machine;
use crate::process::{self, cargo};
use anyhow::{Context, Result, bail};
use cases::{CASES, Case};
use measure::Generator;
use results::{CaseResult, Cell, Results};
use servers::{Given, Known, Server};
use std::fs;
use std::mem;
use std::path::{Path, PathBuf};

/// Measures the release binary beside other brokers and the raw relay.
///
/// The rounds are interleaved: every server has its turn in a case before any has its second, each time as a fresh
/// process. The table shows medians, how each server stands to gmqtt, and whether gmqtt's aims are met. A server that
/// loses messages or fails is shown as such.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Option<Kind>,
    /// List the cases and measure nothing
    #[arg(long)]
    list: bool,
    /// Measure this case alone (may be given more than once)
    #[arg(long, value_name = "NAME", value_parser = case_name)]
    case: Vec<String>,
    /// Peers to install and measure with equal settings and with their defaults
    #[arg(long, value_delimiter = ',', value_name = "PEER,…")]
    with: Vec<Known>,
    /// A further peer, started by the shell; {port} is where it is to listen (may be given more than once)
    #[arg(long, value_name = "NAME=COMMAND")]
    peer: Vec<Given>,
    /// Rounds of each server in each case [default: 5, with --quick 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    rounds: Option<u8>,
    /// Under five minutes with two peers: shorter, smaller, one round, without the peers' defaults
    #[arg(long)]
    quick: bool,
    /// Write the results here
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Keep the results under docs/benchmarks: as data, tables and plots
    #[arg(long)]
    record: bool,
    /// Say what changed since the results kept at this revision
    #[arg(long, value_name = "REV")]
    compare: Option<String>,
    /// Take the results from this file in place of measuring (more than one: the later complete the earlier)
    #[arg(long, value_name = "FILE")]
    from: Vec<PathBuf>,
}

#[derive(clap::Subcommand)]
enum Kind {
    /// Run the criterion benchmarks of benches/
    Micro(MicroOptions),
    Cost(cost::Options),
    Durable(durable::Options),
    Recovery(recovery::Options),
    Scraping(scraping::Options),
}

#[derive(clap::Args)]
struct MicroOptions {
    /// Only this one, for example `router`
    #[arg(long)]
    bench: Option<String>,
    /// What criterion is to do: a filter, `--quick`, …
    #[arg(last = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    match &options.command {
        Some(Kind::Micro(options)) => return micro(options),
        Some(Kind::Cost(options)) => return cost::run(options).map(drop),
        Some(Kind::Durable(options)) => return durable::run(options),
        Some(Kind::Recovery(options)) => return recovery::run(options),
        Some(Kind::Scraping(options)) => return scraping::run(options),
        None if options.list => {
            for case in CASES {
                println!("{:<16} {}", case.name, case.about);
            }
            return Ok(());
        }
        None => {}
    }
    let earlier = options.compare.as_deref().map(record::at_revision).transpose()?;
    let results = if options.from.is_empty() { measure(options)? } else { load(&options.from)? };
    println!("{}", table::text(&results));
    if let Some(earlier) = earlier {
        println!("{}", compare::lines(&earlier, &results).join("\n"));
    }
    if let Some(file) = &options.json {
        fs::write(file, results.json()?).with_context(|| format!("cannot write {}", file.display()))?;
    }
    if options.record {
        record::keep(&results)?;
    }
    let failed = results.failed_by_gmqtt();
    if !failed.is_empty() {
        bail!("gmqtt is at fault: {}", failed.join(", "));
    }
    Ok(())
}

fn micro(options: &MicroOptions) -> Result<()> {
    let mut bench = cargo(&["bench", "--package", "mqtt-benches"]);
    if let Some(name) = &options.bench {
        bench.args(["--bench", name]);
    }
    process::run(bench.arg("--").args(&options.arguments))
}

fn measure(options: &Options) -> Result<Results> {
    let binary = binary(None)?;
    let servers = servers(options, &binary)?;
    let generator = Generator { binary, quick: options.quick };
    let rounds = options.rounds.map_or(if options.quick { 1 } else { 5 }, usize::from);
    let chosen = |case: &&Case| options.case.is_empty() || options.case.iter().any(|name| name == case.name);
    let mut results = Results {
        at: machine::now(),
        machine: machine::machine(),
        commit: machine::commit(),
        rustc: machine::output("rustc", &["--version"]),
        command: command(std::env::args().skip(1)),
        quick: options.quick,
        rounds,
        load: [machine::load_average(); 2],
        servers: servers.iter().map(|server| server.measured.clone()).collect(),
        cases: Vec::new(),
    };
    for case in CASES.iter().filter(chosen) {
        results.cases.push(run_case(case, &servers, &generator, rounds));
    }
    results.load[1] = machine::load_average();
    Ok(results)
}

fn servers(options: &Options, binary: &Path) -> Result<Vec<Server>> {
    let [equal, defaults] = Server::gmqtt(binary)?;
    let mut servers = vec![equal, defaults, Server::relay(binary)];
    for known in &options.with {
        servers.extend(Server::known(*known)?);
    }
    servers.extend(options.peer.iter().map(Server::given));
    servers::different(&servers)?;
    servers.retain(|server| !(options.quick && server.measured.defaults));
    Ok(servers)
}

/// A B C, A B C, …: what the machine does meanwhile befalls all alike.
/// What anyone can run: where the results are kept is of no interest to others.
fn command(arguments: impl Iterator<Item = String>) -> String {
    let mut words = Vec::new();
    let mut is_file = false;
    for word in arguments {
        let names_file = mem::replace(&mut is_file, word == "--json");
        if !names_file && !word.starts_with("--json") {
            words.push(word);
        }
    }
    words.join(" ")
}

fn run_case(case: &Case, servers: &[Server], generator: &Generator, rounds: usize) -> CaseResult {
    let is_ours = |server: &&Server| server.measured.name == servers::GMQTT && !server.measured.defaults;
    let takes_part = |server: &&Server| {
        let may = case.relay || server.measured.name != servers::RELAY;
        may && (!case.ours_alone || is_ours(server))
    };
    let servers: Vec<&Server> = servers.iter().filter(takes_part).collect();
    let cell = |server: &&Server| Cell {
        server: server.measured.name.clone(),
        defaults: server.measured.defaults,
        rounds: Vec::new(),
    };
    let mut cells: Vec<Cell> = servers.iter().map(cell).collect();
    for round in 1..=rounds {
        for (server, cell) in servers.iter().zip(&mut cells) {
            let result = generator.round(case, server);
            let figures = case.metrics.iter().filter_map(|metric| {
                Some(format!("{} {}", table::amount(*result.figures.get(metric.name)?), metric.name))
            });
            let figures = figures.collect::<Vec<_>>().join(", ");
            let fault = result.fault.as_ref().map_or_else(String::new, |fault| format!(" ! {fault}"));
            eprintln!("{} {round}/{rounds} {}: {figures}{fault}", case.name, server.label());
            cell.rounds.push(result);
        }
    }
    CaseResult { case: case.name.into(), cells }
}

/// Several runs as one: the later ones bring what the earlier lack, and replace what both have.
fn load(files: &[PathBuf]) -> Result<Results> {
    let mut merged: Option<Results> = None;
    for file in files {
        let next = Results::load(file)?;
        match &mut merged {
            None => merged = Some(next),
            Some(results) => results.merge(next)?,
        }
    }
    merged.context("no file")
}

fn case_name(name: &str) -> Result<String, String> {
    let found = Case::find(name).map(|case| case.name.to_owned());
    found.ok_or_else(|| "there is no such case; --list lists them".into())
}

/// The program to measure: the one that was named, else the release build of this workspace.
fn binary(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = named {
        // The brokers are started elsewhere than we are.
        return path.canonicalize().with_context(|| format!("cannot find {}", path.display()));
    }
    process::run(&mut cargo(&["build", "--release", "--package", "mqtt-cli"]))?;
    Ok(process::target_folder().join("release/gmqtt"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_names_no_file_of_whoever_made_it() {
        let told = |line: &str| command(line.split(' ').map(str::to_owned));
        assert_eq!(told("bench --rounds 3 --json /x/y.json --record"), "bench --rounds 3 --record");
        assert_eq!(told("bench --json=/x/y.json --quick"), "bench --quick");
    }
}
