//! [`Burst`]: what one run of a connection did to others, settled once at its end.

use std::{task::Waker, time::Instant};

use crate::counters::{Counters, Tally};

/// Collects, while a connection handles what it has read, whom to wake and what to count.
///
/// Settled when dropped, so that a panic in the middle leaves no receiver asleep on a message that it was given.
pub(crate) struct Burst<'a> {
    pub(crate) tally: Tally,
    /// What is rare is counted here at once.
    pub(crate) totals: &'a Counters,
    /// When what is being handled came in, if that is known: the residence time of messages begins with it.
    pub(crate) now: Option<Instant>,
    wakers: Vec<Waker>,
    /// How much was done for others, in messages handed over; what else takes as long counts as one too.
    work: usize,
}

/// So much work, a few milliseconds, before others of the thread have their turn.
const WORK_A_TURN: usize = 8 * 1024;
/// A subscription that comes or goes takes as long as handing so many messages over.
pub(crate) const WORK_A_FILTER: usize = 8;
/// With more than this handed over, larger batches are worth more than an early arrival: three times the 16 messages that a client
/// often has unacknowledged, and less than one for each of 50 receivers. docs/benchmarks has what others had.
const LITTLE_WORK: usize = 48;

impl<'a> Burst<'a> {
    pub(crate) fn new(totals: &'a Counters) -> Self {
        Self { tally: Tally::default(), totals, now: None, wakers: Vec::new(), work: 0 }
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

    /// Whether those who were handed something should have their turn at once: with so little for them, a message had better
    /// leave before its sender is answered, for each write takes longer than all the rest. Many senders that are answered first
    /// send more before a receiver of them all has had anything.
    pub(crate) fn gives_way(&self) -> bool {
        (1..=LITTLE_WORK).contains(&self.work)
    }

    /// Wakes and counts what there is so far.
    pub(crate) fn settle(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
        self.tally.settle(self.totals);
    }
}

impl Drop for Burst<'_> {
    fn drop(&mut self) {
        self.settle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_way_to_who_was_handed_little() {
        let totals = Counters::default();
        let mut burst = Burst::new(&totals);
        assert!(!burst.gives_way(), "nobody was handed anything");
        burst.spend(1);
        assert!(burst.gives_way());
        burst.spend(LITTLE_WORK - 1);
        assert!(burst.gives_way());
        burst.spend(1);
        assert!(!burst.gives_way(), "larger batches are worth more");
    }
}
