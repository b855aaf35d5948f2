//! A server that can be told what to do otherwise: honest but for what a test makes of its deeds.

use std::{
    io::{self, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use clap::Parser;
use mqtt_bench::{BenchArgs, BenchError, Report};

use super::{Program, read_frame};

pub(crate) const CONNECT: u8 = 1;
pub(crate) const PUBLISH: u8 = 3;
pub(crate) const PUBREC: u8 = 5;
pub(crate) const PUBREL: u8 = 6;
pub(crate) const SUBSCRIBE: u8 = 8;
pub(crate) const DISCONNECT: u8 = 14;

/// Bytes for a connection. Connections are counted from 0 as they come.
pub(crate) type Deed = (usize, Vec<u8>);

/// Runs these words of a command line against a server that does with each frame of a connection what `play` says.
pub(crate) fn try_run(
    words: &str,
    play: impl FnMut(usize, &[u8]) -> Vec<Deed> + Send + 'static,
) -> Result<Report, BenchError> {
    mqtt_bench::run(&told(words, play).command)
}

/// The same, not yet run.
pub(crate) fn told(words: &str, play: impl FnMut(usize, &[u8]) -> Vec<Deed> + Send + 'static) -> BenchArgs {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    thread::spawn(move || {
        let stage = Arc::new(Mutex::new((Vec::new(), play)));
        for (conn, stream) in listener.incoming().flatten().enumerate() {
            stage.lock().unwrap().0.push(stream.try_clone().unwrap());
            let stage = Arc::clone(&stage);
            thread::spawn(move || {
                let _ = serve(&stream, conn, &stage);
                stream.shutdown(Shutdown::Both)
            });
        }
    });
    let server = ["-h", "127.0.0.1", "-p", &port, "-q"];
    let words = ["bench"].into_iter().chain(words.split(' ')).chain(server);
    Program::try_parse_from(words).unwrap().bench
}

#[track_caller]
pub(crate) fn run(words: &str, play: impl FnMut(usize, &[u8]) -> Vec<Deed> + Send + 'static) -> Report {
    try_run(words, play).unwrap()
}

type Stage<P> = Mutex<(Vec<TcpStream>, P)>;

fn serve(
    stream: &TcpStream,
    conn: usize,
    stage: &Stage<impl FnMut(usize, &[u8]) -> Vec<Deed>>,
) -> io::Result<()> {
    loop {
        let frame = read_frame(stream)?;
        let (streams, play) = &mut *stage.lock().unwrap();
        for (to, bytes) in play(conn, &frame) {
            // Who has gone gets no more; that is for the generator to notice.
            let _ = streams[to].write_all(&bytes);
        }
    }
}

/// Grants what is asked, acknowledges, and hands each message to whom it is for, as it came.
#[derive(Default)]
pub(crate) struct Honest {
    filters: Vec<(usize, String)>,
}

impl Honest {
    pub(crate) fn answer(&mut self, conn: usize, frame: &[u8]) -> Vec<Deed> {
        match frame[0] >> 4 {
            CONNECT => vec![(conn, vec![0x20, 2, 0, 0])],
            SUBSCRIBE => vec![(conn, self.subscribe(conn, frame))],
            PUBLISH => {
                let topic = topic(frame);
                let receivers = self.filters.iter().filter(|(_, filter)| matches(filter, topic));
                let mut deeds: Vec<Deed> = receivers.map(|(to, _)| (*to, frame.to_vec())).collect();
                let id = &frame[4 + topic.len()..6 + topic.len()];
                match frame[0] >> 1 & 3 {
                    1 => deeds.push((conn, vec![0x40, 2, id[0], id[1]])),
                    2 => deeds.push((conn, vec![0x50, 2, id[0], id[1]])),
                    _ => {}
                }
                deeds
            }
            PUBREC => vec![(conn, vec![0x62, 2, frame[2], frame[3]])],
            PUBREL => vec![(conn, vec![0x70, 2, frame[2], frame[3]])],
            _ => Vec::new(),
        }
    }

    /// The SUBACK.
    fn subscribe(&mut self, conn: usize, frame: &[u8]) -> Vec<u8> {
        let (mut codes, mut rest) = (Vec::new(), &frame[4..]);
        while !rest.is_empty() {
            let (filter, behind) = rest[2..].split_at(usize::from(rest[1]));
            self.filters.push((conn, String::from_utf8(filter.to_vec()).unwrap()));
            codes.push(behind[0]);
            rest = &behind[1..];
        }
        let head = [0x90, 2 + u8::try_from(codes.len()).unwrap(), frame[2], frame[3]];
        [&head[..], &codes].concat()
    }
}

fn matches(filter: &str, topic: &str) -> bool {
    filter.strip_suffix('#').map_or(filter == topic, |start| topic.starts_with(start))
}

/// That of a PUBLISH.
pub(crate) fn topic(frame: &[u8]) -> &str {
    str::from_utf8(&frame[4..4 + usize::from(frame[3])]).unwrap()
}

#[track_caller]
pub(crate) fn assert_sound(report: &Report) {
    assert!(report.is_sound(), "{}", report.table());
}

#[track_caller]
pub(crate) fn assert_found(report: &Report, fault: &str) {
    assert!(!report.is_sound(), "{}", report.table());
    assert!(report.table().contains(fault), "{}", report.table());
}
