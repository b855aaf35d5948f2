//! Which connections are looked at, and when, so that none is silent for longer than half its keep alive.
//!
//! A round of looks takes a quarter of the keep alive: who has said nothing since the last one says PINGREQ. Marks and no
//! times, so that what a message costs does not know of it; and a part of the connections at a time, so that many do not
//! speak all at once beside traffic that is timed.

use std::{ops::Range, time::Duration};

/// Parts of a round.
const PARTS: usize = 16;

/// A round after the other.
#[derive(Debug)]
pub(crate) struct KeepAlive {
    part_ns: u64,
    next_ns: u64,
    part: usize,
}

impl KeepAlive {
    /// `None` for 0 seconds, which is no keep alive.
    pub(crate) fn new(secs: u16) -> Option<Self> {
        let part_ns = u64::from(secs) * 1_000_000_000 / 4 / PARTS as u64;
        (secs > 0).then_some(Self { part_ns, next_ns: 0, part: 0 })
    }

    /// Which of `count` connections are to be looked at, if it is time.
    pub(crate) fn due(&mut self, now_ns: u64, count: usize) -> Option<Range<usize>> {
        if now_ns < self.next_ns {
            return None;
        }
        self.next_ns = now_ns + self.part_ns;
        let part = self.part;
        self.part = (part + 1) % PARTS;
        Some(count * part / PARTS..count * (part + 1) / PARTS)
    }

    /// The time until the next look.
    pub(crate) fn wait(&self, now_ns: u64) -> Duration {
        Duration::from_nanos(self.next_ns.saturating_sub(now_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_looks_at_each_connection_once_within_a_quarter_of_the_time() {
        for count in [1, 3, 1000] {
            let mut keep_alive = KeepAlive::new(60).unwrap();
            let (mut now_ns, mut seen) = (7, Vec::new());
            for _ in 0..PARTS {
                seen.extend(keep_alive.due(now_ns, count).unwrap());
                assert_eq!(keep_alive.due(now_ns, count), None);
                now_ns += keep_alive.wait(now_ns).as_nanos() as u64;
            }
            assert!(seen.into_iter().eq(0..count));
            assert!(now_ns <= 7 + 15_000_000_000);
        }
    }

    #[test]
    fn without_a_keep_alive_nothing_is_due() {
        assert!(KeepAlive::new(0).is_none());
    }
}
