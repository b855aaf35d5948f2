//! [`Transport`]: the ways into a broker, and which client takes which; [`Doors`]: a broker of ours that has them all.

use super::Client;
use crate::broker_process::{BrokerProcess, free_addr};
use crate::process::{self, cargo, program};
use anyhow::{Context, Result};
use clap::ValueEnum;
use std::fs;
use std::path::{Path, PathBuf};

/// A way into the broker.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Transport {
    Tcp,
    Tls,
    /// TLS for clients that show a certificate.
    Mtls,
    Ws,
    Wss,
}

/// Our broker, with a listener for each transport. Its files go with it.
pub(super) struct Doors {
    pub(super) broker: BrokerProcess,
    ports: Vec<(String, u16)>,
    /// Where the web pages come from that one more listener lets in, and no others.
    pub(super) page_port: u16,
    folder: Folder,
}

/// What is there for this run alone.
struct Folder(PathBuf);

/// The listener for the web pages of one origin.
pub(super) const FOR_ONE_ORIGIN: &str = "one-origin";

impl Transport {
    pub(super) fn name(self) -> &'static str {
        match self {
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
            Transport::Mtls => "mtls",
            Transport::Ws => "ws",
            Transport::Wss => "wss",
        }
    }

    /// Debian's mosquitto clients know no WebSocket, and browsers nothing else.
    pub(super) fn is_of(self, client: Client) -> bool {
        match client {
            Client::Paho | Client::Mqttjs => true,
            Client::Mosquitto => matches!(self, Transport::Tcp | Transport::Tls | Transport::Mtls),
            Client::Browser => matches!(self, Transport::Ws | Transport::Wss),
        }
    }

    /// As it stands in a configuration file.
    fn listener(self) -> String {
        let name = self.name();
        let protocol = if self == Transport::Mtls { "tls" } else { name };
        let tls = match self {
            Transport::Tcp | Transport::Ws => "",
            Transport::Tls | Transport::Wss => TLS,
            Transport::Mtls => MTLS,
        };
        format!(
            "[[listener]]\nname = \"{name}\"\nprotocol = \"{protocol}\"\naddress = \"127.0.0.1:0\"\n{tls}\n"
        )
    }
}

const TLS: &str = "[listener.tls]\ncertificate = \"cert.pem\"\nprivate_key = \"key.pem\"\n";
const MTLS: &str = "[listener.tls]\ncertificate = \"cert.pem\"\nprivate_key = \"key.pem\"\n\
                    client_authorities = [\"authority.pem\"]\n";

impl Doors {
    pub(super) fn open() -> Result<Doors> {
        for package in ["mqtt-cli", "mqtt-abuse"] {
            process::run(&mut cargo(&["build", "--profile", "fast", "--package", package]))?;
        }
        let folder = Folder::new()?;
        process::run(program(binary("mqtt-abuse")).arg("certificate").arg(&folder.0))?;
        let page_port = free_addr()?.port();
        let config = folder.0.join("gmqtt.toml");
        fs::write(&config, configuration(page_port))?;
        let mut command = program(binary("gmqtt"));
        let wanted = Transport::value_variants().len() + 1;
        let mut ports = Vec::new();
        let listening = |line: &str| {
            ports.extend(named_port(line));
            (ports.len() == wanted).then(|| ports.clone())
        };
        let (broker, ports) =
            BrokerProcess::that_says(command.arg("serve").arg("--config").arg(config), listening)?;
        Ok(Doors { broker, ports, page_port, folder })
    }

    pub(super) fn port(&self, listener: &str) -> Result<u16> {
        let found = self.ports.iter().find(|(name, _)| name == listener);
        found.map(|(_, port)| *port).with_context(|| format!("there is no listener {listener}"))
    }

    /// Where the certificates are: `authority.pem`, `client-cert.pem`, `client-key.pem` and the server's.
    pub(super) fn folder(&self) -> &Path {
        &self.folder.0
    }
}

fn binary(name: &str) -> PathBuf {
    process::target_folder().join("fast").join(name)
}

fn configuration(page_port: u16) -> String {
    let mut text =
        "[admin]\naddress = \"off\"\n[storage]\ndata_dir = \"data\"\n[log]\nlevel = \"warn\"\n".to_owned();
    text.extend(Transport::value_variants().iter().map(|transport| transport.listener()));
    let origin = format!("http://localhost:{page_port}");
    text + &format!(
        "[[listener]]\nname = \"{FOR_ONE_ORIGIN}\"\nprotocol = \"ws\"\naddress = \"127.0.0.1:0\"\n\
         [listener.websocket]\norigins = [\"{origin}\"]\n"
    )
}

/// Out of `listening on 127.0.0.1:PORT (PROTOCOL, NAME)`.
fn named_port(line: &str) -> Option<(String, u16)> {
    let (address, called) = line.strip_prefix("listening on ")?.split_once(" (")?;
    let (_, port) = address.rsplit_once(':')?;
    let (_, name) = called.strip_suffix(')')?.split_once(", ")?;
    Some((name.to_owned(), port.parse().ok()?))
}

impl Folder {
    fn new() -> Result<Folder> {
        let folder = std::env::temp_dir().join(format!("gmqtt-xtask-interop-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        Ok(Folder(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_known_by_its_name() {
        assert_eq!(named_port("listening on 127.0.0.1:4321 (tls, mtls)"), Some(("mtls".to_owned(), 4321)));
        assert_eq!(named_port("listening on 127.0.0.1:4321 (tls)"), None);
        assert_eq!(named_port("limits: 100000 connections"), None);
    }

    #[test]
    fn the_configuration_has_a_listener_for_each_transport() {
        let read: toml::Table = configuration(1).parse().unwrap();
        assert_eq!(read["listener"].as_array().map(Vec::len), Some(Transport::value_variants().len() + 1));
    }
}
