//! [`ListeningTcp`]: a TCP socket that listens, and whose connections no runtime watches before they are on their worker.
//!
//! Tokio's own listener binds what it accepts to the runtime that accepts it. A connection that belongs to another worker, or
//! that is not let in at all, would be watched and let go for nothing.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    task::{Context, Poll, ready},
    time::Duration,
};

use socket2::SockRef;

use super::{
    accept::Listening,
    half_open,
    workers::{Attach, Movable},
};
use crate::client::Peer;

/// Whether accepted sockets have the options of the one that listens. If not, each costs five system calls more.
const INHERITS_OPTIONS: bool = cfg!(target_os = "linux");

/// How many connections may wait to be accepted, where the system has no lower limit of its own. Who comes when as many wait is
/// not heard, and tries again after a second.
const BACKLOG: i32 = 4096;

pub(super) struct ListeningTcp {
    door: Door,
    /// How long an accepted connection may be silent before the system asks whether it is still there.
    silence: Option<Duration>,
}

impl ListeningTcp {
    /// Of a socket that does not block.
    pub(super) fn new(socket: TcpListener, silence: Option<Duration>) -> io::Result<Self> {
        if INHERITS_OPTIONS {
            set_options(SockRef::from(&socket), silence);
        }
        if let Err(error) = SockRef::from(&socket).listen(BACKLOG) {
            tracing::debug!("fewer connections may wait to be accepted than is usual: {error}");
        }
        Ok(Self { door: Door::new(socket)?, silence })
    }
}

impl Listening for ListeningTcp {
    type Accepted = TcpStream;

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, Peer)>> {
        self.door.poll_accept(cx).map_ok(|(socket, address)| {
            if !INHERITS_OPTIONS {
                set_options(SockRef::from(&socket), self.silence);
            }
            // A socket for both versions of IP shows those of version 4 in the clothes of version 6.
            let address = SocketAddr::new(address.ip().to_canonical(), address.port());
            (socket, Peer::Inet(address))
        })
    }
}

impl Movable for ListeningTcp {
    fn detach(self) -> io::Result<Attach<Self>> {
        let (socket, silence) = (self.door.into_std()?, self.silence);
        Ok(Box::new(move || Ok(Self { door: Door::new(socket)?, silence })))
    }
}

#[cfg(unix)]
struct Door {
    socket: mio::net::TcpListener,
    /// The same socket. It never carries a byte; what is asked of it is whether there is something to read, which with a
    /// socket that listens is somebody to accept. Tokio's listener cannot be asked that, and `AsyncFd` not without `unsafe`.
    readiness: tokio::net::TcpStream,
}

#[cfg(unix)]
impl Door {
    fn new(socket: TcpListener) -> io::Result<Self> {
        let same = std::os::fd::OwnedFd::from(socket.try_clone()?);
        let readiness = tokio::net::TcpStream::from_std(same.into())?;
        Ok(Self { socket: mio::net::TcpListener::from_std(socket), readiness })
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        loop {
            ready!(self.readiness.poll_read_ready(cx))?;
            match self.readiness.try_io(tokio::io::Interest::READABLE, || self.socket.accept()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                accepted => return Poll::Ready(accepted.map(|(socket, address)| (socket.into(), address))),
            }
        }
    }

    fn into_std(self) -> io::Result<TcpListener> {
        drop(self.readiness.into_std()?);
        Ok(self.socket.into())
    }
}

#[cfg(not(unix))]
struct Door(tokio::net::TcpListener);

#[cfg(not(unix))]
impl Door {
    fn new(socket: TcpListener) -> io::Result<Self> {
        tokio::net::TcpListener::from_std(socket).map(Self)
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        let (socket, address) = ready!(self.0.poll_accept(cx))?;
        Poll::Ready(socket.into_std().map(|socket| (socket, address)))
    }

    fn into_std(self) -> io::Result<TcpListener> {
        self.0.into_std()
    }
}

fn set_options(socket: SockRef<'_>, silence: Option<Duration>) {
    if let Some(silence) = silence {
        half_open::watch(&socket, silence);
    }
    // Packets are written in whole batches: waiting for more would only add delay.
    if let Err(error) = socket.set_tcp_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::net::workers::Accepted;

    /// What is set once for all has to reach each, and none may block: that is up to the system, and to a library.
    #[tokio::test]
    async fn accepted_sockets_have_their_options() -> io::Result<()> {
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await?.into_std()?;
        let address = socket.local_addr()?;
        let listening = ListeningTcp::new(socket, Some(Duration::from_secs(70)))?;
        let client = tokio::net::TcpStream::connect(address).await?;
        let (accepted, peer) = poll_fn(|cx| listening.poll_accept(cx)).await?;
        assert_eq!(peer, Peer::Inet(client.local_addr()?));
        let accepted = accepted.attach()?; // One that blocks makes tokio panic.
        let accepted = SockRef::from(&accepted);
        assert!(accepted.tcp_nodelay()? && accepted.keepalive()?);
        #[cfg(target_os = "linux")]
        assert_eq!(accepted.tcp_keepalive_time()?, Duration::from_secs(70));
        Ok(())
    }

    /// A crowd that comes at once is heard, though nobody has accepted any of them yet.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn many_may_wait_to_be_accepted() -> io::Result<()> {
        let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn")?;
        let crowd = most.trim().parse().map_or(128, |most: usize| most.min(300));
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await?.into_std()?;
        let address = socket.local_addr()?;
        let _listening = ListeningTcp::new(socket, None)?;
        let connect = |_| TcpStream::connect_timeout(&address, Duration::from_millis(500));
        let waiting: io::Result<Vec<_>> = (0..crowd).map(connect).collect();
        assert_eq!(waiting?.len(), crowd);
        Ok(())
    }
}
