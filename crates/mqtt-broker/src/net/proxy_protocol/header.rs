//! The bytes of a PROXY protocol header, version 1 (a line) and version 2 (binary): a pure function, no socket.
//!
//! After <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

/// The whole first line of version 1, CR and LF included, is at most this long.
const LONGEST_LINE: usize = 107;
/// And at least as long as this one.
const SHORTEST_LINE: usize = b"PROXY UNKNOWN\r\n".len();
const LINE_HEAD: &[u8] = b"PROXY ";

/// How version 2 begins: nothing that any other protocol begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, version and command, family, and the length of what follows.
const FIXED_LEN: usize = 16;

/// What a header says about who is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) enum Source {
    /// The client that the proxy speaks for.
    Client(SocketAddr),
    /// The proxy itself: it looks whether the broker is alive.
    Proxy,
    /// A client that has no Internet address, or one that the proxy does not know.
    Unnamed,
}

/// How far a header has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// At least so many bytes more belong to it. Reading no more than these never takes a byte of what follows.
    Needs(usize),
    /// It is known what it says, and how long it is. What of it has not been read yet says nothing more.
    Known { source: Source, len: usize },
}

/// Bytes that are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderError {
    /// They begin in another way.
    Missing,
    /// A line of version 1 that is longer than 107 bytes, or that has a CR without LF.
    Line,
    /// A line of version 1 with other fields than it must have.
    Fields,
    /// Another version than 2, in a binary header.
    Version(u8),
    /// Another command than LOCAL and PROXY.
    Command(u8),
    /// Too few bytes for the addresses of its family.
    AddressLength(usize),
}

/// Reads the header that `bytes` begin with, as far as it is there.
pub(super) fn parse(bytes: &[u8]) -> Result<Progress, HeaderError> {
    if bytes.is_empty() {
        return Ok(Progress::Needs(SHORTEST_LINE)); // Of either version.
    }
    if begins(bytes, SIGNATURE) {
        return binary(bytes);
    }
    if begins(bytes, LINE_HEAD) {
        return line(bytes);
    }
    Err(HeaderError::Missing)
}

/// Whether nothing in `bytes` differs from how such a header begins.
fn begins(bytes: &[u8], head: &[u8]) -> bool {
    bytes.iter().zip(head).all(|(byte, expected)| byte == expected)
}

fn line(bytes: &[u8]) -> Result<Progress, HeaderError> {
    let within = bytes.get(..LONGEST_LINE).unwrap_or(bytes);
    let Some(end) = within.iter().position(|byte| *byte == b'\r') else {
        let shortest = SHORTEST_LINE.saturating_sub(bytes.len());
        return if within.len() < LONGEST_LINE - 1 {
            Ok(Progress::Needs(shortest.max(2)))
        } else {
            Err(HeaderError::Line)
        };
    };
    match within.get(end + 1) {
        None if end + 1 < LONGEST_LINE => return Ok(Progress::Needs(1)),
        Some(b'\n') => {}
        _ => return Err(HeaderError::Line),
    }
    let text = within.get(LINE_HEAD.len()..end).and_then(|text| std::str::from_utf8(text).ok());
    let source = text.and_then(fields).ok_or(HeaderError::Fields)?;
    Ok(Progress::Known { source, len: end + 2 })
}

/// `TCP4 192.0.2.1 192.0.2.9 51234 1883`, single spaces between.
fn fields(text: &str) -> Option<Source> {
    let mut fields = text.split(' ');
    let family = fields.next()?;
    if family == "UNKNOWN" {
        return Some(Source::Unnamed); // Whatever stands behind it.
    }
    let (from, to) = (fields.next()?, fields.next()?);
    let (from_port, _to_port) = (port(fields.next()?)?, port(fields.next()?)?);
    let (from, _to) = match family {
        "TCP4" => (address::<Ipv4Addr>(from)?, address::<Ipv4Addr>(to)?),
        "TCP6" => (address::<Ipv6Addr>(from)?, address::<Ipv6Addr>(to)?),
        _ => return None,
    };
    fields.next().is_none().then(|| Source::Client(SocketAddr::new(from.to_canonical(), from_port)))
}

fn address<A: FromStr + Into<IpAddr>>(text: &str) -> Option<IpAddr> {
    text.parse::<A>().ok().map(Into::into)
}

/// Digits alone, and no zero before others.
fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

fn binary(bytes: &[u8]) -> Result<Progress, HeaderError> {
    let Some([version_and_command, family, len @ ..]) = bytes.get(SIGNATURE.len()..FIXED_LEN) else {
        return Ok(Progress::Needs(FIXED_LEN - bytes.len()));
    };
    let announced = len.iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
    if version_and_command >> 4 != 2 {
        return Err(HeaderError::Version(version_and_command >> 4));
    }
    let len = FIXED_LEN + announced;
    match version_and_command & 0xf {
        0 => return Ok(Progress::Known { source: Source::Proxy, len }),
        1 => {}
        command => return Err(HeaderError::Command(command)),
    }
    let addresses_len = match family {
        0x11 => 12,
        0x21 => 36,
        _ => return Ok(Progress::Known { source: Source::Unnamed, len }),
    };
    if announced < addresses_len {
        return Err(HeaderError::AddressLength(announced));
    }
    let Some(addresses) = bytes.get(FIXED_LEN..FIXED_LEN + addresses_len) else {
        return Ok(Progress::Needs(FIXED_LEN + addresses_len - bytes.len()));
    };
    let from = match addresses {
        [a, b, c, d, _, _, _, _, high, low, _, _] => (IpAddr::from([*a, *b, *c, *d]), [*high, *low]),
        [from @ .., high, low, _, _] => {
            let octets: Option<[u8; 16]> = from.get(..16).and_then(|octets| octets.try_into().ok());
            (octets.map(IpAddr::from).ok_or(HeaderError::AddressLength(announced))?, [*high, *low])
        }
        _ => return Err(HeaderError::AddressLength(announced)),
    };
    let source = Source::Client(SocketAddr::new(from.0.to_canonical(), u16::from_be_bytes(from.1)));
    Ok(Progress::Known { source, len })
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str(
                "no PROXY protocol header: let the proxy send one, or turn it off for this listener",
            ),
            Self::Line => f.write_str("a PROXY protocol line that does not end with CR LF within 107 bytes"),
            Self::Fields => f.write_str("a PROXY protocol line with other fields than its version 1 has"),
            Self::Version(version) => write!(f, "a binary PROXY protocol header of version {version}, not 2"),
            Self::Command(command) => write!(f, "a PROXY protocol header with the unknown command {command}"),
            Self::AddressLength(len) => {
                write!(f, "a PROXY protocol header with {len} bytes, too few for its addresses")
            }
        }
    }
}

impl std::error::Error for HeaderError {}

#[cfg(test)]
mod tests;
