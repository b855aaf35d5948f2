//! The raw limit of the machine: a server that forwards bytes and understands nothing.
//!
//! It answers CONNECT and SUBSCRIBE, reads the topic of a publisher's first PUBLISH to find the subscriber of exactly
//! that filter, and from then on copies whatever comes from either to the other. What a broker needs beyond this
//! relay's time is what its understanding costs.

use std::{
    collections::HashMap,
    io::{self, ErrorKind, Read as _, Write as _},
    net::SocketAddr,
    thread,
    time::Duration,
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};

const READ_BYTES: usize = 256 * 1024;
const LISTENER: Token = Token(usize::MAX);

/// A relay that listens; [`Relay::run`] serves for ever.
pub struct Relay {
    poll: Poll,
    listener: TcpListener,
    ends: Vec<Option<End>>,
    free: Vec<usize>,
    by_filter: HashMap<Vec<u8>, usize>,
    scratch: Vec<u8>,
}

/// One accepted connection.
struct End {
    stream: TcpStream,
    peer: Option<usize>,
    /// What came before the peer was known, or half a frame.
    unparsed: Vec<u8>,
    /// What the socket has not taken yet. While there is any, nothing more is read for it.
    unsent: Vec<u8>,
}

impl Relay {
    /// Listens on `address`; port 0 takes a free one.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(address)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            poll,
            listener,
            ends: Vec::new(),
            free: Vec::new(),
            by_filter: HashMap::new(),
            scratch: vec![0; READ_BYTES],
        })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves on a thread of its own until the process ends; gives the address.
    pub fn spawn() -> io::Result<SocketAddr> {
        let mut relay = Self::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = relay.address()?;
        thread::Builder::new().name("relay".into()).spawn(move || relay.run())?;
        Ok(address)
    }

    /// Serves until the poll itself fails.
    pub fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        // Ends whose last read may have left something behind.
        let mut again: Vec<usize> = Vec::new();
        loop {
            let timeout = if again.is_empty() { None } else { Some(Duration::ZERO) };
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            let mut ready = std::mem::take(&mut again);
            for event in &events {
                if event.token() == LISTENER {
                    self.accept();
                    continue;
                }
                let id = event.token().0;
                if event.is_writable()
                    && let Some(from) = self.resume(id)
                {
                    ready.push(from);
                }
                if event.is_readable() {
                    ready.push(id);
                }
            }
            for id in ready {
                match self.serve(id) {
                    Ok(true) => again.push(id),
                    Ok(false) => {}
                    Err(_) => self.drop_pair(id),
                }
            }
        }
    }

    fn accept(&mut self) {
        // Anything but a connection (would block, out of descriptors) is left to the next event.
        while let Ok((mut stream, _)) = self.listener.accept() {
            let id = self.free.pop().unwrap_or(self.ends.len());
            let interest = Interest::READABLE | Interest::WRITABLE;
            if stream.set_nodelay(true).is_err()
                || self.poll.registry().register(&mut stream, Token(id), interest).is_err()
            {
                self.free.push(id);
                continue;
            }
            let end = End { stream, peer: None, unparsed: Vec::new(), unsent: Vec::new() };
            if id == self.ends.len() {
                self.ends.push(Some(end));
            } else {
                self.ends[id] = Some(end);
            }
        }
    }

    /// Writes what was left; gives the end that may be read again for it.
    fn resume(&mut self, id: usize) -> Option<usize> {
        let end = self.ends.get_mut(id)?.as_mut()?;
        if end.unsent.is_empty() {
            return None;
        }
        let unsent = std::mem::take(&mut end.unsent);
        // A failed write shows at the next read.
        let _ = end.write(&unsent);
        if end.unsent.is_empty() { end.peer } else { None }
    }

    /// One read of `id`; `true` if there may be more to read at once.
    fn serve(&mut self, id: usize) -> io::Result<bool> {
        let Some(Some(end)) = self.ends.get_mut(id) else { return Ok(false) };
        let peer = end.peer;
        if let Some(Some(peer)) = peer.map(|peer| &self.ends[peer])
            && !peer.unsent.is_empty()
        {
            return Ok(false);
        }
        let Some(Some(end)) = self.ends.get_mut(id) else { return Ok(false) };
        let count = match end.stream.read(&mut self.scratch) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        };
        if let Some(peer) = peer {
            if let Some(Some(peer)) = self.ends.get_mut(peer) {
                peer.write(&self.scratch[..count])?;
            }
        } else {
            end.unparsed.extend_from_slice(&self.scratch[..count]);
            self.greet(id)?;
        }
        Ok(count == READ_BYTES)
    }

    /// Answers CONNECT and SUBSCRIBE, and pairs a publisher by its first PUBLISH.
    fn greet(&mut self, id: usize) -> io::Result<()> {
        loop {
            let Some(Some(end)) = self.ends.get_mut(id) else { return Ok(()) };
            let Some((body_at, length)) = crate::net::frame_bounds(&end.unparsed)? else { return Ok(()) };
            let body = &end.unparsed[body_at..length];
            match end.unparsed[0] >> 4 {
                1 => end.write(&[0x20, 2, 0, 0])?,
                8 => {
                    let (packet_id, filter, qos) = first_filter(body).ok_or(ErrorKind::InvalidData)?;
                    self.by_filter.insert(filter.to_vec(), id);
                    end.write(&[0x90, 3, packet_id[0], packet_id[1], qos])?;
                }
                3 => {
                    let topic = sized(body).ok_or(ErrorKind::InvalidData)?.0;
                    let subscriber = self.by_filter.get(topic).copied().ok_or(ErrorKind::NotFound)?;
                    return self.pair(id, subscriber);
                }
                _ => {}
            }
            let Some(Some(end)) = self.ends.get_mut(id) else { return Ok(()) };
            end.unparsed.drain(..length);
        }
    }

    fn pair(&mut self, publisher: usize, subscriber: usize) -> io::Result<()> {
        if let Some(Some(end)) = self.ends.get_mut(subscriber) {
            end.peer = Some(publisher);
        }
        let Some(Some(end)) = self.ends.get_mut(publisher) else { return Ok(()) };
        end.peer = Some(subscriber);
        let first = std::mem::take(&mut end.unparsed);
        match self.ends.get_mut(subscriber) {
            Some(Some(end)) => end.write(&first),
            _ => Err(ErrorKind::NotFound.into()),
        }
    }

    fn drop_pair(&mut self, id: usize) {
        let Some(end) = self.ends.get_mut(id).and_then(Option::take) else { return };
        self.by_filter.retain(|_, subscriber| *subscriber != id);
        self.free.push(id);
        if let Some(peer) = end.peer
            && self.ends.get_mut(peer).and_then(Option::take).is_some()
        {
            self.by_filter.retain(|_, subscriber| *subscriber != peer);
            self.free.push(peer);
        }
    }
}

impl End {
    /// Writes what the socket takes and keeps the rest.
    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while self.unsent.is_empty() && !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.unsent.extend_from_slice(bytes);
        Ok(())
    }
}

fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

fn first_filter(body: &[u8]) -> Option<([u8; 2], &[u8], u8)> {
    let (packet_id, rest) = body.split_first_chunk::<2>()?;
    let (filter, rest) = sized(rest)?;
    Some((*packet_id, filter, *rest.first()?))
}
