//! What happens on a connection before MQTT: the word of a proxy, TLS, the upgrade to WebSocket.
//!
//! A handshake is a part of its connection: it runs in a task of its own, counts as a connection, and shares the
//! connection's deadline: it and the CONNECT together have `connect_timeout`.

use std::{future::Future, io, sync::Arc, time::Instant};

use tokio::{io::AsyncRead, time::timeout_at};

#[cfg(feature = "websocket")]
use super::websocket;
use super::{
    newcomer::Newcomer,
    now,
    proxy_protocol::{self, Source},
    tasks::Tasks,
    transport::{Socket, Transport},
};
use crate::{client::Peer, close_reason::CloseReason, core::Core, entrance::Entrance};

/// Why a connection did not come to MQTT.
#[derive(Debug)]
pub(super) enum Failure {
    Broken(io::Error),
    TookTooLong,
    /// It speaks something else than this listener; this says what to do.
    #[cfg_attr(
        not(any(feature = "tls", feature = "websocket")),
        expect(dead_code, reason = "on a plain one, the connection says so")
    )]
    MistakenPort(&'static str),
    /// Whoever is there only looked whether the broker is alive.
    HealthCheck,
    /// It is not let in: its refusal has been counted.
    Unwelcome,
    /// The broker stops.
    Shutdown,
}

/// The steps of one connection.
struct Handshake {
    core: Arc<Core>,
    transport: Transport,
    entrance: Arc<Entrance>,
    deadline: Option<Instant>,
    tasks: Tasks,
}

/// Who is there, as far as that is known before TLS.
#[derive(PartialEq)]
enum Introduction {
    Client,
    /// A proxy that speaks for itself.
    HealthCheck,
}

/// Starts the task of a connection.
pub(super) fn begin<S: Socket>(transport: &Transport, socket: S, newcomer: Newcomer, tasks: &Tasks) {
    if transport.is_plain() {
        return newcomer.start(socket, tasks);
    }
    let (core, entrance) = (Arc::clone(&newcomer.place.core), Arc::clone(&newcomer.place.entrance));
    let deadline = newcomer.accepted_at.checked_add(entrance.limits.connect_timeout);
    let handshake =
        Handshake { core, transport: transport.clone(), entrance, deadline, tasks: tasks.clone() };
    tasks.tracker.spawn(handshake.run(socket, newcomer));
}

impl Handshake {
    async fn run<S: Socket>(self, mut socket: S, mut newcomer: Newcomer) {
        let proxy = newcomer.peer;
        let introduction = match self.in_time(self.introduce(&mut socket, &mut newcomer)).await {
            Ok(introduction) => introduction,
            Err(failure) => return self.note(proxy, &failure),
        };
        let client = newcomer.peer;
        // Large, and over soon: on the heap it is not moved about.
        let rest = Box::pin(self.shake_hands(socket, newcomer));
        if let Err(failure) = self.in_time(rest).await {
            let is_health_check = introduction == Introduction::HealthCheck;
            self.note(client, if is_health_check { &Failure::HealthCheck } else { &failure });
        }
    }

    async fn in_time<T>(&self, handshake: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let stop = &self.tasks.stop;
        let outcome = match self.deadline {
            None => stop.run_until_cancelled(handshake).await.map(Ok),
            Some(deadline) => stop.run_until_cancelled(timeout_at(deadline.into(), handshake)).await,
        };
        outcome.ok_or(Failure::Shutdown)?.unwrap_or(Err(Failure::TookTooLong))
    }

    /// Lets a proxy say whom it speaks for. Whoever speaks for himself has been welcomed already.
    async fn introduce<S: AsyncRead + Unpin>(
        &self,
        socket: &mut S,
        newcomer: &mut Newcomer,
    ) -> Result<Introduction, Failure> {
        if !self.transport.expects_proxy_protocol() {
            return Ok(Introduction::Client);
        }
        let source = proxy_protocol::read(socket).await?.ok_or(Failure::HealthCheck)?;
        if let Source::Client(address) = source {
            newcomer.peer = Peer::Inet(address);
        }
        if !self.transport.expects_forwarded_for(newcomer.peer) && !newcomer.is_welcome() {
            return Err(Failure::Unwelcome);
        }
        Ok(if source == Source::Proxy { Introduction::HealthCheck } else { Introduction::Client })
    }

    #[cfg_attr(not(feature = "tls"), expect(unused_mut, reason = "only TLS learns of a certificate"))]
    async fn shake_hands<S: Socket>(&self, socket: S, mut newcomer: Newcomer) -> Result<(), Failure> {
        #[cfg(feature = "tls")]
        if let Some(tls) = self.transport.tls_in_force() {
            let (stream, user_name) = tls.accept(socket, self.transport.is_websocket()).await?;
            newcomer.certificate_user_name = user_name;
            return self.upgrade(stream, newcomer).await;
        }
        self.upgrade(socket, newcomer).await
    }

    #[cfg_attr(not(feature = "websocket"), expect(clippy::unused_async, reason = "only WebSocket upgrades"))]
    #[cfg_attr(
        not(feature = "websocket"),
        expect(unused_mut, reason = "only WebSocket learns of another peer")
    )]
    async fn upgrade<S: Socket>(&self, socket: S, mut newcomer: Newcomer) -> Result<(), Failure> {
        #[cfg(feature = "websocket")]
        if let Some(options) = self.transport.websocket_options() {
            let stream = websocket::accept(socket, options, &mut newcomer).await?;
            newcomer.start_here(stream, &self.tasks);
            return Ok(());
        }
        newcomer.start(socket, &self.tasks);
        Ok(())
    }

    /// Counts the end of a connection that did not come to MQTT, and tells of it.
    fn note(&self, peer: Peer, failure: &Failure) {
        let reason = match failure {
            Failure::Broken(_) | Failure::MistakenPort(_) => CloseReason::HandshakeFailed,
            Failure::TookTooLong => CloseReason::ConnectTimeout,
            Failure::HealthCheck => CloseReason::HealthCheck,
            Failure::Shutdown => CloseReason::Shutdown,
            Failure::Unwelcome => return,
        };
        self.core.counters.closed(&reason);
        self.log(peer, failure);
    }

    /// What an operator can do something about, and no more lines of it than can be read.
    fn log(&self, peer: Peer, failure: &Failure) {
        let listener = self.entrance.name.as_deref();
        let complaints = match failure {
            Failure::MistakenPort(_) => &self.entrance.mistaken_ports,
            Failure::Broken(_) | Failure::TookTooLong => &self.entrance.failed_handshakes,
            Failure::HealthCheck => return tracing::debug!(%peer, listener, "a health check"),
            Failure::Unwelcome | Failure::Shutdown => return,
        };
        let Some(left_out) = complaints.may_write(now()) else { return };
        match failure {
            Failure::MistakenPort(what) => tracing::warn!(%peer, listener, left_out, "{what}"),
            Failure::Broken(error) => {
                tracing::info!(%peer, listener, %error, left_out, "no connection: its handshake failed");
            }
            _ => tracing::info!(%peer, listener, left_out, "no connection: its handshake took too long"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}
