//! [`Transport`]: what a listener speaks below MQTT. Nothing, WebSocket, TLS, or WebSocket within TLS.
//!
//! A handshake is a part of its connection: it runs in a task of its own, counts as a connection, and shares the
//! connection's deadline: it and the CONNECT together have `connect_timeout`.

use std::{io, sync::Arc, time::Instant};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout_at,
};

#[cfg(feature = "tls")]
use super::tls::Tls;
#[cfg(feature = "websocket")]
use super::websocket::{self, WebSocketOptions};
use super::{accept::Place, connection_task::ConnectionTask, tasks::Tasks};
use crate::client::Peer;

/// What a listener speaks below MQTT: see [`crate::Listener`]. The default is nothing: MQTT over TCP, as it is.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Transport {
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
    #[cfg(feature = "websocket")]
    websocket: Option<Arc<WebSocketOptions>>,
}

/// A byte stream that carries packets.
pub(super) trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> ByteStream for S {}

/// A connection that was let in, and whose packets are still to come.
pub(super) struct Newcomer {
    pub(super) peer: Peer,
    pub(super) accepted_at: Instant,
    /// What its certificate says: see [`crate::ConnectRequest::certificate_user_name`].
    pub(super) certificate_user_name: Option<Arc<str>>,
    pub(super) place: Place,
}

impl Transport {
    /// MQTT over TCP, as it is.
    pub fn tcp() -> Self {
        Self::default()
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

    /// Starts the task of a connection.
    pub(super) fn start<S: ByteStream>(&self, socket: S, newcomer: Newcomer, tasks: &Tasks) {
        if self.is_plain() {
            return newcomer.start(socket, tasks);
        }
        let handshake = self.clone().shake_hands_in_time(socket, newcomer, tasks.clone());
        tasks.tracker.spawn(handshake);
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

    pub(super) fn is_plain(&self) -> bool {
        !self.is_tls() && !self.is_websocket()
    }

    #[cfg_attr(not(feature = "tls"), expect(clippy::unused_self, reason = "only TLS asks"))]
    fn is_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        return false;
    }

    #[cfg_attr(not(feature = "websocket"), expect(clippy::unused_self, reason = "only WebSocket asks"))]
    fn is_websocket(&self) -> bool {
        #[cfg(feature = "websocket")]
        return self.websocket.is_some();
        #[cfg(not(feature = "websocket"))]
        return false;
    }

    async fn shake_hands_in_time<S: ByteStream>(self, socket: S, newcomer: Newcomer, tasks: Tasks) {
        let (peer, stop) = (newcomer.peer, tasks.stop.clone());
        let time_limit = newcomer.place.entrance.connect_timeout(&newcomer.place.core.limits);
        // Large, and over soon: on the heap it is not moved about.
        let handshake = Box::pin(self.shake_hands(socket, newcomer, &tasks));
        let outcome = match Instant::now().checked_add(time_limit) {
            Some(deadline) => stop.run_until_cancelled(timeout_at(deadline.into(), handshake)).await,
            None => stop.run_until_cancelled(handshake).await.map(Ok),
        };
        match outcome {
            Some(Ok(Err(error))) => tracing::info!(%peer, %error, "no connection: its handshake failed"),
            Some(Err(_)) => tracing::info!(%peer, "no connection: its handshake took too long"),
            Some(Ok(Ok(()))) | None => {}
        }
    }

    #[cfg_attr(not(feature = "tls"), expect(unused_mut, reason = "only TLS learns of a certificate"))]
    async fn shake_hands<S: ByteStream>(
        &self,
        socket: S,
        mut newcomer: Newcomer,
        tasks: &Tasks,
    ) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let (stream, user_name) = tls.accept(socket, self.is_websocket()).await?;
            newcomer.certificate_user_name = user_name;
            return self.upgrade(stream, newcomer, tasks).await;
        }
        self.upgrade(socket, newcomer, tasks).await
    }

    #[cfg_attr(not(feature = "websocket"), expect(clippy::unused_async, reason = "only WebSocket upgrades"))]
    async fn upgrade<S: ByteStream>(&self, socket: S, newcomer: Newcomer, tasks: &Tasks) -> io::Result<()> {
        #[cfg(feature = "websocket")]
        if let Some(options) = &self.websocket {
            let stream = websocket::accept(socket, options, newcomer.largest_packet()).await?;
            newcomer.start(stream, tasks);
            return Ok(());
        }
        newcomer.start(socket, tasks);
        Ok(())
    }
}

impl Newcomer {
    /// The size of the largest packet that it may send, now or later.
    #[cfg(feature = "websocket")]
    fn largest_packet(&self) -> usize {
        let Place { core, entrance, .. } = &self.place;
        entrance.max_packet_size(&core.limits).max(entrance.max_connect_packet_size(&core.limits))
    }

    /// A task of its own, so that a connection is no larger for the handshake that it had.
    pub(super) fn start<S: ByteStream>(self, socket: S, tasks: &Tasks) {
        tasks.tracker.spawn(ConnectionTask::new(socket, self, tasks.stop.clone()));
    }
}
