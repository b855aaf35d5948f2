//! [`SharedGroup`]: the members of one shared subscription, `$share/group/filter`, of whom one gets each message.
//!
//! Shared subscriptions are MQTT 5's; 3.1.1 clients may use them by the same spelling.

use std::{
    fmt,
    hash::{BuildHasher, DefaultHasher, Hasher, RandomState},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use mqtt_codec::{QoS, TopicFilter};

use super::{SubscribeError, Subscriber, crowd::Granted};
use crate::mix::mix;

/// How many times a random draw is repeated that fell on a member who is offline.
const RANDOM_DRAWS: usize = 8;

/// How the members of a shared group share out its messages. Whoever is offline is passed over while another is online.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SharedStrategy {
    /// Each in turn.
    #[default]
    RoundRobin,
    /// Any.
    Random,
    /// Always the same one, at first whoever came first, until it leaves or is offline; then the next.
    Sticky,
    /// All messages of one publisher to the same one, for as long as the members stay the same.
    HashClient,
    /// All messages of one topic to the same one, for as long as the members stay the same.
    HashTopic,
}

/// The members of one shared subscription. One of them gets each message: [`SharedGroup::pick`].
pub struct SharedGroup<S> {
    strategy: SharedStrategy,
    /// By ascending id.
    members: Vec<Granted<S>>,
    /// Round-robin: whose turn it is. Sticky: who it is. Random: how many draws there were.
    cursor: AtomicUsize,
    seed: u64,
}

impl<S: Subscriber + Clone> SharedGroup<S> {
    pub(super) fn new(strategy: SharedStrategy, first: Granted<S>) -> Self {
        let seed = RandomState::new().hash_one(());
        Self { strategy, members: vec![first], cursor: AtomicUsize::new(0), seed }
    }

    /// Everyone in the group, by ascending id.
    pub fn members(&self) -> &[(S, QoS)] {
        &self.members
    }

    /// Who gets the message that the publisher sent to `topic`, and the QoS it was granted.
    ///
    /// If everybody is offline, one of them all the same: its session can keep the message for it.
    pub fn pick(&self, publisher_id_hash: u64, topic: &[u8]) -> Option<(&S, QoS)> {
        self.pick_who(publisher_id_hash, topic, |_, _| true)
    }

    /// The same among those who may have the message with the QoS they were granted; if nobody may, somebody who may not.
    pub fn pick_who(
        &self,
        publisher_id_hash: u64,
        topic: &[u8],
        may: impl Fn(&S, QoS) -> bool,
    ) -> Option<(&S, QoS)> {
        if self.members.is_empty() {
            return None;
        }
        let picked = self.position(publisher_id_hash, topic);
        let (before, behind) = self.members.split_at(picked);
        let mut in_turn = behind.iter().chain(before).enumerate();
        let found = in_turn.find(|(position, (subscriber, qos))| {
            (*position == 0 || subscriber.is_online()) && may(subscriber, *qos)
        });
        // Whoever is offline is better than one who may not.
        let absent = || {
            let mut absent = self.members.iter().filter(|(subscriber, _)| !subscriber.is_online());
            absent.find(|(subscriber, qos)| may(subscriber, *qos))
        };
        let found = found.map(|(_, member)| member).or_else(absent).or_else(|| self.members.get(picked));
        found.map(|(subscriber, qos)| (subscriber, *qos))
    }

    fn position(&self, publisher_id_hash: u64, topic: &[u8]) -> usize {
        match self.strategy {
            SharedStrategy::RoundRobin => self.next_in_turn(),
            SharedStrategy::Random => self.drawn(),
            SharedStrategy::Sticky => self.the_same_again(),
            SharedStrategy::HashClient => self.online_from(self.slot(publisher_id_hash)),
            SharedStrategy::HashTopic => {
                let mut hasher = DefaultHasher::new();
                hasher.write(topic);
                self.online_from(self.slot(hasher.finish()))
            }
        }
    }

    pub(super) fn contains(&self, id: u64) -> bool {
        self.search(id).is_ok()
    }

    /// Adds a member, or replaces the one with the same id. Whether it is new.
    pub(super) fn insert(&mut self, new: Granted<S>) -> bool {
        match self.search(new.0.id()) {
            Ok(position) => {
                self.members[position] = new;
                false
            }
            Err(position) => {
                let turn = self.turn();
                self.members.insert(position, new);
                self.set_turn(if position <= turn { turn + 1 } else { turn });
                true
            }
        }
    }

    /// Removes the member with this id. Whether it was there.
    pub(super) fn remove(&mut self, id: u64) -> bool {
        let Ok(position) = self.search(id) else { return false };
        let turn = self.turn();
        self.members.remove(position);
        self.set_turn(if position < turn { turn - 1 } else { turn });
        true
    }

    /// Each look at a member is a turn of its own: one who is offline does not hand its share to its neighbour.
    fn next_in_turn(&self) -> usize {
        for _ in 0..self.members.len() {
            let position = self.cursor.fetch_add(1, Relaxed) % self.members.len();
            if self.is_online(position) {
                return position;
            }
        }
        // Nobody is online, or others took the turns of all who are.
        self.online_from(self.cursor.fetch_add(1, Relaxed) % self.members.len())
    }

    fn drawn(&self) -> usize {
        let mut position = 0;
        for _ in 0..RANDOM_DRAWS {
            position = self.slot(mix(self.seed.wrapping_add(self.cursor.fetch_add(1, Relaxed) as u64)));
            if self.is_online(position) {
                return position;
            }
        }
        self.online_from(position)
    }

    fn the_same_again(&self) -> usize {
        let held = self.cursor.load(Relaxed) % self.members.len();
        let position = self.online_from(held);
        if position != held {
            self.cursor.store(position, Relaxed);
        }
        position
    }

    /// The first online member from `start` on, around the circle; `start` itself if there is none.
    fn online_from(&self, start: usize) -> usize {
        (start..self.members.len())
            .chain(0..start)
            .find(|&position| self.is_online(position))
            .unwrap_or(start)
    }

    fn is_online(&self, position: usize) -> bool {
        self.members.get(position).is_some_and(|(subscriber, _)| subscriber.is_online())
    }

    fn slot(&self, hash: u64) -> usize {
        (hash % self.members.len() as u64) as usize
    }

    fn search(&self, id: u64) -> Result<usize, usize> {
        self.members.binary_search_by_key(&id, |(subscriber, _)| subscriber.id())
    }

    fn turn(&mut self) -> usize {
        *self.cursor.get_mut() % self.members.len().max(1)
    }

    /// Keeps the cursor on the same member when others come and go.
    fn set_turn(&mut self, turn: usize) {
        // A random group must not begin its row of draws again.
        if self.strategy != SharedStrategy::Random {
            *self.cursor.get_mut() = turn;
        }
    }
}

impl<S: Clone> Clone for SharedGroup<S> {
    fn clone(&self) -> Self {
        Self {
            strategy: self.strategy,
            members: self.members.clone(),
            cursor: AtomicUsize::new(self.cursor.load(Relaxed)),
            seed: self.seed,
        }
    }
}

impl<S> fmt::Debug for SharedGroup<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedGroup")
            .field("strategy", &self.strategy)
            .field("members", &self.members.len())
            .finish_non_exhaustive()
    }
}

/// The group and the inner filter of a shared subscription; `None` if `filter` is not one.
///
/// ```
/// use mqtt_codec::TopicFilter;
/// use mqtt_router::split_shared;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let shared = TopicFilter::try_from("$share/workers/jobs/#")?;
/// assert_eq!(split_shared(&shared)?, Some(("workers", TopicFilter::try_from("jobs/#")?)));
/// assert_eq!(split_shared(&TopicFilter::try_from("jobs/#")?)?, None);
/// # Ok(())
/// # }
/// ```
pub fn split_shared(filter: &TopicFilter) -> Result<Option<(&str, TopicFilter)>, SubscribeError> {
    if !filter.as_bytes().starts_with(b"$share/") {
        return Ok(None);
    }
    let (group, inner) = filter
        .as_str()
        .strip_prefix("$share/")
        .and_then(|rest| rest.split_once('/'))
        .ok_or(SubscribeError::BadSharedFilter)?;
    if group.is_empty() || group.contains(['+', '#']) {
        return Err(SubscribeError::BadSharedFilter);
    }
    let inner = TopicFilter::try_from(inner).map_err(|_| SubscribeError::BadSharedFilter)?;
    Ok(Some((group, inner)))
}

#[cfg(test)]
mod tests;
