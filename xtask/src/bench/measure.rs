//! One round: a fresh server, the generator driven against it, the figures read from its report.

use super::cases::{Case, Source, Step};
use super::results::Round;
use super::servers::{self, Server};
use crate::broker_process::BrokerProcess;
use crate::process::program;
use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A server that keeps the generator waiting for longer has failed.
const TIME_LIMIT: Duration = Duration::from_mins(2);
/// From the end of the load to the reading of the memory that it has left.
const REST: Duration = Duration::from_secs(3);

/// The binary that drives the servers.
pub(super) struct Generator {
    pub(super) binary: PathBuf,
    pub(super) quick: bool,
}

/// What one step gave.
struct Stepped {
    report: Option<Value>,
    fault: Option<String>,
}

impl Generator {
    /// Runs all steps of a case against one server. What goes wrong is a part of the result.
    pub(super) fn round(&self, case: &Case, server: &Server) -> Round {
        let mut round = Round::default();
        if let Err(error) = self.try_round(case, server, &mut round) {
            round.fault = joined(round.fault.take(), Some(format!("{error:#}")));
        }
        round
    }

    fn try_round(&self, case: &Case, server: &Server, round: &mut Round) -> Result<()> {
        let mut running = server.start()?;
        let before =
            if case.returns_memory() { resident_after(&running, Duration::from_secs(1))? } else { 0.0 };
        let mut reports = Vec::new();
        for (at, step) in case.steps.iter().enumerate() {
            if at > 0 && case.fresh_each {
                drop(running);
                running = server.start()?;
            }
            let named = |fault: &str| of_step(at, case.steps.len(), fault);
            let stepped =
                self.step(step, server, &running).map_err(|error| anyhow!(named(&format!("{error:#}"))))?;
            let ended = running.still_runs().err().map(|error| error.to_string());
            let fault = joined(stepped.fault, ended).map(|fault| named(&fault));
            round.fault = joined(round.fault.take(), fault);
            let Some(report) = stepped.report else { return Ok(()) };
            reports.push(report);
        }
        let returned = if case.returns_memory() { resident_after(&running, REST)? / before } else { 0.0 };
        for metric in case.metrics {
            let value = match metric.source {
                Source::Figure(name) => reports.first().and_then(|report| figure(report, name)),
                Source::Latency(name) => reports.first().and_then(|report| report["latency"][name].as_f64()),
                Source::Growth(name) => growth(&reports, name),
                Source::Returned => Some(returned),
            };
            if let Some(value) = value.filter(|value| value.is_finite()) {
                round.figures.insert(metric.name.into(), value);
            }
        }
        Ok(())
    }

    fn step(&self, step: &Step, server: &Server, running: &BrokerProcess) -> Result<Stepped> {
        let words = step.words(self.quick);
        let transport = words.iter().skip_while(|word| *word != "--transport").nth(1);
        let port = transport.and_then(|transport| server.port_of(transport)).unwrap_or(running.port());
        let folder = servers::folder("log")?;
        let [out, err] = ["report.json", "generator.log"].map(|name| folder.join(name));
        let mut child = program(&self.binary)
            .arg("bench")
            .args(words)
            .args(["--json", "--quiet", "--host", "127.0.0.1", "--port", &port.to_string()])
            .args(["--server-pid", &running.pid().to_string()])
            .args(["--keep-alive", &server.keep_alive_secs.to_string()])
            .stdin(Stdio::null())
            .stdout(File::create(&out)?)
            .stderr(File::create(&err)?)
            .spawn()
            .context("cannot start the generator")?;
        let start = Instant::now();
        while child.try_wait()?.is_none() {
            if start.elapsed() > TIME_LIMIT {
                child.kill()?;
                child.wait()?;
                bail!("no end after {} s", TIME_LIMIT.as_secs());
            }
            thread::sleep(Duration::from_millis(20));
        }
        let report = fs::read_to_string(&out).ok().and_then(|text| serde_json::from_str::<Value>(&text).ok());
        let fault = report.as_ref().map_or_else(|| Some(last_line(&err)), fault);
        Ok(Stepped { report, fault })
    }
}

/// The report of one run of the generator, whatever it says.
pub(super) fn run_generator(command: &mut Command, server: &BrokerProcess) -> Result<Value> {
    let output = command
        .args(["--json", "--quiet", "--host", "127.0.0.1", "--port", &server.port().to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start the generator")?;
    serde_json::from_slice(&output.stdout).context("the generator gave no report")
}

/// The figure of this name in a report of the generator.
pub(super) fn figure(report: &Value, name: &str) -> Option<f64> {
    let figures = report["figures"].as_array()?;
    figures.iter().find(|figure| figure["name"] == name)?["value"].as_f64()
}

fn growth(reports: &[Value], name: &str) -> Option<f64> {
    let [first, second, ..] = reports else { return None };
    Some(figure(second, name)? / figure(first, name)?)
}

/// What the generator found wrong, in few words.
fn fault(report: &Value) -> Option<String> {
    if report["sound"] == true {
        return None;
    }
    let faults = &report["faults"];
    let counted = ["lost", "duplicated", "reordered", "misrouted"].into_iter().filter_map(|kind| {
        faults[kind].as_u64().filter(|count| *count > 0).map(|count| format!("{count} {kind}"))
    });
    let errors = faults["errors"].as_array().into_iter().flatten().filter_map(Value::as_str).take(1);
    Some(counted.chain(errors.map(String::from)).collect::<Vec<_>>().join(", "))
}

/// Both: the first of several steps must not hide why there is no figure of the second.
fn joined(one: Option<String>, other: Option<String>) -> Option<String> {
    match (one, other) {
        (Some(one), Some(other)) => Some(format!("{one}; {other}")),
        (one, other) => one.or(other),
    }
}

/// Says which step it was where there are several; they count from 1.
fn of_step(at: usize, steps: usize, fault: &str) -> String {
    if steps > 1 { format!("step {}: {fault}", at + 1) } else { fault.into() }
}

fn last_line(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().last().unwrap_or("the generator gave no report").to_owned()
}

/// Resident bytes of the server after a rest.
fn resident_after(server: &BrokerProcess, rest: Duration) -> Result<f64> {
    thread::sleep(rest);
    let path = format!("/proc/{}/status", server.pid());
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    resident(&status).with_context(|| format!("{path} does not tell the resident memory"))
}

fn resident(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn figures_and_faults_are_read_from_a_report() {
        let report = |cpu: f64| {
            json!({
                "figures": [{"name": "delivered", "value": 7.0}, {"name": "server CPU each", "value": cpu}],
                "faults": {"lost": 0, "duplicated": 0, "reordered": 0, "misrouted": 0, "errors": []},
                "sound": true
            })
        };
        assert_eq!(figure(&report(2.0), "server CPU each"), Some(2.0));
        assert_eq!(figure(&report(2.0), "no such"), None);
        assert_eq!(growth(&[report(2.0), report(3.0)], "server CPU each"), Some(1.5));
        assert_eq!(growth(&[report(2.0)], "server CPU each"), None);
        assert_eq!(fault(&report(2.0)), None);
        let mut lossy = report(2.0);
        lossy["sound"] = false.into();
        lossy["faults"]["lost"] = 3.into();
        lossy["faults"]["errors"] = json!(["it hung up", "again"]);
        assert_eq!(fault(&lossy).as_deref(), Some("3 lost, it hung up"));
    }

    #[test]
    fn resident_memory_is_in_kibibytes() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t    1024 kB\n"), Some(1_048_576.0));
        assert_eq!(resident("Name:\tx\n"), None);
    }

    #[test]
    fn no_fault_hides_another() {
        let [a, b] = ["a", "b"].map(|fault| Some(fault.to_owned()));
        assert_eq!(joined(a.clone(), b.clone()).as_deref(), Some("a; b"));
        assert_eq!(joined(None, b.clone()), b);
        assert_eq!(joined(a.clone(), None), a);
        assert_eq!(of_step(1, 2, "3 lost"), "step 2: 3 lost");
        assert_eq!(of_step(0, 1, "3 lost"), "3 lost");
    }
}
