//! A closer look, and small repairs: what waits for one client, and what is retained. Lists and totals are in
//! [`crate::snapshot`].

use mqtt_codec::{QoS, TopicFilter, TopicName};
use mqtt_router::RetainedScan;

use crate::{
    broker::Broker,
    message::Message,
    net,
    store::{MessageKey, QueueRead, SessionKey},
};

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
/// Of a queue on the disk, read at a time, and in all.
const READ_BYTES: usize = 256 * 1024;
const MOST_BYTES: usize = 1024 * 1024;

impl Broker {
    /// The oldest messages that wait for a client, at most `limit`; `None` if it has no session. They stay where they are.
    ///
    /// Those that are on the disk alone are read from there, and come after those in memory; of them, a mebibyte or two. If
    /// the store fails meanwhile, they are missing.
    pub async fn queued(&self, client_id: &str, limit: usize) -> Option<Vec<QueuedMessage>> {
        let (session, mut found, mut read_from) = self.queued_in_memory(client_id, limit)?;
        let mut bytes = 0;
        while let Some(after) = read_from.filter(|_| found.len() < limit && bytes < MOST_BYTES) {
            let read = QueueRead { session, after, most_bytes: READ_BYTES };
            let Some(page) = net::queue_page(&self.core().durability, read).await else { break };
            read_from = page.messages.last().filter(|_| !page.is_last).map(|last| last.key);
            bytes += page.messages.iter().map(|queued| queued.message.size()).sum::<usize>();
            let queued = page.messages.into_iter().take(limit - found.len());
            found.extend(queued.map(|queued| QueuedMessage {
                message: queued.message,
                qos: queued.qos,
                retain: queued.retain,
            }));
        }
        Some(found)
    }

    /// Whose they are to the store, and behind which key that alone has more.
    fn queued_in_memory(
        &self,
        client_id: &str,
        limit: usize,
    ) -> Option<(SessionKey, Vec<QueuedMessage>, Option<MessageKey>)> {
        let session = self.core().sessions.get(client_id)?;
        let (found, read_from) = session.lock().outbox.peek(limit);
        Some((session.serial, found, read_from))
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
