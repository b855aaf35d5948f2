//! Certificates, keys, authorities and revocation lists that change while `gmqtt serve` runs.
#![cfg(unix)]

use std::{
    fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::fs::symlink,
    path::Path,
    process::Command,
    sync::Arc,
};

use rustix::process::Signal;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tempfile::TempDir;
use test_certificates::CertificateFiles;

use super::harness::{Gmqtt, STUCK};

/// What the configuration names, below `in-force`.
const CONFIG: &str = r#"
[storage]
durability = "memory"

[[listener]]
address = "127.0.0.1:0"
protocol = "tls"
allow_anonymous = true

[listener.tls]
certificate = "in-force/cert.pem"
private_key = "in-force/key.pem"
client_authorities = ["in-force/authority.pem"]
revocation_lists = ["in-force/revoked.pem"]
"#;

/// A folder with the files of two authorities, and a broker that reads them from a third folder.
struct World {
    folder: TempDir,
    old: CertificateFiles,
    new: CertificateFiles,
}

/// Files that the broker reads, and where it listens.
struct Server {
    broker: Gmqtt,
    address: SocketAddr,
}

/// A client that is connected.
struct Live(StreamOwned<ClientConnection, TcpStream>);

impl World {
    /// Everything of the old authority is in force.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = |name: &str| {
            let folder = folder.path().join(name);
            fs::create_dir(&folder).unwrap();
            CertificateFiles::create(&folder)
        };
        let (old, new) = (files("old"), files("new"));
        for files in [&old, &new] {
            fs::copy(&files.nobody_revoked, files.authority.with_file_name("revoked.pem")).unwrap();
        }
        fs::write(folder.path().join("gmqtt.toml"), CONFIG).unwrap();
        Self { folder, old, new }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Copies one file into what is in force.
    fn put(&self, from: &Path, name: &str) {
        fs::copy(from, self.path("in-force").join(name)).unwrap();
    }

    fn put_all(&self, files: &CertificateFiles) {
        fs::create_dir_all(self.path("in-force")).unwrap();
        for (from, name) in [
            (&files.server.certificates, "cert.pem"),
            (&files.server.private_key, "key.pem"),
            (&files.authority, "authority.pem"),
            (&files.nobody_revoked, "revoked.pem"),
        ] {
            self.put(from, name);
        }
    }

    fn start(&self, watch_files: bool) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gmqtt"));
        command.args(["serve", "--config"]).arg(self.path("gmqtt.toml"));
        command.env("GMQTT_WATCH_FILES", watch_files.to_string());
        let broker = Gmqtt::start_command(command, b"");
        let line = std::iter::repeat_with(|| broker.line()).find(|line| line.starts_with("listening on "));
        let address = line.as_deref().and_then(|line| line.split(' ').nth(2)?.parse().ok());
        broker.line(); // The limits: by then it listens to signals too.
        Server { broker, address: address.unwrap_or_else(|| panic!("{line:?}")) }
    }
}

impl Server {
    /// Connects, if the broker's certificate is of the one's authority, and the other's certificate good enough for it.
    fn connect(&self, server: &CertificateFiles, client: &CertificateFiles) -> io::Result<Live> {
        let mut live = Live(secured(self.address, server, Some(client))?);
        live.0.write_all(b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0")?;
        let mut connack = [0; 4];
        live.0.read_exact(&mut connack)?;
        assert_eq!(connack, [0x20, 2, 0, 0]);
        Ok(live)
    }

    /// This certificate is shown, and the clients of the same authority are served, and nobody else's.
    fn is_all_of(&self, files: &CertificateFiles, others: &CertificateFiles) -> bool {
        self.connect(files, files).is_ok()
            && self.connect(files, others).is_err()
            && self.connect(others, files).is_err()
    }

    fn hang_up(&self) {
        self.broker.signal(Signal::HUP);
    }
}

/// A connection within TLS to whoever has a certificate of the one's authority, with the other's certificate or none.
fn secured(
    address: SocketAddr,
    server: &CertificateFiles,
    client: Option<&CertificateFiles>,
) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&server.authority).unwrap()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots);
    let config = match client {
        None => config.with_no_client_auth(),
        Some(files) => {
            let own = vec![CertificateDer::from_pem_file(&files.client.certificates).unwrap()];
            let key = PrivateKeyDer::from_pem_file(&files.client.private_key).unwrap();
            config.with_client_auth_cert(own, key).unwrap()
        }
    };
    let socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(STUCK))?;
    let name = ServerName::try_from("localhost").unwrap();
    Ok(StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), socket))
}

impl Live {
    fn ping(&mut self) {
        let mut answer = [0; 2];
        self.0.write_all(&[0xc0, 0]).and_then(|()| self.0.read_exact(&mut answer)).unwrap();
        assert_eq!(answer, [0xd0, 0]);
    }
}

#[test]
fn files_that_change_are_read_again_and_live_connections_stay() {
    let world = World::new();
    world.put_all(&world.old);
    let server = world.start(true);
    let mut live = server.connect(&world.old, &world.old).unwrap();
    assert!(server.is_all_of(&world.old, &world.new));
    world.put_all(&world.new);
    // File after file: it may have read what was there in between, too.
    loop {
        server.broker.await_stderr("reloaded: ");
        if server.is_all_of(&world.new, &world.old) {
            break;
        }
    }
    live.ping();
}

/// As Kubernetes does it: each file is a link into `..data`, which is a link to a folder, and changes at one stroke.
#[test]
fn a_link_to_the_folder_that_is_turned_to_another_is_seen() {
    let world = World::new();
    symlink("old", world.path("..data")).unwrap();
    fs::create_dir(world.path("in-force")).unwrap();
    for name in ["cert.pem", "key.pem", "authority.pem", "revoked.pem"] {
        symlink(format!("../..data/{name}"), world.path("in-force").join(name)).unwrap();
    }
    let server = world.start(true);
    let mut live = server.connect(&world.old, &world.old).unwrap();
    symlink("new", world.path("..data_tmp")).unwrap();
    fs::rename(world.path("..data_tmp"), world.path("..data")).unwrap();
    server.broker.await_stderr("reloaded: ");
    assert!(server.is_all_of(&world.new, &world.old));
    live.ping();
}

#[test]
fn at_a_hangup_files_are_read_again_though_they_are_not_watched() {
    let world = World::new();
    world.put_all(&world.old);
    let server = world.start(false);
    let mut live = server.connect(&world.old, &world.old).unwrap();
    world.put_all(&world.new);
    assert!(server.is_all_of(&world.old, &world.new), "nobody has said that they are to be read");
    server.hang_up();
    server.broker.await_stderr("reloaded: ");
    assert!(server.is_all_of(&world.new, &world.old));
    live.ping();
}

#[test]
fn a_client_that_is_revoked_stays_and_does_not_come_back() {
    let world = World::new();
    world.put_all(&world.old);
    let server = world.start(false);
    let mut live = server.connect(&world.old, &world.old).unwrap();
    for (list, is_served) in [(&world.old.client_revoked, false), (&world.old.nobody_revoked, true)] {
        world.put(list, "revoked.pem");
        server.hang_up();
        server.broker.await_stderr("reloaded: ");
        assert_eq!(server.connect(&world.old, &world.old).is_ok(), is_served);
        live.ping();
    }
}

#[test]
fn a_bad_file_keeps_the_old_ones_and_is_named() {
    let world = World::new();
    world.put_all(&world.old);
    let server = world.start(false);
    let mut live = server.connect(&world.old, &world.old).unwrap();
    let bad = world.path("bad.pem");
    fs::write(&bad, "-----BEGIN CERTIFICATE-----\nno base64!\n-----END CERTIFICATE-----\n").unwrap();
    for (from, name) in [
        (&bad, "cert.pem"),
        (&bad, "key.pem"),
        (&world.new.server.private_key, "key.pem"), // Good, and another certificate's.
        (&bad, "authority.pem"),
        (&bad, "revoked.pem"),
    ] {
        world.put(from, name);
        server.hang_up();
        let said = server.broker.await_stderr("not reloaded, all stays as it was");
        assert!(said.contains(name), "{said}");
        assert!(server.is_all_of(&world.old, &world.new), "{said}");
        live.ping();
        world.put_all(&world.old);
    }
    // One that is not there is no better.
    fs::remove_file(world.path("in-force").join("cert.pem")).unwrap();
    server.hang_up();
    let said = server.broker.await_stderr("not reloaded, all stays as it was");
    assert!(said.contains("cert.pem"), "{said}");
    assert!(server.is_all_of(&world.old, &world.new));
    world.put_all(&world.new);
    server.hang_up();
    server.broker.await_stderr("reloaded: ");
    assert!(server.is_all_of(&world.new, &world.old));
    live.ping();
}

#[test]
fn the_api_is_for_those_alone_whose_certificate_its_authorities_have_signed() {
    let world = World::new();
    world.put_all(&world.old);
    let mut command = Command::new(env!("CARGO_BIN_EXE_gmqtt"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--durability", "memory", "--admin", "127.0.0.1:0"]);
    for (option, file) in [
        ("--admin-certificate", "cert.pem"),
        ("--admin-private-key", "key.pem"),
        ("--admin-client-authorities", "authority.pem"),
    ] {
        command.arg(option).arg(world.path("in-force").join(file));
    }
    let broker = Gmqtt::start_command(command, b"");
    let address = loop {
        if let Some(rest) = broker.line().strip_prefix("dashboard and HTTP API on https://") {
            break rest.split('/').next().unwrap().parse().unwrap();
        }
    };
    let health = |client| -> io::Result<String> {
        let mut api = secured(address, &world.old, client)?;
        api.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut head = [0; 12];
        api.read_exact(&mut head)?;
        Ok(String::from_utf8_lossy(&head).into_owned())
    };
    assert_eq!(health(Some(&world.old)).unwrap(), "HTTP/1.1 200");
    assert!(health(Some(&world.new)).is_err(), "of another authority");
    assert!(health(None).is_err(), "without a certificate");
}
