//! [`Polled`]: a stream that is polled, for a library that reads and writes until that would block.

use std::{
    io::{self, Read, Write},
    pin::Pin,
    task::{Context, Poll},
};

use async_tungstenite::tungstenite::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is pending is an error of the kind `WouldBlock` here.
pub(super) struct Polled<'a, 'b, S> {
    pub(super) socket: &'a mut S,
    pub(super) cx: &'a mut Context<'b>,
}

impl<S: AsyncRead + Unpin> Read for Polled<'_, '_, S> {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(space);
        at_once(Pin::new(&mut *self.socket).poll_read(self.cx, &mut buffer))?;
        Ok(buffer.filled().len())
    }
}

impl<S: AsyncWrite + Unpin> Write for Polled<'_, '_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        at_once(Pin::new(&mut *self.socket).poll_write(self.cx, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        at_once(Pin::new(&mut *self.socket).poll_flush(self.cx))
    }
}

/// And back again, in what the library gives.
pub(super) fn polled<T>(outcome: Result<T, Error>) -> Poll<Result<T, Error>> {
    match outcome {
        Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        outcome => Poll::Ready(outcome),
    }
}

fn at_once<T>(outcome: Poll<io::Result<T>>) -> io::Result<T> {
    match outcome {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}
