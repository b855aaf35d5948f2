//! [`WorkerRoutes`]: what the publishers of a thread know together of who receives what.
//!
//! A publisher remembers the routes of a few topics by itself. One that goes round a thousand of them finds in the router what
//! it had a moment ago, and among a million subscriptions that is in no cache of the processor. Here a thousand topics lie in
//! a thousand lines, however many subscriptions there are beside them.

use std::{
    cell::Cell,
    hash::{BuildHasher, RandomState},
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
            if std::mem::take(&mut shared.is_used) {
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
        if self.scratch.direct.capacity() > MOST_SCRATCH {
            self.scratch = Route::new();
        }
        self.scratch.clear();
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
