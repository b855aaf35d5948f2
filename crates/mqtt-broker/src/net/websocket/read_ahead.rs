//! [`ReadAhead`]: reads from a socket in large pieces for whoever asks for small ones.
//!
//! The WebSocket library reads into a buffer of its own, which each connection owns from its beginning to its end. So it is
//! given a small one; that it does not cost a system call for each of its small reads is done here, in a buffer that the
//! connections of a thread share. An idle connection owns nothing of it.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::transport::give;

/// The most that is read at a time, and that a connection may own while it is not asked for the rest.
pub(super) const AHEAD: usize = 16 * 1024;

thread_local! {
    /// Taken for the moment of a read alone.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; AHEAD].into());
}

pub(super) struct ReadAhead<S> {
    socket: S,
    /// What was read and not asked for yet.
    rest: Vec<u8>,
    /// How much of it has been given.
    given: usize,
}

impl<S> ReadAhead<S> {
    pub(super) fn new(socket: S) -> Self {
        Self { socket, rest: Vec::new(), given: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        wanted: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.rest.is_empty() {
            let rest = this.rest.get(this.given..).unwrap_or_default();
            let given = give(rest, wanted);
            this.given += given;
            if this.given >= this.rest.len() {
                (this.rest, this.given) = (Vec::new(), 0);
            }
            return Poll::Ready(Ok(()));
        }
        if wanted.remaining() >= AHEAD {
            return Pin::new(&mut this.socket).poll_read(cx, wanted);
        }
        BUFFER.with_borrow_mut(|buffer| {
            let mut read = ReadBuf::new(buffer);
            ready!(Pin::new(&mut this.socket).poll_read(cx, &mut read))?;
            let given = give(read.filled(), wanted);
            this.rest = read.filled().get(given..).unwrap_or_default().to_vec();
            Poll::Ready(Ok(()))
        })
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn all_comes_in_small_pieces_and_nothing_is_owned_when_it_has_come() {
        let sent: Vec<u8> = (0..2 * AHEAD + 5).map(|index| (index % 251) as u8).collect();
        let mut ahead = ReadAhead::new(io::Cursor::new(sent.clone()));
        let mut cx = Context::from_waker(Waker::noop());
        let (mut got, mut space) = (Vec::new(), [0; 100]);
        loop {
            let mut wanted = ReadBuf::new(&mut space);
            assert!(Pin::new(&mut ahead).poll_read(&mut cx, &mut wanted).is_ready());
            if wanted.filled().is_empty() {
                break;
            }
            got.extend_from_slice(wanted.filled());
            assert!(ahead.rest.len() < AHEAD);
        }
        assert!(got == sent);
        assert_eq!(ahead.rest.capacity(), 0);
    }
}
