//! `cargo xtask bench scraping`: whether delivery notices that somebody looks.
//!
//! The same load over and over, by turns alone and while metrics and a page of all clients are asked for each second.

use super::measure::run_generator;
use crate::broker_process::BrokerProcess;
use crate::process::{self, cargo, program};
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// Latency of delivery among many clients, alone and while the HTTP API is asked each second.
#[derive(clap::Args)]
pub(super) struct Options {
    /// Connected clients beside those that are measured
    #[arg(long, default_value_t = 15_000)]
    clients: u64,
    /// Messages a second, of QoS 1, between ten pairs
    #[arg(long, default_value_t = 2_000)]
    rate: u64,
    /// Turns of each kind
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Of `cargo build --profile`
    #[arg(long, default_value = "release")]
    profile: String,
}

/// A scrape, and the dearest page: all clients are gone through for it.
const ASKED: [&str; 2] = ["/metrics", "/api/v1/clients?sort=msg_queue_bytes&per-page=1000"];
const PERIOD: Duration = Duration::from_secs(1);

/// Requests that were answered, and the time that they took.
#[derive(Default)]
struct Asked {
    requests: AtomicU64,
    micros: AtomicU64,
}

pub(super) fn run(options: &Options) -> Result<()> {
    process::run(&mut cargo(&["build", "--profile", &options.profile, "--package", "mqtt-cli"]))?;
    let binary = process::target_folder().join(&options.profile).join("gmqtt");
    let folder = std::env::temp_dir().join(format!("gmqtt-xtask-scraping-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let mut command = program(&binary);
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--durability", "memory"]);
    command.args(["--log-level", "warn", "--data-dir"]).arg(&folder);
    let (broker, api) = BrokerProcess::that_serves_http(&mut command)?;
    let token = fs::read_to_string(folder.join("admin-token")).context("the broker has made no token")?;
    let (api, token) = (api.trim_start_matches("http://"), token.trim());
    let outcome = turns(options, &binary, &broker, api, token);
    drop(broker);
    let _ = fs::remove_dir_all(&folder);
    outcome
}

fn turns(options: &Options, binary: &Path, broker: &BrokerProcess, api: &str, token: &str) -> Result<()> {
    let (mut alone, mut watched, asked) = (Vec::new(), Vec::new(), Asked::default());
    println!("| turn | p99 alone, µs | p99 while asked, µs |\n|---|---|---|");
    for turn in 1..=options.rounds {
        alone.push(p99(options, binary, broker)?);
        let stop = AtomicBool::new(false);
        let measured = thread::scope(|scope| {
            let asking = scope.spawn(|| ask_each_second(api, token, &stop, &asked));
            let measured = p99(options, binary, broker);
            stop.store(true, Relaxed);
            asking.join().map_err(|_| anyhow::anyhow!("whoever asked has stumbled"))??;
            measured
        });
        watched.push(measured?);
        println!("| {turn} | {:.0} | {:.0} |", alone[turn - 1], watched[turn - 1]);
    }
    let (alone, watched) = (median(&mut alone), median(&mut watched));
    let requests = asked.requests.load(Relaxed);
    println!(
        "\nmedian of p99: {alone:.0} µs alone, {watched:.0} µs while asked: {:.2} times as much; {} clients beside, \
         {requests} requests of {:.0} ms each",
        watched / alone,
        options.clients,
        asked.micros.load(Relaxed) as f64 / requests.max(1) as f64 / 1e3
    );
    Ok(())
}

fn p99(options: &Options, binary: &Path, broker: &BrokerProcess) -> Result<f64> {
    let mut command = program(binary);
    command.args(["bench", "rate", "--pairs", "10", "--qos", "1", "--duration", "10s", "--warmup", "2s"]);
    command.args(["--rate", &options.rate.to_string(), "--idle", &options.clients.to_string()]);
    let report = run_generator(&mut command, broker)?;
    if report["sound"] != true {
        bail!("the run was not sound: {}", report["faults"]);
    }
    report["latency"]["p99_micros"].as_f64().with_context(|| format!("no p99: {}", report["latency"]))
}

fn ask_each_second(api: &str, token: &str, stop: &AtomicBool, asked: &Asked) -> Result<()> {
    while !stop.load(Relaxed) {
        let begun = Instant::now();
        for path in ASKED {
            let begun = Instant::now();
            ask(api, path, token)?;
            asked.requests.fetch_add(1, Relaxed);
            asked.micros.fetch_add(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX), Relaxed);
        }
        thread::sleep(PERIOD.saturating_sub(begun.elapsed()));
    }
    Ok(())
}

fn ask(api: &str, path: &str, token: &str) -> Result<()> {
    let mut socket = TcpStream::connect(api).context("the API is gone")?;
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}");
    write!(socket, "{head}\r\n\r\n")?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    if !answer.starts_with(b"HTTP/1.1 200") {
        bail!("{path}: {}", String::from_utf8_lossy(&answer).lines().next().unwrap_or_default());
    }
    Ok(())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
