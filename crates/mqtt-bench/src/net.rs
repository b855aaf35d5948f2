//! The generator's sockets: one thread, one poll, many connections, large batches.
//!
//! `mio` and not an async runtime: a load generator is one loop over ready sockets, and one loop without tasks, wakes
//! and channels leaves the processor to what is being measured. Nothing here knows more of MQTT than where a frame ends
//! and what keeps a connection alive.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    mem,
    net::SocketAddr,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, event::Source, net::TcpStream};
use socket2::{Domain, Socket, Type};

use crate::{
    frames,
    keep_alive::KeepAlive,
    link::{Link, Transport},
};

/// Bytes read with one call: large enough to amortise the call, small enough to stay in the cache.
const READ_BYTES: usize = 128 * 1024;

/// Names one connection of a [`Net`].
pub(crate) type ConnId = usize;

/// What a turn of the loop reports.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// One whole frame: the first byte of its fixed header, and all that follows the remaining length.
    Frame { head: u8, body: &'a [u8] },
    /// The socket has taken everything, after it had refused some.
    Written,
    /// The peer has closed, or the connection failed.
    Closed(io::Error),
}

/// All connections of one generator thread.
pub(crate) struct Net {
    poll: Poll,
    events: Events,
    transport: Transport,
    conns: Vec<Conn>,
    scratch: Vec<u8>,
    /// Connections that may have more to read than the last read took.
    readable: Vec<ConnId>,
    /// Connections with bytes to write.
    dirty: Vec<ConnId>,
    keep_alive: Option<KeepAlive>,
    started: Instant,
    now_ns: u64,
}

#[derive(Default)]
struct Conn {
    link: Option<Link>,
    out: Vec<u8>,
    written: usize,
    /// The start of a frame whose end has not come yet.
    partial: Vec<u8>,
    /// Writes since it was last looked at to keep it alive.
    writes: u32,
    readable: bool,
    dirty: bool,
    blocked: bool,
}

impl Net {
    /// Connections that are silent for half of `keep_alive_secs` say PINGREQ; 0 is never.
    pub(crate) fn new(transport: Transport, keep_alive_secs: u16) -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            transport,
            conns: Vec::new(),
            scratch: vec![0; READ_BYTES],
            readable: Vec::new(),
            dirty: Vec::new(),
            keep_alive: KeepAlive::new(keep_alive_secs),
            started: Instant::now(),
            now_ns: 0,
        })
    }

    /// Begins to connect; what is sent before the connection stands is written once it does.
    pub(crate) fn open(&mut self, server: SocketAddr) -> io::Result<ConnId> {
        self.conns.push(Conn::default());
        let id = self.conns.len() - 1;
        self.reopen(id, server)?;
        Ok(id)
    }

    /// Connects again under the same name, dropping whatever connection stood there.
    pub(crate) fn reopen(&mut self, id: ConnId, server: SocketAddr) -> io::Result<()> {
        self.close(id);
        let stream = dial(id, server)?;
        stream.set_nodelay(true)?;
        let mut link = self.transport.over(stream, server)?;
        link.register(self.poll.registry(), Token(id))?;
        self.conns[id].link = Some(link);
        // A handshake begins with us, though there is nothing to say yet.
        self.out(id);
        Ok(())
    }

    /// Closes without a word; unsent bytes are dropped.
    pub(crate) fn close(&mut self, id: ConnId) {
        let conn = &mut self.conns[id];
        conn.link = None;
        conn.out.clear();
        conn.partial.clear();
        conn.written = 0;
    }

    /// Appends a last word to every connection, writes what the sockets take, and closes them all.
    pub(crate) fn end_all(&mut self, last_word: impl Fn(&mut Vec<u8>)) {
        for id in 0..self.conns.len() {
            last_word(&mut self.conns[id].out);
            // It is a courtesy: a socket that is full or gone is closed all the same.
            let _ = self.conns[id].write();
            self.close(id);
        }
    }

    /// Whether the connection has neither been closed nor failed.
    pub(crate) fn is_open(&self, id: ConnId) -> bool {
        self.conns[id].link.is_some()
    }

    /// Connections whose TLS session was resumed.
    pub(crate) fn resumed(&self) -> usize {
        self.conns.iter().flat_map(|conn| &conn.link).filter(|link| link.is_resumed()).count()
    }

    /// Watches something besides the connections, for example a timer: it only ends the wait.
    pub(crate) fn watch(&mut self, source: &mut impl Source) -> io::Result<()> {
        self.poll.registry().register(source, Token(usize::MAX - 1), Interest::READABLE)
    }

    /// The bytes to be written to `id` at the end of the turn: append to them.
    pub(crate) fn out(&mut self, id: ConnId) -> &mut Vec<u8> {
        let conn = &mut self.conns[id];
        if !conn.dirty {
            conn.dirty = true;
            self.dirty.push(id);
        }
        &mut conn.out
    }

    /// Bytes that the socket has not taken yet.
    pub(crate) fn unsent(&self, id: ConnId) -> usize {
        self.conns[id].out.len() - self.conns[id].written
    }

    /// Nanoseconds since this `Net` was made, as of the last read or wait.
    pub(crate) fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Reads the clock anew.
    pub(crate) fn refresh_now(&mut self) -> u64 {
        self.now_ns = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.now_ns
    }

    /// Writes what is pending, waits at most `timeout` for the sockets, and hands every whole frame to `on_event`.
    pub(crate) fn turn(
        &mut self,
        timeout: Duration,
        on_event: &mut impl FnMut(&mut Self, ConnId, Event<'_>),
    ) -> io::Result<()> {
        let timeout = self.stay_alive(timeout);
        self.flush(on_event);
        let idle = self.readable.is_empty() && self.dirty.is_empty();
        let timeout = if idle { timeout } else { Duration::ZERO };
        let mut events = mem::replace(&mut self.events, Events::with_capacity(0));
        let polled = self.poll.poll(&mut events, Some(timeout));
        for event in &events {
            let id = event.token().0;
            if id >= self.conns.len() {
                continue;
            }
            if event.is_writable() && (self.conns[id].blocked || self.unsent(id) > 0) {
                self.out(id);
            }
            if event.is_readable() {
                self.mark_readable(id);
            }
        }
        self.events = events;
        match polled {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => other?,
        }
        self.refresh_now();
        self.read_all(on_event);
        Ok(())
    }

    /// Speaks for connections that are silent; gives the longest that a wait of `timeout` may take for their sake.
    fn stay_alive(&mut self, timeout: Duration) -> Duration {
        if self.keep_alive.is_none() {
            return timeout;
        }
        let (now_ns, count) = (self.refresh_now(), self.conns.len());
        let Some(keep_alive) = &mut self.keep_alive else { return timeout };
        let due = keep_alive.due(now_ns, count);
        let timeout = timeout.min(keep_alive.wait(now_ns));
        for id in due.into_iter().flatten() {
            let is_silent = mem::take(&mut self.conns[id].writes) == 0;
            // Where something waits to be written, be it for a handshake, one more word is of no use.
            if is_silent && self.is_open(id) && self.unsent(id) == 0 {
                frames::pingreq(self.out(id));
            }
        }
        timeout
    }

    fn mark_readable(&mut self, id: ConnId) {
        let conn = &mut self.conns[id];
        if !conn.readable {
            conn.readable = true;
            self.readable.push(id);
        }
    }

    fn flush(&mut self, on_event: &mut impl FnMut(&mut Self, ConnId, Event<'_>)) {
        let mut dirty = mem::take(&mut self.dirty);
        for id in dirty.drain(..) {
            self.conns[id].dirty = false;
            let blocked = self.conns[id].blocked;
            if let Err(error) = self.conns[id].write() {
                self.fail(id, error, on_event);
            } else if blocked && !self.conns[id].blocked {
                on_event(self, id, Event::Written);
            }
        }
        // The handler may have marked further ones while this list was out.
        dirty.append(&mut self.dirty);
        self.dirty = dirty;
    }

    fn fail(
        &mut self,
        id: ConnId,
        error: io::Error,
        on_event: &mut impl FnMut(&mut Self, ConnId, Event<'_>),
    ) {
        if self.is_open(id) {
            self.close(id);
            on_event(self, id, Event::Closed(error));
        }
    }

    fn read_all(&mut self, on_event: &mut impl FnMut(&mut Self, ConnId, Event<'_>)) {
        let mut scratch = mem::take(&mut self.scratch);
        let round = self.readable.len();
        for turn in 0..round {
            let id = self.readable[turn];
            self.conns[id].readable = false;
            if let Err(error) = self.read_one(id, &mut scratch, on_event) {
                self.fail(id, error, on_event);
            }
        }
        self.readable.drain(..round);
        self.scratch = scratch;
    }

    /// One read, and every frame that it completes.
    fn read_one(
        &mut self,
        id: ConnId,
        scratch: &mut Vec<u8>,
        on_event: &mut impl FnMut(&mut Self, ConnId, Event<'_>),
    ) -> io::Result<()> {
        let conn = &mut self.conns[id];
        let Some(link) = &mut conn.link else { return Ok(()) };
        let kept = conn.partial.len();
        if scratch.len() < kept + READ_BYTES / 2 {
            scratch.resize(kept * 2 + READ_BYTES, 0);
        }
        scratch[..kept].copy_from_slice(&conn.partial);
        let read = match link.read(&mut scratch[kept..]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => read,
            Err(error) if is_not_yet(&error) => {
                // What came may have been a handshake's, and what waited for it may go now.
                if conn.blocked || link.holds_bytes() {
                    self.out(id);
                }
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let may_hold_more = link.reads_in_parts();
        conn.partial.clear();
        let filled = kept + read;
        // A read that filled the buffer may have left something behind, and no new event will say so.
        if filled == scratch.len() || may_hold_more {
            self.mark_readable(id);
        }
        self.refresh_now();
        let mut at = 0;
        while let Some((body_at, end)) = frame_bounds(&scratch[at..filled])? {
            let frame = &scratch[at..at + end];
            on_event(self, id, Event::Frame { head: frame[0], body: &frame[body_at..] });
            at += end;
        }
        let conn = &mut self.conns[id];
        if conn.link.is_some() && at < filled {
            conn.partial.extend_from_slice(&scratch[at..filled]);
        }
        Ok(())
    }
}

impl Conn {
    fn write(&mut self) -> io::Result<()> {
        let Some(link) = &mut self.link else { return Ok(()) };
        while self.written < self.out.len() {
            match link.write(&self.out[self.written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.written += count;
                    self.writes = self.writes.saturating_add(1);
                }
                Err(error) if is_not_yet(&error) => {
                    self.blocked = true;
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        self.blocked = match link.flush() {
            Ok(()) => false,
            Err(error) if is_not_yet(&error) => true,
            Err(error) => return Err(error),
        };
        Ok(())
    }
}

/// One address has some 28,000 ports for connections to the same server.
const CONNECTIONS_PER_SOURCE: usize = 25_000;

/// The address to connect from; `None` leaves it to the system. Within one machine there are many to choose from.
fn source_of(id: ConnId, server: SocketAddr) -> Option<SocketAddr> {
    let block = u8::try_from(id / CONNECTIONS_PER_SOURCE).ok().filter(|&block| block > 0 && block < 250)?;
    let local = cfg!(target_os = "linux") && server.is_ipv4() && server.ip().is_loopback();
    local.then(|| SocketAddr::from(([127, 0, 1, block], 0)))
}

fn dial(id: ConnId, server: SocketAddr) -> io::Result<TcpStream> {
    let Some(source) = source_of(id, server) else { return TcpStream::connect(server) };
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&source.into())?;
    match socket.connect(&server.into()) {
        Err(error) if !is_in_progress(&error) => Err(error),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

#[cfg(target_os = "linux")]
fn is_in_progress(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error())
}

#[cfg(not(target_os = "linux"))]
fn is_in_progress(error: &io::Error) -> bool {
    is_not_yet(error)
}

/// `NotConnected` is what some systems say of a connection that is still being made.
fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected | ErrorKind::Interrupted)
}

/// Where the body of the first frame begins and where the frame ends; `None` while it is not whole.
pub(crate) fn frame_bounds(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let mut length = 0_usize;
    for at in 1..=4 {
        let Some(&byte) = bytes.get(at) else { return Ok(None) };
        length |= usize::from(byte & 0x7f) << (7 * (at - 1));
        if byte & 0x80 == 0 {
            let end = at + 1 + length;
            return Ok((bytes.len() >= end).then_some((at + 1, end)));
        }
    }
    Err(io::Error::new(ErrorKind::InvalidData, "the server sent a frame that is not MQTT"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_connections_than_ports_come_from_more_addresses() {
        let local = SocketAddr::from(([127, 0, 0, 1], 1883));
        assert_eq!(source_of(24_999, local), None);
        if cfg!(target_os = "linux") {
            assert_eq!(source_of(25_000, local), Some(SocketAddr::from(([127, 0, 1, 1], 0))));
        }
        assert_eq!(source_of(25_000, SocketAddr::from(([10, 0, 0, 1], 1883))), None);
    }

    #[test]
    fn a_frame_ends_where_its_remaining_length_says() {
        assert_eq!(frame_bounds(&[]).unwrap(), None);
        assert_eq!(frame_bounds(&[0x30]).unwrap(), None);
        assert_eq!(frame_bounds(&[0xd0, 0]).unwrap(), Some((2, 2)));
        assert_eq!(frame_bounds(&[0x30, 2, 0]).unwrap(), None);
        assert_eq!(frame_bounds(&[0x30, 2, 0, 0, 9]).unwrap(), Some((2, 4)));
        let mut long = vec![0x30, 0x80, 0x01];
        long.resize(3 + 128, 0);
        assert_eq!(frame_bounds(&long).unwrap(), Some((3, 131)));
        assert!(frame_bounds(&[0x30, 0xff, 0xff, 0xff, 0xff, 0x01]).is_err());
    }
}
