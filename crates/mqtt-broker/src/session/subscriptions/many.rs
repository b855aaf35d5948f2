//! [`Many`]: more filters than one would look through, found by a hash.

use std::hash::{BuildHasher, RandomState};

use hashbrown::{HashTable, hash_table::Entry as Slot};
use mqtt_codec::QoS;

use super::packed::{Entry, cost_of, entries, entry_at, set_grant, size_of_entry};

/// What a place can say: 4 GiB.
const MOST_BYTES: usize = u32::MAX as usize;

/// A row, and where in it each filter stands. Places left by filters that went are closed once they are half of it, or an eighth
/// and the row is full. It has `MOST` bytes at most: fewer in a test alone.
pub(super) struct Many<const MOST: usize = MOST_BYTES> {
    row: Vec<u8>,
    places: HashTable<u32>,
    /// How many bytes of the row belong to filters that are there.
    used: usize,
    /// What they count against the limit of their client.
    cost: usize,
    /// Filters are the client's to choose.
    keys: RandomState,
}

impl<const MOST: usize> Many<MOST> {
    /// Takes a row over from which nothing was removed.
    pub(super) fn new(row: &[u8]) -> Self {
        let mut many =
            Self { row: Vec::new(), places: HashTable::new(), used: 0, cost: 0, keys: RandomState::new() };
        entries(row).for_each(|(_, entry)| many.insert(&entry));
        many
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// What the filters that are there count against the limit of their client.
    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    pub(super) fn contains(&self, filter: &[u8]) -> bool {
        self.granted(filter).is_some()
    }

    pub(super) fn granted(&self, filter: &[u8]) -> Option<QoS> {
        let is_it = |&place: &u32| stands_at(&self.row, place, filter);
        let place = *self.places.find(self.keys.hash_one(filter), is_it)?;
        Some(entry_at(&self.row, place as usize)?.grant.qos)
    }

    /// Whether the filter is held, or can be: at a place that can be said.
    pub(super) fn has_room_for(&self, filter: &[u8]) -> bool {
        let size = size_of_entry(filter);
        self.row.len() + size <= MOST || self.gains_room_for(size) || self.contains(filter)
    }

    pub(super) fn insert(&mut self, new: &Entry<'_>) {
        if self.row.len() + new.size() > MOST && self.gains_room_for(new.size()) {
            self.close_gaps();
        }
        let Ok(place) = u32::try_from(self.row.len()) else { return };
        let (row, keys) = (&self.row, &self.keys);
        let hash = keys.hash_one(new.filter);
        let is_it = |&place: &u32| stands_at(row, place, new.filter);
        match self.places.entry(hash, is_it, |&place| hash_at(row, keys, place)) {
            Slot::Occupied(held) => {
                let place = *held.get() as usize;
                set_grant(&mut self.row, place, new.grant);
                return;
            }
            Slot::Vacant(slot) => slot.insert(place),
        };
        let size = new.size();
        if self.row.capacity() - self.row.len() < size {
            self.row.reserve_exact(size.max(self.row.len() / 8)); // Doubling would leave a third of it empty.
        }
        new.append_to(&mut self.row);
        self.used += size;
        self.cost += cost_of(new.filter);
    }

    pub(super) fn remove(&mut self, filter: &[u8]) -> bool {
        let hash = self.keys.hash_one(filter);
        let found = self.places.find_entry(hash, |&place| stands_at(&self.row, place, filter));
        let Ok(found) = found else { return false };
        found.remove();
        self.used -= size_of_entry(filter);
        self.cost -= cost_of(filter);
        if self.used < self.row.len() / 2 {
            self.close_gaps();
        }
        true
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        self.places.iter().filter_map(|&place| entry_at(&self.row, place as usize))
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.row.capacity()
    }

    /// Whether there is room once the gaps are closed. Few gaps count as none: closing them copies the whole row, and a client that
    /// removes one filter and adds one would have it copied each time.
    fn gains_room_for(&self, size: usize) -> bool {
        self.row.len() - self.used >= MOST / 8 && self.used + size <= MOST
    }

    fn close_gaps(&mut self) {
        let mut row = Vec::with_capacity(self.used);
        for place in &mut self.places {
            let moved_to = row.len() as u32; // No longer than the row that is there.
            if let Some(entry) = entry_at(&self.row, *place as usize) {
                entry.append_to(&mut row);
            }
            *place = moved_to;
        }
        self.row = row;
        let (row, keys) = (&self.row, &self.keys);
        self.places.shrink_to(self.places.len(), |&place| hash_at(row, keys, place));
    }
}

fn stands_at(row: &[u8], place: u32, filter: &[u8]) -> bool {
    entry_at(row, place as usize).is_some_and(|entry| entry.filter == filter)
}

fn hash_at(row: &[u8], keys: &RandomState, place: u32) -> u64 {
    entry_at(row, place as usize).map_or(0, |entry| keys.hash_one(entry.filter))
}

#[cfg(test)]
mod tests {
    use mqtt_codec::QoS;

    use super::*;
    use crate::session::subscriptions::packed::Grant;

    /// A row that is full refuses what is new; what it holds is granted anew. [MQTT-3.8.4-3]
    #[test]
    fn a_full_row_takes_the_filters_that_it_holds() {
        const LEN: usize = 9;
        let mut many = Many::<{ 3 * LEN }>::new(&[]);
        let entry = |filter, qos| Entry { filter, grant: Grant { qos, second: 0 } };
        for filter in [b"a1", b"a2", b"a3"] {
            assert!(many.has_room_for(filter) && size_of_entry(filter) == LEN);
            many.insert(&entry(filter, QoS::AtMostOnce));
        }
        assert!(!many.has_room_for(b"a4"));
        assert!(many.has_room_for(b"a2"), "it is held");
        many.insert(&entry(b"a2", QoS::ExactlyOnce));
        let granted = |filter| many.iter().find(|entry| entry.filter == filter).map(|entry| entry.grant.qos);
        assert_eq!((many.len(), granted(b"a2")), (3, Some(QoS::ExactlyOnce)));
        assert_eq!(granted(b"a1"), Some(QoS::AtMostOnce));
    }

    #[test]
    fn gaps_in_a_full_row_are_room_unless_they_are_few() {
        const LEN: usize = 10;
        const FILTERS: u8 = 16;
        let mut many = Many::<{ FILTERS as usize * LEN }>::new(&[]);
        let filter = |n: u8| [b'a' + n, b'/', b'x'];
        let insert = |many: &mut Many<_>, n| {
            let grant = Grant { qos: QoS::AtMostOnce, second: 0 };
            many.insert(&Entry { filter: &filter(n), grant });
        };
        (0..FILTERS).for_each(|n| insert(&mut many, n));
        many.remove(&filter(3));
        assert!(!many.has_room_for(&filter(20)), "a sixteenth");
        many.remove(&filter(4));
        assert!(many.has_room_for(&filter(20)), "an eighth");
        (20..22).for_each(|n| insert(&mut many, n));
        assert!(!many.has_room_for(&filter(30)) && many.row.len() == FILTERS as usize * LEN);
        let is_held = |n| !matches!(n, 3 | 4 | 16..20 | 22..);
        assert!((0..30).all(|n| many.contains(&filter(n)) == is_held(n)));
    }
}
