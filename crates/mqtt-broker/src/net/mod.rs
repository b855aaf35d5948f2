//! The network: sockets, tasks, timers and the clock. All of tokio is in this folder.

mod connection_task;
mod housekeeping;
mod listener;
mod question;
mod tasks;

use std::time::Instant;

pub(crate) use self::tasks::Tasks;

/// The clock. Whoever is above the network's layer and has no `now` at hand asks here.
pub(crate) fn now() -> Instant {
    Instant::now()
}
