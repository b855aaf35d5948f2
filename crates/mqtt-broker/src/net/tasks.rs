//! Every task of a broker: started here, and joined here at its shutdown.

use std::{
    future::Future,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{task::yield_now, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    housekeeping::{keep_house, publish_sys_topics},
    now,
    way::Ways,
    workers::{Crew, Workers},
};
use crate::{
    broker::{Broker, ShutdownTimeout},
    close_reason::CloseReason,
    core::Core,
    hooks::survive,
};

/// The tasks of one broker, and the signal that stops them.
#[derive(Clone, Default)]
pub(crate) struct Tasks {
    pub(super) listeners: TaskTracker,
    pub(super) stop_listening: CancellationToken,
    pub(super) tracker: TaskTracker,
    pub(super) stop: CancellationToken,
    pub(super) crew: Crew,
    pub(super) ways: Arc<Ways>,
    has_housekeeping: Arc<AtomicBool>,
    stopped: Arc<OnceLock<()>>,
}

impl Tasks {
    /// None yet. Those of connections will run on these workers.
    pub(crate) fn on(workers: Workers) -> Self {
        let tracker = TaskTracker::default();
        Self { crew: Crew::new(workers, &tracker), tracker, ..Self::default() }
    }

    /// Starts the task that lets things expire, unless it runs.
    pub(super) fn keep_house(&self, core: &Arc<Core>) {
        if self.has_housekeeping.swap(true, Ordering::Relaxed) {
            return;
        }
        let kept = HouseKept(Arc::clone(&self.has_housekeeping));
        let keeps = keep_house(Arc::clone(core), self.stop.clone());
        let interval = core.limits.sys_interval.map(|every| every.max(Duration::from_secs(1)));
        let publishes = interval.map(|every| publish_sys_topics(Arc::clone(core), every, self.stop.clone()));
        self.spawn(async move {
            let _kept = kept;
            match publishes {
                Some(publishes) => drop(tokio::join!(keeps, publishes)),
                None => keeps.await,
            }
        });
    }

    /// Where the broker listens: with workers, whoever calls may be a runtime that is gone soon.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        match self.crew.first() {
            Some(first) => drop(self.tracker.spawn_on(task, first)),
            None => drop(self.tracker.spawn(task)),
        }
    }
}

/// Until it is dropped, with its task: that may be before the broker stops, with the runtime.
struct HouseKept(Arc<AtomicBool>);

impl Drop for HouseKept {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Broker {
    /// Has `on_subscribe` asked again about every subscription of every connected client: call it when rights have
    /// changed. What is no longer granted is removed, also from the store. Each connection asks for itself, and handles no
    /// packet of its client meanwhile; an absent client's subscriptions are asked about when it comes back, as those of
    /// every session that goes on.
    ///
    /// Returns when all connections have been told, not when all have asked. Needs no runtime of its own, but lets
    /// others run meanwhile.
    pub async fn recheck_subscriptions(&self) {
        let core = self.core();
        core.recheck_subscriptions();
        for part in core.sessions.in_parts() {
            for session in &part {
                session.wake();
            }
            yield_now().await;
        }
    }

    /// Stops: closes the listeners, then the clients (their Wills are published), waits until every task has ended, and
    /// calls `on_stop`, once. A second call waits for the same end; so does one after a [`ShutdownTimeout`]. Nobody gets a session
    /// any more: a [`LocalSubscriber`](crate::LocalSubscriber) is refused, and so is who connects over a
    /// [`SansIoConnection`](crate::SansIoConnection).
    pub async fn shutdown(&self, deadline: Duration) -> Result<(), ShutdownTimeout> {
        let (core, tasks, begun) = (self.core(), self.tasks(), now());
        tasks.stop_listening.cancel();
        tasks.listeners.close();
        let deaf = timeout(deadline, tasks.listeners.wait()).await;
        tasks.stop.cancel();
        tasks.tracker.close();
        core.sessions.close();
        for session in core.sessions.all() {
            session.close(CloseReason::Shutdown);
        }
        let time_left = deadline.saturating_sub(now().saturating_duration_since(begun));
        let idle = timeout(time_left, tasks.tracker.wait()).await;
        if deaf.and(idle).is_err() {
            return Err(ShutdownTimeout { connections: core.connections.load(Ordering::Relaxed) });
        }
        if let Some(hook) = &core.hooks.on_stop {
            tasks.stopped.get_or_init(|| survive("on_stop", hook).unwrap_or_default());
        }
        Ok(())
    }
}
