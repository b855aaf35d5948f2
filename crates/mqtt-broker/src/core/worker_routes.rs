//! [`WorkerRoutes`]: what the publishers of a thread know together of who receives what.
//!
//! A publisher remembers the routes of a few topics by itself. One that goes round a thousand of them finds in the router what
//! it had a moment ago, and among a million subscriptions that is in no cache of the processor. Here a thousand topics lie in
//! a thousand lines, however many subscriptions there are beside them.

use std::{
    cell::Cell,
    hash::{BuildHasher, RandomState},
    mem,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use mqtt_router::Route;
use parking_lot::{Mutex, MutexGuard};

use crate::{
    route_cache::{Bounds, HashedTopic, RouteCache},
    session::SessionRef,
};

/// 256 KiB a thread, half of what a processor often has next to it.
static BOUNDS: Bounds = Bounds { topics: 4_096, receivers: 16, topic_len: 512 };

pub(super) struct WorkerRoutes {
    /// A thread has one, and shares it with another only if the threads that publish are very many.
    desks: Box<[Desk]>,
    /// Of the hashes of topics.
    seed: u64,
}

/// In a cache line that no other thread writes to.
#[repr(align(64))]
struct Desk(Mutex<Shared>);

pub(super) struct Shared {
    pub(super) cache: RouteCache,
    /// Where the router puts a route.
    pub(super) scratch: Route<SessionRef>,
    is_used: bool,
}

impl WorkerRoutes {
    pub(super) fn new() -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let desks = (2 * processors).next_power_of_two();
        let desk = |_| Desk(Mutex::new(Shared::new()));
        Self { desks: (0..desks).map(desk).collect(), seed: RandomState::new().hash_one(0) }
    }

    pub(super) fn hashed<'a>(&self, text: &'a [u8]) -> HashedTopic<'a> {
        HashedTopic::new(text, self.seed)
    }

    /// What this thread knows. `None` while it is in use, by another thread or further up on this one's stack: nobody waits.
    pub(super) fn of_this_thread(&self) -> Option<MutexGuard<'_, Shared>> {
        let mut shared = self.desks.get(thread_number() & (self.desks.len() - 1))?.0.try_lock()?;
        shared.is_used = true;
        Some(shared)
    }

    /// Lets go of what is out of date, and of all that nobody has asked for since the last time.
    pub(super) fn tidy(&self, generation: u64) {
        for mut shared in self.desks.iter().filter_map(|desk| desk.0.try_lock()) {
            if mem::take(&mut shared.is_used) {
                shared.cache.forget_older(generation);
            } else {
                shared.cache.clear();
            }
        }
    }
}

impl Shared {
    fn new() -> Self {
        Self { cache: RouteCache::new(&BOUNDS), scratch: Route::new(), is_used: false }
    }

    /// The route in `scratch` is not needed any more.
    pub(super) fn let_go(&mut self) {
        self.scratch.clear();
        if self.scratch.direct.capacity() > MOST_SCRATCH {
            self.scratch = Route::new();
        }
    }
}

/// More room than this for receivers is given back at once.
const MOST_SCRATCH: usize = 256;

/// Threads that publish count from 0.
fn thread_number() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<usize> = Cell::new(THREADS.fetch_add(1, Ordering::Relaxed));
    }
    NUMBER.get()
}

#[cfg(test)]
mod tests {
    use mqtt_codec::QoS;

    use super::*;
    use crate::route_cache::{Receivers, tests::sessions};

    fn keep(routes: &WorkerRoutes, topic: &[u8], generation: u64) {
        let nobody = Receivers { direct: &[], groups: &[] };
        assert!(routes.of_this_thread().unwrap().cache.offer(routes.hashed(topic), generation, nobody));
    }

    fn has(routes: &WorkerRoutes, topic: &[u8], generation: u64) -> bool {
        routes.of_this_thread().unwrap().cache.get(routes.hashed(topic), generation).is_some()
    }

    #[test]
    fn nobody_waits_for_what_is_in_use() {
        let routes = WorkerRoutes::new();
        let in_use = routes.of_this_thread();
        assert!(in_use.is_some() && routes.of_this_thread().is_none());
        routes.tidy(1);
        drop(in_use);
        assert!(routes.of_this_thread().is_some());
    }

    #[test]
    fn what_nobody_asks_for_is_given_back() {
        let routes = WorkerRoutes::new();
        keep(&routes, b"old", 1);
        keep(&routes, b"new", 2);
        routes.tidy(2);
        assert!(!has(&routes, b"old", 1) && has(&routes, b"new", 2));
        routes.tidy(2); // asked for just now
        routes.tidy(2);
        assert!(routes.of_this_thread().unwrap().cache.is_empty());
    }

    /// A session that is over must not live on here.
    #[test]
    fn the_room_for_a_route_is_empty_when_it_is_not_needed() {
        let mut shared = Shared::new();
        for many in [1, MOST_SCRATCH + 1] {
            shared
                .scratch
                .direct
                .extend(sessions(many).into_iter().map(|session| (session, QoS::AtMostOnce)));
            shared.let_go();
            assert!(shared.scratch.is_empty() && shared.scratch.direct.capacity() <= MOST_SCRATCH);
        }
    }
}
