//! What may hang, and who notices: a disk that hangs says nothing.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use mqtt_broker::store::StoreError;

use crate::{desk::Desk, options::StoreOptions, wal::Medium};

/// How often somebody looks whether something is stuck.
const LOOK: Duration = Duration::from_secs(1);

/// Counts the beginnings and the ends of what may hang: odd while it is under way.
#[derive(Default)]
pub(crate) struct Steps(AtomicU64);

impl Steps {
    pub(crate) fn count<T>(&self, act: impl FnOnce() -> T) -> T {
        self.0.fetch_add(1, Ordering::Relaxed);
        let done = act();
        self.0.fetch_add(1, Ordering::Relaxed);
        done
    }

    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Calls the store failed when something is stuck. It counts its own looks, and so no time in which the whole process stood
/// still.
pub(crate) fn watch<M: Medium>(desk: &Desk<M>, options: &StoreOptions) {
    let mut looks = [Looks::default(); 2];
    while !desk.ended.load(Ordering::Relaxed) {
        thread::park_timeout(LOOK);
        let longest = looks[0].at(&desk.log_steps).max(looks[1].at(&desk.engine_steps));
        if longest >= options.max_stall.as_secs().max(1) {
            desk.stalled.store(true, Ordering::Relaxed);
            if desk.failure().is_none() {
                desk.fail(StoreError::new(format!(
                    "the store in {} could not be written: nothing has moved for {longest} s; look at the disk and the \
                     room on it",
                    options.dir.display()
                )));
            }
            return;
        }
    }
}

/// How often somebody has seen the same step under way.
#[derive(Clone, Copy, Default)]
struct Looks {
    last: u64,
    count: u64,
}

impl Looks {
    fn at(&mut self, steps: &Steps) -> u64 {
        let now = steps.now();
        self.count = if now == self.last && now % 2 == 1 { self.count + 1 } else { 0 };
        self.last = now;
        self.count
    }
}
