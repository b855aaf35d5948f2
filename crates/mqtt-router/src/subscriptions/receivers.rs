//! [`Receivers`]: what hangs on one filter, in the map and in the trie alike: its subscribers and its shared groups.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Subscriber,
    crowd::{Crowd, Granted},
    route::Route,
    shared::{SharedGroup, SharedStrategy},
};

/// The groups of a filter by name. Boxed where it stands, because most filters have none.
type Groups<S> = BTreeMap<Box<str>, Arc<SharedGroup<S>>>;

pub(super) struct Receivers<S> {
    direct: Crowd<S>,
    groups: Option<Box<Groups<S>>>,
}

impl<S> Default for Receivers<S> {
    fn default() -> Self {
        Self { direct: Crowd::Nobody, groups: None }
    }
}

impl<S: Subscriber + Clone> Receivers<S> {
    pub(super) fn is_empty(&self) -> bool {
        self.direct.is_empty() && self.groups.is_none()
    }

    /// Adds a subscriber, to the shared group of this name if there is one, or replaces the one with the same id.
    /// Whether it is new. A group that is made here shares out by `strategy`.
    pub(super) fn insert(
        &mut self,
        group: Option<&str>,
        granted: Granted<S>,
        strategy: SharedStrategy,
    ) -> bool {
        let Some(name) = group else { return self.direct.insert(granted) };
        let groups = self.groups.get_or_insert_default();
        if let Some(group) = groups.get_mut(name) {
            return Arc::make_mut(group).insert(granted); // copied only if a route still holds it
        }
        groups.insert(name.into(), Arc::new(SharedGroup::new(strategy, granted)));
        true
    }

    /// Removes the subscription of the subscriber with this id. Whether it was there.
    pub(super) fn remove(&mut self, group: Option<&str>, id: u64) -> bool {
        let Some(name) = group else { return self.direct.remove(id) };
        let Some(groups) = &mut self.groups else { return false };
        let Some(group) = groups.get_mut(name).filter(|group| group.contains(id)) else { return false };
        if group.members().len() > 1 {
            return Arc::make_mut(group).remove(id);
        }
        groups.remove(name);
        if groups.is_empty() {
            self.groups = None;
        }
        true
    }

    pub(super) fn add_to(&self, route: &mut Route<S>) {
        route.add(self.direct.as_slice());
        if let Some(groups) = &self.groups {
            route.groups.extend(groups.values().cloned());
        }
    }
}
