//! [`SlowStore`]: a store that takes its time: a group is durable, and a part of a queue read, only some virtual
//! milliseconds after it was asked for.

use std::{collections::VecDeque, sync::Arc, task::Waker};

use parking_lot::Mutex;

use super::rng::Rng;
use crate::store::{DeliverPage, Mark, MemoryStore, QueuePage, QueueRead, Record, Store, StoreError};

/// Clones are the same store.
#[derive(Clone)]
pub(crate) struct SlowStore(Arc<Mutex<State>>);

struct State {
    kept: MemoryStore,
    /// What was read, when it is handed over, and to whom.
    pages: Vec<(u64, QueuePage, DeliverPage)>,
    rng: Rng,
    longest_delay: u64,
    now: u64,
    appended: u64,
    durable: u64,
    /// Marks that are not durable yet, in order, and when they are.
    groups: VecDeque<(u64, u64)>,
    wakers: Vec<(Mark, Waker)>,
}

impl SlowStore {
    pub(crate) fn new(seed: u64) -> Self {
        let (groups, wakers) = (VecDeque::new(), Vec::new());
        let rng = Rng::new(seed);
        Self(Arc::new(Mutex::new(State {
            kept: MemoryStore::default(),
            pages: Vec::new(),
            rng,
            longest_delay: 0,
            now: 0,
            appended: 0,
            durable: 0,
            groups,
            wakers,
        })))
    }

    /// How long a group takes from now on, at most.
    pub(super) fn set_delay(&self, longest: u64) {
        self.0.lock().longest_delay = longest;
    }

    /// Whether something is not durable yet.
    pub(super) fn is_busy(&self) -> bool {
        let state = self.0.lock();
        !state.groups.is_empty() || !state.pages.is_empty()
    }

    /// The time comes; who waited for what is durable now is woken.
    pub(crate) fn pass(&self, now: u64) {
        let mut state = self.0.lock();
        state.now = now;
        while let Some((_, mark)) = state.groups.pop_front_if(|(at, _)| *at <= now) {
            state.durable = mark;
        }
        let durable = Mark(state.durable);
        let ready: Vec<(Mark, Waker)> = state.wakers.extract_if(.., |(mark, _)| *mark <= durable).collect();
        let read: Vec<_> = state.pages.extract_if(.., |(at, ..)| *at <= now).collect();
        drop(state);
        for (_, waker) in ready {
            waker.wake();
        }
        for (_, page, deliver) in read {
            deliver(page);
        }
    }
}

impl Store for SlowStore {
    fn append(&self, group: Vec<Record>) -> Mark {
        let mut state = self.0.lock();
        state.kept.append(group);
        let longest = state.longest_delay;
        let at = state.now + state.rng.between(0, longest);
        let at = state.groups.back().map_or(at, |(earlier, _)| at.max(*earlier));
        state.appended += 1;
        let mark = state.appended;
        state.groups.push_back((at, mark));
        Mark(mark)
    }

    fn durable(&self) -> Mark {
        Mark(self.0.lock().durable)
    }

    fn wake_at(&self, mark: Mark, waker: &Waker) {
        self.0.lock().wakers.push((mark, waker.clone()));
    }

    fn failure(&self) -> Option<StoreError> {
        None
    }

    fn recover(&self, _: &mut dyn FnMut(Record)) -> Result<(), StoreError> {
        Ok(())
    }

    fn read_queue(&self, read: QueueRead, deliver: DeliverPage) {
        let state = self.0.clone();
        let keep = move |page| {
            let mut state = state.lock();
            let longest = state.longest_delay;
            let at = state.now + state.rng.between(0, longest);
            state.pages.push((at, page, deliver));
        };
        let kept = self.0.lock().kept.clone();
        kept.read_queue(read, Box::new(keep));
    }
}
