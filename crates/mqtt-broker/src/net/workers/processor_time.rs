//! [`ProcessorTime`]: how long a worker has had a processor. Only its own thread can ask; the others see what it noted last.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// So often at most it is asked: that is a call of the system.
const EVERY_NANOS: u64 = 20_000_000;

#[derive(Default)]
pub(super) struct ProcessorTime {
    /// In nanoseconds, as all here.
    noted_at: AtomicU64,
    /// 0: nobody knows.
    known: AtomicU64,
}

impl ProcessorTime {
    /// Notes it, if it is time to. For the worker's own thread.
    pub(super) fn note(&self, now: u64) {
        if now.saturating_sub(self.noted_at.load(Ordering::Relaxed)) < EVERY_NANOS {
            return;
        }
        self.noted_at.store(now, Ordering::Relaxed);
        self.known.store(of_this_thread(), Ordering::Relaxed);
    }

    pub(super) fn known(&self) -> Option<Duration> {
        Some(self.known.load(Ordering::Relaxed)).filter(|known| *known > 0).map(Duration::from_nanos)
    }
}

#[cfg(unix)]
fn of_this_thread() -> u64 {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(spent).map_or(0, |spent| u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(not(unix))]
fn of_this_thread() -> u64 {
    0
}
