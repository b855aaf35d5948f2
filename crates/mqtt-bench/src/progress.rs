//! One line of live figures on a terminal; silence anywhere else.

use std::{cell::Cell, time::Duration};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

const EVERY_NS: u64 = 200_000_000;

/// The line and when it was last drawn.
pub(crate) struct Progress {
    bar: ProgressBar,
    next_ns: Cell<u64>,
}

impl Progress {
    /// Draws on standard error if that is a terminal and `quiet` is not asked for.
    pub(crate) fn new(quiet: bool) -> Self {
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}") {
            bar.set_style(style);
        }
        Self { bar, next_ns: Cell::new(0) }
    }

    /// Shows what `line` says, five times a second at most.
    pub(crate) fn show(&self, now_ns: u64, line: impl FnOnce() -> String) {
        if now_ns < self.next_ns.get() {
            return;
        }
        self.next_ns.set(now_ns + EVERY_NS);
        if !self.bar.is_hidden() {
            self.bar.set_message(line());
            self.bar.tick();
        }
    }

    /// Removes the line, so that the result stands alone.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// `count` things in `time`, for people.
pub(crate) fn rate(count: u64, time: Duration) -> String {
    let per_second = count as f64 / time.as_secs_f64().max(1e-9);
    format!("{}/s", HumanCount(per_second as u64))
}
