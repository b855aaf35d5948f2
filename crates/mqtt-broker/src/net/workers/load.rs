//! [`Load`]: how many workers are in use, and which connection belongs to which of them.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// So often at most is it looked at how busy the workers are.
const WINDOW: Duration = Duration::from_millis(20);
/// A worker that is at work for more of its time needs help.
const TOO_BUSY: f64 = 0.75;
/// Half of the workers would be so busy at most: then they suffice, if it stays so for [`CALM`].
const EASY: f64 = 0.4;
const CALM: Duration = Duration::from_secs(2);

pub(super) struct Load {
    began: Instant,
    workers: u32,
    in_use: AtomicU32,
    /// Counts connections that can move.
    numbers: AtomicU32,
    /// Counts those that cannot: apart, so that they are spread evenly whatever comes between them.
    fixed: AtomicU32,
    /// In nanoseconds since it began.
    looked_at: AtomicU64,
    past: Mutex<Past>,
}

/// What the last look has seen.
struct Past {
    at: Duration,
    /// How long each worker has been at work.
    busy: Vec<Duration>,
    /// Since when fewer would do.
    calm_since: Option<Duration>,
}

impl Load {
    pub(super) fn of(workers: usize, now: Instant) -> Self {
        Self {
            began: now,
            workers: u32::try_from(workers).unwrap_or(u32::MAX),
            in_use: AtomicU32::new(1),
            numbers: AtomicU32::new(0),
            fixed: AtomicU32::new(0),
            looked_at: AtomicU64::new(0),
            past: Mutex::new(Past {
                at: Duration::ZERO,
                busy: vec![Duration::ZERO; workers],
                calm_since: None,
            }),
        }
    }

    pub(super) fn next_number(&self) -> u32 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// The worker that the connection with this number belongs to now.
    pub(super) fn worker_of(&self, number: u32) -> u32 {
        number % self.in_use.load(Ordering::Relaxed)
    }

    /// For a connection that stays where it is: all workers in turn, for who comes at a quiet time may have much to do later.
    pub(super) fn next_for_life(&self) -> u32 {
        self.fixed.fetch_add(1, Ordering::Relaxed) % self.workers.max(1)
    }

    /// Looks, if it is time to, how busy the workers have been since the last time.
    ///
    /// Called by connections that have something to do: while none has, there is nothing to look at.
    pub(super) fn look(&self, now: Instant, busy: impl FnOnce() -> Vec<Duration>) {
        let at = now.saturating_duration_since(self.began);
        let nanos = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
        let window = u64::try_from(WINDOW.as_nanos()).unwrap_or(u64::MAX);
        if nanos.saturating_sub(self.looked_at.load(Ordering::Relaxed)) < window {
            return;
        }
        let Some(mut past) = self.past.try_lock() else { return };
        if at.saturating_sub(past.at) < WINDOW {
            return; // Another thread has just looked: what is left of the time is too short to judge by.
        }
        self.looked_at.store(nanos, Ordering::Relaxed);
        let in_use = self.in_use.load(Ordering::Relaxed);
        self.in_use.store(past.decide(at, busy(), in_use, self.workers), Ordering::Relaxed);
    }
}

impl Past {
    /// How many are to be in use from now on: twice as many as soon as one is too busy, half as many after a calm time.
    fn decide(&mut self, at: Duration, busy: Vec<Duration>, in_use: u32, workers: u32) -> u32 {
        let since = at.saturating_sub(self.at).as_secs_f64();
        let shares =
            busy.iter().zip(&self.busy).map(|(now, then)| now.saturating_sub(*then).as_secs_f64() / since);
        let (most, sum) = shares.fold((0.0_f64, 0.0), |(most, sum), share| (most.max(share), sum + share));
        let begun = std::mem::replace(&mut self.at, at);
        self.busy = busy;
        let half = in_use.div_ceil(2);
        if most > TOO_BUSY || sum > EASY * f64::from(half) {
            self.calm_since = None;
            return if most > TOO_BUSY { in_use.saturating_mul(2).min(workers) } else { in_use };
        }
        let calm_since = *self.calm_since.get_or_insert(begun);
        if at.saturating_sub(calm_since) < CALM {
            return in_use;
        }
        self.calm_since = None;
        half
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::ZERO;
    /// A window less than [`CALM`].
    const ALMOST: Duration = Duration::from_millis(1_980);

    /// Workers that are at work for these shares of their time.
    struct Workers {
        load: Load,
        now: Duration,
        busy: Vec<Duration>,
    }

    impl Workers {
        fn new(count: usize) -> Self {
            Self { load: Load::of(count, Instant::now()), now: START, busy: vec![START; count] }
        }

        /// How many are in use after so long of it.
        fn after(&mut self, time: Duration, shares: &[f64]) -> u32 {
            let end = self.now + time;
            while self.now < end {
                self.now += WINDOW;
                for (busy, share) in self.busy.iter_mut().zip(shares) {
                    *busy += WINDOW.mul_f64(*share);
                }
                self.load.look(self.load.began + self.now, || self.busy.clone());
            }
            self.load.in_use.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn one_serves_all_until_it_is_too_busy() {
        let mut workers = Workers::new(4);
        assert_eq!(workers.after(10 * CALM, &[0.7, 0.0, 0.0, 0.0]), 1);
        assert_eq!((workers.load.worker_of(0), workers.load.worker_of(7)), (0, 0));
        assert_eq!(workers.after(WINDOW, &[0.8, 0.0, 0.0, 0.0]), 2);
        assert_eq!((workers.load.worker_of(6), workers.load.worker_of(7)), (0, 1));
        assert_eq!(workers.after(WINDOW, &[0.5, 0.9, 0.0, 0.0]), 4);
        assert_eq!(workers.after(10 * CALM, &[1.0, 1.0, 1.0, 1.0]), 4, "there are no more");
    }

    #[test]
    fn fewer_serve_after_a_calm_time_only() {
        let mut workers = Workers::new(2);
        assert_eq!(workers.after(WINDOW, &[1.0, 0.0]), 2);
        assert_eq!(workers.after(10 * CALM, &[0.3, 0.3]), 2, "one would have too much to do");
        assert_eq!(workers.after(ALMOST, &[0.1, 0.1]), 2);
        assert_eq!(workers.after(WINDOW, &[0.3, 0.3]), 2, "the calm begins anew");
        assert_eq!(workers.after(ALMOST, &[0.1, 0.1]), 2);
        assert_eq!(workers.after(WINDOW, &[0.1, 0.1]), 1);
    }

    #[test]
    fn a_time_in_which_nothing_moved_was_calm() {
        let mut workers = Workers::new(2);
        assert_eq!(workers.after(WINDOW, &[1.0, 0.0]), 2);
        workers.now += 10 * CALM;
        assert_eq!(workers.after(WINDOW, &[0.5, 0.5]), 1);
    }

    #[test]
    fn a_second_look_within_a_window_sees_nothing() {
        let workers = Workers::new(2);
        workers.load.look(workers.load.began + WINDOW / 2, || unreachable!());
    }

    #[test]
    fn who_comes_second_to_the_same_look_sees_nothing() {
        let mut workers = Workers::new(2);
        assert_eq!(workers.after(WINDOW, &[0.5, 0.0]), 1);
        workers.load.looked_at.store(0, Ordering::Relaxed); // As it was when the second one read it.
        workers.load.look(workers.load.began + workers.now, || unreachable!());
    }
}
