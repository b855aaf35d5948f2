//! Servers that refuse, fall silent or cut off: what the generator says of those of its clients that have no message.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

use clap::Parser;
use mqtt_bench::{BenchArgs, Report};

const SUBSCRIBE: u8 = 8;
const UNSUBSCRIBE: u8 = 10;
const PINGREQ: u8 = 12;

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    bench: BenchArgs,
}

/// What to answer to a frame; `None` closes the connection.
type Answer = fn(frame: &[u8]) -> Option<Vec<u8>>;

/// Runs these words of a command line against a server that answers so.
fn run(words: &str, answer: Answer) -> Report {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream, answer));
        }
    });
    let server = ["-h", "127.0.0.1", "-p", &port, "-q"];
    let words = ["bench"].into_iter().chain(words.split(' ')).chain(server);
    mqtt_bench::run(&Program::try_parse_from(words).unwrap().bench.command).unwrap()
}

fn serve(mut stream: TcpStream, answer: Answer) -> io::Result<()> {
    while let Some(bytes) = answer(&read_frame(&mut stream)?) {
        stream.write_all(&bytes)?;
    }
    Ok(())
}

fn read_frame(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 2];
    stream.read_exact(&mut frame)?;
    assert!(frame[1] < 0x80, "the frames of these tests are short");
    frame.resize(2 + usize::from(frame[1]), 0);
    stream.read_exact(&mut frame[2..])?;
    Ok(frame)
}

/// CONNACK, SUBACK, UNSUBACK, PINGRESP, or nothing.
#[expect(clippy::unnecessary_wraps, reason = "it is an Answer")]
fn honest(frame: &[u8]) -> Option<Vec<u8>> {
    Some(match frame[0] >> 4 {
        1 => vec![0x20, 2, 0, 0],
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
