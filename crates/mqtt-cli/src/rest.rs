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
    time::{MissedTickBehavior, interval},
};

use crate::log_lines;

/// How often a thread looks whether it rests.
const EVERY: Duration = Duration::from_millis(500);
/// At work for less than this in that time, it does.
const REST: Duration = Duration::from_millis(10);
/// At work for less than this since the last time, it has left nothing worth looking for.
const LOAD: Duration = Duration::from_millis(200);
/// How often it looks then. What is freed in one look is given back by the next, a while later; and the broker itself lets go of some
/// things, the routes that a thread remembers, only when nobody has asked for them for a second or two.
const LOOKS: u32 = 5;

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
        log_lines::write_waiting(); // A thread that never rests says what it has to say, too.
        if work.leaves_a_look(busy(), &LOADS) {
            look();
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
    looks_left: u32,
}

impl Work {
    /// Whether it rests, and a load of its own, which is counted when it is over, or of another thread has left a look to be taken.
    fn leaves_a_look(&mut self, busy: Duration, loads: &AtomicU64) -> bool {
        let since_tick = busy.saturating_sub(mem::replace(&mut self.last_tick, busy));
        if since_tick >= REST {
            return false;
        }
        if busy.saturating_sub(self.last_look) >= LOAD {
            loads.fetch_add(1, Ordering::Relaxed);
        }
        let loads = loads.load(Ordering::Relaxed);
        if mem::replace(&mut self.known_loads, loads) != loads {
            self.looks_left = LOOKS;
        }
        self.looks_left > 0
    }

    /// That was work, too.
    fn looked(&mut self, busy: Duration) {
        self.looks_left = self.looks_left.saturating_sub(1);
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

    /// Looks until there is none left, from this moment on; returns how many that were.
    fn looks(work: &mut Work, loads: &AtomicU64, busy: u64) -> u32 {
        let mut looks = 0;
        while work.leaves_a_look(millis(busy), loads) {
            work.looked(millis(busy));
            looks += 1;
        }
        looks
    }

    #[test]
    fn it_looks_when_a_load_is_over() {
        let (mut work, loads) = (Work::default(), AtomicU64::new(0));
        assert!(!work.leaves_a_look(millis(5), &loads), "there was no load");
        assert!(!work.leaves_a_look(millis(500), &loads), "there is one");
        assert!(!work.leaves_a_look(millis(800), &loads));
        assert_eq!(looks(&mut work, &loads, 801), LOOKS, "it is over");
        assert!(!work.leaves_a_look(millis(1_000), &loads));
        assert!(!work.leaves_a_look(millis(1_000), &loads), "that was no load");
        assert!(!work.leaves_a_look(millis(1_200), &loads));
        assert_eq!(looks(&mut work, &loads, 1_201), LOOKS, "there was another one");
    }

    #[test]
    fn a_load_that_comes_while_it_looks_is_none_of_the_looks() {
        let (mut work, loads) = (Work::default(), AtomicU64::new(0));
        assert!(!work.leaves_a_look(millis(500), &loads) && work.leaves_a_look(millis(501), &loads));
        work.looked(millis(502));
        assert!(!work.leaves_a_look(millis(1_000), &loads), "it works again");
        assert_eq!(looks(&mut work, &loads, 1_001), LOOKS);
    }

    /// What that one frees may be of this one's memory.
    #[test]
    fn it_looks_when_a_load_of_another_is_over() {
        let (mut work, mut other, loads) = (Work::default(), Work::default(), AtomicU64::new(0));
        assert!(!other.leaves_a_look(millis(500), &loads));
        assert!(!work.leaves_a_look(millis(5), &loads));
        assert_eq!(looks(&mut other, &loads, 501), LOOKS);
        assert!(!work.leaves_a_look(millis(105), &loads), "it does not rest");
        assert_eq!(looks(&mut work, &loads, 106), LOOKS);
        assert_eq!((looks(&mut work, &loads, 107), looks(&mut other, &loads, 502)), (0, 0));
    }
}
