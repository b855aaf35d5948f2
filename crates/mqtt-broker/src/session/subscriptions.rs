//! [`SessionSubscriptions`]: the filters of one session, and with which QoS each was granted.

mod many;
mod packed;

use std::time::Duration;

use mqtt_codec::{QoS, TopicFilter};

use self::{
    many::Many,
    packed::{Entry, Grant, cost_of, entries, set_grant},
};

/// A session's own list of what the router holds for it. Owns memory only while there is something to say.
#[derive(Default)]
pub(crate) struct SessionSubscriptions(Option<Box<List>>);

#[derive(Default)]
struct List {
    filters: Filters,
    /// How many of them have a wildcard.
    wildcards: u32,
    /// How many of them are shared.
    shared: u32,
}

/// The filters' bytes, exactly: there may be millions of them. Nearly all clients have a handful, which are looked through.
enum Filters {
    Few(Box<[u8]>),
    /// Behind a pointer, so that the many clients with few filters are not larger for the few with many.
    Many(Box<Many>),
    /// The session is over, and the router has forgotten it: nothing may be added any more.
    Ended,
}

/// A subscription, as the list has it.
pub(crate) struct Granted {
    pub(crate) filter: TopicFilter,
    pub(crate) qos: QoS,
    /// After so much of the broker's life, in whole seconds; `None` if an earlier process granted it.
    pub(crate) at: Option<Duration>,
}

const FEW: usize = 16;

impl SessionSubscriptions {
    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.filters(), Some(Filters::Ended))
    }

    pub(crate) fn len(&self) -> usize {
        match self.filters() {
            Some(Filters::Few(row)) => entries(row).count(),
            Some(Filters::Many(many)) => many.len(),
            Some(Filters::Ended) | None => 0,
        }
    }

    pub(crate) fn wildcards(&self) -> usize {
        self.0.as_ref().map_or(0, |list| list.wildcards as usize)
    }

    pub(crate) fn shared(&self) -> usize {
        self.0.as_ref().map_or(0, |list| list.shared as usize)
    }

    pub(crate) fn contains(&self, filter: &TopicFilter) -> bool {
        self.granted(filter).is_some()
    }

    /// With which QoS.
    pub(crate) fn granted(&self, filter: &TopicFilter) -> Option<QoS> {
        match self.filters() {
            Some(Filters::Few(row)) => find(row, filter).map(|(_, entry)| entry.grant.qos),
            Some(Filters::Many(many)) => many.granted(filter.as_bytes()),
            Some(Filters::Ended) | None => None,
        }
    }

    /// Whether the list can hold this filter, or does: 4 GiB of them are the end, of which an eighth may be gaps.
    pub(crate) fn has_room_for(&self, filter: &TopicFilter) -> bool {
        match self.filters() {
            Some(Filters::Many(many)) => many.has_room_for(filter.as_bytes()),
            Some(Filters::Few(_) | Filters::Ended) | None => true,
        }
    }

    /// How many bytes the filters take with this one more: as they are kept here, and for levels in the router's trie.
    pub(crate) fn bytes_with(&self, one_more: &TopicFilter) -> usize {
        let bytes = match self.filters() {
            Some(Filters::Few(row)) => entries(row).map(|(_, entry)| cost_of(entry.filter)).sum(),
            Some(Filters::Many(many)) => many.cost(),
            Some(Filters::Ended) | None => 0,
        };
        bytes + cost_of(one_more.as_bytes())
    }

    /// `at` is how long the broker has been running; `None` if it was granted before.
    pub(crate) fn insert(&mut self, filter: &TopicFilter, qos: QoS, at: Option<Duration>) {
        let second = at.and_then(|at| u32::try_from(at.as_secs() + 1).ok()).unwrap_or_default();
        let new = Entry { filter: filter.as_bytes(), grant: Grant { qos, second } };
        let is_counted = filter.has_wildcard() || is_shared(filter);
        let is_one_more = is_counted && !self.is_ended() && !self.contains(filter);
        let List { filters, wildcards, shared } = &mut **self.0.get_or_insert_default();
        *wildcards += u32::from(is_one_more && filter.has_wildcard());
        *shared += u32::from(is_one_more && is_shared(filter));
        if let Filters::Few(row) = filters {
            if let Some((place, _)) = find(row, filter) {
                set_grant(row, place, new.grant);
                return;
            }
            if entries(row).count() < FEW {
                let mut longer = Vec::with_capacity(row.len() + new.size());
                longer.extend_from_slice(row);
                new.append_to(&mut longer);
                *row = longer.into();
                return;
            }
            *filters = Filters::Many(Box::new(Many::new(row)));
        }
        if let Filters::Many(many) = filters {
            many.insert(&new);
        }
    }

    /// Filters are compared byte for byte [MQTT-3.10.4-1].
    pub(crate) fn remove(&mut self, filter: &TopicFilter) -> bool {
        let Some(list) = &mut self.0 else { return false };
        let was_there = match &mut list.filters {
            Filters::Few(row) => {
                let found = find(row, filter).map(|(place, entry)| (place, place + entry.size()));
                if let Some((from, to)) = found {
                    let (before, after) = (row.get(..from), row.get(to..));
                    *row = [before.unwrap_or_default(), after.unwrap_or_default()].concat().into();
                }
                found.is_some()
            }
            Filters::Many(many) => many.remove(filter.as_bytes()),
            Filters::Ended => false,
        };
        list.wildcards -= u32::from(was_there && filter.has_wildcard());
        list.shared -= u32::from(was_there && is_shared(filter));
        if matches!(&list.filters, Filters::Few(row) if row.is_empty()) {
            self.0 = None;
        }
        was_there
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Granted> {
        let (few, many) = match self.filters() {
            Some(Filters::Few(row)) => (Some(entries(row)), None),
            Some(Filters::Many(many)) => (None, Some(many.iter())),
            Some(Filters::Ended) | None => (None, None),
        };
        let few = few.into_iter().flatten().map(|(_, entry)| entry);
        // Each was a filter when it was put in.
        few.chain(many.into_iter().flatten()).filter_map(|Entry { filter, grant }| {
            let at = grant.second.checked_sub(1).map(|second| Duration::from_secs(second.into()));
            Some(Granted { filter: TopicFilter::new(filter.to_vec()).ok()?, qos: grant.qos, at })
        })
    }

    /// Ends it, and hands out what the router still has to forget.
    pub(crate) fn end(&mut self) -> Vec<TopicFilter> {
        let filters = self.iter().map(|granted| granted.filter).collect();
        self.0 = Some(Box::new(List { filters: Filters::Ended, ..List::default() }));
        filters
    }

    fn filters(&self) -> Option<&Filters> {
        self.0.as_ref().map(|list| &list.filters)
    }
}

/// Of filters that the router took, those begin so and no others.
pub(crate) fn is_shared(filter: &TopicFilter) -> bool {
    filter.as_bytes().starts_with(b"$share/")
}

fn find<'a>(row: &'a [u8], filter: &TopicFilter) -> Option<(usize, Entry<'a>)> {
    entries(row).find(|(_, entry)| entry.filter == filter.as_bytes())
}

impl Default for Filters {
    fn default() -> Self {
        Self::Few(Box::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There is one of these a client, and most have one filter.
    #[test]
    fn few_filters_take_their_bytes_and_seven_each() {
        assert_eq!((size_of::<SessionSubscriptions>(), size_of::<List>()), (8, 32));
        let mut subscriptions = SessionSubscriptions::default();
        for text in ["a/b", "c/#"] {
            subscriptions.insert(&TopicFilter::try_from(text).unwrap(), QoS::AtLeastOnce, None);
        }
        assert!(matches!(subscriptions.filters(), Some(Filters::Few(row)) if row.len() == 2 * (3 + 7)));
        assert!(
            ["a/b", "c/#"].iter().all(|text| subscriptions.remove(&TopicFilter::try_from(*text).unwrap()))
        );
        assert!(subscriptions.0.is_none(), "the last one leaves nothing behind");
    }

    /// Places are moved when gaps are closed: what is left must still be found, and what went must not.
    #[test]
    fn many_filters_that_come_and_go_leave_no_gaps_behind() {
        let filter = |n: usize| TopicFilter::new(format!("{}/{n}", "x".repeat(n % 50))).unwrap();
        let mut subscriptions = SessionSubscriptions::default();
        let insert = |subscriptions: &mut SessionSubscriptions, n| {
            subscriptions.insert(&filter(n), QoS::AtMostOnce, None);
        };
        (0..2_000).for_each(|n| insert(&mut subscriptions, n));
        for n in (0..2_000).filter(|n| n % 10 != 0) {
            assert!(subscriptions.remove(&filter(n)) && !subscriptions.remove(&filter(n)));
        }
        (2_000..2_010).for_each(|n| insert(&mut subscriptions, n));
        assert!((0..2_010).all(|n| subscriptions.contains(&filter(n)) == (n % 10 == 0 || n >= 2_000)));
        let mut left: Vec<TopicFilter> = subscriptions.iter().map(|granted| granted.filter).collect();
        let mut expected: Vec<_> = (0..2_010).filter(|n| n % 10 == 0 || *n >= 2_000).map(filter).collect();
        left.sort_unstable();
        expected.sort_unstable();
        assert_eq!(left, expected);
        let Some(Filters::Many(many)) = subscriptions.filters() else { panic!("it has too many for a list") };
        assert!(many.bytes() < 3 * expected.iter().map(|filter| filter.as_bytes().len() + 7).sum::<usize>());
    }

    /// The list and the map behave alike. [MQTT-3.10.4-1] [MQTT-3.8.4-3]
    #[test]
    fn few_and_many() {
        for count in [FEW / 2, FEW * 4] {
            // Every other one has a wildcard, and every fourth is shared.
            let end = |n: usize| if n.is_multiple_of(2) { "" } else { "/#" };
            let begin = |n: usize| if n % 4 == 1 { "$share/g/" } else { "" };
            let filter =
                |n: usize| TopicFilter::try_from(format!("{}f/{n}{}", begin(n), end(n)).as_str()).unwrap();
            let mut subscriptions = SessionSubscriptions::default();
            for qos in [QoS::AtMostOnce, QoS::ExactlyOnce] {
                (0..count).for_each(|n| subscriptions.insert(&filter(n), qos, Some(Duration::ZERO)));
            }
            assert_eq!(subscriptions.len(), count, "an identical filter replaces");
            assert_eq!((subscriptions.wildcards(), subscriptions.shared()), (count / 2, count / 4));
            let levels = |n: usize| match n % 4 {
                1 => 5, // $share, g, f, the number, #
                3 => 3,
                _ => 0, // none that the router has a node for
            };
            let bytes = |filters: &mut dyn Iterator<Item = usize>| {
                filters.map(|n| filter(n).as_bytes().len() + 7 + 64 * levels(n)).sum::<usize>()
            };
            assert_eq!(subscriptions.bytes_with(&filter(count)), bytes(&mut (0..=count)));
            assert!(subscriptions.iter().all(|granted| granted.qos == QoS::ExactlyOnce));
            assert!(subscriptions.remove(&filter(1)) && !subscriptions.remove(&filter(1)));
            assert!(!subscriptions.contains(&filter(1)) && subscriptions.contains(&filter(0)));
            assert_eq!(subscriptions.bytes_with(&filter(1)), bytes(&mut (0..count)));
            subscriptions.insert(&filter(0), QoS::ExactlyOnce, None);
            subscriptions.insert(&filter(2), QoS::ExactlyOnce, Some(Duration::from_millis(7_900)));
            let at = |n| subscriptions.iter().find(|granted| granted.filter == filter(n)).unwrap().at;
            assert_eq!((at(0), at(2), at(3)), (None, Some(Duration::from_secs(7)), Some(Duration::ZERO)));
            assert_eq!((subscriptions.wildcards(), subscriptions.shared()), (count / 2 - 1, count / 4 - 1));
            assert_eq!(subscriptions.end().len(), count - 1);
            assert!(subscriptions.is_ended() && subscriptions.len() == 0);
            assert_eq!((subscriptions.wildcards(), subscriptions.shared()), (0, 0));
        }
    }
}
