//! [`Receivers`]: what hangs on one filter, in the map and in the trie alike: its subscribers and its shared groups.

use std::{collections::BTreeMap, mem, slice, sync::Arc};

use super::{
    Subscriber,
    crowd::{Crowd, Granted},
    route::Route,
    shared::{SharedGroup, SharedStrategy},
};

/// Two words, whatever hangs there: every filter and every node of the trie has room for it, and most filters have one
/// subscriber, which lies inline.
#[derive(Default)]
pub(super) enum Receivers<S> {
    #[default]
    Nobody,
    One(Granted<S>),
    Several(Box<Several<S>>),
}

/// Two subscribers or more, or a shared group.
pub(super) struct Several<S> {
    direct: Crowd<S>,
    /// The shared groups by name.
    groups: BTreeMap<Box<str>, Arc<SharedGroup<S>>>,
}

impl<S: Subscriber + Clone> Receivers<S> {
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Nobody)
    }

    /// Adds a subscriber, to the shared group of this name if there is one, or replaces the one with the same id.
    /// Whether it is new. A group that is made here shares out by `strategy`.
    pub(super) fn insert(
        &mut self,
        group: Option<&str>,
        granted: Granted<S>,
        strategy: SharedStrategy,
    ) -> bool {
        match group {
            None => self.insert_direct(granted),
            Some(name) => self.change(|several| several.join(name, granted, strategy)),
        }
    }

    /// Removes the subscription of the subscriber with this id. Whether it was there.
    pub(super) fn remove(&mut self, group: Option<&str>, id: u64) -> bool {
        match self {
            Self::One(held) if group.is_none() && held.0.id() == id => {
                *self = Self::Nobody;
                true
            }
            Self::Nobody | Self::One(_) => false,
            Self::Several(several) => {
                let removed = several.remove(group, id);
                self.settle();
                removed
            }
        }
    }

    pub(super) fn add_to(&self, route: &mut Route<S>) {
        match self {
            Self::Nobody => {}
            Self::One(one) => route.add(slice::from_ref(one)),
            Self::Several(several) => {
                route.add(several.direct.as_slice());
                route.groups.extend(several.groups.values().cloned());
            }
        }
    }

    fn insert_direct(&mut self, new: Granted<S>) -> bool {
        match self {
            Self::Nobody => {
                *self = Self::One(new);
                true
            }
            Self::One(held) if held.0.id() == new.0.id() => {
                *held = new;
                false
            }
            Self::One(_) | Self::Several(_) => self.change(|several| several.direct.insert(new)),
        }
    }

    /// Lets `change` work on it with room for more than one subscriber.
    fn change<T>(&mut self, change: impl FnOnce(&mut Several<S>) -> T) -> T {
        let mut several = match mem::take(self) {
            Self::Several(several) => several,
            Self::One(one) => Box::new(Several { direct: Crowd::of(one), groups: BTreeMap::new() }),
            Self::Nobody => Box::new(Several { direct: Crowd::default(), groups: BTreeMap::new() }),
        };
        let outcome = change(&mut several);
        *self = Self::Several(several);
        outcome
    }

    /// After a removal: one subscriber alone needs no room for more.
    fn settle(&mut self) {
        let Self::Several(several) = self else { return };
        if several.groups.is_empty() {
            match several.direct.as_slice() {
                [] => *self = Self::Nobody,
                [one] => *self = Self::One(one.clone()),
                _ => {}
            }
        }
    }
}

impl<S: Subscriber + Clone> Several<S> {
    fn join(&mut self, name: &str, granted: Granted<S>, strategy: SharedStrategy) -> bool {
        if let Some(group) = self.groups.get_mut(name) {
            return Arc::make_mut(group).insert(granted); // copied only if a route still holds it
        }
        self.groups.insert(name.into(), Arc::new(SharedGroup::new(strategy, granted)));
        true
    }

    fn remove(&mut self, group: Option<&str>, id: u64) -> bool {
        let Some(name) = group else { return self.direct.remove(id) };
        let Some(group) = self.groups.get_mut(name).filter(|group| group.contains(id)) else { return false };
        if group.members().len() > 1 {
            return Arc::make_mut(group).remove(id);
        }
        self.groups.remove(name);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subscriptions::tests::client;
    use mqtt_codec::QoS;

    #[test]
    fn one_subscriber_lies_inline() {
        assert_eq!(size_of::<Receivers<Arc<u8>>>(), 16);
    }

    /// Back to where it began, over every step between: what is left must be what is found.
    #[test]
    fn grows_with_subscribers_and_groups_and_is_small_again() {
        let granted = |id| (client(id), QoS::AtLeastOnce);
        let mut receivers = Receivers::default();
        assert!(receivers.insert(None, granted(1), SharedStrategy::RoundRobin));
        assert!(receivers.insert(Some("g"), granted(2), SharedStrategy::RoundRobin));
        assert!(!receivers.remove(None, 2) && !receivers.remove(Some("g"), 1));
        assert!(!receivers.insert(None, granted(1), SharedStrategy::RoundRobin));
        let mut route = Route::new();
        receivers.add_to(&mut route);
        assert_eq!((route.direct.len(), route.groups.len()), (1, 1));
        assert!(receivers.remove(Some("g"), 2) && matches!(receivers, Receivers::One(_)));
        assert!(!receivers.remove(Some("g"), 1) && !receivers.remove(None, 2));
        assert!(receivers.insert(None, granted(3), SharedStrategy::RoundRobin));
        assert!(receivers.remove(None, 1) && matches!(&receivers, Receivers::One(one) if one.0.id() == 3));
        assert!(receivers.remove(None, 3) && receivers.is_empty());
        assert!(receivers.insert(Some("g"), granted(1), SharedStrategy::RoundRobin));
        assert!(receivers.remove(Some("g"), 1) && receivers.is_empty());
    }
}
