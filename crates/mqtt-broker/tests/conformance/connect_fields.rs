//! 3.1.3: the fields of CONNECT's payload, and the identifiers that must and may be taken.

use crate::broker::is_ours;
use crate::names::unique;
use crate::packets::{Connect, DISCONNECT, PINGREQ, Publish, connack, field, raw_connect};
use crate::wire::Wire;

/// [MQTT-3.1.3-5] [MQTT-3.1.3-3] Every letter and digit, and any length from 1 to 23, is allowed in an identifier.
#[test]
fn letters_and_digits_are_allowed() {
    let all = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let by_length = (1..=23).map(|length| &all[..length]);
    let each = ["0123456789abcdefghijklm", "nopqrstuvwxyzABCDEFGHIJ", "KLMNOPQRSTUVWXYZ0123456"];
    for id in by_length.chain(each) {
        let mut wire = Wire::connect(&Connect::new(id));
        wire.send(DISCONNECT);
    }
}

/// [MQTT-3.1.3-6] Two clients with a zero-length identifier get two sessions.
#[test]
fn zero_length_identifiers_are_made_unique() {
    let mut wires = Vec::new();
    for _ in 0..2 {
        let mut wire = Wire::open();
        wire.send(Connect::new("").bytes());
        let answer = wire.next();
        if !is_ours() && answer.bytes() == connack(false, 2) {
            wire.expect_close();
            return;
        }
        assert_eq!(answer.bytes(), connack(false, 0));
        wires.push(wire);
    }
    for wire in &mut wires {
        wire.expect_quiet();
    }
}

/// [MQTT-3.1.3-8] [MQTT-3.1.3-9] [MQTT-3.2.2-4] [MQTT-3.2.2-5] A zero-length identifier for a session that is to be kept:
/// CONNACK 0x02 and a close.
#[test]
fn a_zero_length_identifier_for_a_stored_session_is_rejected() {
    let mut wire = Wire::open();
    wire.send(Connect::persistent("").bytes());
    wire.expect(connack(false, 2));
    wire.expect_close();
}

/// [MQTT-3.1.3-1] [MQTT-3.1.2-9] [MQTT-3.1.2-19] [MQTT-3.1.2-21] The fields are read in the order identifier, will topic,
/// will message, user name, password: the will comes out right, the connection is under the right identifier.
#[test]
fn the_fields_come_in_their_order() {
    let (id, topic) = (unique(), unique());
    let mut subscriber = Wire::subscriber(&topic, 0);
    let connect = Connect::new(&id).will(&topic, "the message").user_name("a user").password("a password");
    let mut wire = Wire::open();
    wire.send(connect.bytes());
    let answer = wire.next();
    if !is_ours() && [4, 5].contains(&answer.body[1]) {
        wire.expect_close();
        return;
    }
    assert_eq!(answer.bytes(), connack(false, 0));
    let mut takes_over = Wire::connect(&Connect::new(&id));
    wire.expect_close_of("the connection under the same identifier");
    takes_over.expect_quiet();
    assert_eq!(subscriber.next_publish(), Publish::new(&topic, "the message"));
}

/// [MQTT-3.1.2-18] [MQTT-3.1.2-19] [MQTT-3.1.2-20] [MQTT-3.1.2-21] [MQTT-3.1.2-22] A user name may come alone, both may be
/// empty, and the password is no text but any bytes.
#[test]
fn user_name_and_password_of_any_legal_form() {
    let anonymous = || Connect::new(unique());
    let connects = [
        anonymous().user_name("alone"),
        anonymous().user_name(""),
        anonymous().user_name("").password(""),
        anonymous().user_name("name").password([0, 0xFF, 0xC0, 0x80]),
        anonymous().user_name("n".repeat(65_535)).password(vec![7; 65_535]),
    ];
    for connect in connects {
        let mut wire = Wire::open();
        wire.send([connect.bytes(), PINGREQ.to_vec()].concat());
        let answer = wire.next();
        assert_eq!(answer.head, 0x20, "{answer:?}");
        if !is_ours() && [4, 5].contains(&answer.body[1]) {
            wire.expect_close();
        } else {
            assert_eq!(answer.bytes(), connack(false, 0));
            assert!(wire.next().bytes() == [0xD0, 0]);
        }
    }
}

/// [MQTT-3.1.3-4] [MQTT-1.5.3-3] Any UTF-8 text of any length makes an identifier, if the broker takes more than it must:
/// it answers with 0x00 or 0x02, nothing else.
#[test]
fn identifiers_beyond_the_required_ones() {
    let base = unique();
    let ids = [
        format!("{base}/+#$ :.-_"),
        format!("{base}-Grüße-世界-🦀"),
        format!("\u{feff}{base}"),
        format!("{base}{}", "x".repeat(1_000)),
        format!("{base}{}", "x".repeat(65_535 - base.len())),
    ];
    for id in ids {
        let mut wire = Wire::open();
        wire.send(Connect::new(&id).bytes());
        let answer = wire.next();
        if answer.bytes() == connack(false, 0) {
            wire.expect_quiet();
        } else {
            assert_eq!(answer.bytes(), connack(false, 2));
            wire.expect_close();
        }
    }
}

/// [MQTT-3.1.3-4] [MQTT-3.1.3-10] [MQTT-3.1.3-11] [MQTT-1.5.3-1] [MQTT-3.1.4-1] Ill-formed UTF-8 in the identifier, the
/// will topic or the user name: close without CONNACK.
#[test]
fn ill_formed_utf_8_closes() {
    crate::malformed::ILL_FORMED_UTF_8.iter().copied().for_each(expect_close_of_text);
}

/// [MQTT-1.5.3-2] [MQTT-3.1.4-1] U+0000 in the identifier, the will topic or the user name: close without CONNACK.
#[test]
fn the_null_character_closes() {
    ["\0", "a\0", "\0a", "a\0b"].map(str::as_bytes).into_iter().for_each(expect_close_of_text);
}

/// Wherever a CONNECT has text.
#[track_caller]
fn expect_close_of_text(text: &[u8]) {
    let connects = [
        ("identifier", Connect::new(text)),
        ("will topic", Connect::new(unique()).will(text, "m")),
        ("user name", Connect::new(unique()).user_name(text)),
    ];
    for (place, connect) in connects {
        let mut wire = Wire::open();
        wire.send(connect.bytes());
        wire.expect_close_of(format_args!("{:?} in the {place}", text.escape_ascii().to_string()));
    }
}

/// [MQTT-1.5.3-2] The will message and the password are bytes, not text: U+0000 and anything else may be in them.
#[test]
fn a_will_message_may_hold_any_bytes() {
    let topic = unique();
    let message: Vec<u8> = (0..=255).collect();
    let mut subscriber = Wire::subscriber(&topic, 0);
    drop(Wire::connect(&Connect::new(unique()).will(&topic, &message)));
    assert_eq!(subscriber.next_publish().payload, message);
}

/// [MQTT-3.1.3-3] [MQTT-3.1.4-1] No identifier at all, not even an empty one: close without CONNACK.
#[test]
fn a_connect_without_identifier_closes() {
    let mut wire = Wire::open();
    wire.send(raw_connect("MQTT", 4, 0x02, 0, &[]));
    wire.expect_close();
}

/// [MQTT-4.7.1-1] [MQTT-4.7.3-1] A will topic is a topic name: no wildcard, at least one character.
#[test]
fn a_will_topic_that_is_no_topic_name_closes() {
    let base = unique();
    let topics = [
        "#",
        "+",
        &format!("{base}/#"),
        &format!("{base}/+/a"),
        &format!("{base}#"),
        &format!("{base}+a"),
        "",
    ];
    for topic in topics {
        let mut wire = Wire::open();
        wire.send(Connect::new(unique()).will(topic, "m").bytes());
        wire.expect_close_of(format_args!("will topic {topic:?}"));
    }
    let mut valid = Wire::open();
    valid.send(raw_connect("MQTT", 4, 0x06, 0, &[field(unique()), field(&base), field("m")].concat()));
    valid.expect(connack(false, 0));
    valid.send(DISCONNECT);
}
