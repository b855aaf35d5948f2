//! `gmqtt serve`: the listeners beside plain TCP. What they speak is tested in mqtt-broker; here, that the options reach it.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
};

use test_certificates::{Authority, Files};

use super::harness::Gmqtt;

const TCP: [&str; 3] = ["serve", "--listen", "127.0.0.1:0"];

const UPGRADE: &[u8] = b"GET /mqtt HTTP/1.1\r\nHost: b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";

/// A certificate and its key.
fn server(authority: &Authority) -> (String, String) {
    let Files { certificates, private_key } = authority.server("");
    (certificates.display().to_string(), private_key.display().to_string())
}

fn address(line: &str, name: &str) -> String {
    let address =
        line.strip_prefix("listening on ").and_then(|rest| rest.strip_suffix(&format!(" ({name})")));
    address.unwrap_or_else(|| panic!("{line}")).to_owned()
}

/// A socket that speaks WebSocket from here on.
fn upgraded(address: &str) -> TcpStream {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(UPGRADE).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    socket
}

#[test]
fn every_kind_of_listener_is_named_and_speaks_its_own() {
    let authority = Authority::new("kinds");
    let (cert, key) = server(&authority);
    let more = ["--listen-ws", "--listen-tls", "--listen-wss"].map(|option| [option, "127.0.0.1:0"]).concat();
    let broker = Gmqtt::start(&[&TCP[..], &more, &["--tls-cert", &cert, "--tls-key", &key]].concat());
    address(&broker.line_after_durability(), "tcp");
    let [ws, tls, wss] = ["ws", "tls", "wss"].map(|name| address(&broker.line(), name));

    upgraded(&ws);
    for address in [tls, wss] {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.write_all(UPGRADE).unwrap();
        let mut alert = [0; 1];
        socket.read_exact(&mut alert).unwrap();
        assert_eq!(alert, [0x15], "an alert of TLS");
        broker.await_stderr("plain MQTT or HTTP on a TLS listener");
    }
}

/// The library would take 128 KiB for each, to read into.
#[cfg(target_os = "linux")]
#[test]
fn an_idle_websocket_client_owns_no_large_buffer() {
    const CLIENTS: usize = 300;
    let broker = Gmqtt::start(&["serve", "--listen-ws", "127.0.0.1:0", "--durability", "memory"]);
    let address = address(&broker.line_after_durability(), "ws");
    let resident_kib = || {
        let status = fs::read_to_string(format!("/proc/{}/status", broker.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap().to_owned();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap()
    };
    let connected = || {
        let mut socket = upgraded(&address);
        // CONNECT, and a PINGREQ: it has read and written in its time.
        socket.write_all(b"\x82\x90\0\0\0\0\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0\xc0\0").unwrap();
        // In one frame or in two: PINGRESP is the end of it.
        let mut answers = Vec::new();
        while !answers.ends_with(&[0xd0, 0]) {
            let mut some = [0; 16];
            let count = socket.read(&mut some).unwrap();
            assert_ne!(count, 0, "{answers:x?}");
            answers.extend_from_slice(&some[..count]);
        }
        socket
    };
    let first = connected(); // What there is once is there now.
    let before = resident_kib();
    let idle: Vec<TcpStream> = (0..CLIENTS).map(|_| connected()).collect();
    let each = resident_kib().saturating_sub(before) / CLIENTS;
    assert!(each < 32, "{each} KiB each");
    drop((first, idle));
}

#[cfg(unix)]
#[test]
fn a_hangup_reads_certificates_again_and_keeps_the_old_ones_if_the_new_are_bad() {
    let authority = Authority::new("hangup");
    let (cert, key) = server(&authority);
    let tls = ["--listen-tls", "127.0.0.1:0", "--tls-cert", &cert, "--tls-key", &key];
    let broker = Gmqtt::start(&[&TCP[..], &tls].concat());
    address(&broker.line_after_durability(), "tcp");
    address(&broker.line(), "tls");
    broker.line(); // The limits: by then it listens to signals too.
    let good = fs::read(&cert).unwrap();
    fs::write(&cert, "bad").unwrap();
    broker.signal(rustix::process::Signal::HUP);
    broker.await_stderr("all stays as it was");
    fs::write(&cert, good).unwrap();
    broker.signal(rustix::process::Signal::HUP);
    broker.await_stderr("reloaded: ");
}

#[test]
fn what_is_missing_or_open_to_others_is_said_at_once() {
    let authority = Authority::new("missing");
    let (cert, key) = server(&authority);
    fs::remove_file(&key).unwrap();
    let line =
        Gmqtt::start(&["serve", "--listen-tls", "127.0.0.1:0", "--tls-cert", &cert, "--tls-key", &key])
            .ended()
            .complaint(2);
    assert!(line.contains(&key), "{line}");
    let line = Gmqtt::start(&[&TCP[..], &["--listen-ws", "0.0.0.0:0"]].concat()).ended().complaint(2);
    assert!(line.contains("--allow-anonymous"), "{line}");
}
