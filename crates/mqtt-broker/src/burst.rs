//! [`Burst`]: what one run of a connection did to others, settled once at its end.

use std::{mem, task::Waker};

use crate::counters::{Counters, Counts};

/// Collects, while a connection handles what it has read, whom to wake and what to count.
///
/// Settled when dropped, so that a panic in the middle leaves no receiver asleep on a message that it was given.
pub(crate) struct Burst<'a> {
    pub(crate) counts: Counts,
    wakers: Vec<Waker>,
    totals: &'a Counters,
}

impl<'a> Burst<'a> {
    pub(crate) fn new(totals: &'a Counters) -> Self {
        Self { counts: Counts::default(), wakers: Vec::new(), totals }
    }

    /// Wakes this task when the burst is over.
    pub(crate) fn wake(&mut self, waker: Option<Waker>) {
        self.wakers.extend(waker);
    }

    /// Wakes and counts what there is so far.
    pub(crate) fn settle(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
        self.totals.add(&mem::take(&mut self.counts));
    }
}

impl Drop for Burst<'_> {
    fn drop(&mut self) {
        self.settle();
    }
}
