//! What is measured side by side: our binary, the raw relay, and peers found, installed or given.

use super::results::Measured;
use crate::broker_process::{BrokerProcess, free_addr};
use crate::debian;
use crate::process::{self, cargo, program};
use anyhow::{Context, Result, bail};
use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The one that all are compared with.
pub(super) const GMQTT: &str = "gmqtt";
pub(super) const RELAY: &str = "relay";

/// A server that can be started as often as one likes.
pub(super) struct Server {
    pub(super) measured: Measured,
    /// What its clients ask for; 0 is none.
    pub(super) keep_alive_secs: u16,
    /// Where it speaks more than MQTT over TCP.
    listeners: Vec<(&'static str, u16)>,
    /// Where it keeps things; empty at each start.
    data: Option<PathBuf>,
    start: Start,
}

enum Start {
    /// Chooses its port.
    SaysWhere(Vec<String>),
    /// A shell command with `{port}`, and `{config}` for a file with this content.
    OnPort { command: String, config: Option<String> },
}

/// A peer that this command can install.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Known {
    /// Debian's package
    Mosquitto,
    /// from crates.io, below target/bench/peers
    Rumqttd,
}

/// A peer given on the command line.
#[derive(Clone)]
pub(super) struct Given {
    name: String,
    command: String,
}

/// Not `--locked`: the versions that it was released with do not compile any more.
const RUMQTTD: &str = "rumqttd@0.20.0";

/// Equal settings are: TCP_NODELAY where it can be asked for, nothing kept on disk, and limits that no case reaches.
const GMQTT_EQUAL: [&str; 2] = ["--durability", "memory"];
const MOSQUITTO_EQUAL: &str = "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n\
    set_tcp_nodelay true\nmax_queued_messages 0\nmax_inflight_messages 1000\n";
const MOSQUITTO_DEFAULTS: &str = "listener {port} 127.0.0.1\nallow_anonymous true\n";

impl Server {
    fn new(name: &str, version: impl Into<String>, start: Start) -> Server {
        let measured = Measured { name: name.into(), defaults: false, version: version.into() };
        Server { measured, keep_alive_secs: 0, listeners: Vec::new(), data: None, start }
    }

    /// Ours in memory, with TLS and WebSocket besides; and as it is without a setting: durable.
    pub(super) fn gmqtt(binary: &Path) -> Result<[Server; 2]> {
        let binary = binary.display().to_string();
        let version = first_line(program(&binary).arg("--version"))?;
        let serve = |more: Vec<String>| {
            let words = [&*binary, "serve", "--listen", "127.0.0.1:0", "--admin", "off"].map(String::from);
            Start::SaysWhere(words.into_iter().chain(more).collect())
        };
        let (tls, websocket) = (free_addr()?, free_addr()?);
        let [certificate, key] = certificate()?;
        let mut more: Vec<String> = GMQTT_EQUAL.map(String::from).into();
        more.extend(["--listen-tls".into(), tls.to_string(), "--listen-ws".into(), websocket.to_string()]);
        more.extend(["--tls-cert".into(), certificate, "--tls-key".into(), key]);
        let mut equal = Server::new(GMQTT, &*version, serve(more));
        equal.listeners = vec![("tls", tls.port()), ("ws", websocket.port())];
        let data = folder("data")?;
        let more = ["--data-dir".into(), data.display().to_string()].into();
        let mut defaults = Server::new(GMQTT, version, serve(more));
        defaults.measured.defaults = true;
        defaults.data = Some(data);
        Ok([equal, defaults])
    }

    /// Where it speaks this transport.
    pub(super) fn port_of(&self, transport: &str) -> Option<u16> {
        self.listeners.iter().find(|(name, _)| *name == transport).map(|(_, port)| *port)
    }

    pub(super) fn relay(binary: &Path) -> Server {
        let words = [&binary.display().to_string(), "bench", "relay"].map(String::from).to_vec();
        Server::new(
            RELAY,
            "gmqtt bench relay: forwards bytes and understands nothing",
            Start::SaysWhere(words),
        )
    }

    pub(super) fn given(given: &Given) -> Server {
        let start = Start::OnPort { command: given.command.clone(), config: None };
        Server::new(&given.name, &given.command, start)
    }

    /// A peer with settings equal to ours, and with its own; installed first if it is missing.
    pub(super) fn known(known: Known) -> Result<[Server; 2]> {
        let (name, version, command, configs) = match known {
            Known::Mosquitto => {
                debian::ensure("mosquitto", "mosquitto")?;
                // It prints its version with the help, and ends with an error.
                let help = program("sh").args(["-c", "PATH=$PATH:/usr/sbin mosquitto -h"]).output()?.stdout;
                let version = String::from_utf8_lossy(&help).lines().next().unwrap_or_default().to_owned();
                let command = "env PATH=\"$PATH:/usr/sbin\" mosquitto -c {config}".to_owned();
                ("mosquitto", version, command, [MOSQUITTO_EQUAL.into(), MOSQUITTO_DEFAULTS.into()])
            }
            Known::Rumqttd => {
                let binary = install_rumqttd()?;
                let version = first_line(program(&binary).arg("--version"))?;
                let command = format!("{} --quiet --config {{config}}", binary.display());
                // It has no setting for TCP_NODELAY, and never asks for it.
                ("rumqttd", version, command, [rumqttd_config(20_100, 0), rumqttd_config(10_010, 1)])
            }
        };
        let [equal, defaults] = configs.map(|config| (command.clone(), config));
        let server =
            |(command, config)| Server::new(name, &version, Start::OnPort { command, config: Some(config) });
        let mut servers = [equal, defaults].map(server);
        servers[1].measured.defaults = true;
        if known == Known::Rumqttd {
            // It closes the connection of a client that wants no keep alive.
            for server in &mut servers {
                server.keep_alive_secs = 600;
            }
        }
        Ok(servers)
    }

    /// Starts it; what it says goes to a file below target/bench/log.
    pub(super) fn start(&self) -> Result<BrokerProcess> {
        if let Some(data) = &self.data {
            let _ = fs::remove_dir_all(data);
        }
        let log = folder("log")?.join(format!("{}.log", self.label()));
        let log = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        match &self.start {
            Start::SaysWhere(words) => {
                let [binary, arguments @ ..] = words.as_slice() else { bail!("no command") };
                BrokerProcess::that_says_where(program(binary).args(arguments).stderr(log))
            }
            Start::OnPort { command, config } => {
                let addr = free_addr()?;
                // rumqttd goes by the name's end, mosquitto does not mind.
                let file = folder("peers")?.join(format!("{}.toml", self.label()));
                let filled = |text: &str| {
                    let text = text.replace("{port}", &addr.port().to_string());
                    text.replace("{config}", &file.display().to_string())
                };
                if let Some(config) = config {
                    fs::write(&file, filled(config))?;
                }
                let mut shell = program("sh");
                shell.args(["-c", &format!("exec {}", filled(command))]);
                BrokerProcess::at(addr, shell.stdout(log.try_clone()?).stderr(log))
            }
        }
        .with_context(|| format!("{} does not start", self.label()))
    }

    pub(super) fn label(&self) -> String {
        label(&self.measured.name, self.measured.defaults)
    }
}

/// What to call a server in a line of text.
pub(super) fn label(name: &str, defaults: bool) -> String {
    if defaults { format!("{name}-defaults") } else { name.to_owned() }
}

impl std::str::FromStr for Given {
    type Err = String;

    fn from_str(text: &str) -> Result<Given, String> {
        let (name, command) = text.split_once('=').ok_or("it is NAME=COMMAND")?;
        if !command.contains("{port}") {
            return Err("the command must say with {port} where its port goes".into());
        }
        // It goes into file names, tables and pictures.
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        if name.is_empty() || matches!(name, GMQTT | RELAY) || !name.chars().all(is_plain) {
            return Err(format!("a peer cannot be called {name:?}"));
        }
        Ok(Given { name: name.into(), command: command.into() })
    }
}

/// An error if two servers would be shown as one.
pub(super) fn different(servers: &[Server]) -> Result<()> {
    let mut labels = HashSet::new();
    match servers.iter().find(|server| !labels.insert(server.label())) {
        Some(twice) => bail!("two servers are called {}", twice.label()),
        None => Ok(()),
    }
}

/// A folder below target/bench.
pub(super) fn folder(name: &str) -> Result<PathBuf> {
    let folder = process::target_folder().join("bench").join(name);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// The files of a certificate and its key, made by openssl: the broker's own tools make none.
fn certificate() -> Result<[String; 2]> {
    debian::ensure("openssl", "openssl")?;
    let folder = folder("tls")?;
    let [certificate, key] =
        ["certificate.pem", "key.pem"].map(|name| folder.join(name).display().to_string());
    let mut openssl = program("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    openssl.args(["-days", "30", "-subj", "/CN=localhost", "-keyout", &key, "-out", &certificate]);
    let output = openssl.output().context("cannot start openssl")?;
    if !output.status.success() {
        bail!("openssl makes no certificate: {}", String::from_utf8_lossy(output.stderr.trim_ascii()));
    }
    Ok([certificate, key])
}

fn install_rumqttd() -> Result<PathBuf> {
    let root = folder("peers")?;
    let binary = root.join("bin/rumqttd");
    if !binary.exists() {
        process::run(cargo(&["install", RUMQTTD, "--root"]).arg(&root))?;
    }
    Ok(binary)
}

/// As its `generate-config` prints it, but for the one listener and these two settings.
fn rumqttd_config(max_connections: u32, next_connection_delay_ms: u32) -> String {
    format!(
        "id = 0\n[router]\nid = 0\nmax_connections = {max_connections}\nmax_outgoing_packet_count = 200\n\
         max_segment_size = 104857600\nmax_segment_count = 10\n[v4.1]\nname = \"v4-1\"\n\
         listen = \"127.0.0.1:{{port}}\"\nnext_connection_delay_ms = {next_connection_delay_ms}\n\
         [v4.1.connections]\nconnection_timeout_ms = 60000\nmax_payload_size = 20480\n\
         max_inflight_count = 100\ndynamic_filters = true\n"
    )
}

fn first_line(command: &mut Command) -> Result<String> {
    let output =
        command.output().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_peer_has_a_name_and_says_where_its_port_goes() {
        let given: Given = "nanomq=nanomq start --url tcp://127.0.0.1:{port}".parse().unwrap();
        assert_eq!((given.name.as_str(), given.command.ends_with("{port}")), ("nanomq", true));
        let names = ["a<b=x {port}", "a/b=x {port}", "a|b=x {port}", "a b=x {port}"];
        for wrong in ["nanomq", "nanomq=nanomq start", "=x {port}", "gmqtt=x {port}"].iter().chain(&names) {
            assert!(wrong.parse::<Given>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_config_of_rumqttd_keeps_the_place_of_its_port() {
        let config: toml::Table = rumqttd_config(7, 0).parse().unwrap();
        assert_eq!(config["v4"]["1"]["listen"].as_str(), Some("127.0.0.1:{port}"));
        assert_eq!(config["router"]["max_connections"].as_integer(), Some(7));
    }

    #[test]
    fn no_two_servers_have_one_name() {
        let server = |text: &str| Server::given(&text.parse().unwrap());
        different(&[server("a=x {port}"), server("b=x {port}")]).unwrap();
        assert!(different(&[server("a=x {port}"), server("a=y {port}")]).is_err());
    }
}
