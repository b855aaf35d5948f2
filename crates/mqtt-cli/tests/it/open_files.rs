//! The limit of open files: raised at the start, and survived where it is reached all the same.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::harness::{Broker, Gmqtt, STUCK};

const CONNECT: &[u8] = b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0";
const CONNACK: [u8; 4] = [0x20, 2, 0, 0];
/// The kernel counts a process's time in hundredths of a second.
const TICKS_A_SECOND: u64 = 100;

fn open_files(process: u32) -> usize {
    fs::read_dir(format!("/proc/{process}/fd")).unwrap().count()
}

fn set_limit(process: u32, current: u64, maximum: Option<u64>) {
    let pid = Pid::from_raw(i32::try_from(process).unwrap());
    prlimit(pid, Resource::Nofile, Rlimit { current: Some(current), maximum }).unwrap();
}

/// The processor time that a process has used.
fn ticks(process: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn is_served(socket: &mut TcpStream) -> bool {
    socket.set_read_timeout(Some(STUCK)).unwrap();
    let mut answer = [0; 4];
    socket.write_all(CONNECT).is_ok() && socket.read_exact(&mut answer).is_ok() && answer == CONNACK
}

#[test]
fn at_the_limit_of_open_files_the_broker_backs_off_and_serves_on() {
    let mut broker = Broker::start_with(&["--durability", "memory", "--connect-timeout", "10m"]);
    let begun = Instant::now();
    let process = broker.process.id();
    let mut first = broker.socket();
    assert!(is_served(&mut first));
    let full = open_files(process) + 2;
    set_limit(process, full as u64, getrlimit(Resource::Nofile).maximum);
    // The system completes the connections of those too for which the broker has no file.
    let mut waiting: Vec<TcpStream> = (0..8).map(|_| broker.socket()).collect();
    broker.process.await_stderr("cannot accept connections for the moment");

    let (since, before) = (Instant::now(), ticks(process));
    // Time for more pauses than a flood may write lines.
    thread::sleep(Duration::from_millis(1_500));
    let spent = ticks(process) - before;
    let passed = u64::try_from(since.elapsed().as_millis()).unwrap() * TICKS_A_SECOND / 1000;
    assert!(spent < passed / 4, "{spent} of {passed} hundredths of a second: it spins");
    // Who was there is served, and those that wait are, as soon as there is room.
    first.write_all(&[0xc0, 0]).unwrap();
    let mut answer = [0; 2];
    first.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [0xd0, 0]);
    set_limit(process, full as u64 + 8, getrlimit(Resource::Nofile).maximum);
    assert!(waiting.iter_mut().all(is_served));

    broker.process.kill();
    let windows = usize::try_from(begun.elapsed().as_secs() / 10 + 1).unwrap();
    let lines = broker.process.ended().stderr;
    let about_it = lines.iter().filter(|line| line.contains("cannot accept connections")).count();
    assert!(about_it < 10 * windows, "{about_it} lines in {windows} times ten seconds");
}

#[test]
fn at_the_limit_of_open_files_the_api_says_so_once_and_once_that_it_is_over() {
    let data = tempfile::tempdir().unwrap();
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--durability", "memory", "--admin", "127.0.0.1:0"];
    let mut broker = Gmqtt::start(&[&arguments[..], &["--data-dir", data.path().to_str().unwrap()]].concat());
    let address = loop {
        if let Some(rest) = broker.line().strip_prefix("dashboard and HTTP API on http://") {
            break rest.split('/').next().unwrap().to_owned();
        }
    };
    let process = broker.id();
    let answer = |mut socket: TcpStream| {
        socket.set_read_timeout(Some(STUCK)).unwrap();
        socket.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(answer(TcpStream::connect(&address).unwrap()).starts_with("HTTP/1.1 200"));
    let full = open_files(process) as u64;
    set_limit(process, full, getrlimit(Resource::Nofile).maximum);
    let waiting: Vec<TcpStream> = (0..4).map(|_| TcpStream::connect(&address).unwrap()).collect();
    broker.await_stderr("the API cannot accept connections for the moment");
    // Time for many attempts, of which none is a line.
    thread::sleep(Duration::from_millis(1_500));
    set_limit(process, full + 8, getrlimit(Resource::Nofile).maximum);
    for socket in waiting {
        assert!(answer(socket).starts_with("HTTP/1.1 200"));
    }
    let over = broker.await_stderr("the API ");
    assert!(over.contains("accepts connections again") && over.contains("failures="), "{over}");
    broker.kill();
    let lines = broker.ended().stderr;
    assert!(lines.iter().all(|line| !line.contains("the API")), "{lines:?}");
}

/// A low limit that the process may raise itself is no limit.
#[test]
fn the_limit_is_raised_as_far_as_the_system_lets_it_and_told() {
    let script = r#"ulimit -S -n 200; exec "$0" serve --listen 127.0.0.1:0 --max-connections 100"#;
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_gmqtt")]);
    let broker = Gmqtt::start_command(command, b"");
    broker.line_after_durability();
    let told = broker.line();
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = maximum.unwrap_or(228);
    assert!(
        told.starts_with(&format!("limits: 100 connections (the system allows {raised} open files")),
        "{told}"
    );
    let now = fs::read_to_string(format!("/proc/{}/limits", broker.id())).unwrap();
    let line = now.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(line.split_whitespace().nth(3).unwrap(), raised.to_string());
}
