//! What is due by the clock and belongs to no connection: sessions, retained messages and bans expire; refusals are told.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::yield_now,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::now;
use crate::{
    admission::RefusalReason, core::Core, counters::Counts, snapshot::Census, sys_topics::SysTopics,
};

const EVERY: Duration = Duration::from_secs(1);

/// Runs until the broker stops.
pub(crate) async fn keep_house(core: Arc<Core>, stop: CancellationToken) {
    let mut ticks = interval(EVERY);
    let mut told = core.counters.snapshot();
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        core.admission.tick(now(), &core.limits);
        core.tidy_routes();
        told = tell_of_refusals(&told, core.counters.snapshot());
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

/// One line a second and reason, however many were refused: a flood must not become one of the log.
fn tell_of_refusals(told: &Counts, counts: Counts) -> Counts {
    for &reason in RefusalReason::ALL {
        let more = counts.refused_for(reason) - told.refused_for(reason);
        if more > 0 {
            tracing::warn!(connections = more, reason = reason.as_str(), "refused: {reason}");
        }
    }
    counts
}
