//! [`Phase`]: a time in which all clients act at once, and what makes each of them a [`Client`].

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::link::Stop;

/// How long everything that was acknowledged may take to arrive.
const PATIENCE: Duration = Duration::from_mins(1);

/// What all clients act in.
pub(crate) struct Phase {
    pub(crate) address: SocketAddr,
    /// What has to be reached; without one, the clients make new load until the broker is killed.
    pub(crate) goal: Option<Goal>,
    deadline: Instant,
    over: AtomicBool,
    publishers: AtomicUsize,
}

/// What every subscriber has to see in the end.
#[derive(Default)]
pub(crate) struct Goal {
    /// The last message of each topic.
    pub(crate) last: BTreeMap<String, u64>,
    /// Wills that must be published, as their payloads.
    pub(crate) wills: BTreeSet<String>,
    /// Wills that must not be.
    pub(crate) void_wills: BTreeSet<String>,
}

/// Somebody with a record of what was promised to it. It outlives every broker.
pub(crate) trait Client: Send {
    fn name(&self) -> &str;

    /// One connection, from CONNECT to its end. `true` says that nothing is left to do in this phase.
    fn connection(&mut self, phase: &Phase) -> Result<bool, Stop>;

    /// What it is still waiting for.
    fn lacks(&self, phase: &Phase) -> String;
}

impl Phase {
    /// New load, for as long as it lasts.
    pub(crate) fn load(address: SocketAddr) -> Self {
        Self {
            address,
            goal: None,
            deadline: Instant::now() + PATIENCE,
            over: AtomicBool::new(false),
            publishers: AtomicUsize::new(0),
        }
    }

    /// Whatever was begun is brought to its end.
    pub(crate) fn settle(address: SocketAddr, goal: Goal, publishers: usize) -> Self {
        Self { goal: Some(goal), publishers: AtomicUsize::new(publishers), ..Self::load(address) }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed) || Instant::now() > self.deadline
    }

    /// The broker is dead.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// One publisher has nothing left to send.
    pub(crate) fn publisher_is_done(&self) {
        self.publishers.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn publishers_are_done(&self) -> bool {
        self.publishers.load(Ordering::Relaxed) == 0
    }

    /// Sleeps, but not beyond the end.
    pub(crate) fn rest(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.is_over() && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets all clients act at once, while `meanwhile` decides how long.
    pub(crate) fn run(
        &self,
        clients: Vec<&mut dyn Client>,
        meanwhile: impl FnOnce() -> Result<(), String>,
    ) -> Result<(), String> {
        thread::scope(|scope| {
            let acting: Vec<_> =
                clients.into_iter().map(|client| scope.spawn(move || self.act(client))).collect();
            let killed = meanwhile();
            let outcomes = acting.into_iter().map(|client| client.join().unwrap());
            let faults: Vec<String> = outcomes.filter_map(Result::err).chain(killed.err()).collect();
            if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
        })
    }

    fn act(&self, client: &mut dyn Client) -> Result<(), String> {
        while !self.is_over() {
            match client.connection(self) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(Stop::Lost) => self.rest(Duration::from_millis(3)),
                Err(Stop::Fault(why)) => return Err(format!("{}: {why}", client.name())),
            }
        }
        // A phase whose broker was killed has nothing to reach.
        if self.over.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(format!("{}: {} after {PATIENCE:?}", client.name(), client.lacks(self)))
    }
}
