//! What an operator may look at: lists of clients, sessions and subscriptions, a page at a time, and totals.

use std::sync::{Arc, atomic::Ordering};

use mqtt_codec::{QoS, TopicFilter};

use crate::{broker::Broker, client::ClientInfo, counters::Counts, session::SessionRef};

/// Which part of a list is wanted. Lists are in the order of client identifiers, so a page stays right while clients
/// come and go.
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

    /// One client's session, connected or not.
    pub fn session(&self, client_id: &str) -> Option<SessionSnapshot> {
        self.core().sessions.get(client_id).as_ref().map(snapshot)
    }

    /// The subscriptions of a page of clients, each client's in the order of their filters.
    pub fn subscriptions(&self, page: Page<'_>) -> Vec<SubscriptionSnapshot> {
        let has_any = |session: &SessionRef| session.subscriptions.lock().len() > 0;
        self.page_of(page, has_any).iter().flat_map(subscriptions_of).collect()
    }

    /// The subscriptions of one client; empty if it is unknown.
    pub fn subscriptions_of(&self, client_id: &str) -> Vec<SubscriptionSnapshot> {
        self.core().sessions.get(client_id).as_ref().map(subscriptions_of).unwrap_or_default()
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

    fn page_of(&self, page: Page<'_>, wanted: impl Fn(&SessionRef) -> bool) -> Vec<SessionRef> {
        let mut sessions = self.core().sessions.all();
        sessions
            .retain(|session| page.after.is_none_or(|after| &*session.client_id > after) && wanted(session));
        sessions.sort_unstable_by(|a, b| a.client_id.cmp(&b.client_id));
        sessions.truncate(page.limit);
        sessions
    }
}

fn snapshot(session: &SessionRef) -> SessionSnapshot {
    let subscriptions = session.subscriptions.lock().len();
    let client = session.client();
    let state = session.lock();
    SessionSnapshot {
        client_id: Arc::clone(&session.client_id),
        client,
        clean_session: session.clean,
        subscriptions,
        inflight_messages: state.outbox.inflight_messages(),
        queued_messages: state.outbox.queued_messages(),
        queued_bytes: state.outbox.queued_bytes(),
        unreleased_messages: state.received.len(),
    }
}

fn subscriptions_of(session: &SessionRef) -> Vec<SubscriptionSnapshot> {
    let own = session.subscriptions.lock();
    let client_id = &session.client_id;
    let mut all: Vec<SubscriptionSnapshot> = own
        .iter()
        .map(|(filter, qos)| SubscriptionSnapshot { client_id: Arc::clone(client_id), filter, qos })
        .collect();
    all.sort_unstable_by(|a, b| a.filter.cmp(&b.filter));
    all
}
