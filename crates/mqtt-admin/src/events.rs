//! [`ClientEvents`]: what happened to each client lately, kept for whoever asks why it is gone.
//!
//! An observer of the broker. It wants no events of single messages, so the data path never meets it. Bounded: some events a
//! client, and some clients, of whom the one that was quiet for longest is forgotten first.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::SystemTime,
};

use lru::LruCache;
use mqtt_broker::{Event, Observer, Peer};
use parking_lot::Mutex;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::clock::rfc3339;

/// What happened to clients lately. All clones are the same: give one to the broker's builder, and one to the API.
#[derive(Clone, Debug, Default)]
pub struct ClientEvents(Arc<Kept>);

#[derive(Debug)]
struct Kept {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
}

/// Clients and what happened to them, oldest first. Small, because most brokers have as many as this keeps.
#[derive(Debug)]
struct Shard(LruCache<Box<str>, Vec<Past>>);

/// Something that happened.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Past {
    #[serde(serialize_with = "as_rfc3339")]
    #[schema(value_type = String)]
    at: SystemTime,
    /// `connected`, `disconnected`, `subscribed` and so on.
    #[schema(value_type = String)]
    event: &'static str,
    /// From where, why, or to what.
    #[schema(value_type = String)]
    detail: Box<str>,
}

const SHARDS: usize = 16;
const CLIENTS_A_SHARD: usize = 640;
const EVENTS_A_CLIENT: usize = 32;
/// A topic filter may have 64 KiB.
const LONGEST_DETAIL: usize = 256;

impl ClientEvents {
    /// Takes note of something that the broker does not know.
    pub fn note(&self, client_id: &str, event: &'static str, detail: &str) {
        self.shard(client_id).lock().push(client_id, Past::now(event, detail));
    }

    /// Takes note of what access control has decided about whoever connects with this client identifier.
    ///
    /// It may be anybody, so that this makes no client be forgotten for it.
    pub fn decided(&self, client_id: &str, peer: Peer, decision: &str) {
        let mut shard = self.shard(client_id).lock();
        if shard.has_room_for(client_id) {
            shard.push(client_id, Past::now("decided", &format!("{decision}, from {peer}")));
        }
    }

    /// What is known of a client, oldest first.
    pub(crate) fn of(&self, client_id: &str) -> Vec<Past> {
        self.shard(client_id).lock().0.peek(client_id).cloned().unwrap_or_default()
    }

    fn shard(&self, client_id: &str) -> &Mutex<Shard> {
        let hash = self.0.hasher.hash_one(client_id);
        &self.0.shards[usize::try_from(hash % SHARDS as u64).unwrap_or_default()]
    }
}

impl Past {
    fn now(event: &'static str, detail: &str) -> Self {
        let end = detail.floor_char_boundary(LONGEST_DETAIL);
        let detail = match detail.split_at(end) {
            (all, "") => all.into(),
            (beginning, _) => format!("{beginning}…").into(),
        };
        Self { at: SystemTime::now(), event, detail }
    }
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::new(Shard(LruCache::unbounded()))),
            hasher: RandomState::new(),
        }
    }
}

impl Shard {
    fn has_room_for(&self, client_id: &str) -> bool {
        self.0.len() < CLIENTS_A_SHARD || self.0.contains(client_id)
    }

    fn push(&mut self, client_id: &str, past: Past) {
        let Some(events) = self.0.get_mut(client_id) else {
            if self.0.len() >= CLIENTS_A_SHARD {
                self.0.pop_lru();
            }
            self.0.push(client_id.into(), vec![past]);
            return;
        };
        if events.len() >= EVENTS_A_CLIENT {
            events.remove(0);
        }
        events.push(past);
    }
}

fn as_rfc3339<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*at))
}

impl Observer for ClientEvents {
    fn on_event(&self, event: &Event<'_>) {
        match event {
            Event::Connected { client, session_present } => {
                let user =
                    client.user_name.as_deref().map(|user| format!(" as {user:?}")).unwrap_or_default();
                let session = if *session_present { "resuming its session" } else { "with a new session" };
                self.note(&client.client_id, "connected", &format!("from {}{user}, {session}", client.peer));
            }
            Event::Disconnected { client, reason } => {
                self.note(&client.client_id, "disconnected", &format!("from {}: {reason}", client.peer));
            }
            Event::SessionTakenOver { client_id } => {
                self.note(client_id, "taken_over", "by a newer connection");
            }
            Event::SessionEnded { client_id, reason } => {
                self.note(client_id, "session_ended", &format!("{reason:?}").to_lowercase());
            }
            Event::Subscribed { client_id, filter, granted } => {
                self.note(
                    client_id,
                    "subscribed",
                    &format!("{} with QoS {}", filter.as_str(), granted.as_u8()),
                );
            }
            Event::Unsubscribed { client_id, filter } => {
                self.note(client_id, "unsubscribed", filter.as_str());
            }
            _ => {}
        }
    }

    fn wants_messages(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_refused_makes_no_client_be_forgotten() {
        let events = ClientEvents::default();
        for n in 0..SHARDS * CLIENTS_A_SHARD * 2 {
            events.note(&n.to_string(), "connected", "");
        }
        let known = |name: &str| !events.of(name).is_empty();
        let before: Vec<String> =
            (0..SHARDS * CLIENTS_A_SHARD * 2).map(|n| n.to_string()).filter(|n| known(n)).collect();
        for n in 0..1_000 {
            events.decided(&format!("stranger-{n}"), Peer::Unknown, "refused");
        }
        assert!(before.iter().all(|name| known(name)));
        events.decided(&before[0], Peer::Unknown, "let in by a test");
        assert_eq!(&*events.of(&before[0]).last().unwrap().detail, "let in by a test, from unknown");
    }

    #[test]
    fn neither_clients_nor_events_nor_text_are_kept_without_bound() {
        let events = ClientEvents::default();
        for n in 0..100 {
            events.note("a", "subscribed", &n.to_string());
        }
        let kept = events.of("a");
        assert_eq!((kept.len(), &*kept[0].detail), (EVENTS_A_CLIENT, "68"));
        events.note("a", "subscribed", &"ü".repeat(1_000));
        assert!(events.of("a")[EVENTS_A_CLIENT - 1].detail.len() <= LONGEST_DETAIL + 3);
        for n in 0..SHARDS * CLIENTS_A_SHARD * 2 {
            events.note(&n.to_string(), "connected", "");
            events.note("busy", "connected", "");
        }
        for shard in &events.0.shards {
            let shard = shard.lock();
            assert!(shard.0.len() <= CLIENTS_A_SHARD);
        }
        assert!(events.of("a").is_empty() && !events.of("busy").is_empty());
    }
}
