//! The loop that takes connections in: keeps their number within the limits, and gives each a task.

use std::{
    future::poll_fn,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::sleep;

use super::{
    listener::Listener,
    now,
    tasks::Tasks,
    transport::{Newcomer, Transport},
    workers::Movable,
};
use crate::{
    admission::{Entered, RefusalReason},
    broker::Broker,
    client::Peer,
    core::Core,
    entrance::Entrance,
    hooks::{AcceptRequest, survive},
};

/// How long to wait when the system has no file descriptor left: trying at once again would only burn the processor.
const OUT_OF_RESOURCES: Duration = Duration::from_millis(100);
/// How many connections beyond the limit may wait for a CONNECT, to be answered that there is no place.
const MOST_FAREWELLS: usize = 16;

/// What accepted connections are given.
struct Reception {
    core: Arc<Core>,
    entrance: Arc<Entrance>,
    transport: Transport,
    tasks: Tasks,
}

impl Broker {
    /// Lets in who comes, in a task that ends when the broker stops listening.
    pub(super) fn accept<S: Movable>(
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
    async fn accept_until_stop<S: Movable>(
        self,
        mut poll_accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<(S, Peer)>>,
    ) {
        let stop = &self.tasks.stop_listening;
        while let Some(accepted) = stop.run_until_cancelled(poll_fn(&mut poll_accept)).await {
            match accepted {
                Ok((socket, peer)) => {
                    if let Some(newcomer) = self.admit(peer) {
                        let (transport, tasks) = (self.transport.clone(), self.tasks.clone());
                        let go_on = move |socket| transport.start(socket, newcomer, &tasks);
                        self.tasks.place(socket, go_on);
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
        let accepted_at = now();
        let newcomer = |place| Newcomer { peer, accepted_at, certificate_user_name: None, place };
        let (newcomer, refused) = match Place::take(core, &self.entrance) {
            Ok(place) => newcomer(place).weighed(),
            Err(reason) => {
                // Told only where that takes no handshake: at the limit of connections nothing more is spent on them.
                let is_told = self.transport.is_plain();
                (
                    is_told.then(|| Place::among_few(core, &self.entrance)).flatten().map(newcomer),
                    Some(reason),
                )
            }
        };
        if let Some(reason) = refused {
            burst.counts.connections_refused += 1;
            burst.counts.refuse_one(reason);
            tracing::debug!(%peer, listener = self.entrance.name.as_deref(), %reason, "refused");
        }
        newcomer
    }
}

impl Newcomer {
    /// Lets it in, if there are no objections to it.
    fn weighed(mut self) -> (Option<Self>, Option<RefusalReason>) {
        match self.weigh() {
            Ok(()) => (Some(self), None),
            Err(reason) => (None, Some(reason)),
        }
    }

    /// Whether bans, the limits of its address and the hook agree. Asked once, when it is known who is there.
    fn weigh(&mut self) -> Result<(), RefusalReason> {
        let Place { core, entrance, entered, .. } = &mut self.place;
        *entered = core.admission.enter(self.accepted_at, self.peer, &core.limits)?;
        let Some(hook) = &core.hooks.on_accept else { return Ok(()) };
        let request =
            AcceptRequest { peer: self.peer, listener: entrance.name.as_deref().unwrap_or_default() };
        let agrees = survive("on_accept", || hook(request)) == Some(true);
        if agrees { Ok(()) } else { Err(RefusalReason::Hook) }
    }
}

/// One of the connections that the limits allow; given back when dropped, by a panic too.
pub(super) struct Place {
    pub(super) core: Arc<Core>,
    pub(super) entrance: Arc<Entrance>,
    /// In the account of its address.
    entered: Entered,
    /// One of the few beyond the limit, which are there to be told so.
    pub(super) is_beyond_the_limit: bool,
}

impl Place {
    fn take(core: &Arc<Core>, entrance: &Arc<Entrance>) -> Result<Self, RefusalReason> {
        if !entrance.enter() {
            return Err(RefusalReason::TooManyOfListener);
        }
        if !grow(&core.connections, core.limits.max_connections) {
            entrance.leave();
            return Err(RefusalReason::TooManyConnections);
        }
        Ok(Self::new(core, entrance, false))
    }

    fn among_few(core: &Arc<Core>, entrance: &Arc<Entrance>) -> Option<Self> {
        grow(&core.farewells, MOST_FAREWELLS).then(|| Self::new(core, entrance, true))
    }

    fn new(core: &Arc<Core>, entrance: &Arc<Entrance>, is_beyond_the_limit: bool) -> Self {
        let (core, entrance) = (Arc::clone(core), Arc::clone(entrance));
        Self { core, entrance, entered: Entered::default(), is_beyond_the_limit }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.core.admission.leave(&mut self.entered);
        if self.is_beyond_the_limit {
            self.core.farewells.fetch_sub(1, Ordering::Relaxed);
        } else {
            self.core.connections.fetch_sub(1, Ordering::Relaxed);
            self.entrance.leave();
        }
    }
}

/// Counts one more, unless there are so many.
fn grow(count: &AtomicUsize, most: usize) -> bool {
    let grown = |count| (count < most).then(|| count + 1);
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).is_ok()
}

/// Errors of `accept` that say that a client went away before it was taken in.
fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
