//! [`Shortage`]: the time while the system has no open file left for a connection. The log tells of it twice, however long it
//! lasts and however often it comes and goes meanwhile: when it begins, and when it has been over for a while.

use std::time::{Duration, Instant};

/// Whether there is one, and since when.
#[derive(Debug, Default)]
pub(super) struct Shortage(Option<UnderWay>);

#[derive(Debug)]
struct UnderWay {
    since: Instant,
    last_failure: Instant,
    failures: u64,
    /// How long to wait before the next attempt.
    pause: Duration,
    /// Somebody was let in after the last failure.
    has_eased: bool,
}

/// What a shortage was, once it is over.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Past {
    pub(super) lasted: Duration,
    /// Attempts that failed.
    pub(super) failures: u64,
}

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// So long nothing must have failed for a shortage to be over.
const CALM: Duration = Duration::from_secs(5);

impl Shortage {
    /// Nobody could be let in. Says how long to wait, and whether this is the beginning.
    pub(super) fn fails(&mut self, now: Instant) -> (Duration, bool) {
        let begins = self.0.is_none();
        let under_way = self.0.get_or_insert(UnderWay {
            since: now,
            last_failure: now,
            failures: 0,
            pause: FIRST_PAUSE,
            has_eased: false,
        });
        under_way.last_failure = now;
        under_way.failures += 1;
        under_way.has_eased = false;
        let pause = under_way.pause;
        under_way.pause = (pause * 2).min(LONGEST_PAUSE);
        (pause, begins)
    }

    /// Somebody was let in.
    pub(super) fn eases(&mut self) {
        if let Some(under_way) = &mut self.0 {
            (under_way.pause, under_way.has_eased) = (FIRST_PAUSE, true);
        }
    }

    /// When to ask whether it [is over](Self::end); `None` if there is nothing to ask.
    pub(super) fn may_end_at(&self) -> Option<Instant> {
        let under_way = self.0.as_ref().filter(|under_way| under_way.has_eased)?;
        under_way.last_failure.checked_add(CALM)
    }

    /// What it was, if it is over now.
    pub(super) fn end(&mut self, now: Instant) -> Option<Past> {
        self.may_end_at().filter(|&at| at <= now)?;
        let UnderWay { since, last_failure, failures, .. } = self.0.take()?;
        Some(Past { lasted: last_failure.saturating_duration_since(since), failures })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_once_and_once_that_it_is_over() {
        let (mut shortage, start) = (Shortage::default(), Instant::now());
        assert_eq!(shortage.may_end_at(), None);
        let (mut now, mut told) = (start, 0);
        // It comes and goes for an hour: each time that a file is closed, somebody is let in.
        while now < start + Duration::from_hours(1) {
            for _ in 0..3 {
                let (pause, begins) = shortage.fails(now);
                told += u32::from(begins);
                now += pause;
            }
            shortage.eases();
            assert_eq!(shortage.end(now), None);
        }
        assert_eq!(told, 1);
        let at = shortage.may_end_at().unwrap();
        let past = shortage.end(at).unwrap();
        assert!(past.lasted > Duration::from_mins(59) && past.failures > 3_600, "{past:?}");
        assert_eq!((shortage.may_end_at(), shortage.end(at)), (None, None));
        assert!(shortage.fails(at).1, "a new one is told again");
    }

    #[test]
    fn who_waits_in_vain_waits_longer_each_time() {
        let (mut shortage, now) = (Shortage::default(), Instant::now());
        let pauses: Vec<u64> = (0..8).map(|_| shortage.fails(now).0.as_millis() as u64).collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1_600, 2_000, 2_000]);
        assert_eq!(shortage.end(now + CALM * 10), None, "nobody was let in since");
        shortage.eases();
        assert_eq!(shortage.fails(now).0, FIRST_PAUSE);
    }
}
