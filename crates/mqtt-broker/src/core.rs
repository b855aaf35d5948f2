//! [`Core`]: what all connections of a broker share, and the acts that concern more than one of them.
//!
//! Publish, subscribe, end a session: each is one function here, whoever asks for it (a connection, the embedder, a Will).

mod hand_over;
mod publish;
mod retained;
mod tick;
mod worker_routes;

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use mqtt_codec::{QoS, TopicFilter};
use mqtt_router::{Retained, SubscribeError, Subscriptions, split_shared};
use parking_lot::{Mutex, RwLock};

use crate::{
    admission::AdmissionControl,
    burst::{Burst, WORK_A_FILTER},
    client::ClientInfo,
    counters::{Counters, Counts},
    durability::Durability,
    event::{DropReason, Event, Observer, SessionEnd},
    hooks::{HookSet, WillDecision, survive},
    limits::Limits,
    message::{Message, Outgoing},
    session::{
        AttachRefusal, Detached, Ended, Registry, SessionRef, SessionSubscriptions, Walk, Will, is_shared,
    },
    store::{Mark, Record},
    trace::Traces,
};

use self::worker_routes::WorkerRoutes;

/// How many subscriptions of a session that is over are removed under one lock.
const FORGOTTEN_AT_A_TIME: usize = 64;

/// Shared by every connection. Lock order: a session's subscriptions, then `subscriptions`; `retained` alone, or within a session's state.
pub(crate) struct Core {
    /// For what comes back later, from the store.
    this: Weak<Self>,
    pub(crate) limits: Limits,
    pub(crate) started_at: Instant,
    pub(crate) durability: Durability,
    pub(crate) hooks: HookSet,
    observers: Vec<Box<dyn Observer>>,
    /// How many of the first of them want the events of single messages.
    message_observers: usize,
    pub(crate) traces: Traces,
    pub(crate) counters: Counters,
    pub(crate) sessions: Registry,
    pub(crate) admission: AdmissionControl,
    /// Connections that a listener accepted and that have not ended.
    pub(crate) connections: AtomicUsize,
    /// Connections beyond the limit, which wait for a CONNECT to be told so.
    pub(crate) farewells: AtomicUsize,
    subscriptions: RwLock<Subscriptions<SessionRef>>,
    /// The generation of `subscriptions`, to be read without its lock.
    generation: AtomicU64,
    routes: WorkerRoutes,
    recheck: AtomicU32,
    /// What was counted when the log was last told of refusals.
    told: Mutex<Counts>,
    /// How far the store has been told anew of absent sessions, if the wall clock was set.
    to_date_anew: Mutex<Option<Walk>>,
    /// Of no session, and so not gone with any [MQTT-3.1.2-7].
    retained: RwLock<Retained<Message>>,
}

/// Why a filter was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscribeRefusal {
    /// The filter cannot be subscribed to.
    Filter(SubscribeError),
    /// More filters than [`crate::Limits::max_subscriptions_per_client`].
    TooManySubscriptions,
    /// More filters with a wildcard than [`crate::Limits::max_wildcard_subscriptions_per_client`].
    TooManyWildcards,
    /// More shared subscriptions than [`crate::Limits::max_shared_subscriptions_per_client`].
    TooManyShared,
    /// Filters of more bytes than [`crate::Limits::max_subscription_bytes_per_client`].
    TooManySubscriptionBytes,
    /// More filters of all sessions than [`crate::Limits::max_subscriptions`].
    TooManySubscriptionsInAll,
    /// The filter is longer than [`crate::Limits::max_topic_len`].
    TooLong,
    /// More sessions than [`crate::Limits::max_sessions`].
    TooManySessions,
    /// The broker [has shut down](crate::Broker::shutdown).
    ShutDown,
    /// There is no such session, or it has just ended.
    NoSession,
}

impl fmt::Display for SubscribeRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Filter(error) => return error.fmt(f),
            Self::TooManySubscriptions => "the client has too many subscriptions",
            Self::TooManyWildcards => "the client has too many subscriptions with a wildcard",
            Self::TooManyShared => "the client has too many shared subscriptions",
            Self::TooManySubscriptionBytes => "the client's topic filters are too long together",
            Self::TooManySubscriptionsInAll => "there are too many subscriptions",
            Self::TooLong => "the topic filter is too long",
            Self::TooManySessions => "there are too many sessions",
            Self::ShutDown => "the broker has shut down",
            Self::NoSession => "there is no such session",
        })
    }
}

impl std::error::Error for SubscribeRefusal {}

impl From<AttachRefusal> for SubscribeRefusal {
    fn from(refusal: AttachRefusal) -> Self {
        match refusal {
            AttachRefusal::TooManySessions => Self::TooManySessions,
            AttachRefusal::ShutDown => Self::ShutDown,
        }
    }
}

impl Core {
    pub(crate) fn new(
        mut limits: Limits,
        hooks: HookSet,
        observers: Vec<Box<dyn Observer>>,
        durability: Durability,
        started_at: Instant,
    ) -> Arc<Self> {
        // With none at all no QoS 1 or 2 message would ever be sent, or none whatever.
        limits.max_inflight = limits.max_inflight.max(1);
        limits.max_inflight_bytes = limits.max_inflight_bytes.max(1);
        limits.max_pending_bytes = limits.max_pending_bytes.max(1);
        let subscriptions = Subscriptions::new(limits.max_topic_levels, limits.shared_strategy);
        let retained = Retained::new(retained::retained_limits(&limits));
        let (wanting, others): (Vec<_>, _) =
            observers.into_iter().partition(|observer| observer.wants_messages());
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            limits,
            started_at,
            durability,
            hooks,
            message_observers: wanting.len(),
            observers: wanting.into_iter().chain(others).collect(),
            traces: Traces::default(),
            counters: Counters::default(),
            sessions: Registry::new(),
            admission: AdmissionControl::default(),
            connections: AtomicUsize::new(0),
            farewells: AtomicUsize::new(0),
            generation: AtomicU64::new(subscriptions.generation()),
            subscriptions: RwLock::new(subscriptions),
            routes: WorkerRoutes::new(),
            recheck: AtomicU32::new(1),
            told: Mutex::default(),
            to_date_anew: Mutex::default(),
            retained: RwLock::new(retained),
        })
    }

    pub(crate) fn burst(&self) -> Burst<'_> {
        Burst::new(&self.counters)
    }

    pub(crate) fn observe(&self, event: &Event<'_>) {
        for observer in &self.observers {
            survive("an observer", || observer.on_event(event));
        }
    }

    /// The same for an event of a single message.
    pub(crate) fn observe_message(&self, event: &Event<'_>) {
        for observer in self.observers.iter().take(self.message_observers) {
            survive("an observer", || observer.on_event(event));
        }
    }

    /// Takes note of a message that a client will not get; the empty name stands for all of them.
    pub(crate) fn dropped(
        &self,
        client_id: &str,
        message: &Message,
        reason: DropReason,
        burst: &mut Burst<'_>,
    ) {
        burst.tally.dropped(reason);
        self.observe_message(&Event::Dropped { client_id, message, reason });
    }

    /// Drops a message that no packet can carry. Its receivers would wait for it for ever, and for all that comes behind it.
    pub(crate) fn drops_too_long(&self, message: &Message, burst: &mut Burst<'_>) -> bool {
        let is_too_long = !message.fits_a_packet();
        if is_too_long {
            self.dropped("", message, DropReason::TooLong, burst);
        }
        is_too_long
    }

    /// Has every connection ask its hook again about the subscriptions that it has, as soon as it runs.
    pub(crate) fn recheck_subscriptions(&self) {
        self.recheck.fetch_add(1, Ordering::Release);
    }

    /// Counts the calls of [`Core::recheck_subscriptions`].
    pub(crate) fn recheck(&self) -> u32 {
        self.recheck.load(Ordering::Acquire)
    }

    #[cfg(test)]
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(crate) fn subscriptions_len(&self) -> usize {
        self.subscriptions.read().len()
    }

    /// Adds or replaces a subscription [MQTT-3.8.4-3]; a plain one has its retained messages due afterwards.
    pub(crate) fn subscribe(
        &self,
        session: &SessionRef,
        filter: &TopicFilter,
        granted: QoS,
        now: Option<Instant>,
    ) -> Result<Mark, SubscribeRefusal> {
        let mut own = session.subscriptions.lock();
        if own.is_ended() {
            return Err(SubscribeRefusal::NoSession);
        }
        self.has_room_for(filter, &own)?;
        let shared = split_shared(filter).map_err(SubscribeRefusal::Filter)?.is_some();
        // Many subscribe anew whenever they connect. What has not changed leaves all known routes as they are.
        if own.granted(filter) != Some(granted) {
            self.change_subscriptions(|all| all.subscribe(filter, session, granted))
                .map_err(SubscribeRefusal::Filter)?;
        }
        own.insert(filter, granted, now.map(|now| now.saturating_duration_since(self.started_at)));
        let mark = self.write_for(session, || Record::Subscribed {
            session: session.serial,
            filter: filter.detached(),
            qos: granted,
        });
        drop(own);
        // What is retained from here on is published from here on too, and the router knows of the subscription.
        if !shared && self.may_be_retained_for(filter) {
            session.lock().seldom.change(|parts| parts.retained_due.add(filter, granted));
        }
        self.observe(&Event::Subscribed { client_id: &session.client_id, filter, granted });
        Ok(mark)
    }

    fn has_room_for(&self, filter: &TopicFilter, own: &SessionSubscriptions) -> Result<(), SubscribeRefusal> {
        let limits = &self.limits;
        if filter.as_bytes().len() > limits.max_topic_len {
            return Err(SubscribeRefusal::TooLong);
        }
        let is_one_more = |len: usize, most: usize| len >= most && !own.contains(filter);
        if is_one_more(own.len(), limits.max_subscriptions_per_client) || !own.has_room_for(filter) {
            return Err(SubscribeRefusal::TooManySubscriptions);
        }
        if filter.has_wildcard() && is_one_more(own.wildcards(), limits.max_wildcard_subscriptions_per_client)
        {
            return Err(SubscribeRefusal::TooManyWildcards);
        }
        if is_shared(filter) && is_one_more(own.shared(), limits.max_shared_subscriptions_per_client) {
            return Err(SubscribeRefusal::TooManyShared);
        }
        if own.bytes_with(filter) > limits.max_subscription_bytes_per_client && !own.contains(filter) {
            return Err(SubscribeRefusal::TooManySubscriptionBytes);
        }
        if is_one_more(self.subscriptions_len(), limits.max_subscriptions) {
            return Err(SubscribeRefusal::TooManySubscriptionsInAll);
        }
        Ok(())
    }

    /// Makes room for so many subscriptions that an earlier process had granted.
    pub(crate) fn expect_subscriptions(&self, expected: usize) {
        self.subscriptions.write().reserve(expected.min(self.limits.max_subscriptions));
    }

    /// Puts a subscription back that an earlier process had granted; `false` if it has more levels than may be now.
    pub(crate) fn restore_subscription(
        &self,
        session: &SessionRef,
        filter: &TopicFilter,
        granted: QoS,
    ) -> bool {
        let is_restored = self.change_subscriptions(|all| all.subscribe(filter, session, granted)).is_ok();
        if is_restored {
            session.subscriptions.lock().insert(filter, granted, None);
        }
        is_restored
    }

    fn write_for(&self, session: &SessionRef, record: impl FnOnce() -> Record) -> Mark {
        if session.clean { Mark::NOTHING } else { self.durability.write(record) }
    }

    /// Removes a subscription; `None` if there was none. Deliveries begun are completed [MQTT-3.10.4-3].
    pub(crate) fn unsubscribe(&self, session: &SessionRef, filter: &TopicFilter) -> Option<Mark> {
        let mut own = session.subscriptions.lock();
        if !own.remove(filter) {
            return None;
        }
        self.change_subscriptions(|all| all.unsubscribe(filter, session.serial));
        let (key, kept) = (session.serial, filter.detached());
        let mark = self.write_for(session, || Record::Unsubscribed { session: key, filter: kept });
        drop(own);
        session.lock().seldom.change_if_any(|parts| parts.retained_due.remove(filter));
        self.observe(&Event::Unsubscribed { client_id: &session.client_id, filter });
        Some(mark)
    }

    /// Ends a session for good, and its connection, whose Will is due. `false` if it was over already.
    pub(crate) fn end_session(
        &self,
        session: &SessionRef,
        reason: SessionEnd,
        now: Instant,
        burst: &mut Burst<'_>,
    ) -> bool {
        let _turn = session.turn(); // What its connection is at comes first, and nothing after.
        let Some(Ended { detached }) = self.sessions.end(session, &self.limits) else { return false };
        if let Some(detached) = &detached {
            self.left_behind(detached, burst);
        }
        self.forget(session, reason, burst);
        let ended = self.end_record(session);
        match detached {
            Some(Detached { info, will: Some(will), .. }) => {
                self.publish_will(now, &info, will, ended, burst)
            }
            _ => self.durability.append(ended),
        };
        self.sessions.let_go(session);
        true
    }

    /// What the store has to know of a session that is over.
    pub(crate) fn end_record(&self, session: &SessionRef) -> Vec<Record> {
        let is_kept = self.durability.is_on() && !session.clean;
        is_kept.then_some(Record::SessionEnded { session: session.serial }).into_iter().collect()
    }

    /// The end of a session that the registry knows to be over: the router forgets it.
    pub(crate) fn forget(&self, session: &SessionRef, reason: SessionEnd, burst: &mut Burst<'_>) {
        let filters = session.subscriptions.lock().end();
        // They may be very many: publishers need not wait for all of them.
        for few in filters.chunks(FORGOTTEN_AT_A_TIME) {
            self.change_subscriptions(|all| {
                for filter in few {
                    all.unsubscribe(filter, session.serial);
                }
            });
        }
        let (lost, unread) = session.lock().outbox.clear();
        burst.spend(filters.len() * WORK_A_FILTER + lost.len());
        burst.totals.dropped(DropReason::SessionEnded, unread as u64);
        for message in &lost {
            self.dropped(&session.client_id, message, DropReason::SessionEnded, burst);
        }
        if reason == SessionEnd::Expired {
            burst.totals.sessions_expired.one();
        }
        self.observe(&Event::SessionEnded { client_id: &session.client_id, reason });
    }

    /// Publishes the Will of a connection that ended without DISCONNECT, once and at once [MQTT-3.1.2-8]; `group` is what
    /// has to survive together with it.
    pub(crate) fn publish_will(
        &self,
        now: Instant,
        client: &ClientInfo,
        will: Will,
        mut group: Vec<Record>,
        burst: &mut Burst<'_>,
    ) -> Mark {
        let Will { key, message: will } = will;
        if self.durability.is_on() {
            group.push(Record::WillCleared { key });
        }
        if self.limits.reserves(will.topic_bytes()) {
            self.dropped("", &will, DropReason::ReservedTopic, burst);
            return self.durability.append(group);
        }
        let hook = self.hooks.on_will.as_ref();
        let decision =
            hook.map_or(Some(WillDecision::Pass), |hook| survive("on_will", || hook(client, &will)));
        let will = match decision {
            Some(WillDecision::Pass) => will,
            Some(WillDecision::Change(changed)) => changed,
            Some(WillDecision::Drop) | None => {
                self.dropped("", &will, DropReason::Refused, burst);
                return self.durability.append(group);
            }
        };
        self.publish_message(now, &will, group, burst)
    }

    /// Publishes a whole message, retaining it if it says so [MQTT-3.1.2-16] [MQTT-3.1.2-17].
    pub(crate) fn publish_message(
        &self,
        now: Instant,
        message: &Message,
        group: Vec<Record>,
        burst: &mut Burst<'_>,
    ) -> Mark {
        burst.now = Some(now);
        if self.drops_too_long(message, burst) {
            return self.durability.append(group);
        }
        let outgoing = Outgoing::of(message);
        let retained = if message.retain() { self.retain(now, &outgoing, burst) } else { Mark::NOTHING };
        self.publish_to(&outgoing, group, burst, |_| true).max(retained)
    }

    fn change_subscriptions<T>(&self, change: impl FnOnce(&mut Subscriptions<SessionRef>) -> T) -> T {
        let mut subscriptions = self.subscriptions.write();
        let outcome = change(&mut subscriptions);
        // Before the lock is let go, so before anybody is told: a publisher that comes later sees the change.
        self.generation.store(subscriptions.generation(), Ordering::Release);
        outcome
    }
}
