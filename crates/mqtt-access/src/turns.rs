//! [`Turns`]: how many may do something at a time, and how many may wait for it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many may wait for each that is at it.
pub(crate) const WAITING_FOR_EACH: usize = 64;

/// A bounded number at a time, and a bounded number that waits.
pub(crate) struct Turns {
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
    most_waiting: usize,
}

impl Turns {
    pub(crate) fn new(at_a_time: usize) -> Self {
        let at_a_time = at_a_time.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(at_a_time)),
            waiting: AtomicUsize::new(0),
            most_waiting: at_a_time.saturating_mul(WAITING_FOR_EACH),
        }
    }

    /// Waits for a turn, which lasts until it is dropped. `None` at once if too many wait already.
    pub(crate) async fn take(&self) -> Option<OwnedSemaphorePermit> {
        let place = Place::take(self)?;
        let turn = Arc::clone(&self.free).acquire_owned().await.ok()?;
        drop(place);
        Some(turn)
    }

    #[cfg(all(test, feature = "passwords"))]
    pub(crate) fn free(&self) -> usize {
        self.free.available_permits()
    }

    #[cfg(all(test, feature = "passwords"))]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// A place among those that wait, until it is dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(turns: &'a Turns) -> Option<Self> {
        let grown = |waiting| (waiting < turns.most_waiting).then_some(waiting + 1);
        turns.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).ok()?;
        Some(Self(&turns.waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
