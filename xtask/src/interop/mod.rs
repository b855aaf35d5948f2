//! `cargo xtask interop`: clients that others wrote, against the real `gmqtt` binary.
//!
//! The cases stand in `xtask/interop/`, a driver a client; here is what installs the clients and starts the broker.

mod install;

use crate::broker_process::BrokerProcess;
use crate::debian;
use crate::process::{self, Tally, cargo, program, run_reading};
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs foreign clients against the real gmqtt binary.
///
/// paho-mqtt (PyPI), MQTT.js (npm) and `mosquitto_pub/sub` (Debian): connect, each QoS, retained, will, offline queue,
/// take-over, 1 MiB payload, 65,535-byte topic, unsubscribe, $share. What is missing is installed: Python and npm
/// packages at a fixed version below target/interop, Debian packages by apt-get when run as root.
///
/// The cases with rumqttc, which is a crate, are tests of mqtt-cli.
#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// Run this client alone (may be given more than once)
    #[arg(long, value_name = "CLIENT")]
    only: Vec<Client>,
    /// Run the Eclipse Paho interoperability suite's V3.1.1 client test instead, from this checkout of it
    #[arg(long, value_name = "DIR", conflicts_with = "only")]
    paho_suite: Option<PathBuf>,
    /// Run against the broker that listens there instead of gmqtt
    #[arg(long, value_name = "HOST:PORT")]
    addr: Option<String>,
    /// Run against Debian's mosquitto instead of gmqtt: shows whether a failure is the case's own
    #[arg(long, conflicts_with = "addr")]
    mosquitto: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Client {
    Paho,
    Mosquitto,
    Mqttjs,
}

/// What a run is pointed at: a process of ours, or a broker that somebody else runs.
enum Target {
    Ours(BrokerProcess),
    Foreign(String),
}

pub(crate) fn run(options: &Options) -> (Tally, Result<()>) {
    let mut tally = Tally::default();
    let outcome = run_all(options, &mut tally);
    if tally != Tally::default() {
        println!("interop: {} cases passed, {} failed", tally.passed, tally.failed);
    }
    (tally, outcome)
}

fn run_all(options: &Options, tally: &mut Tally) -> Result<()> {
    let mut target = Target::of(options)?;
    let (host, port) = target.host_and_port()?;
    if let Some(checkout) = &options.paho_suite {
        let checkout = std::path::absolute(checkout)?;
        let mut suite = driver("paho_suite.py")?;
        process::run(suite.args([&host, &port]).arg(checkout))?;
        return target.still_runs();
    }
    let mut failed = Vec::new();
    for client in Client::value_variants() {
        if !options.only.is_empty() && !options.only.contains(client) {
            continue;
        }
        if let Err(error) = client.run(&host, &port, tally) {
            failed.push(format!("{error:#}"));
        }
        target.still_runs()?;
    }
    if !failed.is_empty() {
        bail!("{}", failed.join("; "));
    }
    Ok(())
}

impl Target {
    fn of(options: &Options) -> Result<Target> {
        if let Some(addr) = &options.addr {
            return Ok(Target::Foreign(addr.clone()));
        }
        if options.mosquitto {
            debian::ensure("mosquitto", "mosquitto")?;
            return Ok(Target::Ours(BrokerProcess::mosquitto()?));
        }
        process::run(&mut cargo(&["build", "--profile", "fast", "-p", "mqtt-cli"]))?;
        Ok(Target::Ours(BrokerProcess::gmqtt(&process::target_folder().join("fast/gmqtt"))?))
    }

    fn host_and_port(&self) -> Result<(String, String)> {
        let addr = match self {
            Target::Ours(broker) => broker.addr(),
            Target::Foreign(addr) => addr.clone(),
        };
        let (host, port) = addr.rsplit_once(':').with_context(|| format!("{addr} is not HOST:PORT"))?;
        Ok((host.trim_matches(['[', ']']).to_owned(), port.to_owned()))
    }

    /// A broker that a client can bring down has failed, whatever the client saw.
    fn still_runs(&mut self) -> Result<()> {
        match self {
            Target::Ours(broker) => broker.still_runs(),
            Target::Foreign(_) => Ok(()),
        }
    }
}

impl Client {
    fn run(self, host: &str, port: &str, tally: &mut Tally) -> Result<()> {
        let mut command = match self {
            Client::Paho => driver("paho_client.py")?,
            Client::Mosquitto => {
                debian::ensure("mosquitto_pub", "mosquitto-clients")?;
                driver("mosquitto_clients.py")?
            }
            Client::Mqttjs => {
                let modules = install::node_modules()?;
                let mut node = program("node");
                node.arg(script("mqttjs_client.mjs")).current_dir(modules);
                node
            }
        };
        let mut seen = Tally::default();
        let outcome = run_reading(command.args([host, port]), |line| {
            println!("{line}");
            seen.add(result_of(line));
        });
        tally.add(seen);
        outcome?;
        if seen.passed == 0 {
            bail!("a driver ran no case");
        }
        Ok(())
    }
}

fn driver(name: &str) -> Result<Command> {
    let mut python = program(install::python()?);
    python.arg(script(name)).env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(python)
}

fn script(name: &str) -> PathBuf {
    process::root().join(Path::new("xtask/interop")).join(name)
}

/// A driver prints `ok CLIENT CASE` or `FAILED CLIENT CASE: why` for each case.
pub(crate) fn result_of(line: &str) -> Tally {
    match line.split(' ').next() {
        Some("ok") => Tally { passed: 1, failed: 0 },
        Some("FAILED") => Tally { passed: 0, failed: 1 },
        _ => Tally::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_of_a_driver_counts_as_what_it_says() {
        assert_eq!(result_of("ok paho-mqtt connect"), Tally { passed: 1, failed: 0 });
        assert_eq!(result_of("FAILED paho-mqtt will: nothing came"), Tally { passed: 0, failed: 1 });
        assert_eq!(result_of("okay"), Tally::default());
    }

    #[test]
    fn an_address_is_taken_apart() {
        let of = |addr: &str| Target::Foreign(addr.into()).host_and_port().ok();
        assert_eq!(of("[::1]:1883"), Some(("::1".into(), "1883".into())));
        assert_eq!(of("localhost:1883"), Some(("localhost".into(), "1883".into())));
        assert_eq!(of("localhost"), None);
    }
}
