//! [`SessionSubscriptions`]: the filters of one session, and with which QoS each was granted.

use mqtt_codec::{QoS, TopicFilter};
use std::collections::HashMap;

/// A session's own list of what the router holds for it.
#[derive(Default)]
pub(crate) struct SessionSubscriptions {
    filters: HashMap<TopicFilter, QoS>,
    /// The session is over, and the router has forgotten it: nothing may be added any more.
    ended: bool,
}

impl SessionSubscriptions {
    pub(crate) fn is_ended(&self) -> bool {
        self.ended
    }

    pub(crate) fn len(&self) -> usize {
        self.filters.len()
    }

    pub(crate) fn contains(&self, filter: &TopicFilter) -> bool {
        self.filters.contains_key(filter)
    }

    pub(crate) fn insert(&mut self, filter: TopicFilter, granted: QoS) {
        self.filters.insert(filter, granted);
    }

    /// Filters are compared byte for byte [MQTT-3.10.4-1].
    pub(crate) fn remove(&mut self, filter: &TopicFilter) -> bool {
        self.filters.remove(filter).is_some()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&TopicFilter, QoS)> {
        self.filters.iter().map(|(filter, &granted)| (filter, granted))
    }

    /// Ends it, and hands out what the router still has to forget.
    pub(crate) fn end(&mut self) -> HashMap<TopicFilter, QoS> {
        self.ended = true;
        std::mem::take(&mut self.filters)
    }
}
