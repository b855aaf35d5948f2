//! [`Waiters`]: who is to be woken, and from which mark on.

use std::task::Waker;

use mqtt_broker::store::Mark;
use parking_lot::Mutex;

#[derive(Default)]
pub(crate) struct Waiters(Mutex<Vec<(Mark, Waker)>>);

impl Waiters {
    pub(crate) fn are_none(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// Who asks twice is woken once. Those who wait for a failure, at a mark that no group has, are few, and may ask for as long
    /// as there is none.
    pub(crate) fn add(&self, mark: Mark, waker: &Waker) {
        let mut waiters = self.0.lock();
        let is_known = |(of, known): &(Mark, Waker)| *of == mark && known.will_wake(waker);
        let mut latest = waiters.iter().rev().take(if mark.0 == u64::MAX { usize::MAX } else { 1 });
        if !latest.any(is_known) {
            waiters.push((mark, waker.clone()));
        }
    }

    /// Wakes those who wait for no more than this mark.
    pub(crate) fn wake_until(&self, mark: Mark) {
        let satisfied: Vec<_> = self.0.lock().extract_if(.., |(of, _)| *of <= mark).collect();
        // Not under the lock: a waker may do anything.
        for (_, waker) in satisfied {
            waker.wake();
        }
    }
}
