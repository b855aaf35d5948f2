//! [`Place`]: a connection's place in its broker, and in the counts that the limits are about.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use crate::{
    admission::{Entered, RefusalReason},
    client::Peer,
    core::Core,
    entrance::Entrance,
};

/// How many connections beyond the limit may wait for a CONNECT, to be answered that there is no place.
const MOST_FAREWELLS: usize = 16;

/// Where a connection belongs, and the counts that it is in: out of them again when dropped, by a panic too.
pub(crate) struct Place {
    pub(crate) core: Arc<Core>,
    pub(crate) entrance: Arc<Entrance>,
    /// `None` for one of those that the limits allow, in no account of its address: nearly all are.
    unusual: Option<Box<Unusual>>,
}

#[derive(Default)]
struct Unusual {
    among: Among,
    /// In the account of its address.
    entered: Entered,
}

/// Which count a connection is in.
#[derive(Clone, Copy, Default, PartialEq)]
enum Among {
    /// Those that the limits allow.
    #[default]
    Allowed,
    /// The few beyond the limit, which are there to be told so.
    Few,
    /// No listener let it in, so no limit of connections is about it.
    Uncounted,
}

impl Place {
    pub(crate) fn take(core: &Arc<Core>, entrance: &Arc<Entrance>) -> Result<Self, RefusalReason> {
        if !entrance.enter() {
            return Err(RefusalReason::TooManyOfListener);
        }
        if !grow(&core.connections, entrance.limits.max_connections) {
            entrance.leave();
            return Err(RefusalReason::TooManyConnections);
        }
        Ok(Self::new(Arc::clone(core), Arc::clone(entrance), Among::Allowed))
    }

    pub(crate) fn among_few(core: &Arc<Core>, entrance: &Arc<Entrance>) -> Option<Self> {
        let is_one = grow(&core.farewells, MOST_FAREWELLS);
        is_one.then(|| Self::new(Arc::clone(core), Arc::clone(entrance), Among::Few))
    }

    /// For a connection that came by no listener.
    pub(crate) fn uncounted(core: Arc<Core>, entrance: Arc<Entrance>) -> Self {
        Self::new(core, entrance, Among::Uncounted)
    }

    /// Asks whether this peer may have it, and counts it in the account of its address if there is one.
    pub(crate) fn enter(&mut self, now: Instant, peer: Peer) -> Result<(), RefusalReason> {
        let entered = self.core.admission.enter(now, peer, &self.entrance.limits)?;
        if entered.is_counted() {
            self.unusual.get_or_insert_default().entered = entered;
        }
        Ok(())
    }

    /// Whether its client is there only to be told that there is no place for it.
    pub(crate) fn is_beyond_the_limit(&self) -> bool {
        self.among() == Among::Few
    }

    fn new(core: Arc<Core>, entrance: Arc<Entrance>, among: Among) -> Self {
        let unusual = (among != Among::Allowed).then(|| Box::new(Unusual { among, ..Unusual::default() }));
        Self { core, entrance, unusual }
    }

    fn among(&self) -> Among {
        self.unusual.as_ref().map_or(Among::Allowed, |unusual| unusual.among)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(unusual) = &mut self.unusual {
            self.core.admission.leave(&mut unusual.entered);
        }
        match self.among() {
            Among::Allowed => {
                self.core.connections.fetch_sub(1, Ordering::Relaxed);
                self.entrance.leave();
            }
            Among::Few => {
                self.core.farewells.fetch_sub(1, Ordering::Relaxed);
            }
            Among::Uncounted => {}
        }
    }
}

/// Counts one more, unless there are so many.
fn grow(count: &AtomicUsize, most: usize) -> bool {
    let grown = |count| (count < most).then(|| count + 1);
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).is_ok()
}
