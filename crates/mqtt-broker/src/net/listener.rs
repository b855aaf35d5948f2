//! Listeners: take connections in, keep their number within the limit, and give each a task.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    net::{TcpListener, ToSocketAddrs},
    time::sleep,
};

use super::{
    now,
    tasks::Tasks,
    transport::{Newcomer, Transport},
};
use crate::{broker::Broker, client::Peer, core::Core, hooks::survive};

/// How long to wait when the system has no file descriptor left: trying at once again would only burn the processor.
const OUT_OF_RESOURCES: Duration = Duration::from_millis(100);

impl Broker {
    /// Listens for MQTT over TCP [MQTT-7.1.1-1] on `address`; port 0 takes a free port. Returns the address that it listens on.
    ///
    /// Must be called within a tokio runtime, as all that is asynchronous here.
    pub async fn listen(&self, address: impl ToSocketAddrs) -> io::Result<SocketAddr> {
        self.serve(TcpListener::bind(address).await?)
    }

    /// Listens on `address` for MQTT over this transport: `Transport::tcp().websocket(WebSocketOptions::default())`, say.
    pub async fn listen_with(
        &self,
        address: impl ToSocketAddrs,
        transport: Transport,
    ) -> io::Result<SocketAddr> {
        self.serve_with(TcpListener::bind(address).await?, transport)
    }

    /// Serves MQTT over TCP on a listener that is bound already. A broker that was shut down serves nobody any more.
    pub fn serve(&self, listener: TcpListener) -> io::Result<SocketAddr> {
        self.serve_with(listener, Transport::tcp())
    }

    /// Serves MQTT over this transport on a listener that is bound already.
    pub fn serve_with(&self, listener: TcpListener, transport: Transport) -> io::Result<SocketAddr> {
        let address = listener.local_addr()?;
        self.accept(
            move |cx| listener.poll_accept(cx).map_ok(|(socket, address)| (socket, Peer::Inet(address))),
            move |socket, newcomer, tasks| {
                // Packets are written in whole batches: waiting for more would only add delay.
                if let Err(error) = socket.set_nodelay(true) {
                    tracing::debug!(peer = %newcomer.peer, %error, "TCP_NODELAY");
                }
                transport.start(socket, newcomer, tasks);
            },
        )?;
        Ok(address)
    }

    /// Lets in who comes, and starts them, in a task that ends when the broker stops listening.
    pub(super) fn accept<S: Send + 'static>(
        &self,
        poll_accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<(S, Peer)>> + Send + 'static,
        start: impl Fn(S, Newcomer, &Tasks) + Send + Sync + 'static,
    ) -> io::Result<()> {
        let (core, tasks) = (Arc::clone(self.core()), self.tasks().clone());
        if tasks.stop_listening.is_cancelled() {
            return Err(io::Error::other("the broker has been shut down"));
        }
        tasks.keep_house(&core);
        self.tasks().listeners.spawn(accept_until_stop(poll_accept, start, core, tasks));
        Ok(())
    }
}

async fn accept_until_stop<S>(
    mut poll_accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<(S, Peer)>>,
    start: impl Fn(S, Newcomer, &Tasks),
    core: Arc<Core>,
    tasks: Tasks,
) {
    while let Some(accepted) = tasks.stop_listening.run_until_cancelled(poll_fn(&mut poll_accept)).await {
        match accepted {
            Ok((socket, peer)) => {
                if let Some(newcomer) = admit(peer, &core) {
                    start(socket, newcomer, &tasks);
                }
            }
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections for the moment; raise the limit of open files");
                sleep(OUT_OF_RESOURCES).await;
            }
        }
    }
}

/// Lets a connection in, if there is a place for it and the hook agrees: the same for every transport.
fn admit(peer: Peer, core: &Arc<Core>) -> Option<Newcomer> {
    let mut burst = core.burst();
    burst.counts.connections_accepted += 1;
    let Some(place) = Place::take(core) else {
        burst.counts.connections_refused += 1;
        tracing::warn!(%peer, "refused: the broker has its maximum of connections");
        return None;
    };
    if core.hooks.on_accept.as_ref().is_some_and(|hook| survive("on_accept", || hook(peer)) != Some(true)) {
        burst.counts.connections_refused += 1;
        return None;
    }
    Some(Newcomer { peer, accepted_at: now(), certificate_user_name: None, core: Arc::clone(core), place })
}

/// One of the connections that the limit allows; given back when dropped, by a panic too.
pub(super) struct Place(Arc<Core>);

impl Place {
    fn take(core: &Arc<Core>) -> Option<Self> {
        let grown = |connections| (connections < core.limits.max_connections).then_some(connections + 1);
        core.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).ok()?;
        Some(Self(Arc::clone(core)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Errors of `accept` that say that a client went away before it was taken in.
fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
