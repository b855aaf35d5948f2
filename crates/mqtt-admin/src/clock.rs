//! [`Clock`]: from the broker's [`Instant`]s to what the API shows, RFC 3339.

use std::time::{Instant, SystemTime};

/// One moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    instant: Instant,
    wall: SystemTime,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { instant: Instant::now(), wall: SystemTime::now() }
    }

    pub(crate) fn wall(&self, at: Instant) -> SystemTime {
        match at.checked_duration_since(self.instant) {
            Some(later) => self.wall.checked_add(later),
            None => self.wall.checked_sub(self.instant.saturating_duration_since(at)),
        }
        .unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Microseconds since 1970.
    pub(crate) fn unix_micros(&self, at: Instant) -> u64 {
        let since = self.wall(at).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
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
