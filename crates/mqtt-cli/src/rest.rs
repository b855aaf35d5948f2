//! What a thread does once a load is over: it has the allocator look for memory that it can give back.
//!
//! mimalloc looks for that while a thread allocates, every 10,000 times that it has to take its slow way, as all above 1 KiB do.
//! A thread at rest allocates nothing, and so would keep for ever what the load before has left (docs/adr/0007-mimalloc.md).
//! What one thread frees may be another's, which has hardly worked since: so all look when a load of any of them is over.

use std::{
    hint::black_box,
    mem,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    time::{MissedTickBehavior, interval, sleep},
};

/// How often a thread looks whether it rests.
const EVERY: Duration = Duration::from_millis(500);
/// At work for less than this in that time, it does.
const REST: Duration = Duration::from_millis(10);
/// At work for less than this since the last time, it has left nothing worth looking for.
const LOAD: Duration = Duration::from_millis(200);
/// What is freed in one look is given back by the next, a while later; and the broker itself lets go of some things, the routes that a
/// thread remembers, only when nobody has asked for them for a second or two.
const LOOKS: u32 = 5;
const BETWEEN_LOOKS: Duration = EVERY;

/// How many loads are over, of all threads.
static LOADS: AtomicU64 = AtomicU64::new(0);

/// Never ends. For a runtime with one thread, on that thread.
pub(crate) async fn give_back_after_load() {
    let metrics = Handle::current().metrics();
    let busy = || metrics.worker_total_busy_duration(0);
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut work = Work::default();
    loop {
        ticks.tick().await;
        if work.is_over(busy(), &LOADS) {
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
    /// Loads of all threads that were over by then.
    known_loads: u64,
}

impl Work {
    /// Whether it rests, after a load of its own, which is counted then, or of another thread.
    fn is_over(&mut self, busy: Duration, loads: &AtomicU64) -> bool {
        let since_tick = busy.saturating_sub(mem::replace(&mut self.last_tick, busy));
        if since_tick >= REST {
            return false;
        }
        if busy.saturating_sub(self.last_look) >= LOAD {
            loads.fetch_add(1, Ordering::Relaxed);
        }
        let before = mem::replace(&mut self.known_loads, loads.load(Ordering::Relaxed));
        self.known_loads != before
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

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn it_looks_once_when_a_load_is_over() {
        let (mut work, loads) = (Work::default(), AtomicU64::new(0));
        assert!(!work.is_over(millis(5), &loads), "there was no load");
        assert!(!work.is_over(millis(500), &loads), "there is one");
        assert!(!work.is_over(millis(800), &loads));
        assert!(work.is_over(millis(801), &loads), "it is over");
        work.looked(millis(803));
        assert!(!work.is_over(millis(804), &loads), "once is enough");
        assert!(!work.is_over(millis(1_003), &loads));
        assert!(work.is_over(millis(1_004), &loads), "there was another one");
    }

    /// What that one frees may be of this one's memory.
    #[test]
    fn it_looks_when_a_load_of_another_is_over() {
        let (mut work, mut other, loads) = (Work::default(), Work::default(), AtomicU64::new(0));
        assert!(!other.is_over(millis(500), &loads));
        assert!(!work.is_over(millis(5), &loads));
        assert!(other.is_over(millis(501), &loads));
        assert!(!work.is_over(millis(105), &loads), "it does not rest");
        assert!(work.is_over(millis(106), &loads));
        work.looked(millis(108));
        other.looked(millis(503));
        assert!(!work.is_over(millis(109), &loads) && !other.is_over(millis(504), &loads), "once is enough");
    }
}
