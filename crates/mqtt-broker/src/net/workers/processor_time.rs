//! [`ProcessorTime`]: how long a worker has had a processor. Only its own thread can ask; the others see what it noted last.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// So often at most it is asked: that is a call of the system.
const EVERY: Duration = Duration::from_millis(20);

#[derive(Default)]
pub(super) struct ProcessorTime {
    /// In nanoseconds, as all here.
    noted_at: AtomicU64,
    /// 0: nobody knows.
    known: AtomicU64,
}

impl ProcessorTime {
    /// Notes it, if it is time to. For the worker's own thread.
    pub(super) fn note(&self, at: Duration) {
        if at.saturating_sub(Duration::from_nanos(self.noted_at.load(Ordering::Relaxed))) < EVERY {
            return;
        }
        self.noted_at.store(nanos(at), Ordering::Relaxed);
        self.known.store(of_this_thread(), Ordering::Relaxed);
    }

    pub(super) fn known(&self) -> Option<Duration> {
        Some(self.known.load(Ordering::Relaxed)).filter(|known| *known > 0).map(Duration::from_nanos)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(unix)]
fn of_this_thread() -> u64 {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(spent).map_or(0, nanos)
}

#[cfg(not(unix))]
fn of_this_thread() -> u64 {
    0
}

#[cfg(all(test, unix))]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn it_is_what_the_thread_had_when_it_noted_it() {
        let time = ProcessorTime::default();
        time.note(EVERY / 2);
        assert_eq!(time.known(), None, "not yet time to ask");
        time.note(EVERY);
        let before = time.known().unwrap();
        let begun = Instant::now();
        std::thread::sleep(EVERY);
        time.note(2 * EVERY);
        let slept = time.known().unwrap().saturating_sub(before);
        assert!(slept < begun.elapsed() / 2, "who sleeps has no processor: {slept:?}");
        while of_this_thread() < nanos(before + EVERY) {}
        time.note(2 * EVERY + EVERY / 2);
        assert!(time.known().unwrap() < before + EVERY, "asked too early, it is as it was");
        time.note(3 * EVERY);
        assert!(time.known().unwrap() >= before + EVERY);
    }
}
