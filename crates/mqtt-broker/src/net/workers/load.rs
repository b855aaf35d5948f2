//! [`Load`]: how many workers are in use, and which connection belongs to which of them.
//!
//! Whether more workers get more done cannot be known before it is tried: where clients have the same processors, a second one
//! only takes them away, and messages between two cost more than within one. So when those in use have all they can do, twice as
//! many are tried for a moment, and kept if more gets done meanwhile.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// So often at most is it looked at how busy the workers are, and how much they get done.
const WINDOW: Duration = Duration::from_millis(100);
/// A worker that is at work for more of its time has all it can do.
const FULL: f64 = 0.9;
/// Twice as many workers are worth it if they get so many times as much done. From one window to the next a machine that is
/// not ours alone may be a fifth faster by itself.
const WORTH: f64 = 1.25;
/// Half of them may do as well if all together have a processor for at most so many times what half could have it: between several,
/// time is lost. Where it is clear that they could not, a trial would only hold up messages.
const TEMPTING: f64 = 1.25;
/// After a trial that led to nothing the next one waits so long, then twice as long, and so on.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// Up to so long; a trial of fewer may hold up messages.
const LONGEST_TO_GROW: Duration = Duration::from_secs(8);
const LONGEST_TO_REDUCE: Duration = Duration::from_secs(64);
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

/// What a look sees: totals since the beginning.
#[derive(Clone, Default)]
pub(super) struct Seen {
    /// How long each worker has been at work: not at rest, that is.
    pub(super) busy: Vec<Duration>,
    /// How long each has had a processor meanwhile, and not waited for one, or for what a hook waits for.
    pub(super) processor: Vec<Duration>,
    /// How much all have done, in any unit.
    pub(super) work: u64,
}

impl Seen {
    fn none(workers: usize) -> Self {
        Self { busy: vec![Duration::ZERO; workers], processor: vec![Duration::ZERO; workers], work: 0 }
    }
}

/// What is known from the looks before.
struct Past {
    at: Duration,
    seen: Seen,
    /// Since when fewer would do.
    calm_since: Option<Duration>,
    /// What is being tried since the last look.
    trial: Option<Trial>,
    growth: Pause,
    reduction: Pause,
}

/// What there was between two looks.
struct Window {
    /// The share of its time in which the busiest worker was at work.
    most: f64,
    /// The shares of all.
    sum: f64,
    /// The shares in which all had a processor.
    processor: f64,
    /// Work a second.
    pace: f64,
}

/// Another number of workers, for one window in which connections move and one that counts.
struct Trial {
    before: u32,
    pace_before: f64,
    counts: bool,
}

/// When something may be tried again.
struct Pause {
    until: Duration,
    next: Duration,
    longest: Duration,
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
                seen: Seen::none(workers),
                calm_since: None,
                trial: None,
                growth: Pause::new(LONGEST_TO_GROW),
                reduction: Pause::new(LONGEST_TO_REDUCE),
            }),
        }
    }

    /// Since it began.
    pub(super) fn at(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
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

    /// Looks, if it is time to, how busy the workers have been since the last time and how much they have done.
    ///
    /// Called by connections that have something to do: while none has, there is nothing to look at.
    pub(super) fn look(&self, at: Duration, seen: impl FnOnce() -> Seen) {
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
        self.in_use.store(past.decide(at, seen(), in_use, self.workers), Ordering::Relaxed);
    }
}

impl Past {
    /// How many are to be in use from now on.
    fn decide(&mut self, at: Duration, seen: Seen, in_use: u32, workers: u32) -> u32 {
        let begun = self.at;
        let window = self.window(at, seen);
        match self.trial.take() {
            Some(trial) if trial.counts => return self.judge(&trial, at, &window, in_use),
            Some(trial) => {
                self.trial = Some(Trial { counts: true, ..trial });
                return in_use;
            }
            None => {}
        }
        let half = in_use.div_ceil(2);
        if window.most <= FULL && window.sum <= EASY * f64::from(half) {
            let calm_since = *self.calm_since.get_or_insert(begun);
            if at.saturating_sub(calm_since) < CALM {
                return in_use;
            }
            self.calm_since = None;
            return half;
        }
        self.calm_since = None;
        let next = if window.most > FULL && in_use < workers && at >= self.growth.until {
            in_use.saturating_mul(2).min(workers)
        } else if half < in_use && window.processor < TEMPTING * f64::from(half) && at >= self.reduction.until
        {
            half
        } else {
            return in_use;
        };
        self.trial = Some(Trial { before: in_use, pace_before: window.pace, counts: false });
        next
    }

    fn window(&mut self, at: Duration, seen: Seen) -> Window {
        let since = at.saturating_sub(self.at).as_secs_f64();
        let shares = |now: &[Duration], then: &[Duration]| -> Vec<f64> {
            now.iter().zip(then).map(|(now, then)| now.saturating_sub(*then).as_secs_f64() / since).collect()
        };
        let busy = shares(&seen.busy, &self.seen.busy);
        let processor = shares(&seen.processor, &self.seen.processor).iter().sum();
        let (most, sum) = (busy.iter().copied().fold(0.0, f64::max), busy.iter().sum());
        #[expect(clippy::cast_precision_loss, reason = "paces are compared roughly")]
        let pace = seen.work.saturating_sub(self.seen.work) as f64 / since;
        (self.at, self.seen) = (at, seen);
        Window { most, sum, processor, pace }
    }

    /// Keeps what was tried, or goes back: more workers have to get more done, fewer as much.
    fn judge(&mut self, trial: &Trial, at: Duration, window: &Window, in_use: u32) -> u32 {
        let has_grown = in_use > trial.before;
        let is_kept = if has_grown {
            window.pace > WORTH * trial.pace_before
        } else {
            window.pace >= trial.pace_before
        };
        let (tried, opposite) = if has_grown {
            (&mut self.growth, &mut self.reduction)
        } else {
            (&mut self.reduction, &mut self.growth)
        };
        if is_kept {
            tried.end();
            opposite.begin(at);
            in_use
        } else {
            tried.begin(at);
            trial.before
        }
    }
}

impl Pause {
    const fn new(longest: Duration) -> Self {
        Self { until: Duration::ZERO, next: SHORTEST_PAUSE, longest }
    }

    fn begin(&mut self, at: Duration) {
        self.until = at + self.next;
        self.next = (2 * self.next).min(self.longest);
    }

    fn end(&mut self) {
        *self = Self::new(self.longest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::ZERO;
    /// A window less than [`CALM`].
    const ALMOST: Duration = Duration::from_millis(1_900);
    const TRIAL: Duration = Duration::from_millis(200);
    const NEVER: u32 = 1_000;

    /// Workers that are at work for some shares of their time, and get something done meanwhile.
    struct Workers {
        load: Load,
        now: Duration,
        seen: Seen,
        /// What they get done in a window: on one of them, on two, on four.
        paces: [u64; 3],
        /// For how much of the time that they are at work they have a processor.
        had: f64,
    }

    impl Workers {
        fn new(count: usize) -> Self {
            let seen = Seen::none(count);
            Self { load: Load::of(count, Instant::now()), now: START, seen, paces: [100; 3], had: 1.0 }
        }

        fn that_do(count: usize, paces: [u64; 3]) -> Self {
            Self { paces, ..Self::new(count) }
        }

        fn in_use(&self) -> u32 {
            self.load.in_use.load(Ordering::Relaxed)
        }

        /// How many are in use after so long of it.
        fn after(&mut self, time: Duration, shares: &[f64]) -> u32 {
            let end = self.now + time;
            while self.now < end {
                self.now += WINDOW;
                let Seen { busy, processor, .. } = &mut self.seen;
                for ((busy, processor), share) in busy.iter_mut().zip(processor).zip(shares) {
                    *busy += WINDOW.mul_f64(*share);
                    *processor += WINDOW.mul_f64(*share * self.had);
                }
                self.seen.work += self.paces[self.in_use().ilog2() as usize];
                self.load.look(self.now, || self.seen.clone());
            }
            self.in_use()
        }

        /// How many windows of it go by until so many are in use.
        fn windows_until(&mut self, in_use: u32, shares: &[f64]) -> u32 {
            (1..NEVER).find(|_| self.after(WINDOW, shares) == in_use).unwrap_or(NEVER)
        }
    }

    #[test]
    fn one_serves_all_while_it_is_not_full() {
        let mut workers = Workers::new(4);
        assert_eq!(workers.after(10 * CALM, &[0.89, 0.0, 0.0, 0.0]), 1);
        assert_eq!((workers.load.worker_of(0), workers.load.worker_of(7)), (0, 0));
    }

    #[test]
    fn more_serve_that_get_more_done() {
        let mut workers = Workers::that_do(4, [100, 130, 200]);
        assert_eq!(workers.after(WINDOW, &[0.95, 0.0, 0.0, 0.0]), 2, "a trial");
        assert_eq!((workers.load.worker_of(6), workers.load.worker_of(7)), (0, 1));
        assert_eq!(workers.after(TRIAL, &[0.95, 0.9, 0.0, 0.0]), 2, "it was worth it");
        assert_eq!(workers.after(WINDOW, &[0.95, 0.9, 0.0, 0.0]), 4);
        assert_eq!(workers.after(10 * CALM, &[1.0, 1.0, 1.0, 1.0]), 4, "there are no more");
    }

    #[test]
    fn more_that_get_little_more_done_are_tried_less_and_less() {
        let full = [1.0, 0.2];
        let mut workers = Workers::that_do(2, [100, 124, 0]);
        assert_eq!(workers.after(WINDOW, &full), 2);
        for pause in [10, 20, 40, 80, 80] {
            assert_eq!(workers.windows_until(1, &full), 2, "it was not worth it");
            assert_eq!(workers.windows_until(2, &full), pause);
        }
        workers.paces[1] = 126;
        assert_eq!(workers.after(10 * CALM, &[0.7, 0.7]), 2, "now it is");
    }

    #[test]
    fn fewer_are_tried_where_they_may_do_as_well() {
        let mut workers = Workers::that_do(2, [100, 200, 0]);
        let (tempting, clear) = ([0.62, 0.62], [0.63, 0.63]);
        workers.after(WINDOW + TRIAL, &[1.0, 1.0]);
        assert_eq!(workers.after(20 * CALM, &clear), 2);
        assert_eq!(workers.after(WINDOW, &tempting), 1, "a trial");
        for pause in [20, 40, 80, 160, 320, 640, 640] {
            assert_eq!(workers.windows_until(2, &tempting), 2, "less got done");
            assert_eq!(workers.windows_until(1, &tempting), pause);
        }
        workers.paces = [200; 3];
        assert_eq!(workers.after(10 * CALM, &[0.8, 0.0]), 1, "as much gets done");
    }

    /// Clients have the processors, and both always wait for one.
    #[test]
    fn fewer_are_tried_where_they_had_no_more_than_a_processor() {
        let mut workers = Workers::that_do(2, [100, 200, 0]);
        workers.after(WINDOW + TRIAL, &[1.0, 1.0]);
        assert_eq!(workers.after(20 * CALM, &[1.0, 1.0]), 2);
        (workers.had, workers.paces) = (0.6, [200; 3]);
        assert_eq!(workers.after(WINDOW + TRIAL, &[1.0, 1.0]), 1);
    }

    #[test]
    fn fewer_serve_after_a_calm_time() {
        let mut workers = Workers::that_do(2, [100, 200, 0]);
        assert_eq!(workers.after(WINDOW + TRIAL, &[1.0, 0.0]), 2);
        assert_eq!(workers.after(ALMOST, &[0.1, 0.1]), 2);
        assert_eq!(workers.after(WINDOW, &[0.7, 0.7]), 2, "the calm begins anew");
        assert_eq!(workers.after(ALMOST, &[0.1, 0.1]), 2);
        assert_eq!(workers.after(WINDOW, &[0.1, 0.1]), 1);
    }

    #[test]
    fn a_time_in_which_nothing_moved_was_calm() {
        let mut workers = Workers::that_do(2, [100, 200, 0]);
        assert_eq!(workers.after(WINDOW + TRIAL, &[1.0, 0.0]), 2);
        workers.now += 10 * CALM;
        assert_eq!(workers.after(WINDOW, &[0.5, 0.5]), 1);
    }

    #[test]
    fn a_second_look_within_a_window_sees_nothing() {
        let workers = Workers::new(2);
        workers.load.look(WINDOW / 2, || unreachable!());
    }

    #[test]
    fn who_comes_second_to_the_same_look_sees_nothing() {
        let mut workers = Workers::new(2);
        assert_eq!(workers.after(WINDOW, &[0.5, 0.0]), 1);
        workers.load.looked_at.store(0, Ordering::Relaxed); // As it was when the second one read it.
        workers.load.look(workers.now, || unreachable!());
    }
}
