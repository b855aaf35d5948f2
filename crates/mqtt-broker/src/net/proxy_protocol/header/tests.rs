//! Headers as proxies send them, headers that are none, and random ones. Sockets are in `tests/it/proxies.rs`.

use super::*;

/// A binary header, with these bytes behind the length.
fn v2(version_and_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[version_and_command, family], &len, rest].concat()
}

fn v4_addresses() -> Vec<u8> {
    vec![192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x34, 7, 91]
}

fn v6_addresses(from: Ipv6Addr) -> Vec<u8> {
    [&from.octets()[..], &Ipv6Addr::LOCALHOST.octets(), &[0x12, 0x34, 7, 91]].concat()
}

/// Reads as the socket does: what is surely a part of the header, and no byte more.
fn parse_in_steps(bytes: &[u8]) -> Result<Progress, HeaderError> {
    let mut len = 0;
    loop {
        match parse(&bytes[..len])? {
            Progress::Needs(more) => {
                assert!(more > 0);
                if len + more > bytes.len() {
                    return Ok(Progress::Needs(more));
                }
                len += more;
            }
            known @ Progress::Known { len: whole, .. } => {
                assert!(len <= whole, "{} bytes were taken of what follows", len - whole);
                return Ok(known);
            }
        }
    }
}

fn source(bytes: &[u8]) -> Source {
    let followed = [bytes, b"\x10\x0d\0\x04MQTT"].concat();
    match (parse(&followed), parse_in_steps(&followed)) {
        (Ok(Progress::Known { source, len }), in_steps) => {
            assert_eq!(in_steps, Ok(Progress::Known { source, len }));
            assert_eq!(len, bytes.len());
            source
        }
        (other, _) => panic!("{other:?}"),
    }
}

fn client(address: &str) -> Source {
    Source::Client(address.parse().unwrap())
}

#[test]
fn a_line_names_the_client() {
    assert_eq!(source(b"PROXY TCP4 192.0.2.1 10.0.0.1 51234 1883\r\n"), client("192.0.2.1:51234"));
    assert_eq!(source(b"PROXY TCP4 255.255.255.255 0.0.0.0 0 65535\r\n"), client("255.255.255.255:0"));
    assert_eq!(source(b"PROXY TCP6 2001:db8::7 ::1 1 1883\r\n"), client("[2001:db8::7]:1"));
    assert_eq!(source(b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 1883\r\n"), client("192.0.2.1:1"));
    let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let line = format!("PROXY TCP6 {longest} {longest} 65535 65535\r\n");
    assert_eq!(source(line.as_bytes()), client(&format!("[{longest}]:65535")));
    assert_eq!(source(b"PROXY UNKNOWN\r\n"), Source::Unnamed);
    let line = format!("PROXY UNKNOWN {longest} {longest} 65535 65535\r\n");
    assert_eq!((line.len(), source(line.as_bytes())), (LONGEST_LINE, Source::Unnamed));
}

#[test]
fn a_line_with_other_fields_is_none() {
    for text in [
        "",
        "TCP4",
        "TCP4 192.0.2.1 10.0.0.1 1",
        "TCP4 192.0.2.1 10.0.0.1 1 2 3",
        "TCP4 192.0.2.1  10.0.0.1 1 2",
        "TCP4 192.0.2.1 10.0.0.1 1 65536",
        "TCP4 192.0.2.1 10.0.0.1 01 2",
        "TCP4 192.0.2.1 10.0.0.1 +1 2",
        "TCP4 192.0.2.1 10.0.0.1 1 ",
        "TCP4 ::1 ::1 1 2",
        "TCP6 192.0.2.1 10.0.0.1 1 2",
        "TCP4 192.0.2 10.0.0.1 1 2",
        "TCP4 192.0.2.01 10.0.0.1 1 2",
        "TCP6 ::1%lo ::1 1 2",
        "UDP4 192.0.2.1 10.0.0.1 1 2",
        "tcp4 192.0.2.1 10.0.0.1 1 2",
        "UNKNOWN2",
        "TCP4 \u{661}92.0.2.1 10.0.0.1 1 2",
    ] {
        let line = format!("PROXY {text}\r\n");
        assert_eq!(parse(line.as_bytes()), Err(HeaderError::Fields), "{text:?}");
    }
    assert_eq!(parse(b"PROXY \xff\r\n"), Err(HeaderError::Fields));
}

#[test]
fn a_line_has_an_end() {
    assert_eq!(parse(b"PROXY TCP4 1.2.3.4\rX"), Err(HeaderError::Line));
    assert_eq!(parse(b"PROXY TCP4 1.2.3.4\r"), Ok(Progress::Needs(1)));
    assert_eq!(parse(&[b"PROXY UNKNOWN ", &[b'x'; 91][..]].concat()), Ok(Progress::Needs(2)));
    for end in [b"xx", b"x\r", b"\r\r", b"\rx"] {
        let line = [b"PROXY UNKNOWN ", &[b'x'; 91][..], end].concat();
        assert_eq!(parse(&line), Err(HeaderError::Line), "{end:?}");
    }
    assert_eq!(parse(&[b"PROXY UNKNOWN ", &[b'x'; 92][..]].concat()), Err(HeaderError::Line));
}

#[test]
fn a_binary_header_names_the_client() {
    assert_eq!(source(&v2(0x21, 0x11, &v4_addresses())), client("192.0.2.1:4660"));
    let v6 = v6_addresses("2001:db8::7".parse().unwrap());
    assert_eq!(source(&v2(0x21, 0x21, &v6)), client("[2001:db8::7]:4660"));
    let mapped = v6_addresses("::ffff:192.0.2.1".parse().unwrap());
    assert_eq!(source(&v2(0x21, 0x21, &mapped)), client("192.0.2.1:4660"));
}

#[test]
fn what_follows_the_addresses_is_skipped() {
    let tlvs = [v4_addresses(), vec![0x03, 0, 4, 1, 2, 3, 4], vec![0xee; 65_516]].concat();
    let header = v2(0x21, 0x11, &tlvs);
    assert_eq!(header.len(), FIXED_LEN + usize::from(u16::MAX));
    assert_eq!(source(&header), client("192.0.2.1:4660"));
}

#[test]
fn a_binary_header_without_an_address_of_a_client() {
    assert_eq!(source(&v2(0x20, 0x00, &[])), Source::Proxy);
    assert_eq!(source(&v2(0x20, 0x11, &v4_addresses())), Source::Proxy);
    assert_eq!(source(&v2(0x20, 0xff, &[1, 2, 3])), Source::Proxy);
    for family in [0x00, 0x12, 0x22, 0x31, 0x32, 0xff] {
        assert_eq!(source(&v2(0x21, family, &[0; 216])), Source::Unnamed, "{family:#x}");
    }
}

#[test]
fn a_binary_header_of_another_kind_is_none() {
    assert_eq!(parse(&v2(0x11, 0x11, &v4_addresses())), Err(HeaderError::Version(1)));
    assert_eq!(parse(&v2(0x22, 0x11, &v4_addresses())), Err(HeaderError::Command(2)));
    assert_eq!(parse(&v2(0x21, 0x11, &[0; 11])), Err(HeaderError::AddressLength(11)));
    assert_eq!(parse(&v2(0x21, 0x21, &v4_addresses())), Err(HeaderError::AddressLength(12)));
}

#[test]
fn other_protocols_are_told_by_their_first_bytes() {
    for bytes in [
        &b"\x10"[..],
        b"\x16\x03\x01",
        b"GET",
        b"PUT /",
        b"PRI * HTTP/2.0\r\n",
        b"\r\n\r\n\0\r\nQUIT\r",
        b"PROXY\t",
    ] {
        assert_eq!(parse(bytes), Err(HeaderError::Missing), "{bytes:?}");
    }
    assert_eq!(parse(b""), Ok(Progress::Needs(SHORTEST_LINE)));
}

/// Random bytes, behind each way in which a header begins: no panic, and the same whole, in steps, and before other bytes.
mod fuzz {
    use super::*;

    #[test]
    fn proxy_header() {
        const HEADS: [&[u8]; 7] = [
            b"",
            b"PROXY ",
            b"PROXY TCP4 192.0.2.1 ",
            b"PROXY TCP6 ::1 ",
            SIGNATURE,
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0",
        ];
        bolero::check!().with_type::<(u8, Vec<u8>, Vec<u8>)>().for_each(|(head, tail, behind)| {
            let bytes = [HEADS[usize::from(*head) % HEADS.len()], tail].concat();
            let whole = parse(&bytes);
            if let Ok(Progress::Known { len, .. }) = whole {
                assert!(len <= FIXED_LEN + usize::from(u16::MAX));
                assert_eq!(parse(&[&bytes[..], behind].concat()), whole);
            }
            if bytes.is_empty() || whole.is_ok() {
                match (whole, parse_in_steps(&bytes)) {
                    (Ok(Progress::Needs(_)), Ok(Progress::Needs(_))) => {}
                    (whole, in_steps) => assert_eq!(whole, in_steps),
                }
            }
        });
    }
}
