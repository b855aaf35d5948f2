//! A server that loses, doubles or reorders one message: the generator must say so.

mod played;

use std::{
    io::{self, Write},
    net::TcpListener,
    thread,
};

use clap::Parser;
use mqtt_bench::Report;

use played::{Program, read_frame};

/// Messages of a run; the fault is in the middle.
const MESSAGES: usize = 100;

/// Runs a pair at QoS 0 over a server that hands on what `spoil` makes of all the frames.
fn run_with(spoil: fn(&mut Vec<Vec<u8>>)) -> Report {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    thread::spawn(move || serve(&listener, spoil));
    let count = MESSAGES.to_string();
    let words = ["bench", "p2p", "-h", "127.0.0.1", "-p", &port, "-n", "1", "--messages", &count, "-q"];
    let words = words.iter().chain(&["--patience", "200ms"]);
    mqtt_bench::run(&Program::try_parse_from(words).unwrap().bench.command).unwrap()
}

/// The subscriber comes first, then the publisher, whose messages are all read before the first is handed on.
fn serve(listener: &TcpListener, spoil: fn(&mut Vec<Vec<u8>>)) -> io::Result<()> {
    let mut subscriber = listener.accept()?.0;
    read_frame(&subscriber)?;
    subscriber.write_all(&[0x20, 2, 0, 0])?;
    read_frame(&subscriber)?;
    subscriber.write_all(&[0x90, 3, 0, 1, 0])?;
    let mut publisher = listener.accept()?.0;
    read_frame(&publisher)?;
    publisher.write_all(&[0x20, 2, 0, 0])?;
    let mut frames = (0..MESSAGES).map(|_| read_frame(&publisher)).collect::<io::Result<Vec<_>>>()?;
    spoil(&mut frames);
    subscriber.write_all(&frames.concat())?;
    // Stay until the generator has seen enough.
    read_frame(&subscriber).map(drop)
}

#[track_caller]
fn assert_found(report: &Report, fault: &str) {
    assert!(!report.is_sound());
    assert!(report.table().contains(fault), "{}", report.table());
}

#[test]
fn an_honest_server_has_no_fault() {
    let report = run_with(|_| {});
    assert!(report.is_sound(), "{}", report.table());
}

#[test]
fn a_lost_message_is_found() {
    let report = run_with(|frames| drop(frames.remove(50)));
    assert_found(&report, "1 lost, 0 duplicated, 0 reordered");
}

#[test]
fn a_doubled_message_is_found() {
    let report = run_with(|frames| frames.insert(50, frames[50].clone()));
    assert_found(&report, "0 lost, 1 duplicated, 0 reordered");
}

#[test]
fn a_last_message_doubled_is_found() {
    let report = run_with(|frames| frames.push(frames[MESSAGES - 1].clone()));
    assert_found(&report, "0 lost, 1 duplicated, 0 reordered");
}

#[test]
fn disorder_is_found() {
    let report = run_with(|frames| frames.swap(50, 51));
    assert_found(&report, "0 lost, 0 duplicated, 1 reordered");
}

#[test]
fn what_nobody_sent_makes_up_for_no_loss() {
    // The stamp stands behind the header and the topic `bench/p2p/0`.
    let report = run_with(|frames| frames[MESSAGES - 1][2 + 2 + 11 + 7] += 1);
    assert_found(&report, "1 lost, 0 duplicated, 0 reordered, 1 misrouted");
}

#[test]
fn the_time_in_which_a_lost_message_is_waited_for_is_not_measured() {
    let report = run_with(|frames| drop(frames.pop()));
    assert_found(&report, "1 lost");
    assert!(report.figure("measured time").unwrap() < 0.15, "{}", report.table());
}
