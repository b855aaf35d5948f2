//! [`TokenBucket`]: how fast something may happen, in the long run and at once. Without a clock of its own.

use std::time::{Duration, Instant};

/// As much as comes in this time may be spent at once.
const DEPTH: Duration = Duration::from_secs(1);

/// A bucket that holds one second's worth of tokens, full at the beginning.
///
/// Kept as the moment at which it will be full again: one number, and nothing to be done as time goes by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenBucket {
    full_at: Instant,
}

impl TokenBucket {
    pub(crate) fn full(now: Instant) -> Self {
        Self { full_at: now }
    }

    pub(crate) fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }

    /// Takes one token, if there is one.
    pub(crate) fn take(&mut self, now: Instant, per_second: u64) -> bool {
        let mut after = *self;
        let has_one = after.spend(now, 1, per_second) == Duration::ZERO;
        if has_one {
            *self = after;
        }
        has_one
    }

    /// Takes so many tokens, whether they are there or not; returns how long it is until none is owed any more.
    pub(crate) fn spend(&mut self, now: Instant, tokens: u64, per_second: u64) -> Duration {
        let nanos = u128::from(tokens) * 1_000_000_000 / u128::from(per_second.max(1));
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let begin = self.full_at.max(now);
        // Beyond what the clock can say, for ever: no client lives so long.
        self.full_at = begin.checked_add(cost).unwrap_or(begin);
        self.owed(now)
    }

    /// How long it is until none is owed any more.
    pub(crate) fn owed(&self, now: Instant) -> Duration {
        self.full_at.saturating_duration_since(now).saturating_sub(DEPTH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net;

    #[test]
    fn a_second_s_worth_at_once_and_then_one_at_a_time() {
        let start = net::now();
        let mut bucket = TokenBucket::full(start);
        assert_eq!((0..10).filter(|_| bucket.take(start, 4)).count(), 4);
        let later = start + Duration::from_millis(250);
        assert_eq!((0..10).filter(|_| bucket.take(later, 4)).count(), 1);
        // Rest fills it up to its depth and no further.
        let much_later = start + Duration::from_hours(1);
        assert!(bucket.is_full(much_later));
        assert_eq!((0..10).filter(|_| bucket.take(much_later, 4)).count(), 4);
    }

    #[test]
    fn debt_is_told_as_the_time_that_pays_it() {
        let start = net::now();
        let mut bucket = TokenBucket::full(start);
        assert_eq!(bucket.spend(start, 100, 100), Duration::ZERO);
        assert_eq!(bucket.spend(start, 50, 100), Duration::from_millis(500));
        assert_eq!(bucket.spend(start + Duration::from_secs(1), 1, 100), Duration::ZERO);
        assert!(bucket.spend(start, u64::MAX, 1) > Duration::from_hours(1));
    }
}
