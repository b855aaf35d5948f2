//! [`Link`]: one connection's bytes below MQTT: over TCP as they are, within TLS, within WebSocket, or within both.
//!
//! Never waits: what cannot go on says [`ErrorKind::WouldBlock`], handshakes included.

mod tls;
mod websocket;

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    sync::Arc,
};

use mio::{Interest, Registry, Token, net::TcpStream};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned, pki_types::ServerName};

pub(crate) use self::tls::Tls;
use self::websocket::WebSocket;
use crate::args::TransportKind;

/// How connections are made.
#[derive(Clone, Default)]
pub(crate) struct Transport {
    tls: Option<Arc<ClientConfig>>,
    /// The path of the upgrade.
    websocket: Option<String>,
}

/// One connection.
pub(crate) struct Link {
    stream: Stream,
    websocket: Option<Box<WebSocket>>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Transport {
    pub(crate) fn new(kind: TransportKind, tls: &Tls, path: &str) -> Self {
        Self {
            tls: kind.is_tls().then(|| tls.config()),
            websocket: kind.is_websocket().then(|| path.to_owned()),
        }
    }

    /// A link over a connection that is being made.
    pub(crate) fn over(&self, stream: TcpStream, server: SocketAddr) -> io::Result<Link> {
        let stream = match &self.tls {
            None => Stream::Plain(stream),
            Some(config) => {
                let name = ServerName::IpAddress(server.ip().into());
                let connection = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
                Stream::Tls(Box::new(StreamOwned::new(connection, stream)))
            }
        };
        let websocket = self.websocket.as_ref().map(|path| Box::new(WebSocket::new(path, server)));
        Ok(Link { stream, websocket })
    }
}

impl Link {
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(self.stream.tcp(), token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Whether a read may leave something behind that no event of the socket announces.
    pub(crate) fn reads_in_parts(&self) -> bool {
        self.websocket.is_some() || matches!(self.stream, Stream::Tls(_))
    }

    /// Whether it has taken bytes that its socket has not.
    pub(crate) fn holds_bytes(&self) -> bool {
        let within_tls = matches!(&self.stream, Stream::Tls(tls) if tls.conn.wants_write());
        within_tls || self.websocket.as_ref().is_some_and(|websocket| websocket.holds_bytes())
    }

    /// Whether its TLS session was resumed.
    pub(crate) fn is_resumed(&self) -> bool {
        matches!(&self.stream, Stream::Tls(tls) if tls.conn.handshake_kind() == Some(HandshakeKind::Resumed))
    }
}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.websocket {
            None => self.stream.read(buffer),
            Some(websocket) => websocket.read(&mut self.stream, buffer),
        }
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.websocket {
            None => self.stream.write(bytes),
            Some(websocket) => websocket.write(&mut self.stream, bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(websocket) = &mut self.websocket {
            websocket.flush(&mut self.stream)?;
        }
        self.stream.flush()
    }
}

impl Stream {
    fn tcp(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &mut stream.sock,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
