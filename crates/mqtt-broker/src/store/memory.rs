//! [`MemoryStore`]: a store that survives a broker, not a process. For tests, and as the plainest example of a store.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    task::Waker,
    time::Duration,
};

use mqtt_codec::{PacketId, QoS, TopicFilter, TopicName};
use parking_lot::Mutex;

use super::{
    BatchCounter, BatchCounts, DeliverPage, Mark, MessageKey, QueuePage, QueueRead, QueuedMessage, Record,
    SessionKey, Store, StoreError, WillKey,
};
use crate::message::Message;

/// Keeps everything in memory; every group is durable at once. Clones share what they keep, so that a test can stop one
/// broker and start the next on the same state.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    appended: u64,
    sessions: BTreeMap<SessionKey, Session>,
    wills: BTreeMap<WillKey, (Arc<str>, Message)>,
    retained: BTreeMap<TopicName, Record>,
    batches: BatchCounter,
}

#[derive(Default)]
struct Session {
    client_id: Arc<str>,
    detached: Option<Record>,
    subscriptions: BTreeMap<TopicFilter, QoS>,
    messages: BTreeMap<MessageKey, Waiting>,
    received: BTreeSet<PacketId>,
}

struct Waiting {
    queued: Record,
    sent: Option<PacketId>,
    released: bool,
}

impl Store for MemoryStore {
    fn append(&self, group: Vec<Record>) -> Mark {
        let mut state = self.0.lock();
        state.batches.add(group.len(), Duration::ZERO);
        for record in group {
            state.apply(record);
        }
        state.appended += 1;
        Mark(state.appended)
    }

    fn durable(&self) -> Mark {
        Mark(self.0.lock().appended)
    }

    fn wake_at(&self, mark: Mark, waker: &Waker) {
        if self.durable() >= mark {
            waker.wake_by_ref();
        }
    }

    fn failure(&self) -> Option<StoreError> {
        None
    }

    fn batches(&self) -> Option<BatchCounts> {
        Some(self.0.lock().batches.counts())
    }

    fn recover(&self, visit: &mut dyn FnMut(Record)) -> Result<(), StoreError> {
        let state = self.0.lock();
        for (&session, kept) in &state.sessions {
            kept.recover(session, visit);
        }
        for (&key, (client_id, will)) in &state.wills {
            visit(Record::WillSet { key, client_id: Arc::clone(client_id), will: will.clone() });
        }
        state.retained.values().cloned().for_each(visit);
        Ok(())
    }

    fn read_queue(&self, read: QueueRead, deliver: DeliverPage) {
        let page = self.0.lock().sessions.get(&read.session).map(|session| session.page(read));
        deliver(page.unwrap_or(QueuePage { messages: Vec::new(), is_last: true }));
    }
}

impl State {
    fn apply(&mut self, record: Record) {
        match record {
            Record::SessionStarted { session, client_id } => {
                self.sessions.insert(session, Session { client_id, ..Session::default() });
            }
            Record::SessionEnded { session } => {
                self.sessions.remove(&session);
            }
            Record::WillSet { key, client_id, will } => {
                self.wills.insert(key, (client_id, will));
            }
            Record::WillCleared { key } => {
                self.wills.remove(&key);
            }
            Record::RetainedCleared { topic } => {
                self.retained.remove(&topic);
            }
            Record::Retained { ref message, .. } => {
                if let Ok(topic) = TopicName::new(message.topic_bytes().to_vec()) {
                    self.retained.insert(topic, record);
                }
            }
            Record::SessionAttached { session }
            | Record::SessionDetached { session, .. }
            | Record::Subscribed { session, .. }
            | Record::Unsubscribed { session, .. }
            | Record::Queued { session, .. }
            | Record::Sent { session, .. }
            | Record::Released { session, .. }
            | Record::Done { session, .. }
            | Record::Received { session, .. }
            | Record::Forgotten { session, .. } => {
                // A record of a session that has ended meanwhile says nothing any more.
                if let Some(kept) = self.sessions.get_mut(&session) {
                    kept.apply(record);
                }
            }
        }
    }
}

impl Session {
    fn apply(&mut self, record: Record) {
        match record {
            Record::SessionAttached { .. } => self.detached = None,
            Record::SessionDetached { .. } => self.detached = Some(record),
            Record::Subscribed { filter, qos, .. } => drop(self.subscriptions.insert(filter, qos)),
            Record::Unsubscribed { filter, .. } => drop(self.subscriptions.remove(&filter)),
            Record::Queued { key, .. } => {
                self.messages.insert(key, Waiting { queued: record, sent: None, released: false });
            }
            Record::Sent { key, packet_id, .. } => {
                if let Some(waiting) = self.messages.get_mut(&key) {
                    waiting.sent = Some(packet_id);
                }
            }
            Record::Released { key, .. } => {
                if let Some(waiting) = self.messages.get_mut(&key) {
                    waiting.released = true;
                }
            }
            Record::Done { key, .. } => drop(self.messages.remove(&key)),
            Record::Received { packet_id, .. } => {
                self.received.insert(packet_id);
            }
            Record::Forgotten { packet_id, .. } => {
                self.received.remove(&packet_id);
            }
            _ => {}
        }
    }

    fn page(&self, read: QueueRead) -> QueuePage {
        let (mut messages, mut bytes) = (Vec::new(), 0);
        let waiting = self.messages.range(read.after.saturating_add(1)..);
        for (&key, Waiting { queued, .. }) in waiting.filter(|(_, waiting)| waiting.sent.is_none()) {
            if bytes >= read.most_bytes && !messages.is_empty() {
                return QueuePage { messages, is_last: false };
            }
            if let Record::Queued { qos, retain, message, .. } = queued {
                let next = QueuedMessage { key, qos: *qos, retain: *retain, message: message.clone() };
                bytes += next.cost();
                messages.push(next);
            }
        }
        QueuePage { messages, is_last: true }
    }

    fn recover(&self, session: SessionKey, visit: &mut dyn FnMut(Record)) {
        visit(Record::SessionStarted { session, client_id: Arc::clone(&self.client_id) });
        for (filter, &qos) in &self.subscriptions {
            visit(Record::Subscribed { session, filter: filter.clone(), qos });
        }
        for (&key, waiting) in &self.messages {
            visit(waiting.queued.clone());
            if let Some(packet_id) = waiting.sent {
                visit(Record::Sent { session, key, packet_id });
            }
            if waiting.released {
                visit(Record::Released { session, key });
            }
        }
        for &packet_id in &self.received {
            visit(Record::Received { session, packet_id });
        }
        self.detached.iter().cloned().for_each(visit);
    }
}
