//! How long to wait before a lost connection is made again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(30);
/// A connection that lasted so long counts as a success. One that does not is like none: two clients that take over each
/// other's session would go on doing so without a pause.
const SUCCESS: Duration = Duration::from_secs(5);

/// Doubles from one failure to the next.
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { next: FIRST }
    }

    /// The wait after a connection that lasted `uptime`, or after none.
    pub(super) fn delay(&mut self, uptime: Option<Duration>) -> Duration {
        if uptime.is_some_and(|uptime| uptime >= SUCCESS) {
            self.next = FIRST;
        }
        let delay = self.next;
        self.next = (delay * 2).min(LONGEST);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_its_longest_and_begins_again_after_a_success() {
        let mut backoff = Backoff::new();
        let delays: Vec<_> = (0..9).map(|_| backoff.delay(None).as_millis()).collect();
        assert_eq!(delays, [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        assert_eq!(backoff.delay(Some(Duration::from_secs(4))), LONGEST);
        assert_eq!(backoff.delay(Some(SUCCESS)), FIRST);
    }
}
