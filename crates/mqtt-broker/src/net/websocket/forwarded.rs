//! `X-Forwarded-For`: for whom an HTTP proxy speaks. A pure function over the fields of a request.

use std::net::{IpAddr, SocketAddr};

use super::super::trusted::TrustedSources;

/// The client of a request that came by `proxies`, out of its fields in their order; `None` if they name none.
///
/// Each proxy adds at the end whom it had the request from. So what is said is true from the right as far as trusted
/// proxies said it, and no further: a client can write there what it likes before it connects.
pub(super) fn client(fields: &[&str], proxies: &TrustedSources) -> Option<SocketAddr> {
    let mut client = None;
    for entry in fields.iter().rev().flat_map(|field| field.rsplit(',')) {
        let Some(address) = address(entry.trim()) else { break };
        client = Some(address);
        if !proxies.contain(address.ip()) {
            break;
        }
    }
    client
}

/// Most write an address alone, some an address with a port. Without one it is 0.
fn address(entry: &str) -> Option<SocketAddr> {
    let bare = entry.strip_prefix('[').and_then(|entry| entry.strip_suffix(']')).unwrap_or(entry);
    let alone = bare.parse::<IpAddr>().map(|address| SocketAddr::new(address, 0));
    let address = alone.or_else(|_| entry.parse::<SocketAddr>()).ok()?;
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(text: &str) -> TrustedSources {
        text.parse().unwrap()
    }

    #[test]
    fn the_client_is_the_last_that_no_trusted_proxy_is() {
        let proxies = sources("10.0.0.0/8");
        for (fields, expected) in [
            (&["192.0.2.1"][..], Some("192.0.2.1:0")),
            (&["spoofed, 192.0.2.1, 10.0.0.2"], Some("192.0.2.1:0")),
            (&["198.51.100.9, 192.0.2.1,10.0.0.2"], Some("192.0.2.1:0")),
            (&["198.51.100.9", "192.0.2.1", "10.0.0.2,10.0.0.3"], Some("192.0.2.1:0")),
            (&["192.0.2.1:4711"], Some("192.0.2.1:4711")),
            (&["2001:db8::1"], Some("[2001:db8::1]:0")),
            (&["[2001:db8::1]"], Some("[2001:db8::1]:0")),
            (&["[2001:db8::1]:4711"], Some("[2001:db8::1]:4711")),
            (&["::ffff:192.0.2.1"], Some("192.0.2.1:0")),
            (&["10.0.0.9, 10.0.0.2"], Some("10.0.0.9:0")), // A client within the trusted network.
            (&["192.0.2.1, unknown, 10.0.0.2"], Some("10.0.0.2:0")),
            (&["192.0.2.1, unknown"], None),
            (&["192.0.2.1,"], None),
            (&[""], None),
            (&[], None),
        ] {
            assert_eq!(
                client(fields, &proxies),
                expected.map(|expected| expected.parse().unwrap()),
                "{fields:?}"
            );
        }
    }

    mod fuzz {
        use super::*;

        /// Whatever a client writes before what its proxies add, it is known by the address that the first of them saw.
        #[test]
        fn forwarded_for() {
            let proxies = sources("10.0.0.0/8");
            bolero::check!().with_type::<(Vec<String>, [u8; 4], Vec<[u8; 3]>)>().for_each(
                |(said, from, by)| {
                    let from = IpAddr::from(*from);
                    let mut fields = said.clone();
                    fields.push(from.to_string());
                    fields.extend(by.iter().map(|[a, b, c]| format!("10.{a}.{b}.{c}")));
                    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
                    let found = client(&fields, &proxies).unwrap();
                    assert!(found.ip() == from || proxies.contain(from));
                    client(&said.iter().map(String::as_str).collect::<Vec<_>>(), &proxies);
                },
            );
        }
    }
}
