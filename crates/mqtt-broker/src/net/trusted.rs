//! [`TrustedSources`]: whose word is taken for where a client comes from.

use std::{fmt, net::IpAddr, str::FromStr};

use crate::{admission::Network, client::Peer};

/// The proxies whose word is taken for where a client comes from.
///
/// ```
/// use mqtt_broker::TrustedSources;
///
/// let proxies: TrustedSources = "10.0.0.0/8, 2001:db8::7, unix".parse().unwrap();
/// assert_eq!(proxies.to_string(), "10.0.0.0/8, 2001:db8::7, unix");
/// ```
///
/// An entry is an address, a network (`10.0.0.0/8`), or `unix`: whoever may open the listener's Unix socket. Anybody within it can
/// pass for anybody else, so name the proxies and nobody else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedSources {
    networks: Vec<Network>,
    unix: bool,
}

/// An entry that is neither an address nor a network nor `unix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSource {
    entry: String,
}

impl TrustedSources {
    /// The sources with these entries.
    pub fn new<E: AsRef<str>>(entries: impl IntoIterator<Item = E>) -> Result<Self, InvalidSource> {
        let mut sources = Self::default();
        for entry in entries {
            let entry = entry.as_ref().trim();
            if entry == "unix" {
                sources.unix = true;
            } else {
                let network = entry.parse().map_err(|_| InvalidSource { entry: entry.to_owned() })?;
                sources.networks.push(network);
            }
        }
        Ok(sources)
    }

    pub(super) fn trust(&self, peer: Peer) -> bool {
        match peer {
            Peer::Inet(address) => self.contain(address.ip()),
            Peer::Unix { .. } => self.unix,
            Peer::InProcess | Peer::Unknown => false,
        }
    }

    pub(super) fn contain(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }
}

impl FromStr for TrustedSources {
    type Err = InvalidSource;

    /// Entries with commas between.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text.split(','))
    }
}

impl fmt::Display for TrustedSources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unix = self.unix.then(|| "unix".to_owned());
        let entries: Vec<String> = self.networks.iter().map(ToString::to_string).chain(unix).collect();
        f.write_str(&entries.join(", "))
    }
}

impl fmt::Display for InvalidSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no address, no network such as 10.0.0.0/8, and not \"unix\"", self.entry)
    }
}

impl std::error::Error for InvalidSource {}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn sources(text: &str) -> TrustedSources {
        text.parse().unwrap()
    }

    fn inet(address: &str) -> Peer {
        Peer::Inet(SocketAddr::new(address.parse().unwrap(), 1))
    }

    #[test]
    fn who_is_trusted() {
        let proxies = sources("10.1.2.3/8,2001:db8::/32 , 192.0.2.1");
        for trusted in ["10.255.0.1", "2001:db8:ffff::1", "192.0.2.1", "::ffff:10.0.0.1"] {
            assert!(proxies.trust(inet(trusted)), "{trusted}");
        }
        for other in ["11.0.0.1", "2001:db9::1", "192.0.2.2", "::1", "::a00:1"] {
            assert!(!proxies.trust(inet(other)), "{other}");
        }
        assert!(!proxies.trust(Peer::Unix { user_id: 0 }) && !proxies.trust(Peer::Unknown));
        assert!(sources("unix").trust(Peer::Unix { user_id: 7 }));
        assert!(!TrustedSources::default().trust(inet("127.0.0.1")));
        assert!(sources("0.0.0.0/0").trust(inet("1.2.3.4")) && !sources("0.0.0.0/0").trust(inet("::1")));
    }

    #[test]
    fn entries_that_are_none() {
        for entry in ["", "10.0.0.0/33", "localhost", "10.0.0", "unix:", "10.0.0.1:80"] {
            let error = TrustedSources::new(["10.0.0.1", entry]).unwrap_err();
            assert!(error.to_string().starts_with(&format!("{entry:?} is no address")), "{error}");
        }
    }
}
