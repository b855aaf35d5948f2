//! The loop that takes connections in: keeps their number within the limits, and gives each a task.

use std::{
    future::poll_fn,
    io,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::sleep;

use super::{
    listener::Listener,
    now,
    tasks::Tasks,
    transport::{ByteStream, Newcomer, Transport},
};
use crate::{
    broker::Broker,
    client::Peer,
    core::Core,
    entrance::Entrance,
    hooks::{AcceptRequest, survive},
};

/// How long to wait when the system has no file descriptor left: trying at once again would only burn the processor.
const OUT_OF_RESOURCES: Duration = Duration::from_millis(100);

/// What accepted connections are given.
struct Reception {
    core: Arc<Core>,
    entrance: Arc<Entrance>,
    transport: Transport,
    tasks: Tasks,
}

impl Broker {
    /// Lets in who comes, in a task that ends when the broker stops listening.
    pub(super) fn accept<S: ByteStream>(
        &self,
        listener: Listener,
        poll_accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<(S, Peer)>> + Send + 'static,
    ) -> io::Result<()> {
        let (core, tasks) = (Arc::clone(self.core()), self.tasks().clone());
        if tasks.stop_listening.is_cancelled() {
            return Err(io::Error::other("the broker has been shut down"));
        }
        tasks.keep_house(&core);
        let (entrance, transport) = listener.into_parts();
        let reception = Reception { core, entrance, transport, tasks };
        self.tasks().listeners.spawn(reception.accept_until_stop(poll_accept));
        Ok(())
    }
}

impl Reception {
    async fn accept_until_stop<S: ByteStream>(
        self,
        mut poll_accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<(S, Peer)>>,
    ) {
        let stop = &self.tasks.stop_listening;
        while let Some(accepted) = stop.run_until_cancelled(poll_fn(&mut poll_accept)).await {
            match accepted {
                Ok((socket, peer)) => {
                    if let Some(newcomer) = self.admit(peer) {
                        self.transport.start(socket, newcomer, &self.tasks);
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
    fn admit(&self, peer: Peer) -> Option<Newcomer> {
        let core = &self.core;
        let mut burst = core.burst();
        burst.counts.connections_accepted += 1;
        let listener = self.entrance.name.as_deref();
        let Some(place) = Place::take(core, &self.entrance) else {
            burst.counts.connections_refused += 1;
            tracing::warn!(%peer, listener, "refused: there is the maximum of connections");
            return None;
        };
        let newcomer = Newcomer { peer, accepted_at: now(), certificate_user_name: None, place };
        if !newcomer.is_welcome() {
            burst.counts.connections_refused += 1;
            return None;
        }
        Some(newcomer)
    }
}

impl Newcomer {
    /// Whether the hook agrees. It is asked once, when it is known who is there.
    fn is_welcome(&self) -> bool {
        let Place { core, entrance } = &self.place;
        let Some(hook) = &core.hooks.on_accept else { return true };
        let request =
            AcceptRequest { peer: self.peer, listener: entrance.name.as_deref().unwrap_or_default() };
        survive("on_accept", || hook(request)) == Some(true)
    }
}

/// One of the connections that the limits allow; given back when dropped, by a panic too.
pub(super) struct Place {
    pub(super) core: Arc<Core>,
    pub(super) entrance: Arc<Entrance>,
}

impl Place {
    fn take(core: &Arc<Core>, entrance: &Arc<Entrance>) -> Option<Self> {
        if !entrance.enter() {
            return None;
        }
        let grown = |connections| (connections < core.limits.max_connections).then_some(connections + 1);
        if core.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).is_err() {
            entrance.leave();
            return None;
        }
        Some(Self { core: Arc::clone(core), entrance: Arc::clone(entrance) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.core.connections.fetch_sub(1, Ordering::Relaxed);
        self.entrance.leave();
    }
}

/// Errors of `accept` that say that a client went away before it was taken in.
fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
