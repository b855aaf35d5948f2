//! [`Burst`]: what one run of a connection did to others, settled once at its end.

use std::{
    mem,
    ops::{Deref, DerefMut},
    task::Waker,
};

use crate::counters::{Counters, Counts};

/// Collects, while a connection handles what it has read, whom to wake and what to count.
///
/// Settled when dropped, so that a panic in the middle leaves no receiver asleep on a message that it was given.
pub(crate) struct Burst<'a> {
    pub(crate) counts: Tally,
    wakers: Vec<Waker>,
    /// How much was done for others, in messages handed over; what else takes as long counts as one too.
    work: usize,
    totals: &'a Counters,
}

/// The counts of a burst. There are some sixty, and a task looks twice each time that it is woken: nothing is added, and
/// nothing cleared, if nothing was counted.
#[derive(Default)]
pub(crate) struct Tally {
    counts: Counts,
    is_touched: bool,
}

/// So much work, a few milliseconds, before others of the thread have their turn.
const WORK_A_TURN: usize = 8 * 1024;

impl<'a> Burst<'a> {
    pub(crate) fn new(totals: &'a Counters) -> Self {
        Self { counts: Tally::default(), wakers: Vec::new(), work: 0, totals }
    }

    /// Wakes this task when the burst is over.
    pub(crate) fn wake(&mut self, waker: Option<Waker>) {
        self.wakers.extend(waker);
    }

    /// Takes note of work that one packet made, which may be a lot: its receivers are as many as there are clients.
    pub(crate) fn spend(&mut self, work: usize) {
        self.work = self.work.saturating_add(work);
    }

    /// Whether the rest has to wait until others had their turn.
    pub(crate) fn is_spent(&self) -> bool {
        self.work >= WORK_A_TURN
    }

    /// Wakes and counts what there is so far.
    pub(crate) fn settle(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
        if mem::take(&mut self.counts.is_touched) {
            self.totals.add(&self.counts.counts);
            self.counts.counts = Counts::default();
        }
    }
}

impl Deref for Tally {
    type Target = Counts;

    fn deref(&self) -> &Counts {
        &self.counts
    }
}

impl DerefMut for Tally {
    fn deref_mut(&mut self) -> &mut Counts {
        self.is_touched = true;
        &mut self.counts
    }
}

impl Drop for Burst<'_> {
    fn drop(&mut self) {
        self.settle();
    }
}
