//! [`Subscriptions`]: every subscription of the broker, and who gets a message published to a topic.
//!
//! Filters without a wildcard, the common case, stand in one hash map keyed by their bytes: a look-up costs one hash,
//! however many there are ([`exact`]). Filters with a wildcard stand in a trie by level ([`wildcard`]). Why two:
//! `docs/adr/0001-exact-filters-in-a-hash-map.md`.
//!
//! A filter's bytes are copied here, once for all its subscribers, so that no packet's buffer is kept alive.

mod crowd;
mod exact;
mod level;
mod pages;
mod receivers;
mod route;
mod shared;
mod wildcard;

use std::{fmt, hash::RandomState, sync::Arc};

use mqtt_codec::{QoS, TopicFilter};

use self::{exact::ExactFilters, wildcard::WildcardTrie};

pub use self::{
    route::{DeliveryMode, Route},
    shared::{SharedGroup, SharedStrategy, split_shared},
};

/// How many levels a topic filter may have unless the caller says otherwise.
pub const DEFAULT_MAX_TOPIC_LEVELS: usize = 128;

/// Who receives: a broker's session. [`Subscriptions`] holds clones of handles to it, an [`Arc`] say.
pub trait Subscriber {
    /// What tells subscribers apart: unique among all subscribers, and the same for as long as one is subscribed.
    ///
    /// Numbers that the broker hands out, not ones that a peer can choose.
    fn id(&self) -> u64;

    /// Whether a message would reach it now. Asked only for members of shared subscriptions.
    fn is_online(&self) -> bool;
}

impl<T: Subscriber + ?Sized> Subscriber for Arc<T> {
    fn id(&self) -> u64 {
        (**self).id()
    }

    fn is_online(&self) -> bool {
        (**self).is_online()
    }
}

/// Why a subscription was refused. The subscriptions are as they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The filter has more levels than the limit. The `$share/group/` of a shared subscription does not count.
    TooManyLevels,
    /// The filter begins with `$share/` but is not `$share/group/filter`, or the group holds a wildcard.
    BadSharedFilter,
}

/// All subscriptions: who is subscribed to what, with which QoS.
///
/// Plain data without a lock. What matching costs depends on the topic and on what matches, not on how many other
/// subscriptions there are.
pub struct Subscriptions<S> {
    exact: ExactFilters<S>,
    wildcard: WildcardTrie<S>,
    max_topic_levels: usize,
    shared_strategy: SharedStrategy,
    len: usize,
    generation: u64,
}

impl<S: Subscriber + Clone> Subscriptions<S> {
    /// No subscriptions yet. Filters of more than `max_topic_levels` levels will be refused; shared subscriptions
    /// share out their messages by `shared_strategy`.
    pub fn new(max_topic_levels: usize, shared_strategy: SharedStrategy) -> Self {
        // Topics are chosen by whoever may publish: the keys come from the operating system, so that nobody can
        // prepare topics that collide.
        let keys = RandomState::new();
        Self {
            exact: ExactFilters::new(keys.clone()),
            wildcard: WildcardTrie::new(keys),
            max_topic_levels,
            shared_strategy,
            len: 0,
            generation: 0,
        }
    }

    /// Makes room for about so many filters without a wildcard. For who is about to subscribe to many.
    pub fn reserve(&mut self, filters: usize) {
        self.exact.reserve(filters);
    }

    /// Subscribes `subscriber` to `filter`, which may be a shared one (`$share/group/filter`).
    ///
    /// `Ok(true)` if the subscription is new; `Ok(false)` if the subscriber had it already: then `qos` and the
    /// subscriber's handle take the place of the earlier ones.
    pub fn subscribe(
        &mut self,
        filter: &TopicFilter,
        subscriber: &S,
        qos: QoS,
    ) -> Result<bool, SubscribeError> {
        let shared = split_shared(filter)?;
        let (group, filter) = match &shared {
            Some((group, inner)) => (Some(*group), inner),
            None => (None, filter),
        };
        if level_count(filter.as_bytes()) > self.max_topic_levels {
            return Err(SubscribeError::TooManyLevels);
        }
        let receivers = if filter.has_wildcard() {
            self.wildcard.entry(filter.as_bytes())
        } else {
            self.exact.entry(filter.as_bytes())
        };
        // An identical filter replaces. [MQTT-3.8.4-3]
        let is_new = receivers.insert(group, (subscriber.clone(), qos), self.shared_strategy);
        self.len += usize::from(is_new);
        self.generation += 1;
        Ok(is_new)
    }

    /// Ends the subscription of the subscriber with this id to exactly this filter; `false` if there is none.
    pub fn unsubscribe(&mut self, filter: &TopicFilter, subscriber_id: u64) -> bool {
        let Ok(shared) = split_shared(filter) else { return false };
        let (group, filter) = match &shared {
            Some((group, inner)) => (Some(*group), inner),
            None => (None, filter),
        };
        // Compared byte for byte [MQTT-3.10.4-1]; whoever is not there gets no new message [MQTT-3.10.4-2].
        let removed = if filter.has_wildcard() {
            self.wildcard.remove(filter.as_bytes(), group, subscriber_id)
        } else {
            self.exact.remove(filter.as_bytes(), group, subscriber_id)
        };
        if removed {
            self.len -= 1;
            self.generation += 1;
        }
        removed
    }

    /// Fills `route` with everyone who must get a message published to `topic`, the bytes of a valid topic name.
    ///
    /// What `route` held before is cleared; its capacity is used again, so that nothing is allocated once it has grown.
    pub fn route(&self, topic: &[u8], mode: DeliveryMode, route: &mut Route<S>) {
        route.clear();
        self.exact.route(topic, route);
        self.wildcard.route(topic, route);
        if mode == DeliveryMode::Once {
            route.keep_highest_qos();
        }
    }

    /// How many subscriptions there are: one for each subscriber and filter.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no subscription at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A number that changes with every change here: a [`Route`] stays right for as long as this stays the same.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How many places are held for filters: exact filters and nodes of the trie. 0 when there is no subscription.
    pub fn node_count(&self) -> usize {
        self.exact.len() + self.wildcard.node_count()
    }
}

impl<S> fmt::Debug for Subscriptions<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriptions")
            .field("len", &self.len)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for SubscribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooManyLevels => "the topic filter has more levels than the limit allows",
            Self::BadSharedFilter => "a shared subscription must be spelled `$share/group/filter`",
        })
    }
}

impl std::error::Error for SubscribeError {}

fn level_count(filter: &[u8]) -> usize {
    filter.split(|&byte| byte == b'/').count()
}

#[cfg(test)]
mod tests;
