//! [`Complaints`]: log lines that any stranger can cause, so few of them that nobody can fill a disk with them.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// So many lines of one kind in so long a time.
const LINES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(10);

/// The lines of one kind.
#[derive(Debug, Default)]
pub(crate) struct Complaints(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    window_ends: Option<Instant>,
    written: u32,
    left_out: u64,
}

impl Complaints {
    /// Whether a line may be written, and how many were left out since the one before.
    pub(crate) fn may_write(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock();
        if state.window_ends.is_none_or(|end| now >= end) {
            (state.window_ends, state.written) = (now.checked_add(WINDOW), 0);
        }
        if state.written < LINES {
            state.written += 1;
            return Some(std::mem::take(&mut state.left_out));
        }
        state.left_out += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_ten_lines_a_window_and_the_next_says_how_much_it_was() {
        let (complaints, start) = (Complaints::default(), crate::net::now());
        let written: Vec<u64> = (0..1_000).filter_map(|_| complaints.may_write(start)).collect();
        assert_eq!(written, [0; 10]);
        let later = start + WINDOW;
        assert_eq!(complaints.may_write(later), Some(990));
        assert_eq!(complaints.may_write(later), Some(0));
    }
}
