//! [`RetainedDue`]: the subscriptions of a session whose retained messages are still to be delivered.

use std::collections::{BTreeMap, HashMap};

use mqtt_codec::{QoS, TopicFilter};
use mqtt_router::RetainedScan;

/// One look-up a subscription, the oldest subscription first. Each step costs the same however many there are: a client
/// may subscribe to as many filters as the limit allows, in one packet.
#[derive(Default)]
pub(crate) struct RetainedDue(Option<Box<Lookups>>);

/// Behind a pointer, because hardly any session ever has some that wait.
#[derive(Default)]
struct Lookups {
    by_turn: BTreeMap<u64, Lookup>,
    turns: HashMap<TopicFilter, u64>,
    next_turn: u64,
}

/// The look-up for one subscription, and how far it is.
pub(crate) struct Lookup {
    turn: u64,
    pub(crate) filter: TopicFilter,
    pub(crate) granted: QoS,
    pub(crate) scan: RetainedScan,
}

impl RetainedDue {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// All of a subscription's messages are due, whatever of them has been delivered before.
    pub(crate) fn add(&mut self, filter: &TopicFilter, granted: QoS) {
        self.remove(filter);
        let lookups = self.0.get_or_insert_default();
        let turn = lookups.next_turn;
        lookups.next_turn += 1;
        // Not a part of its packet, which would stay in memory as a whole.
        let filter = filter.detached();
        let scan = RetainedScan::new(&filter);
        lookups.insert(Lookup { turn, filter, granted, scan });
    }

    /// The subscription is gone.
    pub(crate) fn remove(&mut self, filter: &TopicFilter) {
        let Some(lookups) = &mut self.0 else { return };
        if let Some(turn) = lookups.turns.remove(filter) {
            lookups.by_turn.remove(&turn);
        }
        self.give_back();
    }

    /// Takes the oldest one out, to be put back unless it is finished.
    pub(crate) fn take(&mut self) -> Option<Lookup> {
        let lookups = self.0.as_mut()?;
        let (_, lookup) = lookups.by_turn.pop_first()?;
        lookups.turns.remove(&lookup.filter);
        self.give_back();
        Some(lookup)
    }

    /// Puts one back in its old place, unless a newer one of the same subscription has replaced it meanwhile.
    pub(crate) fn put_back(&mut self, lookup: Lookup) {
        let lookups = self.0.get_or_insert_default();
        if !lookups.turns.contains_key(&lookup.filter) {
            lookups.next_turn = lookups.next_turn.max(lookup.turn + 1);
            lookups.insert(lookup);
        }
    }

    fn give_back(&mut self) {
        if self.0.as_ref().is_some_and(|lookups| lookups.turns.is_empty()) {
            self.0 = None;
        }
    }
}

impl Lookups {
    fn insert(&mut self, lookup: Lookup) {
        self.turns.insert(lookup.filter.clone(), lookup.turn);
        self.by_turn.insert(lookup.turn, lookup);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::try_from(text).unwrap()
    }

    fn drained(due: &mut RetainedDue) -> Vec<String> {
        std::iter::from_fn(|| due.take()).map(|lookup| lookup.filter.as_str().to_owned()).collect()
    }

    #[test]
    fn the_oldest_subscription_is_first_and_a_repeated_one_begins_anew() {
        let mut due = RetainedDue::default();
        for text in ["a", "b", "c", "b"] {
            due.add(&filter(text), QoS::AtMostOnce);
        }
        let begun = due.take().unwrap();
        due.put_back(begun);
        assert_eq!(drained(&mut due), ["a", "c", "b"]);
        assert!(due.is_empty());
    }

    /// A packet of two mebibytes stayed in memory for a look-up that waited for the client's window.
    #[test]
    fn a_filter_that_waits_does_not_keep_its_packet() {
        let packet = Bytes::from(vec![b'a'; 1_000]);
        let mut due = RetainedDue::default();
        due.add(&TopicFilter::new(packet.slice(..5)).unwrap(), QoS::AtMostOnce);
        assert!(packet.is_unique());
    }

    #[test]
    fn what_was_replaced_or_removed_meanwhile_stays_so() {
        let mut due = RetainedDue::default();
        for text in ["a", "b"] {
            due.add(&filter(text), QoS::AtMostOnce);
        }
        let begun = due.take().unwrap();
        due.add(&filter("a"), QoS::AtLeastOnce);
        due.put_back(begun);
        due.remove(&filter("b"));
        assert_eq!(due.take().map(|lookup| lookup.granted), Some(QoS::AtLeastOnce));
        assert!(due.is_empty() && due.take().is_none());
    }

    /// The list was searched from its beginning for each: a minute for a packet of a hundred thousand filters.
    #[test]
    fn as_many_as_a_client_may_have() {
        let mut due = RetainedDue::default();
        let filters: Vec<TopicFilter> = (0..100_000).map(|n| filter(&n.to_string())).collect();
        for filter in filters.iter().chain(&filters) {
            due.add(filter, QoS::AtMostOnce);
        }
        assert_eq!(drained(&mut due).len(), filters.len());
    }
}
