//! `gmqtt serve`: what it says, what it refuses, and how it ends.

use std::{
    io::{Read, Write},
    process::Command,
};

use super::harness::{Broker, Gmqtt};

/// CONNECT, clean session, no keep alive, client identifier `raw`.
pub(crate) const CONNECT: &[u8] = b"\x10\x0f\0\x04MQTT\x04\x02\0\0\0\x03raw";
pub(crate) const CONNACK: &[u8] = b"\x20\x02\0\0";

#[test]
fn says_where_it_listens_what_the_limits_are_and_how_to_open_it() {
    let broker = Gmqtt::start(&[
        "serve",
        "--listen",
        "localhost:0",
        "--max-inflight",
        "7",
        "--session-expiry",
        "never",
    ]);
    let first = broker.line_after_durability();
    let port =
        first.strip_prefix("listening on 127.0.0.1:").and_then(|rest| rest.strip_suffix(" (tcp)")).unwrap();
    assert_ne!(port.parse::<u16>().unwrap(), 0);
    let mut next = broker.line();
    if next.starts_with("listening") {
        assert_eq!(next, format!("listening on [::1]:{port} (tcp)"));
        next = broker.line();
    }
    assert!(next.starts_with("limits: ") && next.contains(" packets of 2MiB, 7 messages inflight"), "{next}");
    assert!(next.contains("absent sessions kept for ever"), "{next}");
    assert!(broker.line().contains("--listen 0.0.0.0:1883 --password-file FILE"));
}

#[test]
fn listens_on_every_address_it_is_given() {
    let broker = Gmqtt::start(&["serve", "--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"]);
    let (first, second) = (broker.line_after_durability(), broker.line());
    assert!(first.starts_with("listening on 127.0.0.1:") && second.starts_with("listening on 127.0.0.1:"));
    assert_ne!(first, second);
}

#[test]
fn a_port_in_use_is_one_line_that_helps() {
    let broker = Broker::start();
    let address = broker.address.to_string();
    for listen in [&address, &format!("localhost:{}", broker.address.port())] {
        let line = Gmqtt::start(&["serve", "--listen", listen]).ended().complaint(1);
        assert!(line.starts_with(&format!("gmqtt: {address} is in use")), "{line}");
        assert!(line.contains("--listen 127.0.0.1:"), "{line}");
    }
}

#[test]
fn is_not_open_to_other_machines_unless_told_so() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let line =
            Gmqtt::start(&["serve", "--listen", "127.0.0.1:0", "--listen", address]).ended().complaint(2);
        assert!(line.contains(address) && line.contains("--allow-anonymous"), "{line}");
    }
    // That address is kept for documentation: no machine has it.
    let told = Gmqtt::start(&["serve", "--listen", "192.0.2.1:0", "--allow-anonymous"]).ended().complaint(1);
    assert_eq!(told, "gmqtt: cannot listen on 192.0.2.1:0: 192.0.2.1 is no address of this machine");
}

#[test]
fn limits_from_the_command_line_are_kept() {
    let broker = Broker::start_with(&["--max-packet-size", "1KiB"]);
    broker.publish(&["-t", "a", "-m", &"x".repeat(1000), "-q", "1"]);
    let refused = broker.client(&["pub", "-t", "a", "-m", &"x".repeat(1100), "-q", "1"]).ended();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(refused.stderr.last().unwrap().contains("is the message too large?"), "{refused:?}");
}

#[cfg(unix)]
#[test]
fn no_more_connections_are_promised_than_the_system_allows() {
    let script = r#"ulimit -n 256; exec "$0" serve --listen 127.0.0.1:0"#;
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_gmqtt")]);
    let broker = Gmqtt::start_command(command, b"");
    broker.line_after_durability();
    let limits = broker.line();
    assert!(
        limits.starts_with("limits: 128 connections (the system allows 256 open files: `ulimit -n`), "),
        "{limits}"
    );
}

#[cfg(unix)]
mod signals {
    use rustix::process::Signal;

    use super::*;

    #[test]
    fn the_first_one_closes_clients_and_ends_well() {
        for signal in [Signal::TERM, Signal::INT] {
            let broker = Broker::start();
            let mut socket = broker.socket();
            socket.write_all(CONNECT).unwrap();
            let mut connack = [0; 4];
            socket.read_exact(&mut connack).unwrap();
            assert_eq!(connack, CONNACK);
            broker.process.signal(signal);
            assert_eq!(socket.read(&mut connack).unwrap(), 0, "closed, not reset");
            let ended = broker.process.ended();
            assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        }
    }

    /// A client that does not read the much that it is sent: its connection takes time to close.
    fn broker_with_a_deaf_client(arguments: &[&str]) -> (Broker, std::net::TcpStream) {
        let broker = Broker::start_with(arguments);
        let mut socket = broker.socket();
        socket.write_all(CONNECT).unwrap();
        socket.write_all(b"\x82\x06\0\x01\0\x01a\0").unwrap();
        let mut answers = [0; 9];
        socket.read_exact(&mut answers).unwrap();
        assert_eq!(answers[..4], *CONNACK);
        let payload = "x".repeat(100_000);
        broker.publish(&["-t", "a", "-m", &payload, "-q", "1", "--repeat", "400"]);
        (broker, socket)
    }

    #[test]
    fn the_second_one_ends_at_once() {
        // What the broker's other threads say at the end may come after the last word.
        let (broker, _deaf) = broker_with_a_deaf_client(&["--log-level", "off,gmqtt::serve=info"]);
        broker.process.signal(Signal::TERM);
        broker.process.await_stderr("shutting down");
        broker.process.signal(Signal::TERM);
        assert_eq!(broker.process.ended().last_words(1), "gmqtt: ended at once by a second signal");
    }

    #[test]
    fn a_shutdown_has_its_time_and_no_more() {
        let (broker, _deaf) =
            broker_with_a_deaf_client(&["--shutdown-timeout", "50ms", "--log-level", "off"]);
        broker.process.signal(Signal::TERM);
        let line = broker.process.ended().complaint(1);
        assert!(line.starts_with("gmqtt: the shutdown is not complete: 1 connection"), "{line}");
    }
}

#[test]
fn the_log_is_text_or_json_on_stderr() {
    let broker = Broker::start_with(&["--log-format", "json", "--log-level", "mqtt_broker=debug"]);
    drop(broker.socket());
    let line = broker.process.await_stderr("connection ended");
    assert!(line.starts_with('{') && line.ends_with('}') && line.contains(r#""level":"DEBUG""#), "{line}");
}
