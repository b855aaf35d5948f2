//! `cargo xtask interop`: clients that others wrote, against the real `gmqtt` binary, over each of its transports.
//!
//! The cases stand in `xtask/interop/`, a driver a client; here is what installs the clients and starts the broker.

mod doors;
mod install;

use crate::broker_process::BrokerProcess;
use crate::process::{self, Tally, program, run_reading};
use crate::{browser, debian};
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use doors::{Doors, FOR_ONE_ORIGIN, Transport};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs foreign clients against the real gmqtt binary.
///
/// paho-mqtt (PyPI), MQTT.js (npm) and `mosquitto_pub/sub` (Debian): connect, each QoS, retained, will, offline queue,
/// take-over, 1 MiB payload, 65,535-byte topic, unsubscribe, $share; each of them over tcp, tls, mtls (a certificate of the
/// client's own), ws and wss, but for mosquitto's clients, which know no WebSocket. And MQTT.js within headless Chromium, over
/// ws and wss. What is missing is installed: Python and npm packages at a fixed version below target/interop, Debian packages
/// by apt-get when run as root.
///
/// The cases with rumqttc, which is a crate, are tests of mqtt-cli.
#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// Run this client alone (may be given more than once)
    #[arg(long, value_name = "CLIENT")]
    only: Vec<Client>,
    /// Run over this transport alone (may be given more than once)
    #[arg(long, value_name = "TRANSPORT")]
    over: Vec<Transport>,
    /// Run the Eclipse Paho interoperability suite's V3.1.1 client test instead, from this checkout of it
    #[arg(long, value_name = "DIR", conflicts_with_all = ["only", "over"])]
    paho_suite: Option<PathBuf>,
    /// Run against the broker that listens there instead of gmqtt, over tcp alone
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "over")]
    addr: Option<String>,
    /// Run against Debian's mosquitto instead of gmqtt, over tcp alone: shows whether a failure is the case's own
    #[arg(long, conflicts_with_all = ["addr", "over"])]
    mosquitto: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Client {
    Paho,
    Mosquitto,
    Mqttjs,
    /// MQTT.js in a web page
    Browser,
}

/// What a run is pointed at.
enum Target {
    Ours(Doors),
    Mosquitto(BrokerProcess),
    /// Whose process somebody else runs.
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
    let selected = selected(options)?;
    let mut target = Target::of(options)?;
    if let Some(checkout) = &options.paho_suite {
        let checkout = std::path::absolute(checkout)?;
        let (host, port) = target.door(Transport::Tcp)?;
        process::run(python("paho_suite.py")?.args([host, port]).arg(checkout))?;
        return target.still_runs();
    }
    let mut failed = Vec::new();
    for (client, transport) in selected {
        let outcome = client.driver(&target, transport).and_then(|driver| run_driver(driver, tally));
        failed.extend(outcome.err().map(|error| format!("{error:#}")));
        target.still_runs()?;
    }
    if !failed.is_empty() {
        bail!("{}", failed.join("; "));
    }
    Ok(())
}

/// Which client over which transport; an error if there is none such.
fn selected(options: &Options) -> Result<Vec<(Client, Transport)>> {
    let is_foreign = options.mosquitto || options.addr.is_some();
    let over: &[Transport] = match &options.over[..] {
        _ if is_foreign => &[Transport::Tcp],
        [] => Transport::value_variants(),
        over => over,
    };
    let is_wanted = |client: &Client| options.only.is_empty() || options.only.contains(client);
    let clients = Client::value_variants().iter().filter(|client| is_wanted(client));
    let all = |&client| Transport::value_variants().iter().map(move |&transport| (client, transport));
    let is_one =
        |(client, transport): &(Client, Transport)| over.contains(transport) && transport.is_of(*client);
    let selected: Vec<_> = clients.flat_map(all).filter(is_one).collect();
    if selected.is_empty() {
        bail!("none of these clients goes over any of these transports: nothing was run");
    }
    Ok(selected)
}

impl Target {
    fn of(options: &Options) -> Result<Target> {
        if let Some(addr) = &options.addr {
            return Ok(Target::Foreign(addr.clone()));
        }
        if options.mosquitto {
            debian::ensure("mosquitto", "mosquitto")?;
            return Ok(Target::Mosquitto(BrokerProcess::mosquitto()?));
        }
        Ok(Target::Ours(Doors::open()?))
    }

    /// Host and port.
    fn door(&self, transport: Transport) -> Result<(String, String)> {
        let addr = match self {
            Target::Ours(doors) => format!("127.0.0.1:{}", doors.port(transport.name())?),
            Target::Mosquitto(broker) => broker.addr(),
            Target::Foreign(addr) => addr.clone(),
        };
        let (host, port) = addr.rsplit_once(':').with_context(|| format!("{addr} is not HOST:PORT"))?;
        Ok((host.trim_matches(['[', ']']).to_owned(), port.to_owned()))
    }

    /// A broker that a client can bring down has failed, whatever the client saw.
    fn still_runs(&mut self) -> Result<()> {
        match self {
            Target::Ours(Doors { broker, .. }) | Target::Mosquitto(broker) => broker.still_runs(),
            Target::Foreign(_) => Ok(()),
        }
    }
}

impl Client {
    /// Usage of all drivers: `HOST PORT TRANSPORT FOLDER-OF-CERTIFICATES`.
    fn driver(self, target: &Target, transport: Transport) -> Result<Command> {
        let mut command = match self {
            Client::Paho => python("paho_client.py")?,
            Client::Mosquitto => {
                debian::ensure("mosquitto_pub", "mosquitto-clients")?;
                python("mosquitto_clients.py")?
            }
            Client::Mqttjs => {
                let mut node = program("node");
                node.arg(script("mqttjs_client.mjs")).env("MQTTJS", install::node_modules()?);
                node
            }
            Client::Browser => with_page(browser::script("interop/browser.mjs")?, target)?,
        };
        let (host, port) = target.door(transport)?;
        command.args([&host, &port, transport.name()]);
        if let Target::Ours(doors) = target {
            command.arg(doors.folder());
        }
        Ok(command)
    }
}

fn run_driver(mut driver: Command, tally: &mut Tally) -> Result<()> {
    let mut seen = Tally::default();
    let outcome = run_reading(&mut driver, |line| {
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

/// What the page of the browser needs beside: MQTT.js, where it is to come from, and the listener for pages from there.
fn with_page(mut browser: Command, target: &Target) -> Result<Command> {
    browser.env("MQTTJS", install::node_modules()?);
    if let Target::Ours(doors) = target {
        browser.env("PAGE_PORT", doors.page_port.to_string());
        browser.env("ONE_ORIGIN_PORT", doors.port(FOR_ONE_ORIGIN)?.to_string());
    }
    Ok(browser)
}

fn python(name: &str) -> Result<Command> {
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

    /// It was a success: mosquitto's clients know no WebSocket, so that nothing failed.
    #[test]
    fn a_selection_of_nothing_is_an_error() {
        let of = |only: &[Client], over: &[Transport], mosquitto: bool| {
            let (only, over) = (only.to_vec(), over.to_vec());
            selected(&Options { only, over, mosquitto, ..Options::default() }).ok().map(|all| all.len())
        };
        assert_eq!(of(&[Client::Mosquitto], &[Transport::Ws, Transport::Wss], false), None);
        assert_eq!(of(&[Client::Browser], &[], true), None);
        assert_eq!(of(&[Client::Mosquitto], &[Transport::Ws, Transport::Tcp], false), Some(1));
        assert_eq!(of(&[Client::Paho], &[], true), Some(1));
        assert_eq!(of(&[], &[Transport::Tcp], false), Some(3));
    }

    #[test]
    fn an_address_is_taken_apart() {
        let of = |addr: &str| Target::Foreign(addr.into()).door(Transport::Tcp).ok();
        assert_eq!(of("[::1]:1883"), Some(("::1".into(), "1883".into())));
        assert_eq!(of("localhost:1883"), Some(("localhost".into(), "1883".into())));
        assert_eq!(of("localhost"), None);
    }
}
