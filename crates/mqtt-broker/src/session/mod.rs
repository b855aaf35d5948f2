//! A [`Session`]: the state that the standard keeps for a client (3.1.2.4), a file for each part of it.
//!
//! It outlives connections if CleanSession is 0. A connection holds it by an [`Attachment`], whose generation makes sure
//! that a connection which was taken over can never touch it again.

mod gate;
mod inflight;
mod outbox;
mod queue;
mod received;
mod registry;
mod retained_due;
mod subscriptions;
mod traffic;

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Waker,
    time::Instant,
};

use mqtt_codec::QoS;
use mqtt_router::Subscriber;

pub(crate) use self::{
    gate::Gate,
    inflight::{Acknowledged, Stage},
    outbox::{Dropped, MOST_WITHHELD, Outbox, Owner, Pushed, Sent},
    queue::PendingRead,
    received::{Received, TooManyUnreleased},
    registry::{Attached, Registry},
    retained_due::{Lookup, RetainedDue},
    subscriptions::SessionSubscriptions,
    traffic::{Losses, Traffic},
};
use crate::{
    client::{ClientInfo, Peer},
    close_reason::CloseReason,
    durability::Durability,
    event::DropReason,
    hooks::HookSet,
    limits::Limits,
    message::{Message, Outgoing},
    store::{Mark, WillKey},
    sync::{AtomicBool, Mutex, MutexGuard},
};

/// One client's session, kept for as long as it lasts [MQTT-4.1.0-1]. Lock order: `subscriptions`, then the router; `state` alone, or before the retained store.
pub(crate) struct Session {
    /// Unique in this process: two sessions of one client identifier, one after the other, differ in it.
    pub(crate) serial: u64,
    pub(crate) client_id: Arc<str>,
    pub(crate) clean: bool,
    online: AtomicBool,
    /// PUBLISH packets. Outside the lock, so that its connection need not take that once more.
    messages_received: AtomicU64,
    pub(crate) subscriptions: Mutex<SessionSubscriptions>,
    state: Mutex<SessionState>,
}

/// What changes with every packet.
#[derive(Default)]
pub(crate) struct SessionState {
    /// Counts connections of this session.
    generation: u64,
    connection: Option<LiveConnection>,
    /// The session is over: nothing may be put into its outbox any more. Why its last connection, if it has one, must end.
    ended: Option<Box<CloseReason>>,
    /// `None` while its client is connected.
    absence: Option<Box<Absence>>,
    pub(crate) traffic: Traffic,
    pub(crate) losses: Losses,
    pub(crate) outbox: Outbox,
    pub(crate) received: Received,
    pub(crate) retained_due: RetainedDue,
}

/// Behind a pointer, because a connected client has no use for it.
struct Absence {
    /// When the last connection ended; `None` before this process knew of any moment.
    since: Option<Instant>,
    /// When it has been absent for too long; `None` is never.
    expires_at: Option<Instant>,
}

/// The connection that a session is attached to. What few have is behind pointers: there is one of these a client.
struct LiveConnection {
    info: Arc<ClientInfo>,
    /// Published when the connection ends without DISCONNECT [MQTT-3.1.2-8].
    will: Option<Box<Will>>,
    /// Set by others: the connection is to end for this reason.
    closing: Option<Box<CloseReason>>,
}

/// A connection's Will.
#[derive(Clone)]
pub(crate) struct Will {
    /// Its key in the store. Not the session's: that may have its next connection before this one's Will is published.
    pub(crate) key: WillKey,
    pub(crate) message: Message,
}

/// A session as the router holds it.
#[derive(Clone)]
pub(crate) struct SessionRef(Arc<Session>);

/// A connection's hold on its session.
pub(crate) struct Attachment {
    pub(crate) session: SessionRef,
    generation: u64,
    pub(crate) info: Arc<ClientInfo>,
}

impl Session {
    fn new(serial: u64, client_id: Arc<str>, clean: bool) -> Self {
        Self {
            serial,
            client_id,
            clean,
            online: AtomicBool::new(false),
            messages_received: AtomicU64::new(0),
            subscriptions: Mutex::default(),
            state: Mutex::default(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, SessionState> {
        self.state.lock()
    }

    pub(crate) fn count_received(&self, messages: u32) {
        self.messages_received.fetch_add(messages.into(), Ordering::Relaxed);
    }

    /// PUBLISH packets of its client since it began.
    pub(crate) fn messages_received(&self) -> u64 {
        self.messages_received.load(Ordering::Relaxed)
    }

    /// Tells the connection, if there is one, to end. Says whether there was one.
    pub(crate) fn close(&self, reason: CloseReason) -> bool {
        self.close_if(reason, |_| true)
    }

    /// The same, if it is still this client's connection, and not a later one.
    pub(crate) fn close_connection_of(&self, client: &Arc<ClientInfo>, reason: CloseReason) -> bool {
        self.close_if(reason, |info| Arc::ptr_eq(info, client))
    }

    fn close_if(&self, reason: CloseReason, condition: impl FnOnce(&Arc<ClientInfo>) -> bool) -> bool {
        let mut state = self.lock();
        let connection = state.connection.as_mut().filter(|connection| condition(&connection.info));
        let Some(connection) = connection else { return false };
        connection.closing.get_or_insert_with(|| Box::new(reason));
        let waker = state.outbox.waker();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Lets the connection's task look again at what there is for it.
    pub(crate) fn wake(&self) {
        let waker = self.lock().outbox.waker();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The connected client.
    pub(crate) fn client(&self) -> Option<Arc<ClientInfo>> {
        self.lock().connection.as_ref().map(|connection| Arc::clone(&connection.info))
    }
}

impl SessionState {
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// When its last connection ended; `None` while it has one.
    pub(crate) fn absent_since(&self) -> Option<Instant> {
        self.absence.as_ref()?.since
    }

    /// When it has been absent for too long; `None` while its client is connected, or for ever.
    fn expires_at(&self) -> Option<Instant> {
        self.absence.as_ref()?.expires_at
    }

    /// Whether it has been absent for too long.
    fn has_expired(&self, now: Instant) -> bool {
        self.connection.is_none() && self.expires_at().is_some_and(|at| at <= now)
    }

    /// Takes a message for the client.
    pub(crate) fn push(
        &mut self,
        outgoing: &Outgoing<'_>,
        qos: QoS,
        retain: bool,
        now: Option<Instant>,
        limits: &Limits,
        hooks: &HookSet,
    ) -> Pushed {
        let gate = Gate::new(hooks, self.connection.as_ref().map(|connection| &*connection.info));
        self.outbox.push(outgoing, qos, retain, now, limits, gate)
    }

    /// Moves what waits towards the socket; hands out what the client may not have.
    pub(crate) fn refill(&mut self, limits: &Limits, hooks: &HookSet) -> Vec<Message> {
        let gate = Gate::new(hooks, self.connection.as_ref().map(|connection| &*connection.info));
        let withheld = self.outbox.refill(limits, gate);
        for _ in &withheld {
            self.losses.add(DropReason::Withheld, None);
        }
        withheld
    }

    /// Where its client is connected from.
    pub(crate) fn peer(&self) -> Option<Peer> {
        self.connection.as_ref().map(|connection| connection.info.peer)
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Takes the session from its connection, if it has one: what that connection leaves behind is returned.
    fn detach(&mut self, limits: &Limits) -> Option<Detached> {
        let LiveConnection { info, will, .. } = self.connection.take()?;
        self.generation += 1;
        let waker = self.outbox.waker();
        self.outbox.disconnect(limits);
        Some(Detached { info, will: will.map(|will| *will), waker })
    }
}

/// What [`SessionRef::attach`] leads to.
struct NewAttachment {
    attachment: Attachment,
    taken_over: Option<Detached>,
    /// Messages that waited for the client, and that it may not have.
    withheld: Vec<Message>,
    mark: Mark,
}

/// A connection that no longer has its session: its Will may be due, and its task may have to be told.
pub(crate) struct Detached {
    pub(crate) info: Arc<ClientInfo>,
    pub(crate) will: Option<Will>,
    pub(crate) waker: Option<Waker>,
}

impl Attachment {
    /// The session's state, or why this connection must end.
    pub(crate) fn lock(&self) -> Result<MutexGuard<'_, SessionState>, CloseReason> {
        let state = self.session.lock();
        if state.generation != self.generation {
            return Err(state.ended.as_deref().cloned().unwrap_or(CloseReason::TakenOver));
        }
        match state.connection.as_ref().and_then(|connection| connection.closing.as_deref().cloned()) {
            Some(reason) => Err(reason),
            None => Ok(state),
        }
    }

    /// Whether this connection may go on.
    pub(crate) fn check(&self) -> Result<(), CloseReason> {
        self.lock().map(drop)
    }

    /// Lets the session go; `None` if it was taken over already.
    pub(crate) fn release(&self, now: Instant, limits: &Limits, durability: &Durability) -> Option<Detached> {
        let mut state = self.session.lock();
        if state.generation != self.generation {
            return None;
        }
        let detached = state.detach(limits)?;
        let expires_at = limits.session_expiry.and_then(|expiry| now.checked_add(expiry));
        state.absence = Some(Box::new(Absence { since: Some(now), expires_at }));
        self.session.set_online(false);
        if !self.session.clean {
            durability.write_detached(self.session.serial, now);
        }
        Some(detached)
    }
}

impl Deref for SessionRef {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.0
    }
}

impl SessionRef {
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Gives the session to a new connection. A live earlier one loses it [MQTT-3.1.4-2].
    ///
    /// `write` tells the store. Here and in `release` that is done under the lock: it hears of connections in their order.
    fn attach(
        &self,
        info: Arc<ClientInfo>,
        will: Option<Will>,
        limits: &Limits,
        hooks: &HookSet,
        write: impl FnOnce() -> Mark,
    ) -> NewAttachment {
        let mut state = self.lock();
        let mark = write();
        let taken_over = state.detach(limits);
        state.generation += 1;
        let will = will.map(Box::new);
        state.absence = None;
        state.connection = Some(LiveConnection { info: Arc::clone(&info), will, closing: None });
        let owner = if info.peer == Peer::InProcess { Owner::InProcess } else { Owner::Connection };
        let withheld = state.outbox.connect(owner, limits, Gate::new(hooks, Some(&info)));
        for _ in &withheld {
            state.losses.add(DropReason::Withheld, None);
        }
        self.set_online(true);
        let attachment = Attachment { session: self.clone(), generation: state.generation, info };
        NewAttachment { attachment, taken_over, withheld, mark }
    }

    /// Ends the session: nothing reaches its outbox any more. A live connection loses it.
    fn end(&self, reason: CloseReason, limits: &Limits) -> Option<Detached> {
        let mut state = self.lock();
        state.ended = Some(Box::new(reason));
        self.set_online(false);
        state.detach(limits)
    }

    fn set_online(&self, online: bool) {
        self.online.store(online, Ordering::Relaxed);
    }
}

impl Subscriber for SessionRef {
    fn id(&self) -> u64 {
        self.serial
    }

    fn is_online(&self) -> bool {
        self.online.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, gmqtt_loom))]
mod loom_tests;
