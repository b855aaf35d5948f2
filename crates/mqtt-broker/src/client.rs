//! [`ClientInfo`]: what is known of a connected client, for hooks, observers and lists.

use std::{
    any::Any,
    fmt,
    hash::{BuildHasher, RandomState},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

/// A connected client, or one that asks to connect.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientInfo {
    /// The client identifier; assigned by the broker if the client sent an empty one.
    pub client_id: Arc<str>,
    /// The user name of its CONNECT.
    pub user_name: Option<Arc<str>>,
    /// Where it connects from.
    pub peer: Peer,
    /// The name of the [`Listener`](crate::Listener) that it came by; `None` if by none: a subscriber in this process, a
    /// [`SansIoConnection`](crate::SansIoConnection), a client of an earlier process.
    pub listener: Option<Arc<str>>,
    /// Whether the session ends with the connection.
    pub clean_session: bool,
    /// The keep alive in force, in seconds; 0 is off.
    pub keep_alive_secs: u16,
    /// When its CONNECT came.
    pub connected_at: Instant,
    /// What the hook that let it in has attached to it.
    pub(crate) attached: Attached,
}

/// Something of an embedder's, kept with a client for the embedder's other hooks.
///
/// Behind one more pointer, a thin one: every client has room for it.
#[derive(Clone, Default)]
pub(crate) struct Attached(pub(crate) Option<Box<Arc<dyn Any + Send + Sync>>>);

impl ClientInfo {
    /// What the hook that let it in has attached to it, if that is a `T`: see [`crate::Admission::attach`].
    pub fn attached<T: Any>(&self) -> Option<&T> {
        self.attached.0.as_ref()?.as_ref().downcast_ref()
    }

    /// A client identifier for who has none: unique among those that this process assigns, and hard to guess, so that
    /// nobody can wait for it.
    pub(crate) fn assigned_id() -> Arc<str> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let serial = NEXT.fetch_add(1, Ordering::Relaxed);
        // The only randomness that the standard library has: the seed that it draws for its hash maps.
        let random = RandomState::new().hash_one(serial);
        format!("auto-{random:016x}-{serial:x}").into()
    }
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Some(..)" } else { "None" })
    }
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Peer {
    /// An Internet address.
    Inet(SocketAddr),
    /// A process of this machine, over a Unix socket.
    Unix {
        /// Its user's number, as the system vouches for it.
        user_id: u32,
    },
    /// The same process.
    InProcess,
    /// A client of an earlier process, whose Will is due.
    Unknown,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix { user_id } => write!(f, "unix (user {user_id})"),
            Self::InProcess => f.write_str("in-process"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}
