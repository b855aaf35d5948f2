//! `cargo xtask bench recovery`: how long a start takes on what an earlier process left, and how much memory.

use super::durable::remove;
use crate::broker_process::BrokerProcess;
use crate::process::program;
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

/// Measures starts on data directories of several sizes. Prints a table in Markdown.
///
/// The directories are made by `gmqtt store import`. Each is opened by one start that is not measured, which sorts what the
/// import has left in the journal.
#[derive(clap::Args)]
pub(super) struct Options {
    /// Measure this `gmqtt`, and build none
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Divide all sizes by this
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    scale: u64,
    /// Where the data directories are made
    #[arg(long, default_value = "target/recovery-bench")]
    folder: PathBuf,
}

/// Sessions (with a subscription each), messages queued for them, retained messages.
const CASES: [[u64; 3]; 7] = [
    [0, 0, 0],
    [100_000, 0, 0],
    [100_000, 100_000, 0],
    [100_000, 1_000_000, 0],
    [100_000, 3_000_000, 0],
    [0, 0, 1_000_000],
    [100_000, 1_000_000, 1_000_000],
];
const PAYLOAD: &str = "sixty-four bytes of payload, which is what the benchmarks publish";

pub(super) fn run(options: &Options) -> Result<()> {
    let binary = super::binary(options.binary.as_deref())?;
    println!("| sessions | queued | retained | records | start | records a second | peak memory |");
    println!("|---|---|---|---|---|---|---|");
    for case in CASES.map(|case| case.map(|count| count / options.scale)) {
        remove(&options.folder)?;
        fs::create_dir_all(&options.folder)?;
        let data = options.folder.join("data");
        fill(&binary, &data, case)?;
        start(&binary, &data)?;
        let (seconds, peak_bytes) = start(&binary, &data)?;
        let [sessions, queued, retained] = case;
        // A session has two rows and a subscription.
        let records = 3 * sessions + queued + retained;
        println!(
            "| {sessions} | {queued} | {retained} | {records} | {seconds:.2} s | {:.0} | {:.0} MiB |",
            records as f64 / seconds,
            peak_bytes / 1024.0 / 1024.0
        );
    }
    remove(&options.folder)
}

/// From its beginning until it listens, and the most memory that it had by then.
fn start(binary: &Path, data: &Path) -> Result<(f64, f64)> {
    let mut command = program(binary);
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "off", "--log-level", "warn", "--data-dir"]);
    command.arg(data);
    let begun = Instant::now();
    let broker = BrokerProcess::that_says_where(&mut command)?;
    let seconds = begun.elapsed().as_secs_f64();
    let path = format!("/proc/{}/status", broker.pid());
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: f64 = peak.and_then(|peak| peak.split_whitespace().next()).context("no VmHWM")?.parse()?;
    broker.stop()?;
    Ok((seconds, kib * 1024.0))
}

fn fill(binary: &Path, data: &Path, case: [u64; 3]) -> Result<()> {
    let mut import = program(binary)
        .args(["store", "import"])
        .arg(data)
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start the import")?;
    let mut out = BufWriter::new(import.stdin.take().context("no standard input")?);
    write_export(&mut out, case)?;
    drop(out);
    if !import.wait()?.success() {
        bail!("the import failed");
    }
    Ok(())
}

/// What `gmqtt store export` would write of such a store.
fn write_export(out: &mut impl Write, [sessions, queued, retained]: [u64; 3]) -> Result<()> {
    writeln!(out, r#"{{"record":"gmqtt_store","version":1}}"#)?;
    let mut records = 0;
    for session in 1..=sessions {
        writeln!(
            out,
            r#"{{"record":"session_started","session":{session},"client_id":"device-{session}"}}"#
        )?;
        let filter = format!("devices/{session}/commands");
        writeln!(out, r#"{{"record":"subscribed","session":{session},"filter":"{filter}","qos":1}}"#)?;
        let mine = (session..=queued).step_by(usize::try_from(sessions)?);
        for key in mine {
            let message = message(&filter, false);
            writeln!(
                out,
                r#"{{"record":"queued","session":{session},"key":{key},"qos":1,"retain":false,"message":{message}}}"#
            )?;
            records += 1;
        }
        writeln!(
            out,
            r#"{{"record":"session_detached","session":{session},"at_unix_nanos":{}}}"#,
            now_nanos()
        )?;
        records += 3;
    }
    for topic in 0..retained {
        let message = message(&format!("state/{}/{topic}", topic % 1000), true);
        writeln!(out, r#"{{"record":"retained","message":{message},"expires_at_unix_nanos":null}}"#)?;
        records += 1;
    }
    writeln!(out, r#"{{"record":"end","records":{records}}}"#)?;
    Ok(())
}

fn message(topic: &str, retain: bool) -> String {
    format!(r#"{{"topic":"{topic}","qos":1,"retain":{retain},"payload":"{PAYLOAD}"}}"#)
}

/// Sessions that have just become absent.
fn now_nanos() -> u128 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_nanos())
}
