//! [`ExactFilters`]: the filters without a wildcard. Each matches the one topic of the same bytes, so a hash map does.

use std::hash::{BuildHasher, RandomState};

use hashbrown::{HashTable, hash_table::Entry};

use super::{Subscriber, receivers::Receivers, route::Route};

pub(super) struct ExactFilters<S> {
    table: HashTable<ExactFilter<S>>,
    keys: RandomState,
}

struct ExactFilter<S> {
    filter: Box<[u8]>,
    receivers: Receivers<S>,
}

impl<S: Subscriber + Clone> ExactFilters<S> {
    pub(super) fn new(keys: RandomState) -> Self {
        Self { table: HashTable::new(), keys }
    }

    /// How many filters have receivers.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// The receivers of `filter`, made if need be. The caller must add one.
    pub(super) fn entry(&mut self, filter: &[u8]) -> &mut Receivers<S> {
        let keys = &self.keys;
        let entry = self.table.entry(
            hash(keys, filter),
            |held| *held.filter == *filter,
            |held| hash(keys, &held.filter),
        );
        let made = match entry {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry
                .insert(ExactFilter { filter: filter.into(), receivers: Receivers::default() })
                .into_mut(),
        };
        &mut made.receivers
    }

    pub(super) fn remove(&mut self, filter: &[u8], group: Option<&str>, subscriber_id: u64) -> bool {
        let keys = &self.keys;
        let Ok(mut entry) = self.table.find_entry(hash(keys, filter), |held| *held.filter == *filter) else {
            return false;
        };
        let receivers = &mut entry.get_mut().receivers;
        if !receivers.remove(group, subscriber_id) {
            return false;
        }
        if receivers.is_empty() {
            entry.remove();
            if self.table.len() < self.table.capacity() / 8 {
                self.table.shrink_to(self.table.len() * 2, |held| hash(keys, &held.filter));
            }
        }
        true
    }

    /// Adds the receivers of the filter that is spelled like `topic`.
    pub(super) fn route(&self, topic: &[u8], route: &mut Route<S>) {
        if !self.table.is_empty()
            && let Some(found) = self.table.find(hash(&self.keys, topic), |held| *held.filter == *topic)
        {
            found.receivers.add_to(route);
        }
    }
}

fn hash(keys: &RandomState, filter: &[u8]) -> u64 {
    keys.hash_one(filter)
}
