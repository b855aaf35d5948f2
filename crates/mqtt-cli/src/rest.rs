//! What a thread does once a load is over: it has the allocator look for memory that it can give back.
//!
//! mimalloc looks for that while a thread allocates, every 10,000 times that it has to take its slow way, as all above 1 KiB do.
//! A thread at rest allocates nothing, and so would keep for ever what the load before has left (docs/adr/0007-mimalloc.md).

use std::{hint::black_box, mem, time::Duration};

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
    let mut work = Work::default();
    loop {
        ticks.tick().await;
        if work.is_over(busy()) {
            for _ in 0..LOOKS {
                look();
                sleep(BETWEEN_LOOKS).await;
            }
            work.looked(busy());
        }
    }
}

/// How much a thread had worked, all in all, when somebody looked.
#[derive(Default)]
struct Work {
    last_tick: Duration,
    last_look: Duration,
}

impl Work {
    /// Whether it rests, after a load.
    fn is_over(&mut self, busy: Duration) -> bool {
        let since_tick = busy.saturating_sub(mem::replace(&mut self.last_tick, busy));
        since_tick < REST && busy.saturating_sub(self.last_look) >= LOAD
    }

    /// What it has left has been looked for. That was work, too.
    fn looked(&mut self, busy: Duration) {
        (self.last_tick, self.last_look) = (busy, busy);
    }
}

fn look() {
    for _ in 0..10_000 {
        drop(black_box(Vec::<u8>::with_capacity(2048)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_once_when_a_load_is_over() {
        let millis = Duration::from_millis;
        let mut work = Work::default();
        assert!(!work.is_over(millis(5)), "there was no load");
        assert!(!work.is_over(millis(500)), "there is one");
        assert!(!work.is_over(millis(800)));
        assert!(work.is_over(millis(801)), "it is over");
        work.looked(millis(803));
        assert!(!work.is_over(millis(804)), "once is enough");
        assert!(!work.is_over(millis(1_003)));
        assert!(work.is_over(millis(1_004)), "there was another one");
    }
}
