//! [`ClientEvents`]: what happened to each client lately, kept for whoever asks why it is gone.
//!
//! An observer of the broker. It wants no events of single messages, so the data path never meets it. Bounded: some events a
//! client, and some clients, of whom the one that was quiet for longest is forgotten first. How small an event is kept is
//! [`past`]'s.

mod past;

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use lru::LruCache;
use mqtt_broker::{Event, Observer, Peer};
use parking_lot::Mutex;

pub(crate) use self::past::Past;
use self::past::{Row, What};

/// What happened to clients lately. All clones are the same: give one to the broker's builder, and one to the API.
#[derive(Clone, Debug, Default)]
pub struct ClientEvents(Arc<Kept>);

#[derive(Debug)]
struct Kept {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
}

/// Clients and what happened to them. Small, because most brokers have as many as this keeps.
#[derive(Debug)]
struct Shard(LruCache<Box<str>, Row>);

const SHARDS: usize = 16;
const CLIENTS_A_SHARD: usize = 640;

impl ClientEvents {
    /// Takes note of what access control has decided about whoever connects with this client identifier.
    ///
    /// It may be anybody, so that this makes no client be forgotten for it, and keeps none from being forgotten.
    pub fn decided(&self, client_id: &str, peer: Peer, decision: &str) {
        let text = format!("{decision}, from {peer}");
        let mut shard = self.shard(client_id).lock();
        if let Some(row) = shard.0.peek_mut(client_id) {
            row.push(What::Decided, &text);
        } else if shard.0.len() < CLIENTS_A_SHARD {
            shard.push(client_id, What::Decided, &text);
        }
    }

    /// What is known of a client, oldest first.
    pub(crate) fn of(&self, client_id: &str) -> Vec<Past> {
        self.shard(client_id).lock().0.peek(client_id).map(|row| row.iter().collect()).unwrap_or_default()
    }

    fn note(&self, client_id: &str, what: What, text: &str) {
        self.shard(client_id).lock().push(client_id, what, text);
    }

    fn shard(&self, client_id: &str) -> &Mutex<Shard> {
        let hash = self.0.hasher.hash_one(client_id);
        &self.0.shards[usize::try_from(hash % SHARDS as u64).unwrap_or_default()]
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
    fn push(&mut self, client_id: &str, what: What, text: &str) {
        if let Some(row) = self.0.get_mut(client_id) {
            row.push(what, text);
            return;
        }
        if self.0.len() >= CLIENTS_A_SHARD {
            self.0.pop_lru();
        }
        let mut row = Row::default();
        row.push(what, text);
        self.0.push(client_id.into(), row);
    }
}

impl Observer for ClientEvents {
    fn on_event(&self, event: &Event<'_>) {
        match event {
            Event::Connected { client, session_present } => {
                let user =
                    client.user_name.as_deref().map(|user| format!(" as {user:?}")).unwrap_or_default();
                let what = if *session_present { What::ConnectedAgain } else { What::ConnectedAnew };
                self.note(&client.client_id, what, &format!("{}{user}", client.peer));
            }
            Event::Disconnected { client, reason } => {
                self.note(&client.client_id, What::Disconnected, &format!("{}: {reason}", client.peer));
            }
            Event::SessionTakenOver { client_id } => self.note(client_id, What::TakenOver, ""),
            Event::SessionEnded { client_id, reason } => {
                self.note(client_id, What::SessionEnded, &format!("{reason:?}").to_lowercase());
            }
            Event::Subscribed { client_id, filter, granted } => {
                self.note(client_id, What::subscribed(*granted), filter.as_str());
            }
            Event::Unsubscribed { client_id, filter } => {
                self.note(client_id, What::Unsubscribed, filter.as_str());
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

    fn shown(events: &ClientEvents, client_id: &str) -> Vec<String> {
        events.of(client_id).iter().map(|past| format!("{} {}", past.event(), past.detail())).collect()
    }

    #[test]
    fn whoever_is_refused_makes_no_client_be_forgotten() {
        let events = ClientEvents::default();
        for n in 0..SHARDS * CLIENTS_A_SHARD * 2 {
            events.note(&n.to_string(), What::TakenOver, "");
        }
        let known = |name: &str| !events.of(name).is_empty();
        let before: Vec<String> =
            (0..SHARDS * CLIENTS_A_SHARD * 2).map(|n| n.to_string()).filter(|n| known(n)).collect();
        for n in 0..1_000 {
            events.decided(&format!("stranger-{n}"), Peer::Unknown, "refused");
        }
        assert!(before.iter().all(|name| known(name)));
        events.decided(&before[0], Peer::Unknown, "let in by a test");
        assert_eq!(shown(&events, &before[0])[1], "decided let in by a test, from unknown");
    }

    #[test]
    fn whoever_is_refused_hides_nothing_and_keeps_no_client_from_being_forgotten() {
        let events = ClientEvents::default();
        events.note("victim", What::ConnectedAnew, "10.0.0.1:5");
        for n in 0..1_000 {
            events.decided("victim", Peer::Unknown, &format!("refusal {n}"));
        }
        let known = shown(&events, "victim");
        assert_eq!((known.len(), &*known[0]), (9, "connected from 10.0.0.1:5, with a new session"));
        assert_eq!(known[8], "decided refusal 999, from unknown");
        for n in 0..SHARDS * CLIENTS_A_SHARD * 2 {
            events.note(&n.to_string(), What::TakenOver, "");
            events.decided("victim", Peer::Unknown, "refused");
        }
        assert!(events.of("victim").is_empty());
    }

    #[test]
    fn clients_are_not_kept_without_bound() {
        let events = ClientEvents::default();
        events.note("a", What::TakenOver, "");
        for n in 0..SHARDS * CLIENTS_A_SHARD * 2 {
            events.note(&n.to_string(), What::TakenOver, "");
            events.note("busy", What::TakenOver, "");
        }
        for shard in &events.0.shards {
            assert!(shard.lock().0.len() <= CLIENTS_A_SHARD);
        }
        assert!(events.of("a").is_empty() && !events.of("busy").is_empty());
    }
}
