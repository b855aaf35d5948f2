//! [`Link`]: one blocking connection to the broker, packets in and packets out. It knows nothing of sessions.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use mqtt_codec::{Connack, Connect, Decoder, Packet, Utf8Bytes};

use crate::broker::STUCK;

/// Why a client stops what it is at.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The connection is gone: the broker was killed, or the client has cut it.
    Lost,
    /// The broker broke a promise.
    Fault(String),
}

pub(crate) fn fault<T>(why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Fault(why.into()))
}

pub(crate) struct Link {
    stream: TcpStream,
    decoder: Decoder,
    buffer: BytesMut,
    out: Vec<u8>,
}

/// A CONNECT without a Will.
pub(crate) fn connect_packet(client_id: &str, clean_session: bool) -> Connect {
    let client_id = Utf8Bytes::try_from(client_id).unwrap();
    Connect { clean_session, keep_alive_secs: 0, client_id, will: None, credentials: None }
}

impl Link {
    /// A connection that the broker has accepted, and whether it says that there is a session.
    pub(crate) fn connect(address: SocketAddr, connect: Connect) -> Result<(Self, bool), Stop> {
        let stream = TcpStream::connect(address).map_err(|_| Stop::Lost)?;
        // Nagle's delay would hide what happens between two packets.
        let set = stream.set_nodelay(true).and_then(|()| stream.set_write_timeout(Some(STUCK)));
        set.map_err(|_| Stop::Lost)?;
        // To a port where nobody listens any more, a connection may be one to itself.
        if stream.local_addr().ok() == stream.peer_addr().ok() {
            return Err(Stop::Lost);
        }
        let (decoder, buffer) = (Decoder::new(1 << 20), BytesMut::new());
        let mut link = Self { stream, decoder, buffer, out: Vec::new() };
        link.send(Packet::Connect(Box::new(connect)))?;
        match link.next(STUCK)? {
            Some(Packet::Connack(Connack::Accepted { session_present })) => Ok((link, session_present)),
            Some(other) => fault(format!("the first packet was {other:?}")),
            None => fault("CONNECT was not answered"),
        }
    }

    /// To be sent with the next `flush`.
    pub(crate) fn put(&mut self, packet: Packet) {
        packet.encode(&mut self.out).unwrap();
    }

    pub(crate) fn flush(&mut self) -> Result<(), Stop> {
        let written = self.stream.write_all(&self.out);
        self.out.clear();
        written.map_err(|_| Stop::Lost)
    }

    pub(crate) fn send(&mut self, packet: Packet) -> Result<(), Stop> {
        self.put(packet);
        self.flush()
    }

    /// The next packet; `None` if none comes in time.
    pub(crate) fn next(&mut self, wait: Duration) -> Result<Option<Packet>, Stop> {
        let deadline = Instant::now() + wait;
        loop {
            if let Some(packet) = self.next_read()? {
                return Ok(Some(packet));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.stream.set_read_timeout(Some(left)).map_err(|_| Stop::Lost)?;
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(Stop::Lost),
                Ok(len) => self.buffer.extend_from_slice(&chunk[..len]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return Err(Stop::Lost),
            }
        }
    }

    /// The next packet among the bytes that were read already.
    pub(crate) fn next_read(&mut self) -> Result<Option<Packet>, Stop> {
        self.decoder.decode(&mut self.buffer).or_else(|error| fault(format!("undecodable bytes: {error}")))
    }

    /// Sends DISCONNECT, and waits until the broker closes. `false` if it was killed meanwhile, as far as one can tell.
    pub(crate) fn leave(mut self) -> bool {
        if self.send(Packet::Disconnect).is_err() {
            return false;
        }
        let set = self.stream.set_read_timeout(Some(STUCK));
        let mut chunk = [0; 4096];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return set.is_ok(),
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }
}
