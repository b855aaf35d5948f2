//! [`Clock`]: from the broker's [`Instant`]s to what the API shows, RFC 3339.

use std::time::{Duration, Instant, SystemTime};

/// One moment on both clocks, as they were then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    instant: Instant,
    wall: SystemTime,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { instant: Instant::now(), wall: SystemTime::now() }
    }

    /// As the clock says now, which may have been set since. By whole seconds: one and the same moment is shown the same each
    /// time, although the two clocks are never read at once.
    fn wall(&self, at: Instant) -> SystemTime {
        let (shown, now) = (self.kept(Instant::now()), SystemTime::now());
        let whole = |apart: Duration| Duration::from_secs((apart + Duration::from_millis(500)).as_secs());
        match now.duration_since(shown) {
            Ok(ahead) => self.kept(at).checked_add(whole(ahead)),
            Err(behind) => self.kept(at).checked_sub(whole(behind.duration())),
        }
        .unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// As if nobody had set the clock.
    fn kept(&self, at: Instant) -> SystemTime {
        match at.checked_duration_since(self.instant) {
            Some(later) => self.wall.checked_add(later),
            None => self.wall.checked_sub(self.instant.saturating_duration_since(at)),
        }
        .unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// A number to sort by, in microseconds: whoever sets the clock moves nothing in a list.
    pub(crate) fn sort_key(&self, at: Instant) -> u64 {
        let since = self.kept(at).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    pub(crate) fn rfc3339(&self, at: Instant) -> String {
        rfc3339(self.wall(at))
    }
}

pub(crate) fn rfc3339(at: SystemTime) -> String {
    // The formatter knows no time before 1970 and none after 9999.
    let at = at.max(SystemTime::UNIX_EPOCH);
    humantime::format_rfc3339_micros(at).to_string()
}

/// What a time is that never was, in the system of 2018.
pub(crate) const NEVER: &str = "0001-01-01T00:00:00Z";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_moves_times_and_nothing_in_a_list() {
        let (instant, hour) = (Instant::now(), Duration::from_hours(1));
        let right = Clock { instant, wall: SystemTime::now() };
        for wall in [right.wall - hour, right.wall + hour] {
            let clock = Clock { instant, wall };
            assert_eq!(clock.wall(instant), right.wall(instant));
            assert_eq!(clock.rfc3339(instant), clock.rfc3339(instant));
            let apart = clock.sort_key(instant).abs_diff(right.sort_key(instant));
            assert_eq!(apart, 3_600_000_000);
        }
    }
}
