//! The retained messages, as the core acts on them: what is kept, what of it a store is told, what is forgotten.

use std::time::Instant;

use mqtt_codec::{TopicFilter, TopicName};
use mqtt_router::{RetainedFilling, RetainedLimits, RetainedScan};

use super::{Core, tick::EXPIRED_AT_A_TIME};
use crate::{
    burst::Burst,
    event::DropReason,
    limits::Limits,
    message::{Message, Outgoing},
    store::{Mark, Record},
};

impl Core {
    /// Stores a message for future subscribers, or removes the one that is there [MQTT-3.3.1-5] [MQTT-3.3.1-10].
    pub(crate) fn retain(&self, now: Instant, outgoing: &Outgoing<'_>, burst: &mut Burst<'_>) -> Mark {
        let Ok(topic) = TopicName::new(outgoing.topic.to_vec()) else { return Mark::NOTHING };
        if outgoing.payload.is_empty() {
            let mut retained = self.retained.write();
            retained.clear(&topic); // [MQTT-3.3.1-11]
            return self.durability.write(|| Record::RetainedCleared { topic });
        }
        // [MQTT-3.3.1-7]: it replaces the earlier one, whatever its QoS.
        let message = outgoing.message().retained();
        let expires_at = self.limits.retained_expiry.and_then(|expiry| now.checked_add(expiry));
        let mut retained = self.retained.write();
        if retained.set(&topic, message.clone(), outgoing.size(), expires_at).is_err() {
            drop(retained);
            self.dropped("", outgoing.message(), DropReason::RetainedFull, burst);
            return Mark::NOTHING;
        }
        // Still under the lock: the store sees the changes of a topic in their order.
        self.durability.write(|| Record::Retained {
            message,
            expires_at: expires_at.map(|at| self.durability.wall_clock(at)),
        })
    }

    /// Room for so many messages that an earlier process retained.
    pub(crate) fn fill_retained(&self, expected: usize) -> RetainedFilling<Message> {
        RetainedFilling::new(retained_limits(&self.limits), expected)
    }

    /// Has these, and no others.
    pub(crate) fn restore_retained(&self, filling: RetainedFilling<Message>) {
        *self.retained.write() = filling.finish();
    }

    /// The next few retained messages of a look-up.
    pub(crate) fn next_retained(
        &self,
        now: Instant,
        scan: &mut RetainedScan,
        most: usize,
    ) -> Vec<(TopicName, Message)> {
        self.retained.read().next_chunk(scan, most, now)
    }

    pub(crate) fn retained_message(&self, topic: &TopicName, now: Instant) -> Option<Message> {
        self.retained.read().get(topic, now).cloned()
    }

    /// Forgets the retained message of a topic; `false` if there is none.
    pub(crate) fn clear_retained(&self, topic: &TopicName) -> bool {
        let mut retained = self.retained.write();
        let was_there = retained.clear(topic).is_some();
        if was_there {
            // As in `retain`, under the lock.
            self.durability.write(|| Record::RetainedCleared { topic: topic.clone() });
        }
        was_there
    }

    /// Retains a message of the broker's own, which no store keeps: it is made anew at the next start.
    pub(crate) fn retain_for_now(&self, topic: &TopicName, message: Message) {
        let size = message.size();
        // Full is full for the broker too: whoever subscribes is told the next time.
        let _ = self.retained.write().set(topic, message, size, None);
    }

    /// Hardly any filter has a retained message, and the look-up for each has to be kept until its turn comes.
    pub(super) fn may_be_retained_for(&self, filter: &TopicFilter) -> bool {
        self.retained.read().may_match(filter)
    }

    pub(crate) fn retained_len(&self) -> usize {
        self.retained.read().len()
    }

    pub(crate) fn retained_bytes(&self) -> usize {
        self.retained.read().bytes()
    }

    /// Says how many were removed.
    pub(super) fn expire_retained(&self, now: Instant) -> usize {
        let mut retained = self.retained.write();
        let expired = retained.expire(now, EXPIRED_AT_A_TIME);
        if self.durability.is_on() {
            // As in `retain`, under the lock.
            let cleared = expired.iter().filter_map(Message::topic_name);
            self.durability.append(cleared.map(|topic| Record::RetainedCleared { topic }).collect());
        }
        expired.len()
    }
}

pub(super) fn retained_limits(limits: &Limits) -> RetainedLimits {
    RetainedLimits { max_messages: limits.max_retained_messages, max_bytes: limits.max_retained_bytes }
}
