//! What an operator may look at: lists of clients, sessions and subscriptions, a page at a time, and totals.

use std::{
    iter,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use mqtt_codec::{QoS, TopicFilter};

use crate::{
    broker::Broker,
    client::ClientInfo,
    core::Core,
    counters::Counts,
    event::DropReason,
    net,
    session::{Losses, SessionRef, Walk},
};

/// Which part of a list is wanted. Lists are in the order of client identifiers, so a page stays right while clients
/// come and go.
///
/// ```
/// use mqtt_broker::{Broker, Page};
///
/// /// All sessions, a hundred at a time: the broker goes on meanwhile.
/// fn queued_messages(broker: &Broker) -> usize {
///     let (mut total, mut after) = (0, None::<String>);
///     loop {
///         let page = broker.sessions(Page { after: after.as_deref(), limit: 100 });
///         let Some(last) = page.last() else { return total };
///         after = Some(last.client_id.to_string());
///         total += page.iter().map(|session| session.queued_messages).sum::<usize>();
///     }
/// }
///
/// assert_eq!(queued_messages(&Broker::builder().build()), 0);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// Only client identifiers greater than this one: the last of the page before.
    pub after: Option<&'a str>,
    /// At most so many clients.
    pub limit: usize,
}

impl Default for Page<'_> {
    /// The first hundred.
    fn default() -> Self {
        Self { after: None, limit: 100 }
    }
}

/// One session, as it was when the list was made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionSnapshot {
    /// Whose.
    pub client_id: Arc<str>,
    /// The connected client, or `None`.
    pub client: Option<Arc<ClientInfo>>,
    /// Whether it ends with the connection.
    pub clean_session: bool,
    /// Topic filters.
    pub subscriptions: usize,
    /// QoS 1 and 2 messages sent and not acknowledged.
    pub inflight_messages: usize,
    /// Messages that wait.
    pub queued_messages: usize,
    /// Their topics and payloads, in bytes.
    pub queued_bytes: usize,
    /// QoS 2 messages received and not released.
    pub unreleased_messages: usize,
    /// When its last connection ended; `None` while it is connected.
    pub absent_since: Option<Instant>,
    /// PUBLISH packets of its client since it began.
    pub messages_received: u64,
    /// PUBLISH packets handed to its sockets.
    pub messages_sent: u64,
    /// Bytes that came over its connections.
    pub bytes_received: u64,
    /// Bytes of PUBLISH and PUBREL packets handed to its sockets.
    pub bytes_sent: u64,
    /// Messages that were dropped, by [`DropReason`] in the order of [`DropReason::ALL`].
    pub dropped: [u64; DropReason::ALL.len()],
    /// Why the last one was dropped, and when if that is known.
    pub last_drop: Option<(DropReason, Option<Instant>)>,
}

/// One subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriptionSnapshot {
    /// Whose.
    pub client_id: Arc<str>,
    /// The filter as it was asked for, `$share/group/` included.
    pub filter: TopicFilter,
    /// The granted QoS.
    pub qos: QoS,
    /// When it was granted, to the second; `None` if an earlier process did so.
    pub granted_at: Option<Instant>,
}

/// The broker in numbers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BrokerSnapshot {
    /// Open connections, those without a CONNECT included.
    pub connections: usize,
    /// Sessions, connected or not.
    pub sessions: usize,
    /// Subscriptions of all sessions.
    pub subscriptions: usize,
    /// Retained messages.
    pub retained_messages: usize,
    /// Their topics and payloads, in bytes.
    pub retained_bytes: usize,
    /// Everything that is counted since the start.
    pub counts: Counts,
}

/// What waits in all sessions together. Made by looking at each of them, a few at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionTotals {
    /// Sessions, connected or not.
    pub sessions: usize,
    /// Sessions whose client is connected, subscribers in this process among them.
    pub connected: usize,
    /// QoS 1 and 2 messages sent and not acknowledged.
    pub inflight_messages: usize,
    /// Messages that wait.
    pub queued_messages: usize,
    /// Their topics and payloads, in bytes.
    pub queued_bytes: usize,
    /// QoS 2 messages received and not released.
    pub unreleased_messages: usize,
}

/// The making of [`SessionTotals`], which may pause between steps.
#[derive(Default)]
pub(crate) struct Census {
    walk: Walk,
    pub(crate) totals: SessionTotals,
}

impl Broker {
    /// Connected clients.
    pub fn clients(&self, page: Page<'_>) -> Vec<Arc<ClientInfo>> {
        let connected = |session: &SessionRef| session.lock().is_connected();
        self.page_of(page, connected).iter().filter_map(|session| session.client()).collect()
    }

    /// Sessions, connected or not.
    pub fn sessions(&self, page: Page<'_>) -> Vec<SessionSnapshot> {
        self.page_of(page, |_| true).iter().map(snapshot).collect()
    }

    /// All sessions, connected or not, in no order: for whoever counts them, or sorts them otherwise. They are looked at as
    /// the iterator goes on, a few under one lock; who is there all the time comes once, whoever else comes and goes.
    pub fn all_sessions(&self) -> impl Iterator<Item = SessionSnapshot> + '_ {
        self.walk().map(|session| snapshot(&session))
    }

    /// One client's session, connected or not.
    pub fn session(&self, client_id: &str) -> Option<SessionSnapshot> {
        self.core().sessions.get(client_id).as_ref().map(snapshot)
    }

    /// The subscriptions of a page of clients, each client's in the order of their filters.
    pub fn subscriptions(&self, page: Page<'_>) -> Vec<SubscriptionSnapshot> {
        let has_any = |session: &SessionRef| session.subscriptions.lock().len() > 0;
        self.page_of(page, has_any)
            .iter()
            .flat_map(|session| subscriptions_of(session, self.started_at()))
            .collect()
    }

    /// The subscriptions of all sessions, those of a client together; the order of clients is that of
    /// [`Broker::all_sessions`].
    pub fn all_subscriptions(&self) -> impl Iterator<Item = SubscriptionSnapshot> + '_ {
        self.walk().flat_map(|session| subscriptions_of(&session, self.started_at()))
    }

    /// The subscriptions of one client; empty if it is unknown.
    pub fn subscriptions_of(&self, client_id: &str) -> Vec<SubscriptionSnapshot> {
        let session = self.core().sessions.get(client_id);
        session.as_ref().map(|session| subscriptions_of(session, self.started_at())).unwrap_or_default()
    }

    /// Totals.
    pub fn snapshot(&self) -> BrokerSnapshot {
        let core = self.core();
        BrokerSnapshot {
            connections: core.connections.load(Ordering::Relaxed),
            sessions: core.sessions.len(),
            subscriptions: core.subscriptions_len(),
            retained_messages: core.retained_len(),
            retained_bytes: core.retained_bytes(),
            counts: self.counts(),
        }
    }

    /// What waits in all sessions together. Costs a look at each; no lock is held for more than one of them.
    pub fn session_totals(&self) -> SessionTotals {
        let mut census = Census::default();
        while census.step(self.core()) {}
        census.totals
    }

    /// When the broker was built.
    pub fn started_at(&self) -> Instant {
        self.core().started_at
    }

    /// How long it has been running.
    pub fn uptime(&self) -> std::time::Duration {
        net::now().saturating_duration_since(self.core().started_at)
    }

    fn walk(&self) -> impl Iterator<Item = SessionRef> + '_ {
        let mut walk = Walk::default();
        iter::from_fn(move || Some(self.core().sessions.walk(&mut walk)).filter(|met| !met.is_empty()))
            .flatten()
    }

    fn page_of(&self, page: Page<'_>, wanted: impl Fn(&SessionRef) -> bool) -> Vec<SessionRef> {
        let mut after = page.after.map(Arc::from);
        let mut found: Vec<SessionRef> = Vec::new();
        while found.len() < page.limit {
            let mut next = self.core().sessions.next_after(after.as_deref(), page.limit - found.len());
            let Some(last) = next.last() else { break };
            after = Some(Arc::clone(&last.client_id));
            next.retain(&wanted);
            found.append(&mut next);
        }
        found.truncate(page.limit);
        found
    }
}

impl Census {
    /// Says whether there is more to look at.
    pub(crate) fn step(&mut self, core: &Core) -> bool {
        let next = core.sessions.walk(&mut self.walk);
        for session in &next {
            let state = session.lock();
            let totals = &mut self.totals;
            totals.sessions += 1;
            totals.connected += usize::from(state.is_connected());
            totals.inflight_messages += state.outbox.inflight_messages();
            totals.queued_messages += state.outbox.queued_messages();
            totals.queued_bytes += state.outbox.queued_bytes();
            totals.unreleased_messages += state.unreleased_messages();
        }
        !next.is_empty()
    }
}

fn snapshot(session: &SessionRef) -> SessionSnapshot {
    let subscriptions = session.subscriptions.lock().len();
    let state = session.lock();
    let losses = state.seldom.get().map(|parts| &parts.losses);
    SessionSnapshot {
        client_id: Arc::clone(&session.client_id),
        client: state.client(),
        clean_session: session.clean,
        subscriptions,
        inflight_messages: state.outbox.inflight_messages(),
        queued_messages: state.outbox.queued_messages(),
        queued_bytes: state.outbox.queued_bytes(),
        unreleased_messages: state.unreleased_messages(),
        absent_since: state.absent_since(),
        messages_received: session.messages_received(),
        messages_sent: state.traffic.messages_sent,
        bytes_received: state.traffic.bytes_received,
        bytes_sent: state.traffic.bytes_sent,
        dropped: losses.map(Losses::by_reason).unwrap_or_default(),
        last_drop: losses.and_then(Losses::last),
    }
}

fn subscriptions_of(session: &SessionRef, started_at: Instant) -> Vec<SubscriptionSnapshot> {
    let own = session.subscriptions.lock();
    let client_id = &session.client_id;
    let mut all: Vec<SubscriptionSnapshot> = own
        .iter()
        .map(|granted| SubscriptionSnapshot {
            client_id: Arc::clone(client_id),
            filter: granted.filter,
            qos: granted.qos,
            granted_at: granted.at.and_then(|at| started_at.checked_add(at)),
        })
        .collect();
    all.sort_unstable_by(|a, b| a.filter.cmp(&b.filter));
    all
}
