//! [`Durability`]: what the broker's core does with its store, if it has one.

use std::{
    sync::Arc,
    task::{Poll, Waker},
    time::{Duration, Instant, SystemTime},
};

use parking_lot::Mutex;

use crate::store::{
    BatchCounts, DeliverPage, Journal, Mark, MessageKey, QueueRead, Record, SessionKey, Store, StoreError,
};

/// The store, and the numbers that its records need. Without a store, everything here costs one branch.
#[derive(Default)]
pub(crate) struct Durability(Option<On>);

struct On {
    store: Arc<dyn Store>,
    /// Held while a group with a new key is appended.
    next_key: Mutex<MessageKey>,
    /// One moment on both clocks: records outlive the process, and [`Instant`] does not. A late one: the wall clock may be set, and
    /// goes on while the machine sleeps.
    clocks: Mutex<(Instant, SystemTime)>,
}

/// By less than this the wall clock is set again and again.
const STEP: Duration = Duration::from_mins(1);

impl Durability {
    /// `clocks` is one moment on both.
    pub(crate) fn on(store: Arc<dyn Store>, clocks: (Instant, SystemTime)) -> Self {
        Self(Some(On { store, next_key: Mutex::new(1), clocks: Mutex::new(clocks) }))
    }

    /// Takes note of what both clocks read now. Whether the wall clock was set meanwhile, and what was written before is wrong by
    /// more than a minute.
    pub(crate) fn note_clocks(&self, clocks: (Instant, SystemTime)) -> bool {
        let Some(on) = &self.0 else { return false };
        let (expected, wall) = (self.wall_clock(clocks.0), clocks.1);
        *on.clocks.lock() = clocks;
        let step = wall.duration_since(expected).unwrap_or_else(|error| error.duration());
        step > STEP
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Writes a group, of which all will survive, or nothing.
    pub(crate) fn append(&self, group: Vec<Record>) -> Mark {
        match &self.0 {
            Some(on) if !group.is_empty() => on.store.append(group),
            _ => Mark::NOTHING,
        }
    }

    /// Writes one record, made only if there is a store.
    pub(crate) fn write(&self, record: impl FnOnce() -> Record) -> Mark {
        self.0.as_ref().map_or(Mark::NOTHING, |on| on.store.append_one(record()))
    }

    /// That a session's client is gone since `now`.
    pub(crate) fn detached(&self, session: SessionKey, now: Instant) -> Record {
        Record::SessionDetached { session, at: self.wall_clock(now) }
    }

    /// A persistent session's own way to the store.
    pub(crate) fn journal(&self, session: SessionKey, clean: bool) -> Journal {
        match &self.0 {
            Some(on) if !clean => Journal::new(Arc::clone(&on.store), session),
            _ => Journal::default(),
        }
    }

    /// Writes a group about a new message, and gives that its key.
    ///
    /// Keys grow in the order of the groups: who has read a queue up to a key has missed nothing before it.
    pub(crate) fn append_message(&self, mut group: Vec<Record>) -> (Mark, MessageKey) {
        self.with_new_key(|store, new| {
            for record in &mut group {
                set_key(record, new);
            }
            store.append(group)
        })
    }

    /// The same for a group of one record.
    pub(crate) fn append_message_alone(&self, mut record: Record) -> (Mark, MessageKey) {
        self.with_new_key(|store, new| {
            set_key(&mut record, new);
            store.append_one(record)
        })
    }

    fn with_new_key(&self, append: impl FnOnce(&dyn Store, MessageKey) -> Mark) -> (Mark, MessageKey) {
        let Some(On { store, next_key, .. }) = &self.0 else { return (Mark::NOTHING, 0) };
        let mut next_key = next_key.lock();
        let new = *next_key;
        *next_key += 1;
        (append(&**store, new), new)
    }

    /// New keys are greater than this one, which an earlier process gave out.
    pub(crate) fn skip_key(&self, key: MessageKey) {
        if let Some(on) = &self.0 {
            let mut next_key = on.next_key.lock();
            *next_key = (*next_key).max(key.saturating_add(1));
        }
    }

    /// Reads a part of a session's queue. No lock may be held: `deliver` may be called before this returns.
    pub(crate) fn read_queue(&self, read: QueueRead, deliver: DeliverPage) {
        if let Some(on) = &self.0 {
            on.store.read_queue(read, deliver);
        }
    }

    /// Whether everything up to `mark` survives. If not, `waker` is woken when it does, or when it is clear that it never will.
    pub(crate) fn is_durable(&self, mark: Mark, waker: &Waker) -> bool {
        if self.has(mark) {
            return true;
        }
        let Some(On { store, .. }) = &self.0 else { return true };
        // A store that has failed wakes at once whoever asks: to ask again at each waking would never end.
        if store.failure().is_none() {
            store.wake_at(mark, waker);
        }
        // It may have become durable between the question and the wish to be woken.
        store.durable() >= mark
    }

    /// Whether everything up to `mark` survives by now.
    pub(crate) fn has(&self, mark: Mark) -> bool {
        mark == Mark::NOTHING || self.0.as_ref().is_none_or(|on| on.store.durable() >= mark)
    }

    /// Whether more may be begun: a store says when too much waits to be written. `waker` is woken when that is over.
    pub(crate) fn keeps_up(&self, waker: &Waker) -> bool {
        self.0.as_ref().is_none_or(|on| self.is_durable(on.store.congested_until(), waker))
    }

    /// Why the store has failed, once it has; for ever pending without a store.
    pub(crate) fn poll_failure(&self, waker: &Waker) -> Poll<StoreError> {
        let Some(On { store, .. }) = &self.0 else { return Poll::Pending };
        if store.failure().is_none() {
            // A mark that no group ever has: only a failure wakes.
            store.wake_at(Mark(u64::MAX), waker);
        }
        store.failure().map_or(Poll::Pending, Poll::Ready)
    }

    /// The wall clock's reading at `at`, as it is set by now.
    pub(crate) fn wall_clock(&self, at: Instant) -> SystemTime {
        let Some(On { clocks, .. }) = &self.0 else { return SystemTime::UNIX_EPOCH };
        let (now, wall) = *clocks.lock();
        let reading = match now.checked_duration_since(at) {
            Some(before) => wall.checked_sub(before),
            None => wall.checked_add(at.saturating_duration_since(now)),
        };
        reading.unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// How long before the last look at it the wall clock read `at`; zero if it did so later.
    pub(crate) fn age(&self, at: SystemTime) -> Duration {
        let Some(On { clocks, .. }) = &self.0 else { return Duration::ZERO };
        clocks.lock().1.duration_since(at).unwrap_or_default()
    }

    /// How long after the last look at it the wall clock reads `at`; zero if it did so earlier.
    pub(crate) fn time_until(&self, at: SystemTime) -> Duration {
        let Some(On { clocks, .. }) = &self.0 else { return Duration::ZERO };
        at.duration_since(clocks.lock().1).unwrap_or_default()
    }

    /// How the store writes, in numbers.
    pub(crate) fn batches(&self) -> Option<BatchCounts> {
        self.0.as_ref()?.store.batches()
    }

    /// Why the store keeps nothing any more, if so.
    pub(crate) fn failure(&self) -> Option<StoreError> {
        self.0.as_ref().and_then(|on| on.store.failure())
    }
}

fn set_key(record: &mut Record, new: MessageKey) {
    if let Record::Queued { key, .. } = record {
        *key = new;
    }
}

#[cfg(all(test, not(gmqtt_loom)))]
mod tests {
    use super::*;
    use crate::{net, store::MemoryStore};

    #[test]
    fn the_wall_clock_is_what_it_was_last_set_to() {
        const MINUTE: Duration = Duration::from_mins(1);
        let start = net::now();
        let wall = |minutes| SystemTime::UNIX_EPOCH + minutes * MINUTE;
        let durability = Durability::on(Arc::new(MemoryStore::default()), (start, wall(100)));
        assert!(!durability.note_clocks((start + MINUTE, wall(101))));
        for set_to in [500, 9] {
            assert!(durability.note_clocks((start + 2 * MINUTE, wall(set_to))));
            assert_eq!(durability.wall_clock(start + 5 * MINUTE), wall(set_to + 3));
            assert_eq!(durability.wall_clock(start), wall(set_to - 2), "what was before is told by it, too");
        }
    }
}
