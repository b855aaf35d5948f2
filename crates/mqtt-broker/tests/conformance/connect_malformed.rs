//! 3.1.4: a CONNECT that does not conform is closed without CONNACK (and 3.2.2.3: no return code fits it).

use crate::names::unique;
use crate::packets::{Connect, PINGREQ, field, packet, raw_connect};
use crate::wire::Wire;

#[track_caller]
fn expect_rejected(case: &str, connect: impl AsRef<[u8]>) {
    let mut wire = Wire::open();
    wire.send(connect);
    wire.expect_close_of(case);
}

/// [MQTT-3.1.2-3] [MQTT-3.1.4-1] [MQTT-3.2.2-6] CONNECT's reserved flag is set, whatever the others are.
#[test]
fn the_reserved_flag() {
    for flags in [0x01, 0x03] {
        expect_rejected("flags", raw_connect("MQTT", 4, flags, 0, &field(unique())));
    }
    let with_will = [field(unique()), field("topic"), field("m")].concat();
    expect_rejected("will flags", raw_connect("MQTT", 4, 0x07, 0, &with_will));
}

/// [MQTT-3.1.2-11] [MQTT-3.1.2-13] [MQTT-3.1.2-15] [MQTT-3.1.4-1] Will QoS or Will Retain without the Will flag, with and
/// without the fields of a will.
#[test]
fn will_flags_without_a_will() {
    for extra in [0x08, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38] {
        let case = format!("flags {extra:#04x}");
        expect_rejected(&case, raw_connect("MQTT", 4, 0x02 | extra, 0, &field(unique())));
        let with_will = [field(unique()), field("topic"), field("m")].concat();
        expect_rejected(&case, raw_connect("MQTT", 4, 0x02 | extra, 0, &with_will));
    }
}

/// [MQTT-3.1.2-11] The fields of a will without its flag.
#[test]
fn will_fields_without_the_flag() {
    let payload = [field(unique()), field("topic"), field("m")].concat();
    expect_rejected("will fields", raw_connect("MQTT", 4, 0x02, 0, &payload));
}

/// [MQTT-3.1.2-14] [MQTT-3.1.4-1] Will QoS 3.
#[test]
fn will_qos_3() {
    for retain in [0, 0x20] {
        let payload = [field(unique()), field("topic"), field("m")].concat();
        expect_rejected("will QoS 3", raw_connect("MQTT", 4, 0x02 | 0x04 | 0x18 | retain, 0, &payload));
    }
}

/// [MQTT-3.1.2-9] The Will flag without will topic, or without will message.
#[test]
fn the_will_flag_without_will_fields() {
    expect_rejected("no will", raw_connect("MQTT", 4, 0x06, 0, &field(unique())));
    let topic_alone = [field(unique()), field("topic")].concat();
    expect_rejected("no will message", raw_connect("MQTT", 4, 0x06, 0, &topic_alone));
}

/// [MQTT-3.1.2-22] [MQTT-3.1.4-1] A password without a user name, with one field and with two.
#[test]
fn a_password_without_a_user_name() {
    let one = [field(unique()), field("password")].concat();
    expect_rejected("password alone", raw_connect("MQTT", 4, 0x42, 0, &one));
    let two = [field(unique()), field("name"), field("password")].concat();
    expect_rejected("password flag alone", raw_connect("MQTT", 4, 0x42, 0, &two));
}

/// [MQTT-3.1.2-18] [MQTT-3.1.2-20] A user name or a password in the payload without its flag.
#[test]
fn credentials_without_their_flags() {
    let name = [field(unique()), field("name")].concat();
    expect_rejected("user name without flag", raw_connect("MQTT", 4, 0x02, 0, &name));
    let both = [field(unique()), field("name"), field("password")].concat();
    expect_rejected("password without flag", raw_connect("MQTT", 4, 0x82, 0, &both));
}

/// [MQTT-3.1.2-19] [MQTT-3.1.2-21] The flags of user name and password without the fields.
#[test]
fn credential_flags_without_their_fields() {
    expect_rejected("no user name", raw_connect("MQTT", 4, 0x82, 0, &field(unique())));
    let name = [field(unique()), field("name")].concat();
    expect_rejected("no password", raw_connect("MQTT", 4, 0xC2, 0, &name));
}

/// [MQTT-3.1.4-1] A CONNECT that ends at any byte before its last: the remaining length is right, the fields are not there.
#[test]
fn truncated_at_every_byte() {
    let connect = Connect::new(unique()).will("t", "m").user_name("u").password("p").bytes();
    let body = &connect[2..];
    for length in 0..body.len() {
        expect_rejected(&format!("{length} of {} bytes", body.len()), packet(0x10, &body[..length]));
    }
}

/// [MQTT-3.1.4-1] Bytes after the last field.
#[test]
fn surplus_bytes() {
    for surplus in [&[0][..], &[0, 0], &[0xC0, 0], b"surplus"] {
        let plain = [&field(unique())[..], surplus].concat();
        expect_rejected("surplus", raw_connect("MQTT", 4, 0x02, 0, &plain));
        let full = Connect::new(unique()).will("t", "m").user_name("u").password("p").bytes();
        expect_rejected("surplus", packet(0x10, &[&full[2..], surplus].concat()));
    }
}

/// [MQTT-2.2.2-1] [MQTT-2.2.2-2] [MQTT-3.1.4-1] The reserved flags of CONNECT's own head.
#[test]
fn reserved_flags_of_the_head() {
    for flags in 1..16 {
        let mut connect = Connect::new(unique()).bytes();
        connect[0] |= flags;
        expect_rejected(&format!("head {:#04x}", connect[0]), connect);
    }
}

/// [MQTT-3.1.4-1] A field whose length runs past the end of the packet does not swallow the next packet.
#[test]
fn a_field_does_not_reach_beyond_its_packet() {
    let body = [&field("MQTT")[..], &[4, 2, 0, 0, 0, 4], b"ab"].concat();
    let mut wire = Wire::open();
    wire.send([packet(0x10, &body), PINGREQ.to_vec()].concat());
    wire.expect_close();
}
