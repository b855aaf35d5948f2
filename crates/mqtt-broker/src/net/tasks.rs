//! Every task of a broker: started here, and joined here at its shutdown.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::housekeeping::keep_house;
use crate::{
    broker::{Broker, ShutdownTimeout},
    close_reason::CloseReason,
    core::Core,
    hooks::survive,
};

/// The tasks of one broker, and the signal that stops them.
#[derive(Clone, Default)]
pub(crate) struct Tasks {
    pub(super) tracker: TaskTracker,
    pub(super) stop: CancellationToken,
    has_housekeeping: Arc<AtomicBool>,
}

impl Tasks {
    /// Starts the task that lets things expire, once.
    pub(super) fn keep_house(&self, core: &Arc<Core>) {
        if !self.has_housekeeping.swap(true, Ordering::Relaxed) {
            self.tracker.spawn(keep_house(Arc::clone(core), self.stop.clone()));
        }
    }
}

impl Broker {
    /// Stops: closes the listeners, closes the clients (their Wills are published), waits until every task has ended,
    /// and calls `on_stop`. A second call waits for the same end.
    pub async fn shutdown(&self, deadline: Duration) -> Result<(), ShutdownTimeout> {
        let (core, tasks) = (self.core(), self.tasks());
        let is_first = !tasks.stop.is_cancelled();
        tasks.stop.cancel();
        tasks.tracker.close();
        for session in core.sessions.all() {
            session.close(CloseReason::Shutdown);
        }
        if timeout(deadline, tasks.tracker.wait()).await.is_err() {
            return Err(ShutdownTimeout { connections: core.connections.load(Ordering::Relaxed) });
        }
        if let Some(hook) = core.hooks.on_stop.as_ref().filter(|_| is_first) {
            survive("on_stop", hook);
        }
        Ok(())
    }
}
