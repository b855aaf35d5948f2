//! `cargo xtask bench scraping`: whether delivery notices that somebody looks.
//!
//! The same load over and over, by turns alone and while metrics and a page of all clients are asked for each second. At last
//! pages of every kind, and how long each takes.
//!
//! Clients take an open file each, of which a system may allow no hundred thousand to a process. So they can be inside the
//! broker's process too, without a socket: to the broker they are connections like any other.

use super::measure::run_generator;
use crate::broker_process::{self, BrokerProcess};
use crate::median::median;
use crate::process::{self, cargo, program};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::HashSet;
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
    /// Connected clients beside those that are measured, over TCP
    #[arg(long, default_value_t = 15_000)]
    clients: u64,
    /// Connected clients inside the broker's process, in place of those over TCP: not `gmqtt serve` is measured then, but
    /// the same broker and API in the example `crowd` of mqtt-admin
    #[arg(long, value_name = "CLIENTS", conflicts_with = "clients")]
    in_process: Option<u64>,
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

/// What is measured, and whom to ask.
struct Scene {
    broker: BrokerProcess,
    api: String,
    token: String,
    /// Clients that the generator connects beside the pairs.
    idle: u64,
    described: String,
}

pub(super) fn run(options: &Options) -> Result<()> {
    process::run(&mut cargo(&["build", "--profile", &options.profile, "--package", "mqtt-cli"]))?;
    let built = process::target_folder().join(&options.profile);
    let binary = built.join("gmqtt");
    let folder = std::env::temp_dir().join(format!("gmqtt-xtask-scraping-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let scene = match options.in_process {
        None => serve(&binary, &folder, options.clients),
        Some(clients) => {
            let example = ["--package", "mqtt-admin", "--example", "crowd"];
            process::run(cargo(&["build", "--profile", &options.profile]).args(example))?;
            crowd(&built.join("examples/crowd"), clients)
        }
    };
    let outcome = scene.and_then(|scene| measure(options, &binary, &scene));
    let _ = fs::remove_dir_all(&folder);
    outcome
}

fn measure(options: &Options, binary: &Path, scene: &Scene) -> Result<()> {
    turns(options, binary, scene)?;
    // Those over TCP have gone with the generator.
    if options.in_process.is_some() {
        pages(scene)?;
        walk(scene)?;
    }
    Ok(())
}

fn serve(binary: &Path, folder: &Path, clients: u64) -> Result<Scene> {
    let mut command = program(binary);
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--durability", "memory"]);
    command.args(["--log-level", "warn", "--data-dir"]).arg(folder);
    let (broker, api) = BrokerProcess::that_serves_http(&mut command)?;
    let token = fs::read_to_string(folder.join("admin-token")).context("the broker has made no token")?;
    let token = token.trim().to_owned();
    Ok(Scene { broker, api, token, idle: clients, described: format!("{clients} clients over TCP") })
}

fn crowd(example: &Path, clients: u64) -> Result<Scene> {
    let mut command = program(example);
    command.arg(clients.to_string());
    let (broker, (api, token)) = BrokerProcess::that_says(&mut command, |line| {
        let (_, token) = line.split_once("(token ")?;
        Some((broker_process::http_on(line)?, token.trim_end_matches(')').to_owned()))
    })?;
    Ok(Scene { broker, api, token, idle: 0, described: format!("{clients} clients in the process") })
}

fn turns(options: &Options, binary: &Path, scene: &Scene) -> Result<()> {
    let (mut alone, mut watched, asked) = (Vec::new(), Vec::new(), Asked::default());
    println!("| turn | p99 alone, µs | p99 while asked, µs |\n|---|---|---|");
    for turn in 1..=options.rounds {
        alone.push(p99(options, binary, scene)?);
        let stop = AtomicBool::new(false);
        let measured = thread::scope(|scope| {
            let asking = scope.spawn(|| ask_each_second(scene, &stop, &asked));
            let measured = p99(options, binary, scene);
            stop.store(true, Relaxed);
            asking.join().map_err(|_| anyhow::anyhow!("whoever asked has stumbled"))??;
            measured
        });
        watched.push(measured?);
        println!("| {turn} | {:.0} | {:.0} |", alone[turn - 1], watched[turn - 1]);
    }
    let (alone, watched) = (median(&alone), median(&watched));
    let requests = asked.requests.load(Relaxed);
    println!(
        "\nmedian of p99: {alone:.0} µs alone, {watched:.0} µs while asked: {:.2} times as much; beside {}, \
         {requests} requests of {:.0} ms each",
        watched / alone,
        scene.described,
        asked.micros.load(Relaxed) as f64 / requests.max(1) as f64 / 1e3
    );
    Ok(())
}

/// Pages of clients: by number, in each order, searched; and what is scraped.
const PAGES: [&str; 20] = [
    "/metrics",
    "/api/v1/overview",
    "/api/v1/clients",
    "/api/v1/clients?per-page=1000",
    "/api/v1/clients?per-page=100&page=500",
    "/api/v1/clients?per-page=100&page=1000",
    "/api/v1/clients?sort=username",
    "/api/v1/clients?sort=connected_at",
    "/api/v1/clients?sort=subscriptions",
    "/api/v1/clients?sort=inflight_len",
    "/api/v1/clients?sort=msg_queue_len",
    "/api/v1/clients?sort=msg_queue_bytes",
    "/api/v1/clients?sort=msg_queue_dropped",
    "/api/v1/clients?sort=messages_received",
    "/api/v1/clients?sort=messages_sent",
    "/api/v1/clients?sort=bytes_received",
    "/api/v1/clients?sort=bytes_sent",
    "/api/v1/clients?client_id=99",
    "/api/v1/clients?username=user-007",
    "/api/v1/subscriptions",
];
const ASKED_EACH: usize = 5;

fn pages(scene: &Scene) -> Result<()> {
    println!("\n| request | median, ms | slowest, ms |\n|---|---|---|");
    for path in PAGES {
        let mut millis = Vec::new();
        for _ in 0..ASKED_EACH {
            let begun = Instant::now();
            ask(scene, path)?;
            millis.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        println!(
            "| `{path}` | {:.1} | {:.1} |",
            median(&millis),
            millis.iter().copied().fold(f64::NAN, f64::max)
        );
    }
    Ok(())
}

/// Through all clients by cursor: each is met once.
fn walk(scene: &Scene) -> Result<()> {
    let (mut cursor, mut met, mut most, begun) = (String::new(), HashSet::new(), 0, Instant::now());
    let mut slowest = Duration::ZERO;
    loop {
        let begun = Instant::now();
        let page = ask(scene, &format!("/api/v1/clients?sort=bytes_received&per-page=1000{cursor}"))?;
        slowest = slowest.max(begun.elapsed());
        let page: Value = serde_json::from_str(&page).context("a page that is no JSON")?;
        most = most.max(page["total_count"].as_u64().unwrap_or_default());
        for client in page["list"].as_array().into_iter().flatten() {
            let name = client["client_id"].as_str().unwrap_or_default().to_owned();
            if let Some(name) = met.replace(name) {
                bail!("{name} is on two pages");
            }
        }
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    if met.len() as u64 != most {
        bail!("{} of {most} clients were met", met.len());
    }
    println!(
        "\n{most} clients by cursor, 1,000 a page, by what they have sent: each met once, in {:.1} s, the slowest page in {:.1} ms",
        begun.elapsed().as_secs_f64(),
        slowest.as_secs_f64() * 1e3
    );
    Ok(())
}

fn p99(options: &Options, binary: &Path, scene: &Scene) -> Result<f64> {
    let mut command = program(binary);
    command.args(["bench", "rate", "--pairs", "10", "--qos", "1", "--duration", "10s", "--warmup", "2s"]);
    command.args(["--rate", &options.rate.to_string(), "--idle", &scene.idle.to_string()]);
    let report = run_generator(&mut command, &scene.broker)?;
    if report["sound"] != true {
        bail!("the run was not sound: {}", report["faults"]);
    }
    report["latency"]["p99_micros"].as_f64().with_context(|| format!("no p99: {}", report["latency"]))
}

fn ask_each_second(scene: &Scene, stop: &AtomicBool, asked: &Asked) -> Result<()> {
    while !stop.load(Relaxed) {
        let begun = Instant::now();
        for path in ASKED {
            let begun = Instant::now();
            ask(scene, path)?;
            asked.requests.fetch_add(1, Relaxed);
            asked.micros.fetch_add(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX), Relaxed);
        }
        thread::sleep(PERIOD.saturating_sub(begun.elapsed()));
    }
    Ok(())
}

/// The body of the answer, which must be a good one.
fn ask(Scene { api, token, .. }: &Scene, path: &str) -> Result<String> {
    get(api, token, path)
}

/// As [`ask`], of any broker.
pub(super) fn get(api: &str, token: &str, path: &str) -> Result<String> {
    let mut socket = TcpStream::connect(api.trim_start_matches("http://")).context("the API is gone")?;
    let head =
        format!("GET {path} HTTP/1.0\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}");
    write!(socket, "{head}\r\n\r\n")?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.split(' ').nth(1) == Some("200") => Ok(body.to_owned()),
        _ => bail!("{path}: {}", answer.lines().next().unwrap_or_default()),
    }
}
