//! [`Workers`]: the runtimes that connections are spread over, if the embedder names some.
//!
//! Each is meant to be a single thread. A connection stays on the one that it was given to: its socket, its timers and its
//! wakes are that thread's own, and no other thread is woken for them. `docs/adr/0006-a-runtime-a-core.md` has the figures.

use std::{
    io,
    net::TcpStream as DetachedTcp,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{net::TcpStream, runtime::Handle};
#[cfg(unix)]
use {std::os::unix::net::UnixStream as DetachedUnix, tokio::net::UnixStream};

use super::{Tasks, transport::ByteStream};
use crate::broker::Builder;

/// Without any, a connection stays where it was accepted.
#[derive(Clone, Default)]
pub(crate) struct Workers(Option<Arc<Spread>>);

struct Spread {
    handles: Vec<Handle>,
    /// Counts connections, to give each worker its turn.
    turn: AtomicUsize,
}

/// A socket that can leave the runtime that it was accepted on.
pub(super) trait Movable: ByteStream + Sized {
    type Detached: Send + 'static;

    fn detach(self) -> io::Result<Self::Detached>;

    /// Within the runtime that it is to stay on.
    fn attach(detached: Self::Detached) -> io::Result<Self>;
}

impl Builder {
    /// Spreads the connections over these runtimes, in turn. Make each a `current_thread` one, with a thread that runs it for
    /// as long as the broker lives, and give it nothing that takes long: that would hold up its connections.
    ///
    /// Without any, connections stay on the runtime that listens.
    pub fn workers(mut self, runtimes: impl IntoIterator<Item = Handle>) -> Self {
        let handles: Vec<Handle> = runtimes.into_iter().collect();
        let spread = (!handles.is_empty()).then(|| Spread { handles, turn: AtomicUsize::new(0) });
        self.workers = Workers(spread.map(Arc::new));
        self
    }
}

impl Tasks {
    /// Goes on with a new socket on the worker whose turn it is.
    pub(super) fn place<S: Movable>(&self, socket: S, go_on: impl FnOnce(S) + Send + 'static) {
        let Some(worker) = self.workers.next() else { return go_on(socket) };
        let Ok(detached) = socket.detach() else { return };
        self.tracker.spawn_on(async { start(detached, go_on) }, worker);
    }
}

impl Workers {
    fn next(&self) -> Option<&Handle> {
        let Spread { handles, turn } = &**self.0.as_ref()?;
        handles.get(turn.fetch_add(1, Ordering::Relaxed) % handles.len())
    }
}

/// On the worker. The system refuses only a socket that is broken, or one too many to watch: then the connection is closed.
fn start<S: Movable>(detached: S::Detached, go_on: impl FnOnce(S) + Send + 'static) {
    match S::attach(detached) {
        Ok(socket) => go_on(socket),
        Err(error) => tracing::warn!(%error, "a connection could not be given to its worker"),
    }
}

impl Movable for TcpStream {
    type Detached = DetachedTcp;

    fn detach(self) -> io::Result<DetachedTcp> {
        self.into_std()
    }

    fn attach(detached: DetachedTcp) -> io::Result<Self> {
        Self::from_std(detached)
    }
}

#[cfg(unix)]
impl Movable for UnixStream {
    type Detached = DetachedUnix;

    fn detach(self) -> io::Result<DetachedUnix> {
        self.into_std()
    }

    fn attach(detached: DetachedUnix) -> io::Result<Self> {
        Self::from_std(detached)
    }
}
