//! The task that has done what is due by the clock and belongs to no connection, and the one that publishes `$SYS` topics.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::yield_now,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{both_clocks, now};
use crate::{core::Core, snapshot::Census, sys_topics::SysTopics};

const EVERY: Duration = Duration::from_secs(1);

/// Runs until the broker stops.
pub(crate) async fn keep_house(core: Arc<Core>, stop: CancellationToken) {
    let mut ticks = interval(EVERY);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        core.note_clocks(both_clocks());
        while core.tick(now()) && !stop.is_cancelled() {
            yield_now().await;
        }
    }
}

/// Publishes `$SYS` topics at each interval, until the broker stops.
pub(crate) async fn publish_sys_topics(core: Arc<Core>, every: Duration, stop: CancellationToken) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut topics = SysTopics::default();
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let mut census = Census::default();
        while census.step(&core) {
            yield_now().await;
        }
        topics.publish(&core, &census.totals, now());
    }
}
