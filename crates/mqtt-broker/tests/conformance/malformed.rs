//! Chapter 2 and 1.5.3: bytes that are no packet of 3.1.1 close the connection, whatever their type.

use crate::broker::is_ours;
use crate::names::unique;
use crate::packets::{
    DISCONNECT, PINGREQ, PINGRESP, Publish, connack, packet, puback, pubcomp, pubrec, pubrel, suback,
    subscribe, unsuback, unsubscribe,
};
use crate::wire::Wire;

/// Strings that are not UTF-8 as the standard has it: surrogates, over-long forms, beyond U+10FFFF, stray and missing bytes.
pub(crate) const ILL_FORMED_UTF_8: &[&[u8]] = &[
    b"a\xED\xA0\x80",
    b"\xED\xAF\xBFa",
    b"a\xED\xB0\x80a",
    b"\xED\xBF\xBF",
    b"\xED\xA0\xBD\xED\xB8\x80",
    b"a\xC0\x80",
    b"a\xC1\xBF",
    b"\xE0\x80\xAFa",
    b"a\xF0\x82\x82\xAC",
    b"\xF4\x90\x80\x80",
    b"a\xF5\x80\x80\x80",
    b"a\xFF",
    b"\xFEa",
    b"a\x80",
    b"a\xC3",
    b"a\xE2\x82",
    b"a\xF0\x9F\xA6",
];

/// The broker closes a connection that sends `bytes`. A PINGREQ behind them shows at once if it does not.
#[track_caller]
pub(crate) fn expect_close_after(case: &str, bytes: impl AsRef<[u8]>) {
    expect_close_after_each([(case.to_owned(), bytes.as_ref().to_vec())]);
}

/// The broker closes each connection that sends the bytes of a case. A failure lists all cases that it lets pass.
#[track_caller]
fn expect_close_after_each(cases: impl IntoIterator<Item = (String, Vec<u8>)>) {
    let mut passed = Vec::new();
    for (case, bytes) in cases {
        let mut wire = Wire::client();
        wire.send([&bytes, PINGREQ].concat());
        if let Some(packet) = wire.read() {
            passed.push(format!("{case}: {packet:?}"));
        }
    }
    assert!(passed.is_empty(), "wanted a close, got an answer after\n{}", passed.join("\n"));
}

/// The packets whose flags are fixed, each with a good body.
fn packets_of_fixed_flags() -> Vec<(&'static str, Vec<u8>)> {
    let filter = unique();
    vec![
        ("PUBACK", puback(1)),
        ("PUBREC", pubrec(1)),
        ("PUBREL", pubrel(1)),
        ("PUBCOMP", pubcomp(1)),
        ("SUBSCRIBE", subscribe(1, &[(&filter, 0)])),
        ("UNSUBSCRIBE", unsubscribe(1, &[&filter])),
        ("PINGREQ", PINGREQ.to_vec()),
        ("DISCONNECT", DISCONNECT.to_vec()),
    ]
}

/// [MQTT-2.2.2-1] [MQTT-2.2.2-2] [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1] [MQTT-3.14.1-1] [MQTT-4.8.0-1] Every value
/// of the four flag bits but the listed one closes, for each type.
#[test]
fn reserved_flags() {
    let flagged = |name: &str, good: &[u8], flags: u8| {
        let mut bytes = good.to_vec();
        bytes[0] = good[0] & 0xF0 | flags;
        (format!("{name} with flags {flags:#06b}"), bytes)
    };
    expect_close_after_each(packets_of_fixed_flags().iter().flat_map(|(name, good)| {
        let wrong = (0..16).filter(|&flags| flags != good[0] & 0x0F);
        wrong.map(|flags| flagged(name, good, flags)).collect::<Vec<_>>()
    }));
}

/// [MQTT-4.8.0-1] Types 0 and 15 are reserved, with any flags.
#[test]
fn reserved_types() {
    let heads = (0x00..=0x0F).chain(0xF0..=0xFF);
    expect_close_after_each(heads.map(|head| (format!("head {head:#04x}"), vec![head, 0])));
    expect_close_after("type 0 with a body", [0x00, 2, 0, 1]);
    expect_close_after("type 15 with a body", [0xF0, 2, 0, 1]);
}

/// [MQTT-4.8.0-1] Types that only a broker sends, sent by a client.
#[test]
fn server_only_types() {
    expect_close_after_each([
        ("CONNACK".to_owned(), connack(false, 0)),
        ("SUBACK".to_owned(), suback(1, &[0])),
        ("UNSUBACK".to_owned(), unsuback(1)),
        ("PINGRESP".to_owned(), PINGRESP.to_vec()),
    ]);
}

/// [MQTT-4.8.0-1] Bytes after a packet's last field, for each type that has one. For SUBSCRIBE and UNSUBSCRIBE they are a
/// further filter that is cut off, or an empty one.
#[test]
fn surplus_bytes_after_the_fields() {
    let surplus: [&[u8]; 4] = [&[0], &[0, 0], b"abc", PINGREQ];
    expect_close_after_each(packets_of_fixed_flags().iter().flat_map(|(name, good)| {
        surplus.map(|surplus| {
            let bytes = packet(good[0], &[&good[2..], surplus].concat());
            (format!("{name} with surplus {surplus:02x?}"), bytes)
        })
    }));
}

/// [MQTT-4.8.0-1] A packet that ends inside its fields, at each byte.
#[test]
fn packets_that_end_too_early() {
    let filter = unique();
    let mut all = packets_of_fixed_flags();
    all.push(("PUBLISH 0", Publish::new(&filter, "").bytes()));
    all.push(("PUBLISH 1", Publish::new(&filter, "").qos(1, 1).bytes()));
    all.push(("PUBLISH 2", Publish::new(&filter, "").qos(2, 1).bytes()));
    all.push(("SUBSCRIBE of two", subscribe(1, &[("a", 0), ("bc", 1)])));
    all.push(("UNSUBSCRIBE of two", unsubscribe(1, &["a", "bc"])));
    for (name, good) in all {
        let body = &good[2..];
        for length in 0..body.len() {
            // Cut between its two filters, a packet is whole again.
            let whole =
                name.ends_with("of two") && [5, 6].contains(&length) && body[length..].starts_with(&[0, 2]);
            if !whole {
                let case = format!("{name}, {length} of {} bytes", body.len());
                expect_close_after(&case, packet(good[0], &body[..length]));
            }
        }
    }
}

/// [MQTT-4.8.0-1] A remaining length of five bytes closes; ours at the fourth, without waiting for more.
#[test]
fn a_remaining_length_of_five_bytes() {
    expect_close_after("zero in five bytes", [0xC0, 0x80, 0x80, 0x80, 0x80, 0x00]);
    expect_close_after("five bytes", [0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]);
    let mut wire = Wire::open();
    wire.send([0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]);
    wire.expect_close_of("such a CONNECT");
    if is_ours() {
        for head in [0x10, 0x30] {
            let mut wire = if head == 0x10 { Wire::open() } else { Wire::client() };
            wire.send([head, 0xFF, 0xFF, 0xFF, 0xFF]);
            wire.expect_close_of("four bytes that ask for a fifth");
        }
    }
}

/// The standard has no statement on lengths in more bytes than needed (2.2.3 shows the shortest): the broker may take or
/// refuse them, but does not read them wrongly.
#[test]
fn a_remaining_length_that_is_not_the_shortest() {
    for bytes in [&[0xC0, 0x80, 0x00][..], &[0xC0, 0x80, 0x80, 0x00], &[0xC0, 0x80, 0x80, 0x80, 0x00]] {
        let mut wire = Wire::client();
        wire.send(bytes);
        if let Some(answer) = wire.read_after_ping() {
            assert_eq!(answer.bytes(), PINGRESP);
            wire.expect(PINGRESP);
        }
    }
}

/// [MQTT-4.8.0-1] Packets before the malformed one count, those behind it do not.
#[test]
fn nothing_behind_a_malformed_packet_is_processed() {
    let topic = unique();
    let mut subscriber = Wire::subscriber(&topic, 0);
    let mut wire = Wire::client();
    let message = |text| Publish::new(&topic, text).bytes();
    wire.send([message("before"), vec![0xF0, 0], message("behind")].concat());
    wire.expect_close();
    subscriber.publish(&Publish::new(&topic, "marker"));
    let came: Vec<String> = subscriber.receive_until("marker").iter().map(Publish::text).collect();
    assert!(came == ["before"] || came.is_empty(), "{came:?}");
}

/// [MQTT-4.8.0-1] One client's violation closes that client's connection alone.
#[test]
fn a_violation_closes_no_other_connection() {
    let mut bystander = Wire::client();
    for bytes in [&[0xF0, 0][..], &[0x30, 0xFF, 0xFF, 0xFF, 0xFF], &[0x36, 3, 0, 1, b'a'], &[0x82, 2, 0, 1]] {
        expect_close_after("a violation", bytes);
    }
    bystander.expect_quiet();
}

/// [MQTT-2.3.1-1] [MQTT-4.8.0-1] Packet identifier 0 in SUBSCRIBE, UNSUBSCRIBE and PUBLISH above QoS 0.
#[test]
fn packet_identifier_0() {
    let topic = unique();
    expect_close_after("SUBSCRIBE", subscribe(0, &[(&topic, 0)]));
    expect_close_after("UNSUBSCRIBE", unsubscribe(0, &[&topic]));
    expect_close_after("PUBLISH 1", Publish::new(&topic, "m").qos(1, 0).bytes());
    expect_close_after("PUBLISH 2", Publish::new(&topic, "m").qos(2, 0).bytes());
}

/// [MQTT-1.5.3-1] [MQTT-3.3.2-1] [MQTT-3.8.3-1] [MQTT-3.10.3-1] Ill-formed UTF-8 in a topic name or a filter.
#[test]
fn ill_formed_utf_8() {
    for text in ILL_FORMED_UTF_8 {
        expect_close_after(&format!("PUBLISH to {text:02x?}"), Publish::new(text, "m").bytes());
        expect_close_after(&format!("SUBSCRIBE to {text:02x?}"), subscribe(1, &[(text, 0)]));
        expect_close_after(&format!("UNSUBSCRIBE from {text:02x?}"), unsubscribe(1, &[text]));
    }
}

/// [MQTT-1.5.3-2] [MQTT-4.7.3-2] U+0000 in a topic name or a filter, alone, first, last and within a level.
#[test]
fn the_null_character() {
    for text in ["\0", "\0a", "a\0", "a\0b", "a/\0/b", "+/\0", "\0/#"] {
        if !text.contains(['+', '#']) {
            expect_close_after(&format!("PUBLISH to {text:?}"), Publish::new(text, "m").bytes());
        }
        expect_close_after(&format!("SUBSCRIBE to {text:?}"), subscribe(1, &[(text, 0)]));
        expect_close_after(&format!("UNSUBSCRIBE from {text:?}"), unsubscribe(1, &[text]));
    }
}

/// Control characters and non-characters may close the connection (1.5.3 says "should not" to the sender); if not, the
/// text arrives as it was sent.
#[test]
fn discouraged_characters_close_or_pass_unchanged() {
    for character in
        ['\u{1}', '\u{1f}', '\u{7f}', '\u{9f}', '\u{fdd0}', '\u{fffe}', '\u{ffff}', '\u{1ffff}', '\u{10ffff}']
    {
        let topic = format!("{}/{character}", unique());
        let mut wire = Wire::client();
        wire.send([subscribe(1, &[(&topic, 0)]), Publish::new(&topic, "m").bytes()].concat());
        let Some(granted) = wire.read() else { continue };
        if granted.bytes() == suback(1, &[0])
            && let Some(message) = wire.read()
        {
            assert_eq!(message.publish(), Publish::new(&topic, "m"));
        }
    }
}
