//! A closer look, and small repairs: what waits for one client, and what is retained. Lists and totals are in
//! [`crate::snapshot`].

use mqtt_codec::{QoS, TopicFilter, TopicName};
use mqtt_router::RetainedScan;

use crate::{broker::Broker, message::Message, net};

/// A message that waits for a client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QueuedMessage {
    /// The message.
    pub message: Message,
    /// With which QoS it will be sent.
    pub qos: QoS,
    /// With which RETAIN.
    pub retain: bool,
}

/// Retained messages that one lock of the store looks up, or removes.
const CHUNK: usize = 256;

impl Broker {
    /// The oldest messages that wait for a client, at most `limit`; `None` if it has no session. They stay where they are.
    pub fn queued(&self, client_id: &str, limit: usize) -> Option<Vec<QueuedMessage>> {
        let session = self.core().sessions.get(client_id)?;
        let state = session.lock();
        Some(state.outbox.peek(limit))
    }

    /// Retained messages that match, in topic order, after this topic, at most `limit`. `$` topics only match a filter that
    /// begins with `$` too.
    pub fn retained(&self, filter: &TopicFilter, after: Option<&TopicName>, limit: usize) -> Vec<Message> {
        let mut scan = RetainedScan::new_after(filter, after);
        let mut found = Vec::new();
        while found.len() < limit && !scan.is_finished() {
            let most = CHUNK.min(limit - found.len());
            let chunk = self.core().next_retained(net::now(), &mut scan, most);
            found.extend(chunk.into_iter().map(|(_, message)| message));
        }
        found
    }

    /// The retained message of a topic.
    pub fn retained_message(&self, topic: &TopicName) -> Option<Message> {
        self.core().retained_message(topic, net::now())
    }

    /// Forgets retained messages that match, at most `limit`; says how many. If they are `limit`, there may be more.
    pub fn clear_retained(&self, filter: &TopicFilter, limit: usize) -> usize {
        let mut scan = RetainedScan::new_after(filter, None);
        let mut cleared = 0;
        while cleared < limit && !scan.is_finished() {
            let most = CHUNK.min(limit - cleared);
            let chunk = self.core().next_retained(net::now(), &mut scan, most);
            cleared += chunk.iter().filter(|(topic, _)| self.core().clear_retained(topic)).count();
        }
        cleared
    }
}
