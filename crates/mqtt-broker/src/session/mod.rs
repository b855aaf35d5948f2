//! A [`Session`]: the state that the standard keeps for a client (3.1.2.4), a file for each part of it.
//!
//! It outlives connections if CleanSession is 0. A connection holds it by an [`Attachment`], which is good only while the
//! session's client is still that connection's: one that was taken over can never touch the session again.

mod gate;
mod inflight;
mod outbox;
mod queue;
mod received;
mod registry;
mod retained_due;
mod seldom;
mod subscriptions;
mod traffic;
mod turn;

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

use self::seldom::{Absence, Seldom};
pub(crate) use self::{
    gate::Gate,
    inflight::{Acknowledged, Stage},
    outbox::{Dropped, MOST_WITHHELD, Outbox, Owner, Pushed, Sent},
    queue::PendingRead,
    received::{Received, TooManyUnreleased},
    registry::{AttachRefusal, Attached, Ended, Registry, Restoring, Walk},
    retained_due::{Lookup, RetainedDue},
    subscriptions::{SessionSubscriptions, is_shared},
    traffic::{Losses, Traffic},
    turn::Turn,
};
use crate::{
    client::{ClientInfo, Peer},
    close_reason::CloseReason,
    durability::Durability,
    event::DropReason,
    hooks::HookSet,
    limits::Limits,
    message::{Message, Outgoing},
    store::{Mark, QueuePage, Record, WillKey},
    sync::{AtomicBool, Mutex, MutexGuard},
};

/// One client's session, kept for as long as it lasts [MQTT-4.1.0-1].
///
/// Lock order: a turn, before all else; `subscriptions`, then the router, or `state`; `state` otherwise alone, or before the retained store.
pub(crate) struct Session {
    /// Unique in this process: two sessions of one client identifier, one after the other, differ in it.
    pub(crate) serial: u64,
    pub(crate) client_id: Arc<str>,
    pub(crate) clean: bool,
    online: AtomicBool,
    turns: Mutex<()>,
    /// PUBLISH packets. Outside the lock, so that its connection need not take that once more.
    messages_received: AtomicU64,
    pub(crate) subscriptions: Mutex<SessionSubscriptions>,
    state: Mutex<SessionState>,
}

/// What changes with every packet.
#[derive(Default)]
pub(crate) struct SessionState {
    /// The connected client. Each connection has a [`ClientInfo`] of its own, and holds the session while this is it.
    client: Option<Arc<ClientInfo>>,
    pub(crate) traffic: Traffic,
    pub(crate) outbox: Outbox,
    pub(crate) seldom: Seldom,
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
pub(crate) struct SessionRef(triomphe::Arc<Session>);

/// A connection's hold on its session.
pub(crate) struct Attachment {
    pub(crate) session: SessionRef,
    pub(crate) info: Arc<ClientInfo>,
}

impl Session {
    fn new(serial: u64, client_id: Arc<str>, clean: bool) -> Self {
        Self {
            serial,
            client_id,
            clean,
            online: AtomicBool::new(false),
            turns: Mutex::default(),
            messages_received: AtomicU64::new(0),
            subscriptions: Mutex::default(),
            state: Mutex::default(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, SessionState> {
        self.state.lock()
    }

    pub(crate) fn turn(&self) -> Turn<'_> {
        Turn::wait_for(&self.turns)
    }

    fn begin_turn(&self) -> Turn<'_> {
        Turn::begin(&self.turns)
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
        if !state.client.as_ref().is_some_and(condition) {
            return false;
        }
        state.seldom.change(|parts| _ = parts.closing.get_or_insert_with(|| Box::new(reason)));
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
        self.lock().client()
    }
}

impl SessionState {
    pub(crate) fn client(&self) -> Option<Arc<ClientInfo>> {
        self.client.clone()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.seldom.get().is_some_and(|parts| parts.ended.is_some())
    }

    /// When its last connection ended; `None` while it has one.
    pub(crate) fn absent_since(&self) -> Option<Instant> {
        self.seldom.get()?.absence.as_ref()?.since
    }

    /// When it has been absent for too long; `None` while its client is connected, or for ever.
    fn expires_at(&self) -> Option<Instant> {
        self.seldom.get()?.absence.as_ref()?.expires_at
    }

    /// Whether it has been absent for too long.
    fn has_expired(&self, now: Instant) -> bool {
        self.client.is_none() && self.expires_at().is_some_and(|at| at <= now)
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
        // Whoever has looked a retained message up has asked the hook.
        let gate = if retain { Gate::OPEN } else { Gate::new(hooks, self.client.as_deref()) };
        self.outbox.push(outgoing, qos, retain, now, limits, gate)
    }

    /// Takes what the store has read of the queue.
    pub(crate) fn add_page(
        &mut self,
        number: u64,
        page: QueuePage,
        limits: &Limits,
        hooks: &HookSet,
    ) -> Pushed {
        let gate = Gate::new(hooks, self.client.as_deref());
        let pushed = self.outbox.add_page(number, page, limits, gate);
        for (reason, _) in &pushed.dropped {
            self.lose(*reason, None);
        }
        pushed
    }

    /// Moves what waits towards the socket; hands out what the client may not have.
    pub(crate) fn refill(&mut self, limits: &Limits, hooks: &HookSet) -> Vec<Message> {
        let gate = Gate::new(hooks, self.client.as_deref());
        let withheld = self.outbox.refill(limits, gate);
        for _ in &withheld {
            self.lose(DropReason::Withheld, None);
        }
        withheld
    }

    /// Counts a message that its client will not get.
    pub(crate) fn lose(&mut self, reason: DropReason, now: Option<Instant>) {
        self.seldom.change(|parts| parts.losses.add(reason, now));
    }

    /// QoS 2 messages of its client that wait for their PUBREL.
    pub(crate) fn unreleased_messages(&self) -> usize {
        self.seldom.get().map_or(0, |parts| parts.received.len())
    }

    pub(crate) fn has_retained_due(&self) -> bool {
        self.seldom.get().is_some_and(|parts| !parts.retained_due.is_empty())
    }

    /// Where its client is connected from.
    pub(crate) fn peer(&self) -> Option<Peer> {
        self.client.as_ref().map(|client| client.peer)
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.client.is_some()
    }

    /// Whether this is still its client's connection, and not an earlier one's.
    fn belongs_to(&self, client: &Arc<ClientInfo>) -> bool {
        self.client.as_ref().is_some_and(|own| Arc::ptr_eq(own, client))
    }

    /// Its client is not connected, and has not been since.
    fn be_absent(&mut self, absence: Absence) {
        self.seldom.change(|parts| parts.absence = Some(absence));
    }

    /// Takes the session from its connection, if it has one: what that connection leaves behind is returned.
    fn detach(&mut self, limits: &Limits) -> Option<Detached> {
        let info = self.client.take()?;
        let will = self.seldom.change_if_any(|parts| {
            parts.closing = None;
            parts.will.take()
        });
        let waker = self.outbox.waker();
        let lost = self.outbox.disconnect(limits);
        for _ in &lost {
            self.lose(DropReason::Qos0WhileAbsent, None);
        }
        Some(Detached { info, will, waker, lost })
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
    /// QoS 0 messages that waited for it.
    pub(crate) lost: Vec<Message>,
}

impl Attachment {
    /// The session's state, or why this connection must end.
    pub(crate) fn lock(&self) -> Result<MutexGuard<'_, SessionState>, CloseReason> {
        let state = self.session.lock();
        if !state.belongs_to(&self.info) {
            let ended = state.seldom.get().and_then(|parts| parts.ended.as_deref().cloned());
            return Err(ended.unwrap_or(CloseReason::TakenOver));
        }
        match state.seldom.get().and_then(|parts| parts.closing.as_deref().cloned()) {
            Some(reason) => Err(reason),
            None => Ok(state),
        }
    }

    /// Whether the session is still this connection's. Once it is not, it never is again.
    pub(crate) fn has_session(&self) -> bool {
        self.session.lock().belongs_to(&self.info)
    }

    /// Whether this connection may go on.
    pub(crate) fn check(&self) -> Result<(), CloseReason> {
        self.lock().map(drop)
    }

    /// Lets the session go; `None` if it was taken over already. `is_orderly`: the Will is void, and that is written before anybody
    /// else has the session [MQTT-3.1.2-10].
    pub(crate) fn release(
        &self,
        now: Instant,
        limits: &Limits,
        durability: &Durability,
        is_orderly: bool,
    ) -> Option<Detached> {
        let mut state = self.session.lock();
        if !state.belongs_to(&self.info) {
            return None;
        }
        let mut detached = state.detach(limits)?;
        let void = detached.will.take_if(|_| is_orderly);
        let expires_at = limits.session_expiry.and_then(|expiry| now.checked_add(expiry));
        state.be_absent(Absence { since: Some(now), expires_at });
        self.session.set_online(false);
        if durability.is_on() {
            let gone = (!self.session.clean).then(|| durability.detached(self.session.serial, now));
            let void = void.map(|Will { key, .. }| Record::WillCleared { key });
            durability.append(gone.into_iter().chain(void).collect());
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
    fn new(session: Session) -> Self {
        Self(triomphe::Arc::new(session))
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        triomphe::Arc::ptr_eq(&self.0, &other.0)
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
        state.client = Some(Arc::clone(&info));
        state.seldom.change_if_any(|parts| parts.absence = None);
        if will.is_some() {
            state.seldom.change(|parts| parts.will = will);
        }
        let owner = if info.peer == Peer::InProcess { Owner::InProcess } else { Owner::Connection };
        let withheld = state.outbox.connect(owner, limits, Gate::new(hooks, Some(&info)));
        for _ in &withheld {
            state.lose(DropReason::Withheld, None);
        }
        self.set_online(true);
        let attachment = Attachment { session: self.clone(), info };
        NewAttachment { attachment, taken_over, withheld, mark }
    }

    /// Ends the session: nothing reaches its outbox any more. A live connection loses it.
    fn end(&self, reason: CloseReason, limits: &Limits) -> Option<Detached> {
        let mut state = self.lock();
        state.seldom.change(|parts| parts.ended = Some(Box::new(reason)));
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

#[cfg(all(test, not(gmqtt_loom)))]
mod tests {
    use super::*;

    /// There is one of these a client. With the counter before it, an allocation of 224 bytes has room for 216.
    #[test]
    fn a_session_is_small() {
        let size = size_of::<Session>();
        assert!(size <= 216, "{size} bytes");
    }
}
