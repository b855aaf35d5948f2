//! [`Newcomer`]: a connection that was accepted, until its packets come.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use super::{
    connection_task::ConnectionTask,
    tasks::Tasks,
    transport::{ByteStream, Socket},
    workers::Berth,
};
use crate::{
    admission::{Entered, RefusalReason},
    client::Peer,
    close_reason::CloseReason,
    core::Core,
    entrance::Entrance,
    hooks::{AcceptRequest, survive},
};

/// How many connections beyond the limit may wait for a CONNECT, to be answered that there is no place.
const MOST_FAREWELLS: usize = 16;

/// A connection that has a place, and whose packets are still to come.
pub(super) struct Newcomer {
    /// The other end of the socket, or the client that a trusted proxy there speaks for.
    pub(super) peer: Peer,
    pub(super) accepted_at: Instant,
    /// What its certificate says: see [`crate::ConnectRequest::certificate_user_name`].
    pub(super) certificate_user_name: Option<Arc<str>>,
    pub(super) place: Place,
    pub(super) berth: Berth,
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

impl Newcomer {
    /// Whether it may stay. Asked once, as soon as it is known who is there: the same for every transport.
    pub(super) fn is_welcome(&mut self) -> bool {
        let Err(reason) = self.weigh() else { return true };
        refuse(&self.place.core, &self.place.entrance, self.peer, reason);
        false
    }

    /// Whether bans, the limits of its address and the hook agree.
    pub(super) fn weigh(&mut self) -> Result<(), RefusalReason> {
        let Place { core, entrance, entered, .. } = &mut self.place;
        *entered = core.admission.enter(self.accepted_at, self.peer, &entrance.limits)?;
        let Some(hook) = &core.hooks.on_accept else { return Ok(()) };
        let request =
            AcceptRequest { peer: self.peer, listener: entrance.name.as_deref().unwrap_or_default() };
        let agrees = survive("on_accept", || hook(request)) == Some(true);
        if agrees { Ok(()) } else { Err(RefusalReason::Hook) }
    }

    /// Its socket was lost on the way to its worker.
    pub(super) fn lose(self, error: &io::Error) {
        let Place { core, entrance, .. } = &self.place;
        core.counters.closed(&CloseReason::Io(error.kind()));
        tracing::debug!(peer = %self.peer, listener = entrance.name.as_deref(), %error, "lost before its first packet");
    }

    /// The size of the largest packet that it may send, now or later.
    #[cfg(feature = "websocket")]
    pub(super) fn largest_packet(&self) -> usize {
        let limits = &self.place.entrance.limits;
        limits.max_packet_size.max(limits.max_connect_packet_size)
    }

    /// A task of its own, so that a connection is no larger for the handshake that it had.
    pub(super) fn start<S: ByteStream>(self, stream: S, tasks: &Tasks) {
        tasks.tracker.spawn(ConnectionTask::new(stream, self, tasks.stop.clone()));
    }

    /// The same, with nothing between MQTT and the socket: such a connection can move to another worker.
    pub(super) fn start_plain<S: Socket>(self, socket: S, tasks: &Tasks) {
        let task = ConnectionTask::new(socket, self, tasks.stop.clone());
        tasks.tracker.spawn(task.that_moves());
    }
}

impl Place {
    pub(super) fn take(core: &Arc<Core>, entrance: &Arc<Entrance>) -> Result<Self, RefusalReason> {
        if !entrance.enter() {
            return Err(RefusalReason::TooManyOfListener);
        }
        if !grow(&core.connections, entrance.limits.max_connections) {
            entrance.leave();
            return Err(RefusalReason::TooManyConnections);
        }
        Ok(Self::new(core, entrance, false))
    }

    pub(super) fn among_few(core: &Arc<Core>, entrance: &Arc<Entrance>) -> Option<Self> {
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

/// Takes note of a connection that is not let in.
pub(super) fn refuse(core: &Core, entrance: &Entrance, peer: Peer, reason: RefusalReason) {
    core.counters.connections_refused.one();
    core.counters.refused(reason);
    tracing::debug!(%peer, listener = entrance.name.as_deref(), %reason, "refused");
}

/// Counts one more, unless there are so many.
fn grow(count: &AtomicUsize, most: usize) -> bool {
    let grown = |count| (count < most).then(|| count + 1);
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).is_ok()
}
