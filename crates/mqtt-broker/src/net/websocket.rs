//! MQTT within WebSocket (6): the upgrade of an HTTP request, and the byte stream within the binary frames.
//!
//! Frames mean nothing to packets: one may hold several, or a part of one [MQTT-6.0.0-2]. No HTTP server: what is not an
//! upgrade to MQTT is refused.

mod forwarded;
#[cfg(test)]
mod fuzz;
mod polled;
mod read_ahead;
mod upgrade;

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use async_tungstenite::tungstenite::{
    Error, Message,
    protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext, frame::coding::CloseCode},
};
use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub use self::upgrade::WebSocketOptions;
use self::{
    polled::{Polled, polled},
    read_ahead::ReadAhead,
};
use super::{handshake::Failure, newcomer::Newcomer, transport::ByteStream};
use crate::close_reason::ProtocolViolation;

/// What the library reads at a time, out of what was read ahead; an idle connection owns as much. Most packets fit.
const READ_BUFFER: usize = 512;
/// The most that one frame carries to a client: it is what a connection may own of a buffer to write from.
const FRAME_TO_CLIENT: usize = 16 * 1024;

/// The bytes within the frames of a WebSocket connection.
///
/// The library's stream is not used: what it was told of the largest frame in the beginning would hold to the end.
pub(super) struct WebSocketBytes<S> {
    socket: ReadAhead<S>,
    protocol: WebSocketContext,
    /// What is left of the frame that came last.
    unread: Bytes,
    /// Whether the last frame waits for the socket.
    is_behind: bool,
    close_sent: bool,
}

/// Upgrades an HTTP connection, whose request may name another client than who is at the other end.
pub(super) async fn accept<S: ByteStream>(
    socket: S,
    options: &WebSocketOptions,
    newcomer: &mut Newcomer,
) -> Result<WebSocketBytes<S>, Failure> {
    let config = config(newcomer.place.entrance.limits.max_connect_packet_size);
    let socket = upgrade::upgrade(socket, options, config, newcomer).await?;
    Ok(WebSocketBytes::new(socket, config))
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
    fn new(socket: ReadAhead<S>, config: WebSocketConfig) -> Self {
        let protocol = WebSocketContext::new(Role::Server, Some(config));
        Self { socket, protocol, unread: Bytes::new(), is_behind: false, close_sent: false }
    }

    /// Does something with the library, on the socket.
    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        act: impl FnOnce(&mut WebSocketContext, &mut Polled<'_, '_, ReadAhead<S>>) -> Result<T, Error>,
    ) -> Poll<Result<T, Error>> {
        polled(act(&mut self.protocol, &mut Polled { socket: &mut self.socket, cx }))
    }

    /// The next binary frame; `None` at the end.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        loop {
            let error = match ready!(self.poll(cx, |protocol, socket| protocol.read(socket))) {
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => return Poll::Ready(Ok(None)),
                Ok(Message::Binary(bytes)) => return Poll::Ready(Ok(Some(bytes))),
                // The answer to a ping, or to a close, goes out with the next read.
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_)) => {
                    continue;
                }
                // [MQTT-6.0.0-1]
                Ok(Message::Text(_)) | Err(Error::Utf8(_)) => {
                    self.close(cx, CloseCode::Unsupported);
                    io::Error::new(io::ErrorKind::InvalidData, ProtocolViolation::FrameNotBinary)
                }
                Err(error) => {
                    if matches!(error, Error::Capacity(_)) {
                        self.close(cx, CloseCode::Size);
                    }
                    into_io(error)
                }
            };
            return Poll::Ready(Err(error));
        }
    }

    /// Says why the connection is about to be closed. What does not go out now goes out with the shutdown.
    fn close(&mut self, cx: &mut Context<'_>, code: CloseCode) {
        let frame = CloseFrame { code, reason: "".into() };
        if let Poll::Ready(Err(error)) = self.poll(cx, |protocol, socket| protocol.close(socket, Some(frame)))
        {
            tracing::debug!(%error, "close frame");
        }
    }
}

impl<S: ByteStream> ByteStream for WebSocketBytes<S> {
    /// A frame that is longer than a packet may be is refused by its header.
    fn set_largest_packet(&mut self, bytes: usize) {
        let largest = Some(bytes);
        if self.protocol.get_config().max_frame_size != largest {
            self.protocol.set_config(|config| {
                (config.max_frame_size, config.max_message_size) = (largest, largest);
            });
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
        if self.is_behind {
            ready!(self.as_mut().poll_flush(cx))?;
        }
        let taken = bytes.get(..FRAME_TO_CLIENT).unwrap_or(bytes);
        let frame = Message::Binary(Bytes::copy_from_slice(taken));
        // The frame is kept where the socket does not take it at once.
        match self.poll(cx, |protocol, socket| protocol.write(socket, frame)) {
            Poll::Pending => self.is_behind = true,
            Poll::Ready(outcome) => outcome.map_err(into_io)?,
        }
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = ready!(self.poll(cx, |protocol, socket| protocol.flush(socket)));
        self.is_behind = false;
        Poll::Ready(match outcome {
            Ok(()) | Err(Error::ConnectionClosed) => Ok(()),
            Err(error) => Err(into_io(error)),
        })
    }

    /// A close frame, and the end of the stream below.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.close_sent {
            match ready!(self.poll(cx, |protocol, socket| protocol.close(socket, None))) {
                Ok(()) | Err(Error::ConnectionClosed) => {}
                Err(error) => tracing::trace!(%error, "close frame"),
            }
            self.close_sent = true;
        }
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

fn into_io(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed | Error::AlreadyClosed => io::ErrorKind::ConnectionAborted.into(),
        error => io::Error::new(io::ErrorKind::InvalidData, error),
    }
}
