//! [`Patience`]: whether the writer lets messages be done with before it takes them.
//!
//! Without a sync a batch is written so fast that clients have not answered when the next one is taken: a message is
//! written, and its deletion after it. Under load it costs less to wait until messages are done with, because those need
//! not be written at all. That pays only where clients are connected and answer soon, and so the writer
//! looks at what it has gained.

use std::{
    mem,
    time::{Duration, Instant},
};

use crate::{ledger::Outcome, options::Durability};

/// What has come in since the last look is waited with until the next, and then for as long again.
const LONGEST: Duration = Duration::from_millis(5);
/// How long is counted before it is decided anew.
const PERIOD: Duration = Duration::from_millis(20);
/// With fewer messages in a period nothing is waited for: a client that is alone gets its answers at once.
const BUSY: usize = 400;
/// While it does not pay, it is tried again after so many busy periods: fewer than one message in a hundred is delayed.
const UNTIL_TRIAL: u32 = 128;

pub(crate) struct Patience {
    /// With a sync a batch takes so long that messages are done with meanwhile.
    durability: Durability,
    waits: bool,
    /// Busy periods until the writer waits to see whether it pays.
    until_trial: u32,
    since: Instant,
    counted: Outcome,
}

impl Patience {
    pub(crate) fn new(durability: Durability, now: Instant) -> Self {
        Self { durability, waits: false, until_trial: 0, since: now, counted: Outcome::default() }
    }

    /// Until when the next batch may wait for its messages to be done with; `None` if it may not.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        (self.waits && !self.is_over(now)).then(|| now + LONGEST)
    }

    /// What became of a batch.
    pub(crate) fn learn(&mut self, outcome: Outcome, now: Instant) {
        self.counted.queued += outcome.queued;
        self.counted.spared += outcome.spared;
        if now < self.since + PERIOD {
            return;
        }
        let was_quick = !self.is_over(now);
        let Outcome { queued, spared } = mem::take(&mut self.counted);
        self.since = now;
        if !was_quick || queued < BUSY || self.durability != Durability::Os {
            self.waits = false;
        } else if spared >= queued / 4 {
            (self.waits, self.until_trial) = (true, 0);
        } else if self.waits {
            (self.waits, self.until_trial) = (false, UNTIL_TRIAL);
        } else {
            self.waits = self.until_trial == 0;
            self.until_trial = self.until_trial.saturating_sub(1);
        }
    }

    /// Whether what was learned is of a time that is over: nothing has been written for long.
    fn is_over(&self, now: Instant) -> bool {
        now >= self.since + 2 * PERIOD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYS: Outcome = Outcome { queued: 1000, spared: 900 };
    const PAYS_NOT: Outcome = Outcome { queued: 1000, spared: 0 };

    /// A writer, and the clock by which it is asked.
    struct Periods(Patience, Instant);

    impl Periods {
        fn new(durability: Durability) -> Self {
            let now = Instant::now();
            Self(Patience::new(durability, now), now)
        }

        /// What is decided after a period in which that became of the messages.
        fn waits_after(&mut self, outcome: Outcome) -> bool {
            self.1 += PERIOD;
            self.0.learn(outcome, self.1);
            self.0.deadline(self.1).is_some()
        }
    }

    #[test]
    fn waits_while_it_pays() {
        let mut periods = Periods::new(Durability::Os);
        assert!(periods.0.deadline(periods.1).is_none(), "nothing is known yet");
        assert!(periods.waits_after(PAYS_NOT), "a trial");
        for _ in 0..10 {
            assert!(periods.waits_after(PAYS));
        }
        assert_eq!(periods.0.deadline(periods.1), Some(periods.1 + LONGEST));
    }

    #[test]
    fn does_not_wait_for_clients_that_do_not_answer_except_now_and_then() {
        let mut periods = Periods::new(Durability::Os);
        let waited = (0..1300).filter(|_| periods.waits_after(PAYS_NOT)).count();
        assert_eq!(waited, 10);
    }

    #[test]
    fn a_client_that_is_alone_waits_for_nobody() {
        let mut periods = Periods::new(Durability::Os);
        assert!(periods.waits_after(PAYS));
        assert!(!periods.waits_after(Outcome { queued: BUSY - 1, spared: BUSY - 1 }));
        assert!(periods.waits_after(PAYS));
        let later = periods.1 + 2 * PERIOD;
        assert!(periods.0.deadline(later).is_none(), "the load is over, and nobody has said so");
    }

    #[test]
    fn goes_on_at_once_after_a_batch_that_took_long() {
        let mut periods = Periods::new(Durability::Os);
        assert!(periods.waits_after(PAYS));
        periods.1 += 2 * PERIOD;
        assert!(!periods.waits_after(PAYS));
        assert!(periods.waits_after(PAYS_NOT));
    }

    #[test]
    fn with_a_sync_nothing_is_waited_for() {
        let mut periods = Periods::new(Durability::Sync);
        assert!(!periods.waits_after(PAYS_NOT) && !periods.waits_after(PAYS));
    }
}
