//! What a thread does once a load is over: it has the allocator look for memory that it can give back.
//!
//! mimalloc looks for that while a thread allocates, every 10,000 times that it has to take its slow way, as all above 1 KiB do.
//! A thread at rest allocates nothing, and so would keep for ever what the load before has left (docs/adr/0007-mimalloc.md).

use std::{hint::black_box, time::Duration};

use tokio::{
    runtime::Handle,
    time::{MissedTickBehavior, interval, sleep},
};

/// How often a thread looks whether it rests.
const EVERY: Duration = Duration::from_secs(1);
/// At work for less than this in that time, it does.
const REST: Duration = Duration::from_millis(10);
/// At work for less than this since the last time, it has left nothing worth looking for.
const LOAD: Duration = Duration::from_millis(200);
/// What is freed in one look is given back by the next, a while later.
const LOOKS: u32 = 2;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// Never ends. For a runtime with one thread, on that thread.
pub(crate) async fn give_back_after_load() {
    let metrics = Handle::current().metrics();
    let busy = || metrics.worker_total_busy_duration(0);
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut seen, mut given_back) = (Duration::ZERO, Duration::ZERO);
    loop {
        ticks.tick().await;
        let now = busy();
        if now.saturating_sub(seen) < REST && now.saturating_sub(given_back) >= LOAD {
            for _ in 0..LOOKS {
                look();
                sleep(BETWEEN_LOOKS).await;
            }
            given_back = busy();
        }
        seen = busy();
    }
}

fn look() {
    for _ in 0..10_000 {
        drop(black_box(Vec::<u8>::with_capacity(2048)));
    }
}
