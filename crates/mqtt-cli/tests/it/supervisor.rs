//! What a supervisor such as systemd is told: the test stands in for it, with a socket of its own.

use std::{os::unix::net::UnixDatagram, process::Command};

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
