//! [`Listener`]: a way into the broker, with a name, a transport and limits of its own; and the calls that open one.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicUsize},
};

use tokio::net::{TcpListener, ToSocketAddrs};

use super::{listening_tcp::ListeningTcp, transport::Transport};
use crate::{
    broker::Broker,
    entrance::{Entrance, ListenerLimits},
    limits::Limits,
};

/// A way into the broker: its name, what is spoken there, and its limits. See [`Broker::listen_with`].
///
/// ```
/// # use mqtt_broker::{Broker, Listener, ListenerLimits, Transport};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut limits = ListenerLimits::default();
/// limits.max_connections = Some(1_000);
/// let devices = Listener::new("devices", Transport::tcp()).limits(limits);
///
/// let broker = Broker::builder().build();
/// broker.listen_with("127.0.0.1:0", devices).await?;
/// # Ok(())
/// # }
/// ```
///
/// Hooks see the name in [`AcceptRequest::listener`](crate::AcceptRequest::listener) and
/// [`ClientInfo::listener`](crate::ClientInfo::listener): that is how each listener has rules of its own. A [`Transport`]
/// alone is a listener too, named after what is spoken: `tcp`, `tls`, `ws` or `wss`.
#[derive(Clone, Debug)]
#[must_use]
pub struct Listener {
    name: Arc<str>,
    transport: Transport,
    limits: ListenerLimits,
    connections: Arc<AtomicUsize>,
}

impl Listener {
    /// A listener with the broker's limits. Two may have the same name: rules that go by names then hold for both.
    pub fn new(name: impl Into<Arc<str>>, transport: Transport) -> Self {
        Self { name: name.into(), transport, limits: ListenerLimits::default(), connections: Arc::default() }
    }

    /// What it has of its own in place of the broker's limits. Clones are the same listener, on
    /// another address: together they have no more connections than its limit.
    pub fn limits(mut self, limits: ListenerLimits) -> Self {
        self.limits = limits;
        self
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn transport(&self) -> &Transport {
        &self.transport
    }

    /// For connections that come from now on.
    pub(super) fn entrance(&self, limits: &Limits) -> Entrance {
        Entrance::new(Arc::clone(&self.name), &self.limits, limits, Arc::clone(&self.connections))
    }

    /// The same listener, with the transport and the limits of another one.
    pub(super) fn with_those_of(&self, other: &Self) -> Self {
        Self { name: Arc::clone(&self.name), connections: Arc::clone(&self.connections), ..other.clone() }
    }
}

impl From<Transport> for Listener {
    fn from(transport: Transport) -> Self {
        Self::new(transport.name(), transport)
    }
}

impl Broker {
    /// Listens for MQTT over TCP [MQTT-7.1.1-1] on `address`; port 0 takes a free port. Returns the address that it listens on.
    ///
    /// Must be called within a tokio runtime, as all that is asynchronous here.
    pub async fn listen(&self, address: impl ToSocketAddrs) -> io::Result<SocketAddr> {
        self.serve(TcpListener::bind(address).await?)
    }

    /// Listens on `address` as a [`Listener`] says, or over a transport alone:
    /// `Transport::tcp().websocket(WebSocketOptions::default())`.
    pub async fn listen_with(
        &self,
        address: impl ToSocketAddrs,
        listener: impl Into<Listener>,
    ) -> io::Result<SocketAddr> {
        self.serve_with(TcpListener::bind(address).await?, listener)
    }

    /// Serves MQTT over TCP on a socket that is bound already. A broker that was shut down serves nobody any more.
    pub fn serve(&self, socket: TcpListener) -> io::Result<SocketAddr> {
        self.serve_as(socket, Transport::tcp().into())
    }

    /// Serves a socket that is bound already as a [`Listener`] says.
    pub fn serve_with(&self, socket: TcpListener, listener: impl Into<Listener>) -> io::Result<SocketAddr> {
        self.serve_as(socket, listener.into())
    }

    /// Without a type of the caller's: what has one is compiled with the caller's crate and as that one is, and all that it
    /// calls and that is generic too, down to the task of a connection.
    fn serve_as(&self, socket: TcpListener, listener: Listener) -> io::Result<SocketAddr> {
        let address = socket.local_addr()?;
        let silence = self.core().limits.tcp_keep_alive;
        self.accept(listener, ListeningTcp::new(socket.into_std()?, silence)?)?;
        Ok(address)
    }
}
