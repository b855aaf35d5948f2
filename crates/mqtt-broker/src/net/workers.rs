//! [`Workers`]: the runtimes that connections are spread over, if the embedder names some.
//!
//! Each is meant to be a single thread. A connection's socket, its timers and its wakes are that thread's own, and no other
//! thread is woken for them. As few are in use as the load needs, for two half idle threads spend more time in going to sleep
//! and waking up than one; when that number changes, connections move; those within WebSocket stay where they
//! are, spread over all. `docs/adr/0018-as-few-workers-as-needed.md` and `0022` have the reasons and figures.

mod load;
mod processor_time;

use std::{
    future::Future,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::{net::TcpStream, runtime::Handle};
use tokio_util::task::TaskTracker;

use self::{
    load::{Load, Seen},
    processor_time::ProcessorTime,
};
use super::transport::Socket;
use crate::broker::{Broker, Builder};

/// What the embedder has named. Without any, a connection stays where it was accepted.
#[derive(Clone, Default)]
pub(crate) struct Workers(Vec<Handle>);

/// The workers of one broker; none, if the embedder has named none.
#[derive(Clone, Default)]
pub(super) struct Crew(Option<Arc<Members>>);

struct Members {
    handles: Vec<Handle>,
    /// How long each has had a processor.
    processor: Vec<ProcessorTime>,
    load: Load,
    tracker: TaskTracker,
}

/// A connection's place among the workers.
#[derive(Clone, Default)]
pub(super) struct Berth {
    crew: Crew,
    /// Its number among the connections that move: by that it belongs to one of the workers in use.
    number: u32,
    /// The worker that it is on.
    worker: u32,
}

/// Takes what has left another runtime into the current one.
pub(super) type Attach<T> = Box<dyn FnOnce() -> io::Result<T> + Send>;

/// What is bound to a runtime, and can leave it for another one.
pub(super) trait Movable: Sized + Send + 'static {
    fn detach(self) -> io::Result<Attach<Self>>;
}

/// A socket that has just been accepted, and whose worker is still to be found.
pub(super) trait Accepted: Send + 'static {
    type Socket: Socket;

    /// Binds it to the current runtime.
    fn attach(self) -> io::Result<Self::Socket>;

    /// Binds it to another one, later.
    fn detach(self) -> io::Result<Attach<Self::Socket>>;
}

impl Builder {
    /// Spreads the connections over these runtimes, over more of them the more there is to do; those within WebSocket, which
    /// cannot move, over all from the beginning. Make each a `current_thread` one, with a thread that
    /// runs it for as long as the broker lives, and give it nothing that takes long: that would hold up its connections. The
    /// first one listens, too, and lets expire what is due.
    ///
    /// Without any, connections stay on the runtime that listens.
    pub fn workers(mut self, runtimes: impl IntoIterator<Item = Handle>) -> Self {
        self.workers = Workers(runtimes.into_iter().collect());
        self
    }
}

impl Broker {
    /// The runtimes that its connections are spread over, those of [`Builder::workers`]: for whoever watches how busy they are.
    pub fn workers(&self) -> &[Handle] {
        self.tasks().crew.0.as_deref().map_or(&[], |members| &members.handles)
    }
}

impl Crew {
    pub(super) fn new(workers: Workers, tracker: &TaskTracker) -> Self {
        let handles = workers.0;
        if handles.is_empty() {
            return Self::default();
        }
        let load = Load::of(handles.len(), super::now());
        let processor = handles.iter().map(|_| ProcessorTime::default()).collect();
        Self(Some(Arc::new(Members { handles, processor, load, tracker: tracker.clone() })))
    }

    /// The one that listens, and that is always in use.
    pub(super) fn first(&self) -> Option<&Handle> {
        self.0.as_deref()?.handles.first()
    }

    /// For a new connection that can move: on the worker that it belongs to.
    pub(super) fn new_berth(&self) -> Berth {
        let Some(members) = self.0.as_deref() else { return Berth::default() };
        let number = members.load.next_number();
        Berth { crew: self.clone(), number, worker: members.load.worker_of(number) }
    }

    /// For a new connection that stays for life on the worker that it is given.
    pub(super) fn new_berth_for_life(&self) -> Berth {
        let Some(members) = self.0.as_deref() else { return Berth::default() };
        Berth { crew: self.clone(), number: 0, worker: members.load.next_for_life() }
    }
}

impl Berth {
    /// Where it belongs now, if that is not where it is. `work` is how much the broker has done, in any unit.
    pub(super) fn moved(&self, now: Instant, work: impl FnOnce() -> u64) -> Option<Self> {
        let Members { handles, processor, load, .. } = self.crew.0.as_deref()?;
        let at = load.at(now);
        if let Some(own) = processor.get(self.worker as usize) {
            own.note(at);
        }
        load.look(at, || {
            let busy: Vec<_> = handles.iter().map(busy).collect();
            let processor =
                processor.iter().zip(&busy).map(|(of, busy)| of.known().unwrap_or(*busy)).collect();
            Seen { busy, processor, work: work() }
        });
        let worker = load.worker_of(self.number);
        (worker != self.worker).then(|| Self { worker, ..self.clone() })
    }

    /// Goes on with a new socket here, as [`Self::take_over`] does. Called where it was accepted: on the first worker.
    pub(super) fn place<A: Accepted>(
        &self,
        accepted: A,
        go_on: impl FnOnce(io::Result<A::Socket>) + Send + 'static,
    ) {
        if self.is_first() { go_on(accepted.attach()) } else { self.go_on_here(accepted.detach(), go_on) }
    }

    /// Goes on with something on this berth's worker. The system refuses only a socket that is broken, or one too many to
    /// watch: then `go_on` gets the error, wherever.
    pub(super) fn take_over<T: Movable>(&self, thing: T, go_on: impl FnOnce(io::Result<T>) + Send + 'static) {
        self.go_on_here(thing.detach(), go_on);
    }

    fn go_on_here<T: 'static>(
        &self,
        detached: io::Result<Attach<T>>,
        go_on: impl FnOnce(io::Result<T>) + Send + 'static,
    ) {
        let members = self.crew.0.as_deref();
        let worker = members.and_then(|all| Some((all, all.handles.get(self.worker as usize)?)));
        match (worker, detached) {
            (Some((members, handle)), Ok(attach)) => {
                drop(members.tracker.spawn_on(async { go_on(attach()) }, handle));
            }
            // Only for a berth that is nowhere, and nobody moves to that.
            (None, Ok(attach)) => go_on(attach()),
            (_, Err(error)) => go_on(Err(error)),
        }
    }

    /// Starts a task here.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(members) = self.crew.0.as_deref() {
            members.tracker.spawn(task);
        }
    }

    fn is_first(&self) -> bool {
        self.worker == 0
    }
}

/// How long it has been at work since it began.
fn busy(worker: &Handle) -> Duration {
    worker.metrics().worker_total_busy_duration(0)
}

impl Movable for TcpStream {
    fn detach(self) -> io::Result<Attach<Self>> {
        std::net::TcpStream::detach(self.into_std()?)
    }
}

impl Accepted for std::net::TcpStream {
    type Socket = TcpStream;

    fn attach(self) -> io::Result<TcpStream> {
        TcpStream::from_std(self)
    }

    fn detach(self) -> io::Result<Attach<TcpStream>> {
        Ok(Box::new(|| TcpStream::from_std(self)))
    }
}

#[cfg(unix)]
impl Movable for UnixStream {
    fn detach(self) -> io::Result<Attach<Self>> {
        let socket = self.into_std()?;
        Ok(Box::new(|| Self::from_std(socket)))
    }
}

/// Bound to where it was accepted: it knows who is at its other end only there.
#[cfg(unix)]
impl Accepted for UnixStream {
    type Socket = Self;

    fn attach(self) -> io::Result<Self> {
        Ok(self)
    }

    fn detach(self) -> io::Result<Attach<Self>> {
        Movable::detach(self)
    }
}
