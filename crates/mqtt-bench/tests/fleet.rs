//! Servers that refuse, fall silent or cut off: what the generator says of those of its clients that have no message.

mod played;

use std::{
    io::{self, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use clap::Parser;
use mqtt_bench::Report;

use played::{Program, read_frame};

const CONNECT: u8 = 1;
const PUBLISH: u8 = 3;
const SUBSCRIBE: u8 = 8;
const UNSUBSCRIBE: u8 = 10;
const PINGREQ: u8 = 12;

/// What to answer to a frame; `None` closes the connection.
type Answer = fn(frame: &[u8]) -> Option<Vec<u8>>;

/// Runs these words of a command line against a server that answers so.
fn run(words: &str, answer: Answer) -> Report {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    thread::spawn(move || {
        let subscriber = Arc::default();
        for stream in listener.incoming().flatten() {
            let subscriber = Arc::clone(&subscriber);
            thread::spawn(move || {
                // However it ends, the client is cut off.
                let _ = serve(&stream, &subscriber, answer);
                stream.shutdown(Shutdown::Both)
            });
        }
    });
    let server = ["-h", "127.0.0.1", "-p", &port, "-q"];
    let words = ["bench"].into_iter().chain(words.split(' ')).chain(server);
    mqtt_bench::run(&Program::try_parse_from(words).unwrap().bench.command).unwrap()
}

/// Serves who keeps the keep alive of a second. Whoever subscribed last gets every message.
fn serve(mut stream: &TcpStream, subscriber: &Mutex<Option<TcpStream>>, answer: Answer) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    loop {
        let frame = read_frame(stream)?;
        let mut subscriber = subscriber.lock().unwrap();
        match (frame[0] >> 4, &mut *subscriber) {
            (SUBSCRIBE, _) => *subscriber = Some(stream.try_clone()?),
            (PUBLISH, Some(subscriber)) => subscriber.write_all(&frame)?,
            _ => {}
        }
        let Some(bytes) = answer(&frame) else { return Ok(()) };
        stream.write_all(&bytes)?;
    }
}

/// CONNACK, SUBACK, UNSUBACK, PINGRESP, or nothing.
#[expect(clippy::unnecessary_wraps, reason = "it is an Answer")]
fn honest(frame: &[u8]) -> Option<Vec<u8>> {
    Some(match frame[0] >> 4 {
        CONNECT => vec![0x20, 2, 0, 0],
        SUBSCRIBE => vec![0x90, 3, frame[2], frame[3], 1],
        UNSUBSCRIBE => vec![0xb0, 2, frame[2], frame[3]],
        PINGREQ => vec![0xd0, 0],
        _ => Vec::new(),
    })
}

#[track_caller]
fn assert_sound(report: &Report) {
    assert!(report.is_sound(), "{}", report.table());
}

#[track_caller]
fn assert_found(report: &Report, fault: &str) {
    assert!(!report.is_sound());
    assert!(report.table().contains(fault), "{}", report.table());
}

const CHURN: &str = "churn --pairs 0 --churners 2 --warmup 0 --duration 50ms --patience 200ms";

#[test]
fn churners_that_are_answered_have_no_fault() {
    let report = run(CHURN, honest);
    assert_sound(&report);
    assert!(report.figure("subscribed or unsubscribed").unwrap() > 0.0);
}

#[test]
fn a_refused_churner_is_found() {
    let report = run(CHURN, |frame| match frame[0] >> 4 {
        SUBSCRIBE => Some(vec![0x90, 3, frame[2], frame[3], 0x80]),
        _ => honest(frame),
    });
    assert_found(&report, "client bench-churn-1: the server refused SUBSCRIBE with code 128");
}

#[test]
fn churners_that_are_answered_no_more_are_found() {
    let report = run(CHURN, |frame| match frame[0] >> 4 {
        UNSUBSCRIBE => Some(Vec::new()),
        _ => honest(frame),
    });
    assert_found(&report, "2 churners had no answer within 0.2 s");
}

#[test]
fn connections_that_are_held_are_kept_alive() {
    assert_sound(&run("connect --clients 3 --keep-alive 1 --hold 1500ms", honest));
}

#[test]
fn connections_beside_traffic_are_kept_alive() {
    let traffic = "--pairs 1 --rate 4 --idle 2 --warmup 0 --duration 1500ms";
    assert_sound(&run(&format!("p2p {traffic} --keep-alive 1"), honest));
}

#[cfg(target_os = "linux")]
#[test]
fn connections_at_rest_before_memory_is_read_are_kept_alive() {
    let pid = std::process::id();
    let words = format!("idle --clients 3 --keep-alive 1 --settle 1100ms --server-pid {pid}");
    assert_sound(&run(&words, honest));
}

#[test]
fn connections_beside_traffic_that_are_cut_off_are_found() {
    let report = run("p2p --pairs 0 --idle 5 --warmup 0 --duration 1500ms", honest);
    assert_found(&report, "5 of 5 idle connections did not last");
}

#[test]
fn every_round_of_a_reconnect_counts() {
    let report = run("reconnect --clients 2 --rounds 3", |frame| match frame[0] >> 4 {
        CONNECT => Some(vec![0x20, 2, 1, 0]),
        _ => honest(frame),
    });
    assert_sound(&report);
    assert_eq!(report.latency.map(|latency| latency.count), Some(6));
}

const GIVE_UP: &str = "-t 1 --patience 3s --keep-alive 1";

#[test]
fn clients_that_do_not_get_in_are_given_up_in_time() {
    let report = run(&format!("connect --clients 4 {GIVE_UP}"), |_| Some(Vec::new()));
    assert_found(&report, "gave up after 1 s: 0 of 4 clients connected");
}

#[test]
fn filters_that_are_not_subscribed_are_given_up_in_time() {
    let report = run(&format!("subscribe --clients 2 --count 4 -C false {GIVE_UP}"), |frame| {
        if frame[0] >> 4 == SUBSCRIBE { Some(Vec::new()) } else { honest(frame) }
    });
    assert_found(&report, "gave up after 1 s: 0 of 8 filters subscribed");
}

#[test]
fn a_rate_may_be_slower_than_the_patience() {
    let report = run("rate --pairs 1 --rate 4 --messages 4 --patience 100ms --keep-alive 1", honest);
    assert_sound(&report);
    assert_eq!(report.latency.map(|latency| latency.count), Some(4));
}

#[test]
fn time_in_which_nothing_is_due_is_measured_to_its_end() {
    let report = run("p2p --pairs 0 --idle 1 --warmup 0 --duration 600ms --patience 100ms", honest);
    assert_sound(&report);
    assert!(report.figure("measured time").unwrap() >= 0.6);
}
