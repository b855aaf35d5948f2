//! MQTT within WebSocket (6): the upgrade of an HTTP request, and the byte stream within the binary frames.
//!
//! Frames mean nothing to packets: one may hold several, or a part of one [MQTT-6.0.0-2]. No HTTP server: what is not an
//! upgrade to MQTT is refused.

mod forwarded;
#[cfg(test)]
mod fuzz;
mod read_ahead;
mod upgrade;

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use async_tungstenite::{
    WebSocketStream,
    tokio::TokioAdapter,
    tungstenite::{
        Error, Message,
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};
use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::read_ahead::ReadAhead;
pub use self::upgrade::WebSocketOptions;
use super::{handshake::Failure, newcomer::Newcomer, transport::ByteStream};
use crate::close_reason::ProtocolViolation;

/// What the library reads at a time, out of what was read ahead; an idle connection owns as much. Most packets fit.
const READ_BUFFER: usize = 512;
/// The most that one frame carries to a client: it is what a connection may own of a buffer to write from.
const FRAME_TO_CLIENT: usize = 16 * 1024;

/// The bytes within the frames of a WebSocket connection.
pub(super) struct WebSocketBytes<S> {
    socket: WebSocketStream<TokioAdapter<ReadAhead<S>>>,
    /// What is left of the frame that came last.
    unread: Bytes,
    close_sent: bool,
}

/// Upgrades an HTTP connection, whose request may name another client than who is at the other end.
pub(super) async fn accept<S: ByteStream>(
    socket: S,
    options: &WebSocketOptions,
    newcomer: &mut Newcomer,
) -> Result<WebSocketBytes<S>, Failure> {
    let config = config(newcomer.largest_packet());
    let socket = upgrade::upgrade(socket, options, config, newcomer).await?;
    Ok(WebSocketBytes::new(socket))
}

fn config(largest_frame: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(4 * FRAME_TO_CLIENT)
        .max_frame_size(Some(largest_frame))
        .max_message_size(Some(largest_frame))
}

impl<S: ByteStream> WebSocketBytes<S> {
    fn new(socket: WebSocketStream<TokioAdapter<ReadAhead<S>>>) -> Self {
        Self { socket, unread: Bytes::new(), close_sent: false }
    }

    /// The next binary frame; `None` at the end.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        loop {
            let error = match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                None => return Poll::Ready(Ok(None)),
                Some(Ok(Message::Binary(bytes))) => return Poll::Ready(Ok(Some(bytes))),
                // The answer to a ping, or to a close, goes out with the next read.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_))) => {
                    continue;
                }
                // [MQTT-6.0.0-1]
                Some(Ok(Message::Text(_)) | Err(Error::Utf8(_))) => {
                    self.close(CloseCode::Unsupported);
                    io::Error::new(io::ErrorKind::InvalidData, ProtocolViolation::FrameNotBinary)
                }
                Some(Err(error)) => {
                    if matches!(error, Error::Capacity(_)) {
                        self.close(CloseCode::Size);
                    }
                    into_io(error)
                }
            };
            return Poll::Ready(Err(error));
        }
    }

    /// Says why the connection is about to be closed. It goes out with the shutdown.
    fn close(&mut self, code: CloseCode) {
        let frame = CloseFrame { code, reason: "".into() };
        if let Err(error) = Pin::new(&mut self.socket).start_send(Message::Close(Some(frame))) {
            tracing::debug!(%error, "close frame");
        }
    }
}

impl<S: ByteStream> AsyncRead for WebSocketBytes<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            let frame = self.poll_frame(cx);
            // Only now: had its memory been free while the next frame was waited for, that of a large frame would have been
            // kept for it, by a connection that may be idle from now on.
            self.unread = Bytes::new();
            match ready!(frame)? {
                Some(frame) => self.unread = frame,
                None => return Poll::Ready(Ok(())),
            }
        }
        let taken = self.unread.len().min(buffer.remaining());
        buffer.put_slice(self.unread.get(..taken).unwrap_or_default());
        self.unread.advance(taken);
        Poll::Ready(Ok(()))
    }
}

impl<S: ByteStream> AsyncWrite for WebSocketBytes<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.socket).poll_ready(cx)).map_err(into_io)?;
        let taken = bytes.get(..FRAME_TO_CLIENT).unwrap_or(bytes);
        let frame = Message::Binary(Bytes::copy_from_slice(taken));
        Pin::new(&mut self.socket).start_send(frame).map_err(into_io)?;
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx).map_err(into_io)
    }

    /// A close frame, and the end of the stream below.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.close_sent {
            if let Err(error) = ready!(Pin::new(&mut self.socket).poll_close(cx)) {
                tracing::trace!(%error, "close frame");
            }
            self.close_sent = true;
        }
        Pin::new(self.socket.get_mut().get_mut()).poll_shutdown(cx)
    }
}

fn into_io(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed | Error::AlreadyClosed => io::ErrorKind::ConnectionAborted.into(),
        error => io::Error::new(io::ErrorKind::InvalidData, error),
    }
}
