//! [`Transport`]: what a listener speaks below MQTT. Nothing, WebSocket, TLS, or WebSocket within TLS; and, ahead of it all,
//! the PROXY protocol. How it is spoken is in `handshake.rs`.

use std::sync::Arc;

#[cfg(any(feature = "tls", feature = "websocket"))]
use tokio::io::ReadBuf;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

#[cfg(feature = "tls")]
use super::tls::Tls;
#[cfg(feature = "websocket")]
use super::websocket::WebSocketOptions;
use super::{trusted::TrustedSources, workers::Movable};
use crate::client::Peer;

/// What a listener speaks below MQTT: see [`crate::Listener`]. The default is nothing: MQTT over TCP, as it is.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Transport {
    proxy_protocol: Option<Arc<TrustedSources>>,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
    #[cfg(feature = "websocket")]
    websocket: Option<Arc<WebSocketOptions>>,
}

/// A byte stream that carries packets.
pub(super) trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// From the next read on a packet may have so many bytes: for who has to keep what it comes in until that is whole.
    fn set_largest_packet(&mut self, _: usize) {}
}

impl ByteStream for TcpStream {}

#[cfg(unix)]
impl ByteStream for UnixStream {}

/// As much as there is room for; says how much that was.
#[cfg(any(feature = "tls", feature = "websocket"))]
pub(super) fn give(bytes: &[u8], wanted: &mut ReadBuf<'_>) -> usize {
    let given = bytes.len().min(wanted.remaining());
    wanted.put_slice(bytes.get(..given).unwrap_or_default());
    given
}

/// A socket, as it is accepted.
pub(super) trait Socket: ByteStream + Movable {}

impl<S: ByteStream + Movable> Socket for S {}

impl Transport {
    /// MQTT over TCP, as it is.
    pub fn tcp() -> Self {
        Self::default()
    }

    /// Behind proxies: each connection begins with a PROXY protocol header of version 1 or 2, ahead of TLS, and the client that
    /// it names is the [`Peer`]. A health check (`LOCAL`, or a connection that is closed at once) is no failure.
    ///
    /// The listener is for these proxies alone. Who comes from elsewhere is refused, whatever he sends; a proxy that sends
    /// no header is cut off, as nobody could tell its clients apart.
    pub fn proxy_protocol(mut self, proxies: TrustedSources) -> Self {
        self.proxy_protocol = Some(Arc::new(proxies));
        self
    }

    /// Within TLS; with [`Transport::websocket`] too, that is a secure WebSocket.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: &Tls) -> Self {
        self.tls = Some(tls.clone());
        self
    }

    /// Within WebSocket.
    #[cfg(feature = "websocket")]
    pub fn websocket(mut self, options: WebSocketOptions) -> Self {
        self.websocket = Some(Arc::new(options));
        self
    }

    /// What it is called, unless its listener has a name.
    pub(super) fn name(&self) -> &'static str {
        match (self.is_tls(), self.is_websocket()) {
            (false, false) => "tcp",
            (false, true) => "ws",
            (true, false) => "tls",
            (true, true) => "wss",
        }
    }

    /// Whether connections from there are served at all.
    pub(super) fn serves(&self, peer: Peer) -> bool {
        self.proxy_protocol.as_ref().is_none_or(|proxies| proxies.trust(peer))
    }

    /// Whether it is only known later who is there: a proxy is going to say.
    pub(super) fn expects_introduction(&self, peer: Peer) -> bool {
        self.expects_proxy_protocol() || self.expects_forwarded_for(peer)
    }

    pub(super) fn expects_proxy_protocol(&self) -> bool {
        self.proxy_protocol.is_some()
    }

    /// Whether this peer may say in an HTTP request for whom it speaks.
    #[cfg(feature = "websocket")]
    pub(super) fn expects_forwarded_for(&self, peer: Peer) -> bool {
        self.websocket.as_ref().is_some_and(|options| options.trust(peer))
    }

    #[cfg(not(feature = "websocket"))]
    #[expect(clippy::unused_self, reason = "only WebSocket asks")]
    pub(super) fn expects_forwarded_for(&self, _: Peer) -> bool {
        false
    }

    /// Whether MQTT begins with the first byte.
    pub(super) fn is_plain(&self) -> bool {
        !self.is_tls() && !self.is_websocket() && !self.expects_proxy_protocol()
    }

    #[cfg(feature = "tls")]
    pub(super) fn tls_in_force(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    #[cfg(feature = "websocket")]
    pub(super) fn websocket_options(&self) -> Option<&WebSocketOptions> {
        self.websocket.as_deref()
    }

    #[cfg_attr(not(feature = "tls"), expect(clippy::unused_self, reason = "only TLS asks"))]
    fn is_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        return false;
    }

    #[cfg_attr(not(feature = "websocket"), expect(clippy::unused_self, reason = "only WebSocket asks"))]
    pub(super) fn is_websocket(&self) -> bool {
        #[cfg(feature = "websocket")]
        return self.websocket.is_some();
        #[cfg(not(feature = "websocket"))]
        return false;
    }
}

/// Streams of tests.
#[cfg(test)]
mod of_tests {
    use tokio::io::{DuplexStream, Join};

    use super::{AsyncRead, AsyncWrite, ByteStream};

    impl ByteStream for DuplexStream {}

    impl<R, W> ByteStream for Join<R, W>
    where
        R: AsyncRead + Unpin + Send + 'static,
        W: AsyncWrite + Unpin + Send + 'static,
    {
    }
}
