//! [`TlsStream`]: the bytes within the records of a TLS connection, and the handshake ahead of them.
//!
//! Ciphertext passes through a buffer that the connections of a thread share, in both directions: one call of the system takes
//! what has come, and one sends what a batch has become. What TLS means by it all is in [`Session`].

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::rustls::{CommonState, Error, ServerConfig};

use super::session::Session;
use crate::net::{
    transport::ByteStream,
    workers::{Attach, Movable},
};

/// What is read from a socket at a time, and what there is room for when records are made. No power of two: see `READ_BYTES` of the
/// task of a connection.
const SCRATCH: usize = 80 * 1024;
/// The least that is read at a time, however little is asked for.
const LEAST_READ: usize = 4 * 1024;
/// The plaintext that is encrypted at a time. A connection keeps no more of them when its socket takes none.
const MOST_ENCRYPTED: usize = 4 * 16 * 1024;

/// Copies of more than this are left to an instruction (`rep movsb`) by the C library.
const SHORT_COPY: usize = 2 * 1024;
/// What an address is taken modulo by a processor that compares two of them.
const PAGE: usize = 4 * 1024;
/// Too near, behind what is copied, for some processors.
const TOO_NEAR: std::ops::Range<usize> = 1..64;
/// rustls begins a record where a page does, with its header.
const RECORD_HEADER: usize = 5;

thread_local! {
    /// Taken for the moment of a read or of a write alone.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// A socket within TLS, as the server.
pub(in crate::net) struct TlsStream<S> {
    socket: S,
    session: Session,
    /// What went wrong behind plaintext that the reader is given first.
    error: Option<io::Error>,
}

impl<S: ByteStream> TlsStream<S> {
    /// Shakes hands. If that fails, the other end has been told why, as far as its socket took it.
    pub(super) async fn accept(socket: S, config: Arc<ServerConfig>) -> io::Result<Self> {
        let mut stream = Self { socket, session: Session::new(config).map_err(invalid)?, error: None };
        poll_fn(|cx| stream.poll_handshake(cx)).await?;
        Ok(stream)
    }

    /// What the handshake has brought.
    pub(super) fn about(&self) -> &CommonState {
        self.session.about()
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            // Whoever does not take his answer is asked for nothing more.
            ready!(Pin::new(&mut *self).poll_flush(cx))?;
            if !self.session.about().is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_receive(cx, &mut ReadBuf::new(&mut [])))?;
        }
    }

    /// One read from the socket, which may bring no plaintext.
    fn poll_receive(&mut self, cx: &mut Context<'_>, wanted: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let outcome = BUFFER.with_borrow_mut(|buffer| -> Poll<io::Result<()>> {
            // Plaintext is shorter than what it is encrypted to: it will fit, unless very little is asked for.
            let room = wanted.remaining().saturating_sub(self.session.received());
            let most = room.clamp(LEAST_READ, SCRATCH);
            let mut read = ReadBuf::new(buffer.get_mut(..most).unwrap_or_default());
            ready!(Pin::new(&mut self.socket).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Err(self.cut_off()));
            }
            Poll::Ready(self.session.receive(read.filled_mut(), wanted).map_err(invalid))
        });
        // An alert, say. What the socket does not take waits for the next flush; whether it is broken, a read will tell.
        drop(self.poll_send(cx));
        outcome
    }

    /// The stream ends without a word.
    fn cut_off(&self) -> io::Error {
        let when = if self.session.about().is_handshaking() {
            "the connection ended within its TLS handshake"
        } else {
            "the connection ended without a close_notify"
        };
        io::Error::new(io::ErrorKind::UnexpectedEof, when)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.session.unsent().is_empty() {
            let count = ready!(Pin::new(&mut self.socket).poll_write(cx, self.session.unsent()))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.session.sent(count);
        }
        Poll::Ready(Ok(()))
    }

    /// Sends as much of `records` as the socket takes, and keeps the rest.
    fn send_or_keep(&mut self, cx: &mut Context<'_>, mut records: &[u8]) -> io::Result<()> {
        // What there is to send by now goes ahead of them.
        while !records.is_empty() && self.session.unsent().is_empty() {
            match Pin::new(&mut self.socket).poll_write(cx, records) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(count) => records = records.get(count?..).unwrap_or_default(),
            }
        }
        self.session.send_later(records);
        Ok(())
    }
}

impl<S: ByteStream> ByteStream for TlsStream<S> {}

impl<S: Movable> Movable for TlsStream<S> {
    fn detach(self) -> io::Result<Attach<Self>> {
        let Self { socket, session, error } = self;
        let attach = socket.detach()?;
        Ok(Box::new(|| Ok(Self { socket: attach()?, session, error })))
    }
}

impl<S: ByteStream> AsyncRead for TlsStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        wanted: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let room = wanted.remaining();
        this.session.give_unread(wanted);
        while wanted.remaining() == room && room > 0 {
            if let Some(error) = this.error.take() {
                return Poll::Ready(Err(error));
            }
            if this.session.is_read_to_end() {
                break;
            }
            this.error = ready!(this.poll_receive(cx, wanted)).err();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: ByteStream> AsyncWrite for TlsStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        // Nothing is encrypted for a socket that has not taken what was encrypted before.
        ready!(this.poll_send(cx))?;
        if this.session.is_closed() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let bytes = bytes.get(..MOST_ENCRYPTED).unwrap_or(bytes);
        BUFFER.with_borrow_mut(|buffer| {
            let (first, rest) = bytes.split_at(first_record(bytes));
            let mut count = this.session.encrypt(first, buffer).map_err(invalid)?;
            if !rest.is_empty() {
                let room = buffer.get_mut(count..).unwrap_or_default();
                count += this.session.encrypt(rest, room).map_err(invalid)?;
            }
            this.send_or_keep(cx, buffer.get(..count).unwrap_or_default())
        })?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.session.close().map_err(invalid)?;
        ready!(this.poll_send(cx))?;
        match ready!(Pin::new(&mut this.socket).poll_shutdown(cx)) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            outcome => Poll::Ready(outcome),
        }
    }
}

/// How much of it is encrypted first: all, unless rustls' copy of it would be a slow one.
///
/// Some processors (AMD since Zen 3) take thirty times as long for `rep movsb` if the copy begins up to 63 bytes behind the
/// original, modulo 4,096, as it does behind the header of a record when both buffers begin with a page. Behind a short record the
/// rest begins elsewhere.
fn first_record(bytes: &[u8]) -> usize {
    let distance = (PAGE + RECORD_HEADER - bytes.as_ptr().addr() % PAGE) % PAGE;
    if TOO_NEAR.contains(&distance) { bytes.len().min(SHORT_COPY) } else { bytes.len() }
}

fn invalid(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests;
