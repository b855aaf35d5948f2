//! [`Route`]: the receivers of one message. Found by [`Subscriptions::route`](super::Subscriptions::route), which fills
//! the same one again and again.

use std::{cmp::Reverse, fmt, sync::Arc};

use mqtt_codec::QoS;

use super::{Subscriber, crowd::Granted, shared::SharedGroup};

/// What a subscriber gets whose subscriptions overlap (section 3.3.5 leaves both open).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeliveryMode {
    /// One copy for each subscriber, at the highest QoS that any of its matching subscriptions was granted.
    #[default]
    Once,
    /// One copy for each matching subscription, at the QoS granted to that one.
    Overlap,
}

/// Everyone who must get a message. May be kept, for as long as
/// [`Subscriptions::generation`](super::Subscriptions::generation) stays the same.
pub struct Route<S> {
    /// The subscribers, in no particular order, each with the QoS it was granted.
    pub direct: Vec<(S, QoS)>,
    /// The shared groups: one member of each gets the message, see [`SharedGroup::pick`].
    pub groups: Vec<Arc<SharedGroup<S>>>,
    /// How many filters `direct` comes from: a subscriber can be in it twice only if from more than one.
    sources: usize,
    /// How much was looked at to fill it.
    pub(super) cost: usize,
    /// Where the walk through the trie has still to go: a node, and where in the topic its next level begins.
    pub(super) pending: Vec<(u32, usize)>,
}

impl<S> Route<S> {
    /// An empty route.
    pub const fn new() -> Self {
        Self { direct: Vec::new(), groups: Vec::new(), sources: 0, cost: 0, pending: Vec::new() }
    }

    /// Whether nobody gets the message.
    pub fn is_empty(&self) -> bool {
        self.direct.is_empty() && self.groups.is_empty()
    }

    /// Lets go of all receivers and keeps the capacity.
    pub fn clear(&mut self) {
        self.direct.clear();
        self.groups.clear();
        self.sources = 0;
        self.cost = 0;
    }

    /// How much was looked at to fill it: places of the trie, and receivers before those found twice were merged. Clients
    /// can subscribe so that it is large and the route is small.
    pub const fn cost(&self) -> usize {
        self.cost
    }
}

impl<S: Subscriber + Clone> Route<S> {
    pub(super) fn add(&mut self, granted: &[Granted<S>]) {
        if !granted.is_empty() {
            self.direct.extend_from_slice(granted);
            self.cost += granted.len();
            self.sources += 1;
        }
    }

    /// One entry a subscriber, the one with its highest QoS. [MQTT-3.3.5-1]
    pub(super) fn keep_highest_qos(&mut self) {
        if self.sources > 1 {
            self.direct.sort_unstable_by_key(|(subscriber, qos)| (subscriber.id(), Reverse(*qos)));
            self.direct.dedup_by_key(|(subscriber, _)| subscriber.id());
        }
    }
}

impl<S> Default for Route<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> fmt::Debug for Route<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route")
            .field("direct", &self.direct.len())
            .field("groups", &self.groups.len())
            .finish_non_exhaustive()
    }
}
