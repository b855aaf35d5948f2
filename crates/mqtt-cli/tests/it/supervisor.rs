//! What a supervisor such as systemd is told: the test stands in for it, with a socket of its own.

use std::{fs, os::unix::net::UnixDatagram, path::Path, process::Command};

use rustix::process::Signal;

use super::harness::{Broker, Gmqtt, STUCK};

#[test]
fn the_supervisor_hears_that_it_is_ready_alive_and_stopping() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let supervisor = UnixDatagram::bind(&path).unwrap();
    supervisor.set_read_timeout(Some(STUCK)).unwrap();
    let hear = || {
        let mut word = [0; 256];
        let len = supervisor.recv(&mut word).expect("a word from the broker");
        String::from_utf8_lossy(&word[..len]).trim_end().to_owned()
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_gmqtt"));
    command.args(["serve", "--listen", "127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "20000").env_remove("WATCHDOG_PID");
    let broker = Broker::prepared(Gmqtt::start_command(command, b""));
    assert_eq!([hear(), hear(), hear()], ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]);
    broker.process.signal(Signal::TERM);
    while hear() != "STOPPING=1" {}
    assert!(broker.process.ended().status.success());
}

/// Whoever is not waited for is killed: clients are not told, and the next start is one after a crash.
#[test]
fn all_who_stop_a_broker_wait_for_it_alike() {
    let wait = |file: &str, key: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let text = fs::read_to_string(path).unwrap();
        let (_, after) = text.split_once(key).unwrap_or_else(|| panic!("{key} in {file}"));
        let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u64>().unwrap()
    };
    let unit = wait("packaging/gmqtt.service", "TimeoutStopSec=");
    assert_eq!(wait("packaging/compose.yaml", "stop_grace_period: "), unit);
    assert_eq!(wait("../../docs/operations/docker.md", "--stop-timeout "), unit);
}
