//! Where to listen: what an operator may write, and which sockets that means.

use std::{
    fmt, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use anyhow::anyhow;
use tokio::net::TcpListener;

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListenAddress {
    /// The IPv4 loopback address, and that of IPv6 where there is one.
    Localhost(u16),
    Socket(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl FromStr for ListenAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse().ok()) {
            return Ok(Self::Localhost(port));
        }
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return if path.is_absolute() {
                Ok(Self::Unix(path))
            } else {
                Err("write the whole path: unix:/run/...")
            };
        }
        let wrong = "write it like localhost:1883, 127.0.0.1:1883, [::1]:1883, 0.0.0.0:1883 or unix:/run/gmqtt/mqtt.sock; \
                     port 0 takes a free one";
        text.parse().map(Self::Socket).map_err(|_| wrong)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Localhost(port) => write!(f, "localhost:{port}"),
            Self::Socket(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl ListenAddress {
    /// Whether this machine alone can connect to it.
    pub(crate) fn is_loopback(&self) -> bool {
        match self {
            Self::Localhost(_) | Self::Unix(_) => true,
            Self::Socket(address) => address.ip().to_canonical().is_loopback(),
        }
    }

    pub(crate) fn takes_a_free_port(&self) -> bool {
        match self {
            Self::Localhost(port) => *port == 0,
            Self::Socket(address) => address.port() == 0,
            Self::Unix(_) => false,
        }
    }

    /// Takes the address; `localhost` may take two, and a Unix socket none.
    pub(crate) async fn bind(&self) -> anyhow::Result<Vec<TcpListener>> {
        let port = match self {
            Self::Socket(address) => return Ok(vec![bind(*address).await?]),
            Self::Localhost(port) => *port,
            Self::Unix(_) => return Ok(Vec::new()),
        };
        let v4 = bind((Ipv4Addr::LOCALHOST, port).into()).await?;
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, v4.local_addr()?.port()));
        // Many a machine and most containers have no IPv6: that is no reason not to serve.
        match TcpListener::bind(v6).await {
            Ok(v6) => Ok(vec![v4, v6]),
            Err(error) => {
                tracing::debug!(address = %v6, %error, "not listening");
                Ok(vec![v4])
            }
        }
    }
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let (ip, port) = (address.ip(), address.port());
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => anyhow!(
            "{address} is in use, perhaps by another broker: `ss -ltnp 'sport = :{port}'` shows who holds it; \
             stop that one, or take another port: --listen {}",
            SocketAddr::new(ip, port.wrapping_add(1)),
        ),
        io::ErrorKind::PermissionDenied => anyhow!("no permission to listen on {address}: take a port from 1024 up"),
        io::ErrorKind::AddrNotAvailable => anyhow!("cannot listen on {address}: {ip} is no address of this machine"),
        _ => anyhow::Error::new(error).context(format!("cannot listen on {address}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for text in [
            "localhost:1883",
            "127.0.0.1:0",
            "[::1]:1883",
            "0.0.0.0:1883",
            "192.0.2.1:1",
            "[::]:1883",
            "unix:/run/a b",
        ] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "1883",
            "localhost",
            "localhost:x",
            "localhost:65536",
            "127.0.0.1",
            "example.org:1883",
            "::1:1883",
            "unix:mqtt.sock",
            "unix:",
        ] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn loopback_is_known_in_every_spelling() {
        for text in
            ["localhost:1", "127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "unix:/a"]
        {
            assert!(text.parse::<ListenAddress>().unwrap().is_loopback(), "{text}");
        }
        for text in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "[::ffff:0.0.0.0]:1"] {
            assert!(!text.parse::<ListenAddress>().unwrap().is_loopback(), "{text}");
        }
    }
}
