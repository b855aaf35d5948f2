//! `cargo xtask bench durable`: what durability costs, beside what the disk can do.
//!
//! Each figure is of a fresh broker on an empty data directory; the disk's own syncs are measured in between, on the same file
//! system.

use super::measure::{figure, run_generator};
use super::scraping;
use crate::broker_process::BrokerProcess;
use crate::median::median;
use crate::process::program;
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Measures QoS 1 and QoS 2 into durable sessions, in each mode, beside the machine's own fdatasync.
///
/// Prints tables in Markdown. Durable sessions are those of connected subscribers (messages are counted when they have been
/// delivered) or of absent ones (when they have been acknowledged).
#[derive(clap::Args)]
pub(super) struct Options {
    /// Measure this `gmqtt`, and build none
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Publishers, each with a durable session of its own to publish to
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100, 1000],
          value_parser = clap::value_parser!(u64).range(1..))]
    publishers: Vec<u64>,
    /// Messages of all publishers together: half a second of them or more, for what comes first takes memory and files that are new
    #[arg(long, default_value_t = 500_000)]
    messages: u64,
    /// Rounds of each line, the modes in turn; the figures are medians
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Where the brokers keep their data: on the disk in question
    #[arg(long, default_value = "target/durable-bench")]
    folder: PathBuf,
}

const MODES: [&str; 3] = ["memory", "os", "sync"];
/// One publisher alone waits for the disk between its windows.
const MESSAGES_OF_ONE: u64 = 40_000;
const LATENCIES: usize = 300;

pub(super) fn run(options: &Options) -> Result<()> {
    let binary = super::binary(options.binary.as_deref())?;
    let bench = Bench { binary, folder: options.folder.clone(), rounds: options.rounds.max(1) };
    bench.clean_up()?;
    println!(
        "fdatasync of 4 KiB behind a file, one after the other: {:.0} a second\n",
        bench.syncs_a_second()?
    );
    for present in [true, false] {
        for qos in ["1", "2"] {
            let whom = if present { "delivered to connected" } else { "stored for absent" };
            println!("QoS {qos}, messages a second {whom} durable sessions\n");
            println!(
                "| publishers | memory | os | sync | os to memory | messages a sync | fdatasync a second |"
            );
            println!("|---|---|---|---|---|---|---|");
            for &publishers in &options.publishers {
                bench.line(publishers, options.messages, qos, present)?;
            }
            println!();
        }
    }
    bench.latency()?;
    bench.clean_up()
}

struct Bench {
    binary: PathBuf,
    folder: PathBuf,
    rounds: usize,
}

struct Server {
    broker: BrokerProcess,
    api: String,
    token: String,
}

impl Server {
    /// How often it has written to its log, by its metrics.
    fn batches(&self) -> Result<f64> {
        batches_in(&scraping::get(&self.api, &self.token, "/metrics")?)
    }
}

fn batches_in(metrics: &str) -> Result<f64> {
    const NAME: &str = "gmqtt_store_batch_records_count ";
    let count = metrics.lines().find_map(|line| line.strip_prefix(NAME));
    count.and_then(|count| count.parse().ok()).with_context(|| format!("the metrics have no {NAME}"))
}

struct Load<'a> {
    publishers: u64,
    /// Messages of a publisher.
    each: u64,
    qos: &'a str,
    /// Whether those whom they are for are connected.
    present: bool,
}

/// What the brokers of one mode did, one figure a round.
#[derive(Default)]
struct Done {
    per_second: Vec<f64>,
    messages_a_batch: Vec<f64>,
}

impl Bench {
    fn line(&self, publishers: u64, messages: u64, qos: &str, present: bool) -> Result<()> {
        let messages = if publishers == 1 { messages.min(MESSAGES_OF_ONE) } else { messages };
        let load = Load { publishers, each: messages / publishers, qos, present };
        let (mut done, mut syncs) = (MODES.map(|_| Done::default()), Vec::new());
        for _ in 0..self.rounds {
            for (mode, done) in MODES.into_iter().zip(&mut done) {
                self.measure(mode, &load, done)?;
            }
            syncs.push(self.syncs_a_second()?);
        }
        let [memory, os, sync] = done.each_ref().map(|done| median(&done.per_second));
        println!(
            "| {publishers} | {memory:.0} | {os:.0} | {sync:.0} | {:.0} % | {:.0} | {:.0} |",
            100.0 * os / memory,
            median(&done[2].messages_a_batch),
            median(&syncs)
        );
        Ok(())
    }

    fn measure(&self, mode: &str, load: &Load<'_>, done: &mut Done) -> Result<()> {
        let &Load { publishers, each, qos, present } = load;
        let server = self.start(mode)?;
        let (publishers_text, each_text) = (publishers.to_string(), each.to_string());
        let (scenario, name) = if present { ("p2p", "delivered") } else { ("offline", "stored") };
        let words = if present {
            ["--keep-sessions", "-n", &publishers_text, "--messages", &each_text]
        } else {
            ["--settle=0s", "--sessions", &publishers_text, "-n", &each_text]
        };
        let mut command = program(&self.binary);
        command.args(["bench", scenario]).args(words).args(["--qos", qos, "--patience", "30s"]);
        let report = run_generator(&mut command, &server.broker)?;
        let per_second = figure(&report, name).with_context(|| format!("no figure {name}: {report}"))?;
        if report["sound"] != true {
            bail!("the run was not sound: {}", report["faults"]);
        }
        // In memory there is no log, and nothing is told of it.
        if mode != MODES[0] {
            done.messages_a_batch.push((publishers * each) as f64 / server.batches()?.max(1.0));
        }
        server.broker.stop()?;
        done.per_second.push(per_second);
        Ok(())
    }

    /// How long a PUBACK takes on an idle broker, beside one sync, in turns.
    fn latency(&self) -> Result<()> {
        let broker = self.start("sync")?.broker;
        let mut subscriber = Client::connect(&broker.addr(), "idle-subscriber", 0)?;
        subscriber.send(&[0x82, 6, 0, 1, 0, 1, b't', 1])?; // SUBSCRIBE to t, QoS 1
        subscriber.receive(5)?;
        subscriber.send(&[0xe0, 0])?;
        let mut publisher = Client::connect(&broker.addr(), "idle-publisher", 2)?;
        let mut file = File::create(self.folder.join("sync"))?;
        let (mut answers, mut syncs) = (Vec::new(), Vec::new());
        for _ in 0..LATENCIES {
            thread::sleep(Duration::from_millis(2));
            let begun = Instant::now();
            publisher.send(&[0x32, 9, 0, 1, b't', 0, 1, b'h', b'e', b'l', b'o'])?;
            publisher.receive(4)?;
            answers.push(begun.elapsed());
            thread::sleep(Duration::from_millis(2));
            let begun = Instant::now();
            file.write_all(&[7; 200])?;
            file.sync_data()?;
            syncs.push(begun.elapsed());
        }
        let micros = |times: Vec<Duration>| -> Vec<f64> {
            times.into_iter().map(|time| time.as_secs_f64() * 1e6).collect()
        };
        let [answer, sync] = [answers, syncs].map(|times| median(&micros(times)));
        println!(
            "Idle: PUBACK after {answer:.0} µs, one write and fdatasync {sync:.0} µs (medians of {LATENCIES}, in turns): \
             {:.2} times",
            answer / sync
        );
        broker.stop()
    }

    fn start(&self, mode: &str) -> Result<Server> {
        self.clean_up()?;
        fs::create_dir_all(&self.folder)?;
        let mut command = program(&self.binary);
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--durability", mode]);
        // A line for each of the many connections would be a part of what is measured.
        command.args([
            "--max-queued-messages",
            "10000000",
            "--max-queued-bytes",
            "4GiB",
            "--log-level",
            "warn",
        ]);
        let (broker, api) = BrokerProcess::that_serves_http(command.arg("--data-dir").arg(self.data()))?;
        let token =
            fs::read_to_string(self.data().join("admin-token")).context("the broker has made no token")?;
        Ok(Server { broker, api, token: token.trim().to_owned() })
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn clean_up(&self) -> Result<()> {
        remove(&self.folder)
    }

    fn syncs_a_second(&self) -> Result<f64> {
        fs::create_dir_all(&self.folder)?;
        let mut file = File::create(self.folder.join("sync"))?;
        let (begun, mut syncs) = (Instant::now(), 0_u32);
        while begun.elapsed() < Duration::from_millis(500) {
            file.write_all(&[7; 4096])?;
            file.sync_data()?;
            syncs += 1;
        }
        Ok(f64::from(syncs) / begun.elapsed().as_secs_f64())
    }
}

pub(super) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Just enough of a client to time one acknowledgement.
struct Client(TcpStream);

impl Client {
    fn connect(address: &str, id: &str, flags: u8) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut client = Self(stream);
        let id_len = u8::try_from(id.len())?;
        let mut connect = vec![0x10, 12 + id_len, 0, 4, b'M', b'Q', b'T', b'T', 4, flags, 0, 0, 0, id_len];
        connect.extend_from_slice(id.as_bytes());
        client.send(&connect)?;
        client.receive(4)?;
        Ok(client)
    }

    fn send(&mut self, packet: &[u8]) -> Result<()> {
        Ok(self.0.write_all(packet)?)
    }

    fn receive(&mut self, len: usize) -> Result<()> {
        let mut answer = vec![0; len];
        Ok(self.0.read_exact(&mut answer)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_that_are_not_told_are_not_none() {
        let told = "gmqtt_store_batch_records_count 17\n";
        assert!((batches_in(told).unwrap() - 17.0).abs() < f64::EPSILON);
        assert!(batches_in("gmqtt_store_batch_records_sum 17\n").is_err());
    }

    #[test]
    fn nothing_is_divided_by_no_publishers() {
        use clap::Args as _;
        let parsed = |publishers: &str| {
            let command = Options::augment_args(clap::Command::new("durable"));
            command.try_get_matches_from(["durable", "--publishers", publishers]).is_ok()
        };
        assert!(parsed("1,10") && !parsed("0") && !parsed("1,0"));
    }
}
