//! [`Crowd`]: the many subscribers of one filter: ten thousand of them cost no scan.

use hashbrown::HashTable;
use mqtt_codec::QoS;

use super::Subscriber;
use crate::mix::mix;

/// A subscriber and the QoS it was granted.
pub(super) type Granted<S> = (S, QoS);

/// Above this many subscribers they are found by an index, below by looking at each.
const INDEX_ABOVE: usize = 16;

/// A set of subscribers by id, each with its QoS, side by side in memory: a message to all of them reads them in one
/// sweep.
pub(super) struct Crowd<S> {
    granted: Vec<Granted<S>>,
    /// Where in `granted` each stands, by id; empty while there are few.
    positions: HashTable<u32>,
}

impl<S> Default for Crowd<S> {
    fn default() -> Self {
        Self { granted: Vec::new(), positions: HashTable::new() }
    }
}

impl<S: Subscriber + Clone> Crowd<S> {
    pub(super) fn of(one: Granted<S>) -> Self {
        Self { granted: vec![one], positions: HashTable::new() }
    }

    pub(super) fn as_slice(&self) -> &[Granted<S>] {
        &self.granted
    }

    /// Adds a subscriber, or replaces the one with the same id. Whether it is new.
    pub(super) fn insert(&mut self, new: Granted<S>) -> bool {
        let id = new.0.id();
        if let Some(held) = self.position(id).and_then(|position| self.granted.get_mut(position)) {
            *held = new;
            return false;
        }
        self.granted.push(new);
        if !self.positions.is_empty() {
            self.index(self.granted.len() - 1);
        } else if self.granted.len() > INDEX_ABOVE {
            (0..self.granted.len()).for_each(|position| self.index(position));
        }
        true
    }

    /// Removes the subscriber with this id, and says whether it was there. The last one moves to where it stood.
    pub(super) fn remove(&mut self, id: u64) -> bool {
        let Some(position) = self.position(id) else { return false };
        let last = self.granted.len() - 1;
        if !self.positions.is_empty() {
            if let Ok(entry) = self.positions.find_entry(mix(id), |&held| held as usize == position) {
                entry.remove();
            }
            if let Some((moved, _)) = self.granted.get(last)
                && let Some(held) = self.positions.find_mut(mix(moved.id()), |&held| held as usize == last)
            {
                *held = position as u32;
            }
        }
        self.granted.swap_remove(position);
        if self.granted.len() < INDEX_ABOVE / 2 {
            self.positions = HashTable::new();
        }
        if self.granted.len() < self.granted.capacity() / 4 {
            self.granted.shrink_to(self.granted.len() * 2);
        }
        true
    }

    fn position(&self, id: u64) -> Option<usize> {
        let stands_at = |position: usize| self.granted.get(position).is_some_and(|(held, _)| held.id() == id);
        if self.positions.is_empty() {
            (0..self.granted.len()).find(|&position| stands_at(position))
        } else {
            self.positions
                .find(mix(id), |&position| stands_at(position as usize))
                .map(|&found| found as usize)
        }
    }

    fn index(&mut self, position: usize) {
        let granted = &self.granted;
        let hash = |position: usize| granted.get(position).map_or(0, |(held, _)| mix(held.id()));
        self.positions.insert_unique(hash(position), position as u32, |&held| hash(held as usize));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subscriptions::tests::client;

    /// Up over the threshold of the index and down again, in an order that moves entries about.
    #[test]
    fn finds_everyone_on_the_way_up_and_down() {
        let mut crowd = Crowd::default();
        for id in 0..200 {
            assert!(crowd.insert((client(id), QoS::AtMostOnce)));
            assert!(!crowd.insert((client(id / 2), QoS::AtLeastOnce)));
        }
        let mut left: Vec<u64> = (0..200).collect();
        while !left.is_empty() {
            let id = left.swap_remove(left.len() * 7 / 11);
            assert!(crowd.remove(id));
            assert!(!crowd.remove(id));
            let mut held: Vec<u64> = crowd.as_slice().iter().map(|(client, _)| client.id()).collect();
            let mut expected = left.clone();
            held.sort_unstable();
            expected.sort_unstable();
            assert_eq!(held, expected);
        }
        assert!(crowd.as_slice().is_empty());
    }
}
