//! [`Network`]: an address, or all addresses that begin with the same bits.

use std::{fmt, net::IpAddr, str::FromStr};

/// An address, or a block of them: `192.0.2.7`, `192.0.2.0/24`, `2001:db8::/32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network {
    /// The bits behind the prefix are zero.
    first: IpAddr,
    prefix_len: u8,
}

/// The text is no network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotANetwork(String);

impl Network {
    /// All addresses that share the first `prefix_len` bits with this one; a length beyond the address's own is cut to it.
    ///
    /// An IPv4 address that is written as an IPv6 one (`::ffff:192.0.2.7`) is the IPv4 address.
    pub fn new(address: IpAddr, prefix_len: u8) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let prefix_len = prefix_len.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix_len)).unwrap_or(0);
                Self { first: IpAddr::V4((address.to_bits() & mask).into()), prefix_len }
            }
            IpAddr::V6(address) => {
                let prefix_len = prefix_len.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix_len)).unwrap_or(0);
                Self { first: IpAddr::V6((address.to_bits() & mask).into()), prefix_len }
            }
        }
    }

    /// Whether this address is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && Self::new(address, self.prefix_len) == *self
    }

    /// The length of the prefix, and whether it is one of IPv6.
    pub(super) fn shape(&self) -> (bool, u8) {
        (self.first.is_ipv6(), self.prefix_len)
    }
}

/// What the limits of an address count as one: an IPv4 address, or the IPv6 network of one subscriber.
pub(super) fn of_one_peer(address: IpAddr, ipv6_prefix_len: u8) -> Network {
    let address = address.to_canonical();
    Network::new(address, if address.is_ipv4() { 32 } else { ipv6_prefix_len })
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        Self::new(address, u8::MAX)
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let wrong = || NotANetwork(text.chars().take(64).collect());
        let (address, prefix_len) = match text.split_once('/') {
            Some((address, len)) => (address, Some(len.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        match (prefix_len, address.to_canonical()) {
            (None, _) => Ok(address.into()),
            (Some(len), _) if len > longest => Err(wrong()),
            // ::ffff:192.0.2.0/120 is 192.0.2.0/24.
            (Some(len), IpAddr::V4(_)) if longest == 128 => {
                len.checked_sub(96).map(|len| Self::new(address, len)).ok_or_else(wrong)
            }
            (Some(len), address) => Ok(Self::new(address, len)),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let longest = if self.first.is_ipv4() { 32 } else { 128 };
        match self.prefix_len {
            len if len == longest => self.first.fmt(f),
            len => write!(f, "{}/{len}", self.first),
        }
    }
}

impl fmt::Display for NotANetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "not an address or a network: write it like 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32 (got {:?})",
            self.0
        )
    }
}

impl std::error::Error for NotANetwork {}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn text_and_back() {
        for (text, canonical) in [
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.7/32", "192.0.2.7"),
            ("192.0.2.7/24", "192.0.2.0/24"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:db8::7/32", "2001:db8::/32"),
            ("::1", "::1"),
            ("::/0", "::/0"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7/120", "192.0.2.0/24"),
        ] {
            assert_eq!(network(text).to_string(), canonical, "{text}");
        }
        for wrong in
            ["", "/", "192.0.2.7/33", "::/129", "192.0.2.7/", "192.0.2/24", "a", "::ffff:192.0.2.7/24"]
        {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn membership_goes_by_the_prefix_alone() {
        assert!(network("192.0.2.0/24").contains(ip("192.0.2.255")));
        assert!(
            network("192.0.2.0/24").contains(ip("::ffff:192.0.2.255")),
            "a mapped address is no way around"
        );
        assert!(!network("192.0.2.0/24").contains(ip("192.0.3.0")));
        assert!(network("::/0").contains(ip("2001:db8::1")));
        assert!(!network("::/0").contains(ip("192.0.2.1")));
        assert!(network("0.0.0.0/0").contains(ip("192.0.2.1")));
    }

    #[test]
    fn one_peer_is_an_ipv4_address_or_an_ipv6_network() {
        assert_ne!(of_one_peer(ip("192.0.2.1"), 64), of_one_peer(ip("192.0.2.2"), 64));
        assert_eq!(of_one_peer(ip("::ffff:192.0.2.1"), 64), of_one_peer(ip("192.0.2.1"), 64));
        assert_eq!(of_one_peer(ip("2001:db8::1"), 64), of_one_peer(ip("2001:db8::ffff:1"), 64));
        assert_ne!(of_one_peer(ip("2001:db8::1"), 64), of_one_peer(ip("2001:db8:0:1::1"), 64));
        assert_ne!(of_one_peer(ip("2001:db8::1"), 128), of_one_peer(ip("2001:db8::2"), 128));
    }
}
