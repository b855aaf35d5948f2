//! [`Newcomer`]: a connection that was accepted, until its packets come.

use std::{io, sync::Arc, time::Instant};

#[cfg(feature = "websocket")]
use super::transport::ByteStream;
use super::{connection_task::ConnectionTask, tasks::Tasks, transport::Socket, workers::Berth};
use crate::{
    admission::RefusalReason,
    client::Peer,
    close_reason::CloseReason,
    core::Core,
    entrance::Entrance,
    hooks::{AcceptRequest, survive},
    place::Place,
};

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

impl Newcomer {
    /// Whether it may stay. Asked once, as soon as it is known who is there: the same for every transport.
    pub(super) fn is_welcome(&mut self) -> bool {
        let Err(reason) = self.weigh() else { return true };
        refuse(&self.place.core, &self.place.entrance, self.peer, reason);
        false
    }

    /// Whether bans, the limits of its address and the hook agree.
    pub(super) fn weigh(&mut self) -> Result<(), RefusalReason> {
        self.place.enter(self.accepted_at, self.peer)?;
        let Place { core, entrance, .. } = &self.place;
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

    /// A task of its own, so that a connection is no larger for the handshake that it had.
    pub(super) fn start<S: Socket>(self, socket: S, tasks: &Tasks) {
        let task = ConnectionTask::new(socket, self, tasks.stop.clone());
        tasks.tracker.spawn(task.that_moves());
    }

    /// The same for a stream that is bound to the runtime it is on.
    #[cfg(feature = "websocket")]
    pub(super) fn start_here<S: ByteStream>(self, stream: S, tasks: &Tasks) {
        tasks.tracker.spawn(ConnectionTask::new(stream, self, tasks.stop.clone()));
    }
}

/// Takes note of a connection that is not let in.
pub(super) fn refuse(core: &Core, entrance: &Entrance, peer: Peer, reason: RefusalReason) {
    core.counters.connections_refused.one();
    core.counters.refused(reason);
    tracing::debug!(%peer, listener = entrance.name.as_deref(), %reason, "refused");
}
