//! A broker that is reached by one transport.

use std::{fs, net::SocketAddr};

use rumqttc::{MqttOptions, TlsConfiguration, Transport};
use tempfile::TempDir;
use test_certificates::{CertificateFiles, Files};

use crate::harness::Gmqtt;

pub(crate) struct Door {
    transport: &'static str,
    address: SocketAddr,
    files: CertificateFiles,
    _broker: Gmqtt,
    _folder: TempDir,
}

impl Door {
    pub(crate) fn open(transport: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = CertificateFiles::create(folder.path());
        let [certificate, key, authority] =
            [&files.server.certificates, &files.server.private_key, &files.authority]
                .map(|file| file.to_str().unwrap());
        let listen = match transport {
            "tcp" => "--listen",
            "tls" | "mtls" => "--listen-tls",
            "ws" => "--listen-ws",
            "wss" => "--listen-wss",
            _ => panic!("{transport}"),
        };
        let mut arguments = vec!["serve", "--log-level", "warn", listen, "127.0.0.1:0"];
        if matches!(transport, "tls" | "mtls" | "wss") {
            arguments.extend(["--tls-cert", certificate, "--tls-key", key]);
        }
        if transport == "mtls" {
            arguments.extend(["--tls-client-ca", authority]);
        }
        let broker = Gmqtt::start(&arguments);
        let line = broker.line_after_durability();
        let address = line.strip_prefix("listening on ").and_then(|rest| rest.split(' ').next());
        let address = address.and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("{line}"));
        Self { transport, address, files, _broker: broker, _folder: folder }
    }

    pub(crate) fn options(&self, client_id: &str) -> MqttOptions {
        let (ip, port) = (self.address.ip().to_string(), self.address.port());
        let mut options = match self.transport {
            // Here a host is taken out of a URL.
            "ws" | "wss" => {
                MqttOptions::new(client_id, format!("{}://{ip}:{port}/mqtt", self.transport), port)
            }
            _ => MqttOptions::new(client_id, ip, port),
        };
        options.set_transport(match self.transport {
            "tcp" => Transport::Tcp,
            "ws" => Transport::Ws,
            "wss" => Transport::Wss(self.tls()),
            _ => Transport::Tls(self.tls()),
        });
        options
    }

    fn tls(&self) -> TlsConfiguration {
        let Files { certificates, private_key } = &self.files.client;
        let own = || (fs::read(certificates).unwrap(), fs::read(private_key).unwrap());
        TlsConfiguration::Simple {
            ca: fs::read(&self.files.authority).unwrap(),
            alpn: None,
            client_auth: (self.transport == "mtls").then(own),
        }
    }
}
