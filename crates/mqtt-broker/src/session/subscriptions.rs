//! [`SessionSubscriptions`]: the filters of one session, and with which QoS each was granted.

use std::{collections::HashMap, mem, time::Duration};

use mqtt_codec::{QoS, TopicFilter};

/// A session's own list of what the router holds for it.
#[derive(Default)]
pub(crate) struct SessionSubscriptions {
    filters: Filters,
    /// How many of them have a wildcard.
    wildcards: u32,
}

/// The filters' bytes, exactly: there may be millions of them. Nearly all clients have a handful of filters, for which a list is smaller than a map, and as fast.
enum Filters {
    Few(Vec<(Box<[u8]>, Grant)>),
    Many(Box<Map>),
    /// The session is over, and the router has forgotten it: nothing may be added any more.
    Ended,
}

/// Behind a pointer, so that the many clients with few filters are not larger for the few with many.
struct Map(HashMap<Box<[u8]>, Grant>);

/// With which QoS a filter was granted, and when.
#[derive(Clone, Copy)]
struct Grant {
    qos: QoS,
    /// Seconds of the broker's life, and one more; 0 is not known. With `qos` in the room that the list would waste.
    second: u32,
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
        matches!(self.filters, Filters::Ended)
    }

    pub(crate) fn len(&self) -> usize {
        match &self.filters {
            Filters::Few(few) => few.len(),
            Filters::Many(many) => many.0.len(),
            Filters::Ended => 0,
        }
    }

    pub(crate) fn wildcards(&self) -> usize {
        self.wildcards as usize
    }

    pub(crate) fn contains(&self, filter: &TopicFilter) -> bool {
        match &self.filters {
            Filters::Few(few) => few.iter().any(|(known, _)| is(known, filter)),
            Filters::Many(many) => many.0.contains_key(filter.as_bytes()),
            Filters::Ended => false,
        }
    }

    /// `at` is how long the broker has been running; `None` if it was granted before.
    pub(crate) fn insert(&mut self, filter: &TopicFilter, qos: QoS, at: Option<Duration>) {
        let second = at.and_then(|at| u32::try_from(at.as_secs() + 1).ok()).unwrap_or_default();
        let granted = Grant { qos, second };
        if filter.has_wildcard() && !self.contains(filter) && !self.is_ended() {
            self.wildcards += 1;
        }
        if let Filters::Few(few) = &mut self.filters {
            if let Some(known) = few.iter_mut().find(|(known, _)| is(known, filter)) {
                known.1 = granted;
                return;
            }
            if few.len() < FEW {
                few.reserve_exact(1);
                few.push((filter.as_bytes().into(), granted));
                return;
            }
            self.filters = Filters::Many(Box::new(Map(mem::take(few).into_iter().collect())));
        }
        if let Filters::Many(many) = &mut self.filters {
            many.0.insert(filter.as_bytes().into(), granted);
        }
    }

    /// Filters are compared byte for byte [MQTT-3.10.4-1].
    pub(crate) fn remove(&mut self, filter: &TopicFilter) -> bool {
        let was_there = match &mut self.filters {
            Filters::Few(few) => {
                let at = few.iter().position(|(known, _)| is(known, filter));
                at.map(|at| few.swap_remove(at)).is_some()
            }
            Filters::Many(many) => many.0.remove(filter.as_bytes()).is_some(),
            Filters::Ended => false,
        };
        if was_there && filter.has_wildcard() {
            self.wildcards -= 1;
        }
        was_there
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Granted> {
        let (few, many) = match &self.filters {
            Filters::Few(few) => (Some(few.iter()), None),
            Filters::Many(many) => (None, Some(many.0.iter())),
            Filters::Ended => (None, None),
        };
        let few = few.into_iter().flatten().map(|(filter, granted)| (filter, *granted));
        let many = many.into_iter().flatten().map(|(filter, granted)| (filter, *granted));
        // Each was a filter when it was put in.
        few.chain(many).filter_map(|(filter, granted)| {
            let at = granted.second.checked_sub(1).map(|second| Duration::from_secs(second.into()));
            Some(Granted { filter: TopicFilter::new(filter.to_vec()).ok()?, qos: granted.qos, at })
        })
    }

    /// Ends it, and hands out what the router still has to forget.
    pub(crate) fn end(&mut self) -> Vec<TopicFilter> {
        let filters = self.iter().map(|granted| granted.filter).collect();
        *self = Self { filters: Filters::Ended, wildcards: 0 };
        filters
    }
}

fn is(known: &[u8], filter: &TopicFilter) -> bool {
    known == filter.as_bytes()
}

impl Default for Filters {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_takes_no_more_room_than_its_qos_did() {
        assert_eq!(size_of::<(Box<[u8]>, Grant)>(), size_of::<(Box<[u8]>, QoS)>());
    }

    /// The list and the map behave alike. [MQTT-3.10.4-1] [MQTT-3.8.4-3]
    #[test]
    fn few_and_many() {
        for count in [FEW / 2, FEW * 4] {
            // Every other one has a wildcard.
            let end = |n: usize| if n.is_multiple_of(2) { "" } else { "/#" };
            let filter = |n: usize| TopicFilter::try_from(format!("f/{n}{}", end(n)).as_str()).unwrap();
            let mut subscriptions = SessionSubscriptions::default();
            for qos in [QoS::AtMostOnce, QoS::ExactlyOnce] {
                (0..count).for_each(|n| subscriptions.insert(&filter(n), qos, Some(Duration::ZERO)));
            }
            assert_eq!(subscriptions.len(), count, "an identical filter replaces");
            assert_eq!(subscriptions.wildcards(), count / 2);
            assert!(subscriptions.iter().all(|granted| granted.qos == QoS::ExactlyOnce));
            assert!(subscriptions.remove(&filter(1)) && !subscriptions.remove(&filter(1)));
            assert!(!subscriptions.contains(&filter(1)) && subscriptions.contains(&filter(0)));
            subscriptions.insert(&filter(0), QoS::ExactlyOnce, None);
            subscriptions.insert(&filter(2), QoS::ExactlyOnce, Some(Duration::from_millis(7_900)));
            let at = |n| subscriptions.iter().find(|granted| granted.filter == filter(n)).unwrap().at;
            assert_eq!((at(0), at(2), at(3)), (None, Some(Duration::from_secs(7)), Some(Duration::ZERO)));
            assert_eq!(subscriptions.wildcards(), count / 2 - 1);
            assert_eq!(subscriptions.end().len(), count - 1);
            assert!(subscriptions.is_ended() && subscriptions.len() == 0 && subscriptions.wildcards() == 0);
        }
    }
}
