//! [`Flapping`]: finds client identifiers that connect again and again.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// How many client identifiers are watched at a time.
const MOST_WATCHED: usize = 64 * 1024;

/// How often each client identifier was connected of late.
#[derive(Default)]
pub(super) struct Flapping {
    watched: HashMap<Arc<str>, Window>,
}

struct Window {
    begun: Instant,
    connects: u32,
}

impl Flapping {
    /// Takes note of a connection; whether it is one more than `most` within `window`. Then the count begins anew.
    pub(super) fn note(&mut self, now: Instant, client_id: &Arc<str>, most: u32, window: Duration) -> bool {
        if let Some(seen) = self.watched.get_mut(client_id) {
            if now.saturating_duration_since(seen.begun) >= window {
                *seen = Window { begun: now, connects: 0 };
            }
            seen.connects += 1;
            let flaps = seen.connects > most;
            if flaps {
                self.watched.remove(client_id);
            }
            return flaps;
        }
        if self.watched.len() < MOST_WATCHED {
            self.watched.insert(Arc::clone(client_id), Window { begun: now, connects: 1 });
        }
        false
    }

    /// Forgets whose window is over.
    pub(super) fn forget_old(&mut self, now: Instant, window: Duration) {
        self.watched.retain(|_, seen| now.saturating_duration_since(seen.begun) < window);
        if self.watched.capacity() > 4 * self.watched.len().max(64) {
            self.watched.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn one_connection_too_many_within_the_window() {
        let (mut flapping, start, a) = (Flapping::default(), net::now(), Arc::from("a"));
        let mut note = |secs| flapping.note(start + Duration::from_secs(secs), &a, 3, MINUTE);
        assert_eq!([0, 1, 59].map(&mut note), [false; 3]);
        assert_eq!([60, 61, 62, 63].map(&mut note), [false, false, false, true], "a new window");
        assert!(!note(64), "after a ban it has to flap again");
    }

    #[test]
    fn the_table_is_bounded_and_forgets() {
        let (mut flapping, start) = (Flapping::default(), net::now());
        for n in 0..MOST_WATCHED + 10 {
            flapping.note(start, &Arc::from(n.to_string()), 3, MINUTE);
        }
        assert_eq!(flapping.watched.len(), MOST_WATCHED);
        flapping.forget_old(start + MINUTE, MINUTE);
        assert!(flapping.watched.is_empty());
    }
}
