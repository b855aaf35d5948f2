//! What is due by the clock and belongs to no connection: sessions and retained messages expire.

use std::{sync::Arc, time::Duration};

use tokio::{task::yield_now, time::interval};
use tokio_util::sync::CancellationToken;

use super::now;
use crate::core::Core;

const EVERY: Duration = Duration::from_secs(1);

/// Runs until the broker stops.
pub(crate) async fn keep_house(core: Arc<Core>, stop: CancellationToken) {
    let mut ticks = interval(EVERY);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        while core.tick(now()) && !stop.is_cancelled() {
            yield_now().await;
        }
    }
}
