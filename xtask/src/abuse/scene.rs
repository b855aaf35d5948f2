//! One round: a fresh broker, the pair alone, the pair beside the attack.

use super::Round;
use crate::broker_process::{BrokerProcess, free_addr};
use crate::process::{self, program};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs::{self, File};
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What takes longer has failed.
const TIME_LIMIT: Duration = Duration::from_mins(1);
/// The program that attacks.
pub(super) const ATTACKER: &str = "mqtt-abuse";
/// The program that is attacked, and is the pair too.
const GMQTT: &str = "gmqtt";
/// Messages a second of the pair.
const PAIR_RATE: &str = "200";

/// What all rounds share. Its folder goes with it.
pub(super) struct Scene {
    folder: PathBuf,
    /// Where cargo has left the broker and the attacker.
    programs: PathBuf,
    /// How long the pair is measured, and how much longer it is attacked.
    seconds: u64,
}

/// The broker under attack, and where it listens.
struct Victim {
    process: BrokerProcess,
    tls: SocketAddr,
    websocket: SocketAddr,
}

/// What the pair has seen.
struct Seen {
    p99_micros: f64,
    fault: Option<String>,
}

impl Scene {
    pub(super) fn new(programs: &Path, seconds: u64) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("gmqtt-xtask-abuse-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let scene = Self { folder, programs: programs.to_path_buf(), seconds };
        process::run(program(programs.join(ATTACKER)).arg("certificate").arg(&scene.folder))?;
        Ok(scene)
    }

    pub(super) fn round(&self, name: &str) -> Result<Round> {
        let mut victim = self.victim()?;
        let quiet = self.pair(&victim)?;
        let attack = self.attack(name, &victim)?;
        // Begun a moment before: the pair connects while it is under way.
        thread::sleep(Duration::from_millis(300));
        let attacked = self.pair(&victim)?;
        let acts = attack.end().context("the attack")?;
        let mut faults: Vec<String> = [quiet.fault, attacked.fault].into_iter().flatten().collect();
        faults.extend(victim.process.still_runs().err().map(|error| error.to_string()));
        Ok(Round {
            acts: acts.trim().parse().unwrap_or_default(),
            quiet_p99_micros: quiet.p99_micros,
            attacked_p99_micros: attacked.p99_micros,
            peak_memory_mib: peak_memory_mib(victim.process.pid()).unwrap_or(f64::INFINITY),
            faults,
        })
    }

    fn victim(&self) -> Result<Victim> {
        let (tls, websocket) = (free_addr()?, free_addr()?);
        let (data, log) = (self.folder.join("data"), File::create(self.folder.join("broker.log"))?);
        // Of an earlier round.
        let _ = fs::remove_dir_all(&data);
        let mut command = program(self.programs.join(GMQTT));
        command.args(["serve", "--listen", "127.0.0.1:0", "--listen-tls", &tls.to_string()]);
        command.args(["--listen-ws", &websocket.to_string(), "--data-dir"]).arg(data);
        command.arg("--tls-cert").arg(self.folder.join("cert.pem"));
        command.arg("--tls-key").arg(self.folder.join("key.pem")).stderr(log);
        Ok(Victim { process: BrokerProcess::that_says_where(&mut command)?, tls, websocket })
    }

    fn pair(&self, victim: &Victim) -> Result<Seen> {
        let mut command = program(self.programs.join(GMQTT));
        command.args([
            "bench",
            "rate",
            "--pairs",
            "1",
            "--rate",
            PAIR_RATE,
            "--qos",
            "1",
            "--patience",
            "20s",
        ]);
        command.args(["--warmup", "500ms", "--duration", &format!("{}s", self.seconds)]);
        command.args(["--json", "--quiet", "--host", "127.0.0.1", "--port"]);
        command.arg(victim.process.port().to_string());
        let report = self.start(&mut command, "pair.json")?.end().context("the pair")?;
        let report: Value = serde_json::from_str(&report).context("the pair's report")?;
        let p99_micros = report["latency"]["p99_micros"].as_f64().unwrap_or(f64::NAN);
        let fault = (report["sound"] != true).then(|| format!("the pair: {}", report["faults"]));
        Ok(Seen { p99_micros, fault })
    }

    fn attack(&self, name: &str, victim: &Victim) -> Result<Running> {
        let mut command = program(self.programs.join(ATTACKER));
        command.args(["run", name, "--seconds", &(self.seconds + 2).to_string()]);
        command.args(["--tcp", &victim.process.addr(), "--tls", &victim.tls.to_string()]);
        command.args(["--websocket", &victim.websocket.to_string()]);
        self.start(&mut command, "acts")
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A program whose standard output goes to a file: nobody reads it before its end.
struct Running {
    child: Child,
    output: PathBuf,
}

impl Scene {
    fn start(&self, command: &mut Command, name: &str) -> Result<Running> {
        let output = self.folder.join(name);
        let to_file = File::create(&output)?;
        let child = command.stdin(Stdio::null()).stdout(to_file).stderr(Stdio::piped()).spawn();
        let child = child.with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Running { child, output })
    }
}

impl Running {
    /// Waits for its end, and reads what it has printed.
    fn end(mut self) -> Result<String> {
        let begin = Instant::now();
        while self.child.try_wait()?.is_none() {
            if begin.elapsed() > TIME_LIMIT {
                bail!("{} did not end within {} s", self.output.display(), TIME_LIMIT.as_secs());
            }
            thread::sleep(Duration::from_millis(10));
        }
        let text = fs::read_to_string(&self.output)?;
        if text.is_empty() {
            let mut error = String::new();
            self.child.stderr.take().context("no standard error")?.read_to_string(&mut error)?;
            bail!("it gave no result: {}", error.trim());
        }
        Ok(text)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The most resident memory that this process ever had.
fn peak_memory_mib(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_of_a_process_that_runs_is_known() {
        assert!(peak_memory_mib(std::process::id()).is_some_and(|mib| mib > 0.1));
        assert_eq!(peak_memory_mib(u32::MAX), None);
    }
}
