//! No log has a password or a payload in it, in whatever spelling, at the level that tells most: over each kind of transport.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::process::Signal;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tempfile::TempDir;
use test_certificates::CertificateFiles;

use super::harness::{Gmqtt, STUCK};

/// Begins each secret, and stands nowhere else.
const SECRET: &str = "hush";

/// A broker that tells all, and where it listens.
struct World {
    broker: Gmqtt,
    addresses: Vec<String>,
    authority: PathBuf,
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let set = Gmqtt::start_with_input(&["passwd", "--stdin", &path("users"), "anna"], b"hush-password");
        assert_eq!(set.ended().output(), [""; 0]);
        let CertificateFiles { authority, server, .. } = CertificateFiles::create(folder.path());
        let [certificate, key] =
            [server.certificates, server.private_key].map(|file| file.display().to_string());
        let free = "127.0.0.1:0";
        let broker = Gmqtt::start(&[
            "serve",
            "--listen",
            free,
            "--listen-ws",
            free,
            "--listen-tls",
            free,
            "--listen-wss",
            free,
            "--tls-cert",
            &certificate,
            "--tls-key",
            &key,
            "--password-file",
            &path("users"),
            "--log-level",
            "trace,tungstenite=trace,tungstenite::protocol=trace",
        ]);
        let mut lines = vec![broker.line_after_durability()];
        lines.resize_with(4, || broker.line());
        broker.line(); // The limits: by then it listens to signals too.
        let addresses = lines.iter().map(|line| line.split(' ').nth(2).unwrap().to_owned()).collect();
        Self { broker, addresses, authority, folder }
    }
}

/// CONNECT with a password, and a message to a topic that the same client subscribes to.
fn packets() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut packet = |first: u8, body: &[u8]| {
        bytes.extend([first, u8::try_from(body.len()).unwrap()]);
        bytes.extend(body);
    };
    packet(0x10, b"\0\x04MQTT\x04\xc2\0\0\0\x02it\0\x04anna\0\x0dhush-password");
    packet(0x82, b"\0\x01\0\x01a\x01");
    packet(0x33, b"\0\x01a\0\x02hush-payload");
    bytes
}

/// Sends the packets, and reads until the message has come back.
fn speak(mut stream: impl Read + Write, packets: &[u8]) {
    stream.write_all(packets).unwrap();
    let mut got = Vec::new();
    while !got.windows(12).any(|part| part == b"hush-payload") {
        let mut some = [0; 100];
        let count = stream.read(&mut some).unwrap();
        assert_ne!(count, 0, "{got:?}");
        got.extend_from_slice(&some[..count]);
    }
}

/// The same, within WebSocket.
fn upgrade_and_speak(mut stream: impl Read + Write) {
    let request = "GET /mqtt HTTP/1.1\r\nHost: b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    let packets = packets();
    let mut frame = vec![0x82, 0x80 | u8::try_from(packets.len()).unwrap(), 0, 0, 0, 0];
    frame.extend(packets);
    speak(stream, &frame);
}

/// Within TLS.
fn over_tls(address: &str, authority: &Path) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), socket(address))
}

fn socket(address: &str) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(STUCK)).unwrap();
    socket
}

#[test]
fn no_log_has_a_secret_whatever_the_transport() {
    let World { broker, addresses, authority, folder } = World::new();
    let [tcp, ws, tls, wss] = &addresses[..] else { panic!("{addresses:?}") };
    speak(socket(tcp), &packets());
    upgrade_and_speak(socket(ws));
    speak(over_tls(tls, &authority), &packets());
    upgrade_and_speak(over_tls(wss, &authority));
    drop(folder);
    broker.signal(Signal::TERM);
    let log = broker.ended().stderr;
    assert_eq!(log.iter().filter(|line| line.contains(" connected client_id=\"it\"")).count(), 4, "{log:#?}");
    let spellings = [
        SECRET.to_owned(),
        SECRET.bytes().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat(),
        SECRET.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", "),
    ];
    let telling = |line: &&String| spellings.iter().any(|secret| line.to_lowercase().contains(secret));
    assert_eq!(log.iter().find(telling), None);
}
