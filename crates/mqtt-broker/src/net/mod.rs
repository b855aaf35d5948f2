//! The network: sockets, tasks, timers and the clock. All of tokio is in this folder.

mod connection_task;
mod housekeeping;
mod listener;
mod question;
mod tasks;

use std::time::{Instant, SystemTime};

pub(crate) use self::tasks::Tasks;

/// One moment on the clock of this process, and on the one that outlives it.
pub(crate) fn both_clocks() -> (Instant, SystemTime) {
    (Instant::now(), SystemTime::now())
}

/// The clock. Whoever is above the network's layer and has no `now` at hand asks here.
pub(crate) fn now() -> Instant {
    Instant::now()
}
