//! `cargo xtask soak`: fourteen loads of the generator against one broker, round after round, while other clients
//! churn and are killed. Fails if a message is lost, if a count does not come back to nothing, or if memory grows.

use crate::broker_process::{BrokerProcess, free_addr};
use crate::median::median;
use crate::process::{self, cargo, program};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Runs fourteen loads with churn, kills and reconnects for some minutes, and checks losses, counts and memory.
///
/// The broker is the release binary with its default settings, durable in a directory of its own. Its store has buffers
/// that fill with what was written, to 208 MiB; with --memory there is none, and memory is judged to a tenth.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// For how long
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
    /// Without a store: what memory grows by is then the broker's own
    #[arg(long)]
    memory: bool,
}

/// What is measured, and must be without fault.
const STEPS: [&str; 14] = [
    "p2p --qos 0 --duration 3s",
    "p2p --qos 1 --duration 3s",
    "p2p --qos 2 --duration 3s",
    "fanout --qos 1 --duration 3s",
    "fanin --qos 1 --duration 3s",
    "shared --qos 1 --duration 2s",
    "rate --qos 1 --rate 2000 --duration 2s",
    "churn --qos 1 --duration 3s",
    "connect -c 2000 --subscribe",
    "reconnect -c 500 --rounds 3",
    "offline --sessions 20 -n 500",
    "retained -n 2000",
    "subscriptions -n 20000 --duration 1s",
    "idle -c 1000 --settle 100ms",
];
/// What is killed in the middle, again and again, meanwhile: clean sessions, whose topics no step uses at the same time.
const VICTIMS: [&str; 3] = [
    "fanin --qos 2 --publishers 10 --duration 1m",
    "churn --qos 1 --pairs 2 --duration 1m",
    "p2p --qos 1 --pairs 2 --duration 1m",
];
/// How long a victim lives.
const VICTIMS_LIFE: Duration = Duration::from_millis(700);
const STEP_LIMIT: Duration = Duration::from_mins(2);
/// From the end of all traffic to the last look at the counts.
const QUIET_LIMIT: Duration = Duration::from_secs(30);
/// Rounds before memory counts: the store's buffers and the allocator's heaps reach their size.
const WARM_UP_ROUNDS: usize = 2;
/// Memory after the last rounds, to that after the first that count; more is growth.
const MOST_GROWTH: f64 = 1.10;
/// What the store may fill in its time: its cache, and what it has not yet sorted into files, 16 MiB for each table.
const STORE_BYTES: f64 = 208.0 * 1024.0 * 1024.0;
/// What a heap may be larger by for the place where its free memory happens to lie.
const SLACK_BYTES: f64 = 8.0 * 1024.0 * 1024.0;

pub(crate) fn run(options: &Options) -> Result<()> {
    process::run(&mut cargo(&["build", "--release", "--package", "mqtt-cli"]))?;
    let binary = process::target_folder().join("release/gmqtt");
    let soak = Soak::start(binary, options.memory)?;
    let end = Instant::now() + Duration::from_secs(options.minutes * 60);
    let mut resident = Vec::new();
    while Instant::now() < end {
        let round = soak.round(end)?;
        resident.push(round);
        println!("round {}: {:.1} MiB resident, no fault", resident.len(), round / 1_048_576.0);
    }
    soak.wait_for_quiet()?;
    check_memory(&resident, if options.memory { SLACK_BYTES } else { SLACK_BYTES + STORE_BYTES })?;
    println!(
        "{} rounds in {} minutes without a fault; all counts are back at 0",
        resident.len(),
        options.minutes
    );
    Ok(())
}

struct Soak {
    binary: PathBuf,
    broker: BrokerProcess,
    admin: SocketAddr,
    token: String,
    folder: PathBuf,
}

impl Soak {
    fn start(binary: PathBuf, in_memory: bool) -> Result<Soak> {
        let folder = process::target_folder().join(if in_memory { "soak-memory" } else { "soak" });
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        let tokens = folder.join("tokens");
        let token = make_token(&binary, &tokens)?;
        let admin = free_addr()?;
        let log = fs::File::create(folder.join("broker.log"))?;
        let mut command = program(&binary);
        command.args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--admin",
            &admin.to_string(),
            "--admin-token-file",
        ]);
        // Its own messages are retained too, and stay.
        command.arg(&tokens).args(["--sys-interval", "never"]).arg("--data-dir").arg(folder.join("data"));
        if in_memory {
            command.args(["--durability", "memory"]);
        }
        let broker = BrokerProcess::that_says_where(command.stderr(log))?;
        Ok(Soak { binary, broker, admin, token, folder })
    }

    /// Every step once, or until the time is over; the resident bytes after it.
    fn round(&self, end: Instant) -> Result<f64> {
        for (number, step) in STEPS.iter().enumerate() {
            if Instant::now() >= end {
                break;
            }
            let kind = |words: &str| words.split(' ').next().map(str::to_owned);
            let mut victims = VICTIMS.iter().cycle().skip(number).filter(|victim| kind(victim) != kind(step));
            let victim = victims.next().context("no victim")?;
            self.step(step, victim).with_context(|| format!("{step} (beside it was killed: {victim})"))?;
        }
        thread::sleep(Duration::from_secs(1));
        self.resident()
    }

    fn step(&self, step: &str, victim: &str) -> Result<()> {
        let report = self.folder.join("report.json");
        let mut generator = self.generator(step, "", fs::File::create(&report)?.into())?;
        let (start, mut killed) = (Instant::now(), 0);
        let status = loop {
            let mut other = self.generator(victim, &format!("victim-{killed}-"), Stdio::null())?;
            thread::sleep(VICTIMS_LIFE);
            ensure!(other.try_wait()?.is_none(), "the victim ended before it was killed");
            other.kill()?;
            other.wait()?;
            killed += 1;
            if let Some(status) = generator.try_wait()? {
                break status;
            }
            if start.elapsed() > STEP_LIMIT {
                generator.kill()?;
                generator.wait()?;
                bail!("no end after {} s", STEP_LIMIT.as_secs());
            }
        };
        let text = fs::read_to_string(&report)?;
        let sound = serde_json::from_str::<Value>(&text).is_ok_and(|report| report["sound"] == true);
        ensure!(status.success() && sound, "{text}");
        Ok(())
    }

    fn generator(&self, words: &str, prefix: &str, stdout: Stdio) -> Result<Child> {
        program(&self.binary)
            .arg("bench")
            .args(words.split(' '))
            .args(["--json", "--quiet", "--host", "127.0.0.1", "--port", &self.broker.port().to_string()])
            .args(["--server-pid", &self.broker.pid().to_string(), "--patience", "20s"])
            .args(["--client-prefix", prefix])
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start the generator")
    }

    fn resident(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.broker.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kibibytes: f64 = line.split_whitespace().next().context("no VmRSS")?.parse()?;
        Ok(kibibytes * 1024.0)
    }

    /// Whoever was there has gone: nothing of them may be left.
    fn wait_for_quiet(&self) -> Result<()> {
        let start = Instant::now();
        loop {
            let overview = self.overview()?;
            let counts = ["connections", "sessions", "subscriptions", "retained_messages"];
            let left: Vec<&str> = counts.into_iter().filter(|count| overview[count] != 0).collect();
            if left.is_empty() {
                return Ok(());
            }
            ensure!(start.elapsed() < QUIET_LIMIT, "all clients are gone, and left: {overview}");
            thread::sleep(Duration::from_millis(500));
        }
    }

    fn overview(&self) -> Result<Value> {
        let mut stream = TcpStream::connect(self.admin).context("the HTTP API does not answer")?;
        let token = &self.token;
        write!(
            stream,
            "GET /api/v1/overview HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n",
            self.admin
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (_, body) = answer.split_once("\r\n\r\n").context("an answer without a body")?;
        serde_json::from_str(body).with_context(|| answer.clone())
    }
}

/// A token that may read, and the file that makes a broker accept it.
fn make_token(binary: &Path, file: &Path) -> Result<String> {
    let mut command = program(binary);
    let output = command.args(["admin", "token", "create", "--name", "soak", "--file"]).arg(file).output()?;
    ensure!(output.status.success(), "no token: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().context("no token was printed")?.trim().to_owned())
}

/// Compares the last rounds with the first that count, by medians of a third each.
fn check_memory(resident: &[f64], slack_bytes: f64) -> Result<()> {
    let counted = resident.get(WARM_UP_ROUNDS..).unwrap_or_default();
    let third = counted.len() / 3;
    if third == 0 {
        println!("too few rounds to judge memory by");
        return Ok(());
    }
    let (first, last) = (median(&counted[..third]), median(&counted[counted.len() - third..]));
    ensure!(
        last <= first * MOST_GROWTH + slack_bytes,
        "memory grew from {first:.0} to {last:.0} bytes: {resident:.0?}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_found_and_a_warm_up_is_not_growth() {
        let mebibytes =
            |values: &[f64]| -> Vec<f64> { values.iter().map(|value| value * 1_048_576.0).collect() };
        assert!(
            check_memory(&mebibytes(&[10.0, 50.0, 60.0, 62.0, 61.0, 63.0, 64.0, 62.0]), SLACK_BYTES).is_ok()
        );
        assert!(
            check_memory(&mebibytes(&[10.0, 50.0, 60.0, 62.0, 70.0, 80.0, 90.0, 95.0]), SLACK_BYTES).is_err()
        );
        assert!(check_memory(&mebibytes(&[10.0, 500.0]), SLACK_BYTES).is_ok(), "too few to say");
    }

    #[test]
    fn every_step_has_a_victim_that_is_not_itself() {
        for step in STEPS {
            let kind = step.split(' ').next();
            assert!(VICTIMS.iter().any(|victim| victim.split(' ').next() != kind), "{step}");
        }
    }
}
