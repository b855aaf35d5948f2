//! [`ExactFilters`]: the filters without a wildcard. Each matches the one topic of the same bytes, so a hash map does.

use std::hash::{BuildHasher, Hasher, RandomState};

use hashbrown::hash_table::Entry;

use super::{Subscriber, receivers::Receivers, route::Route};
use crate::sharded::ShardedTable;

pub(super) struct ExactFilters<S> {
    table: ShardedTable<ExactFilter<S>>,
    keys: RandomState,
}

struct ExactFilter<S> {
    filter: Box<[u8]>,
    receivers: Receivers<S>,
}

impl<S: Subscriber + Clone> ExactFilters<S> {
    pub(super) fn new(keys: RandomState) -> Self {
        Self { table: ShardedTable::new(), keys }
    }

    /// How many filters have receivers.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn reserve(&mut self, filters: usize) {
        let keys = &self.keys;
        self.table.reserve(filters, |held| hash(keys, &held.filter));
    }

    /// The receivers of `filter`, made if need be. The caller must add one.
    pub(super) fn entry(&mut self, filter: &[u8]) -> &mut Receivers<S> {
        let keys = &self.keys;
        let hash_of = |held: &ExactFilter<S>| hash(keys, &held.filter);
        let hash = hash(keys, filter);
        let entry = self.table.shard_mut(hash).entry(hash, |held| *held.filter == *filter, hash_of);
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
        let hash_of = |held: &ExactFilter<S>| hash(keys, &held.filter);
        let hash = hash(keys, filter);
        let is_it = |held: &ExactFilter<S>| *held.filter == *filter;
        let Some(found) = self.table.shard_mut(hash).find_mut(hash, is_it) else { return false };
        let removed = found.receivers.remove(group, subscriber_id);
        if found.receivers.is_empty() {
            self.table.remove(hash, is_it, hash_of);
        }
        removed
    }

    /// Adds the receivers of the filter that is spelled like `topic`.
    pub(super) fn route(&self, topic: &[u8], route: &mut Route<S>) {
        if let Some(found) = self.table.find(hash(&self.keys, topic), |held| *held.filter == *topic) {
            found.receivers.add_to(route);
        }
    }
}

fn hash(keys: &RandomState, filter: &[u8]) -> u64 {
    let mut hasher = keys.build_hasher();
    hasher.write(filter);
    hasher.finish()
}
