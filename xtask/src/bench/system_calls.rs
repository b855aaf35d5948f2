//! System calls a message of the real binary, one message at a time: the batches of a busy broker make them fewer.

use super::servers::{self, Server};
use crate::debian;
use crate::process::{self, cargo, program};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

const MESSAGES: u64 = 2_000;
/// Calls made less often than this are not of the path.
const LEAST: f64 = 0.02;

/// By QoS, then by name; nothing where strace is missing.
pub(super) fn count() -> Result<BTreeMap<String, BTreeMap<String, f64>>> {
    let mut counts = BTreeMap::new();
    if !debian::is_installed("strace") {
        println!("system calls not counted: there is no strace (apt-get install strace)");
        return Ok(counts);
    }
    process::run(&mut cargo(&["build", "--release", "--package", "mqtt-cli"]))?;
    let binary = process::target_folder().join("release/gmqtt");
    for qos in ["0", "1", "2"] {
        let once = traced(&binary, qos, MESSAGES)?;
        let twice = traced(&binary, qos, 2 * MESSAGES)?;
        let each = twice.into_iter().map(|(name, calls)| {
            let more = calls.saturating_sub(once.get(&name).copied().unwrap_or_default());
            (name, more as f64 / MESSAGES as f64)
        });
        counts.insert(format!("QoS {qos}"), each.filter(|(_, each)| *each >= LEAST).collect());
    }
    Ok(counts)
}

/// All calls of a broker that delivers so many messages, each after the one before it has arrived.
fn traced(binary: &Path, qos: &str, messages: u64) -> Result<BTreeMap<String, u64>> {
    let [server, _] = Server::gmqtt(binary)?;
    let server = server.start()?;
    let summary = servers::folder("log")?.join("strace.txt");
    let mut strace = program("strace")
        .args(["-f", "-c", "-p", &server.pid().to_string(), "-o"])
        .arg(&summary)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start strace")?;
    wait_for_tracer(server.pid())?;
    let words = ["bench", "p2p", "--quiet", "--host", "127.0.0.1", "-n", "1", "--window", "1", "--qos", qos];
    let load = program(binary)
        .args(words)
        .args(["--port", &server.port().to_string(), "--messages", &messages.to_string()])
        .stdout(Stdio::null())
        .status();
    // It lets go of the broker and writes its summary; killed, it would not.
    process::signal(&strace, "INT")?;
    strace.wait()?;
    anyhow::ensure!(load?.success(), "the broker under strace lost messages");
    Ok(parse(&fs::read_to_string(summary)?))
}

fn wait_for_tracer(pid: u32) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        if status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0")) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(20));
    }
    anyhow::bail!("strace does not attach to the broker")
}

/// Lines of `% time, seconds, usecs/call, calls, (errors,) syscall`.
fn parse(summary: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for line in summary.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [_, _, _, calls, .., name] = words.as_slice()
            && *name != "total"
            && let Ok(calls) = calls.parse()
        {
            counts.insert((*name).to_owned(), calls);
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_from_the_summary() {
        let summary = "% time     seconds  usecs/call     calls    errors syscall\n\
                       ------ ----------- ----------- --------- --------- ----------------\n \
                       35.59    0.085142          21      4003           sendto\n \
                       17.22    0.041181          34      1186       146 futex\n\
                       100.00    0.13               0      5189       146 total\n";
        let counts = parse(summary);
        assert_eq!(counts, BTreeMap::from([("sendto".into(), 4003), ("futex".into(), 1186)]));
    }
}
