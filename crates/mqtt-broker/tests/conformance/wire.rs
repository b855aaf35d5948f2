//! A test client that is little more than a socket: it sends what it is given and reads one packet at a time, blocking,
//! with a deadline on each read. It acknowledges nothing by itself.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::broker::broker;
use crate::names::unique;
use crate::packets::{
    Connect, PINGREQ, PINGRESP, Publish, connack, puback, pubcomp, pubrec, pubrel, suback, subscribe,
    unsuback, unsubscribe,
};

/// How long a packet or a close may take before the test fails. Long, so that a busy machine fails no test.
const PATIENCE: Duration = Duration::from_secs(15);

/// One packet as the broker sent it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) head: u8,
    pub(crate) body: Vec<u8>,
}

impl Packet {
    /// The PUBLISH that this is.
    #[track_caller]
    pub(crate) fn publish(&self) -> Publish {
        assert_eq!(self.head >> 4, 3, "wanted a PUBLISH, got {self:?}");
        let (dup, qos, retain) = (self.head & 8 != 0, self.head >> 1 & 3, self.head & 1 != 0);
        assert!(qos < 3, "QoS 3 in {self:?}");
        let topic_length = usize::from(u16::from_be_bytes([self.body[0], self.body[1]]));
        let (topic, rest) = self.body[2..].split_at(topic_length);
        let (id, payload) = match qos {
            0 => (0, rest),
            _ => (u16::from_be_bytes([rest[0], rest[1]]), &rest[2..]),
        };
        assert!(qos == 0 || id != 0, "packet identifier 0 in {self:?}");
        Publish { dup, qos, retain, topic: topic.to_vec(), id, payload: payload.to_vec() }
    }

    pub(crate) fn is_publish(&self) -> bool {
        self.head >> 4 == 3
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        crate::packets::packet(self.head, &self.body)
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.body[..self.body.len().min(48)];
        write!(f, "{:02x} [{} bytes] {shown:02x?}", self.head, self.body.len())
    }
}

/// A connection to the broker.
pub(crate) struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
    /// Read while waiting for something else, still to be handed out.
    early: VecDeque<Packet>,
    last_id: u16,
    /// As the CONNACK had it.
    pub(crate) session_present: bool,
}

impl Wire {
    /// A connection on which nothing has been sent.
    #[track_caller]
    pub(crate) fn open() -> Self {
        Self::try_open().expect("the broker takes TCP connections")
    }

    pub(crate) fn try_open() -> io::Result<Self> {
        let stream = TcpStream::connect(broker())?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, unread: Vec::new(), early: VecDeque::new(), last_id: 0, session_present: false })
    }

    /// A connection whose CONNECT has been accepted.
    #[track_caller]
    pub(crate) fn connect(connect: &Connect) -> Self {
        let mut wire = Self::open();
        wire.send(connect.bytes());
        let answer = wire.next();
        assert!(
            answer.bytes() == connack(false, 0) || answer.bytes() == connack(true, 0),
            "CONNACK was {answer:?}"
        );
        wire.session_present = answer.body[0] == 1;
        wire
    }

    /// A clean session of its own.
    #[track_caller]
    pub(crate) fn client() -> Self {
        Self::connect(&Connect::new(unique()))
    }

    /// A clean session of its own with one subscription.
    #[track_caller]
    pub(crate) fn subscriber(filter: impl AsRef<[u8]>, qos: u8) -> Self {
        let mut wire = Self::client();
        assert_eq!(wire.subscribe(filter, qos), qos, "granted QoS");
        wire
    }

    /// A packet identifier that this client has not used lately.
    pub(crate) fn next_id(&mut self) -> u16 {
        self.last_id = self.last_id % 60_000 + 1;
        self.last_id
    }

    /// Sends bytes. A failed write is no failure: the broker may have closed, and the next read shows that.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// The next packet, or `None` if the broker has closed the connection.
    #[track_caller]
    pub(crate) fn read(&mut self) -> Option<Packet> {
        if let Some(packet) = self.early.pop_front() {
            return Some(packet);
        }
        self.read_socket()
    }

    #[track_caller]
    fn read_socket(&mut self) -> Option<Packet> {
        let mut chunk = [0; 16 * 1024];
        loop {
            if let Some((packet, length)) = parse(&self.unread) {
                self.unread.drain(..length);
                return Some(packet);
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(count) => self.unread.extend_from_slice(&chunk[..count]),
                Err(error) if is_timeout(&error) => {
                    panic!("the broker neither answered nor closed in {PATIENCE:?}")
                }
                Err(_) => return None,
            }
        }
    }

    /// The next packet; a close fails the test.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Packet {
        self.read().expect("a packet, but the broker closed the connection")
    }

    #[track_caller]
    pub(crate) fn next_publish(&mut self) -> Publish {
        self.next().publish()
    }

    /// The next packet has exactly these bytes.
    #[track_caller]
    pub(crate) fn expect(&mut self, bytes: impl AsRef<[u8]>) {
        let got = self.next();
        assert!(got.bytes() == bytes.as_ref(), "wanted {:02x?}, got {got:?}", bytes.as_ref());
    }

    /// The broker closes the connection without another packet.
    #[track_caller]
    pub(crate) fn expect_close(&mut self) {
        self.expect_close_of("the connection");
    }

    /// As `expect_close`; a failure names the `case`.
    #[track_caller]
    pub(crate) fn expect_close_of(&mut self, case: impl fmt::Display) {
        if let Some(packet) = self.read() {
            panic!("{case}: wanted a close, got {packet:?}");
        }
    }

    /// Reads on until the broker closes; whatever it still sends is dropped.
    #[track_caller]
    pub(crate) fn wait_for_end(&mut self) {
        while self.read().is_some() {}
    }

    /// Gathers what comes until the broker has dealt with all that was sent before.
    #[track_caller]
    pub(crate) fn settle(&mut self) -> Vec<Packet> {
        self.settle_or_close().expect("PINGRESP, but the broker closed the connection")
    }

    /// As `settle`, but a close is an answer as well: `None`.
    ///
    /// It pings twice: a broker may answer a packet before it hands out what that packet brought about.
    #[track_caller]
    pub(crate) fn settle_or_close(&mut self) -> Option<Vec<Packet>> {
        let mut before = Vec::new();
        for _ in 0..2 {
            self.send(PINGREQ);
            loop {
                let packet = self.read()?;
                if packet.bytes() == PINGRESP {
                    break;
                }
                before.push(packet);
            }
        }
        Some(before)
    }

    /// Sends PINGREQ and returns the next packet, whatever it is, or `None` if the broker closes.
    #[track_caller]
    pub(crate) fn read_after_ping(&mut self) -> Option<Packet> {
        self.send(PINGREQ);
        self.read()
    }

    /// Nothing comes that was not read yet: all that was sent before has had its answer.
    #[track_caller]
    pub(crate) fn expect_quiet(&mut self) {
        let before = self.settle();
        assert!(before.is_empty(), "wanted nothing, got {before:?}");
    }

    /// Subscribes and returns the return code. Messages that come before the SUBACK (3.8.4 allows it) are kept for `read`.
    #[track_caller]
    pub(crate) fn subscribe(&mut self, filter: impl AsRef<[u8]>, qos: u8) -> u8 {
        let id = self.next_id();
        self.send(subscribe(id, &[(filter, qos)]));
        let answer = self.answer(9);
        let code = *answer.body.last().expect("a return code");
        assert_eq!(answer.bytes(), suback(id, &[code]));
        code
    }

    #[track_caller]
    pub(crate) fn unsubscribe(&mut self, filter: impl AsRef<[u8]>) {
        let id = self.next_id();
        self.send(unsubscribe(id, &[filter]));
        let answer = self.answer(11);
        assert_eq!(answer.bytes(), unsuback(id));
    }

    /// The next packet of a type. Messages before it are kept for `read`; any other packet fails the test.
    #[track_caller]
    pub(crate) fn answer(&mut self, packet_type: u8) -> Packet {
        loop {
            let packet = self.read_socket().expect("an answer, but the broker closed the connection");
            if packet.head >> 4 == packet_type {
                return packet;
            }
            assert!(packet.is_publish(), "wanted a packet of type {packet_type}, got {packet:?}");
            self.early.push_back(packet);
        }
    }

    /// Publishes as the sender of 4.3 does, up to the last acknowledgement.
    #[track_caller]
    pub(crate) fn publish(&mut self, message: &Publish) {
        let id = if message.qos > 0 { self.next_id() } else { 0 };
        self.send(message.clone().qos(message.qos, id).bytes());
        match message.qos {
            0 => {}
            1 => assert_eq!(self.answer(4).bytes(), puback(id)),
            _ => {
                assert_eq!(self.answer(5).bytes(), pubrec(id));
                self.send(pubrel(id));
                assert_eq!(self.answer(7).bytes(), pubcomp(id));
            }
        }
    }

    /// The next message, acknowledged as its QoS asks, up to the end.
    #[track_caller]
    pub(crate) fn receive(&mut self) -> Publish {
        let message = self.next_publish();
        self.acknowledge(&message);
        message
    }

    /// Acknowledges a message as the receiver of 4.3 does.
    #[track_caller]
    pub(crate) fn acknowledge(&mut self, message: &Publish) {
        match message.qos {
            0 => {}
            1 => self.send(puback(message.id)),
            _ => {
                self.send(pubrec(message.id));
                assert_eq!(self.answer(6).bytes(), pubrel(message.id));
                self.send(pubcomp(message.id));
            }
        }
    }

    /// Receives and acknowledges messages up to the one whose payload is `marker`, which is left out.
    #[track_caller]
    pub(crate) fn receive_until(&mut self, marker: &str) -> Vec<Publish> {
        let mut messages = Vec::new();
        loop {
            let message = self.receive();
            if message.payload == marker.as_bytes() {
                return messages;
            }
            messages.push(message);
        }
    }

    /// Nothing comes for `duration`, not even a close.
    #[track_caller]
    pub(crate) fn expect_silence(&mut self, duration: Duration) {
        let end = Instant::now() + duration;
        assert!(self.early.is_empty() && self.unread.is_empty(), "something had come already");
        let mut byte = [0];
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            let _ = self.stream.set_read_timeout(Some(left));
            match self.stream.peek(&mut byte) {
                Ok(0) => panic!("wanted silence, the broker closed"),
                Ok(_) => panic!("wanted silence, got {:?}", self.read()),
                Err(error) if is_timeout(&error) => {}
                Err(error) => panic!("wanted silence, the connection failed: {error}"),
            }
        }
        let _ = self.stream.set_read_timeout(Some(PATIENCE));
    }

    /// Ends the connection without DISCONNECT, and waits until the broker has seen that.
    #[track_caller]
    pub(crate) fn cut(mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
        self.wait_for_end();
    }

    /// The socket itself, for what a client would not do.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// The first whole packet of `bytes` and how many bytes it takes.
#[track_caller]
fn parse(bytes: &[u8]) -> Option<(Packet, usize)> {
    let (&head, rest) = bytes.split_first()?;
    let mut remaining = 0;
    for (index, &byte) in rest.iter().take(4).enumerate() {
        remaining |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            let start = index + 2;
            let body = bytes.get(start..start + remaining)?.to_vec();
            return Some((Packet { head, body }, start + remaining));
        }
    }
    assert!(rest.len() < 4, "a remaining length of more than four bytes from the broker");
    None
}
