//! [`ShardedTable`]: a hash table in pieces, so that growing never takes long.
//!
//! A hash table that is full moves every entry to a larger one, all at once, while everybody waits: with a million
//! entries a fifth of a second. Here each piece grows by itself, and moves a 256th part of that.

use std::array;

use hashbrown::HashTable;

const SHARDS: usize = 256;

pub(crate) struct ShardedTable<T> {
    shards: Box<[HashTable<T>; SHARDS]>,
}

impl<T> ShardedTable<T> {
    pub(crate) fn new() -> Self {
        Self { shards: Box::new(array::from_fn(|_| HashTable::new())) }
    }

    /// Makes room for so many entries in all, so that the pieces need not grow on the way there. `rehash` is the hash of an
    /// entry.
    pub(crate) fn reserve(&mut self, entries: usize, rehash: impl Fn(&T) -> u64) {
        for shard in &mut *self.shards {
            shard.reserve(entries.div_ceil(SHARDS), &rehash);
        }
    }

    /// Counted shard by shard: not for hot paths.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(HashTable::len).sum()
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.shards.iter().map(HashTable::capacity).sum()
    }

    pub(crate) fn find(&self, hash: u64, is_it: impl FnMut(&T) -> bool) -> Option<&T> {
        self.shards[shard_of(hash)].find(hash, is_it)
    }

    /// The piece that holds all entries with this hash.
    pub(crate) fn shard_mut(&mut self, hash: u64) -> &mut HashTable<T> {
        &mut self.shards[shard_of(hash)]
    }

    /// Removes an entry, and gives memory back once most of a piece is empty. `rehash` is the hash of an entry.
    pub(crate) fn remove(
        &mut self,
        hash: u64,
        is_it: impl FnMut(&T) -> bool,
        rehash: impl Fn(&T) -> u64,
    ) -> Option<T> {
        let shard = self.shard_mut(hash);
        let (removed, _) = shard.find_entry(hash, is_it).ok()?.remove();
        if shard.len() < shard.capacity() / 8 {
            shard.shrink_to(shard.len() * 2, rehash);
        }
        Some(removed)
    }
}

/// By bits that a table uses neither for the place of an entry, the lowest, nor for its tag, the highest.
fn shard_of(hash: u64) -> usize {
    (hash >> 48) as usize % SHARDS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mix::mix;

    #[test]
    fn finds_what_is_left_when_most_has_gone() {
        let mut table = ShardedTable::new();
        for n in 0..50_000_u64 {
            table.shard_mut(mix(n)).insert_unique(mix(n), n, |&n| mix(n));
        }
        assert_eq!(table.len(), 50_000);
        let full = table.capacity();
        for n in (0..50_000).filter(|n| n % 100 != 0) {
            assert_eq!(table.remove(mix(n), |&held| held == n, |&n| mix(n)), Some(n));
            assert_eq!(table.remove(mix(n), |&held| held == n, |&n| mix(n)), None);
        }
        assert!((0..50_000).all(|n| table.find(mix(n), |&held| held == n).is_some() == (n % 100 == 0)));
        assert!(table.capacity() < full / 8, "most of the memory is given back");
    }
}
