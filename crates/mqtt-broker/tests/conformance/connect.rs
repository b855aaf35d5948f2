//! 3.1 and 3.1.4: CONNECT comes first and once, names a protocol that the broker speaks, and takes over its identifier.

use crate::broker::is_ours;
use crate::names::unique;
use crate::packets::{
    Connect, DISCONNECT, PINGREQ, PINGRESP, Publish, connack, field, puback, pubcomp, pubrec, pubrel,
    raw_connect, suback, subscribe, unsubscribe,
};
use crate::wire::Wire;

/// [MQTT-3.1.0-1] [MQTT-4.8.0-1] Whatever packet comes first on a connection, if it is no CONNECT the broker closes, and
/// says nothing before.
#[test]
fn any_other_first_packet_closes() {
    let topic = unique();
    let first_packets = [
        ("PUBLISH 0", Publish::new(&topic, "m").bytes()),
        ("PUBLISH 1", Publish::new(&topic, "m").qos(1, 1).bytes()),
        ("PUBLISH 2", Publish::new(&topic, "m").qos(2, 1).bytes()),
        ("PUBACK", puback(1)),
        ("PUBREC", pubrec(1)),
        ("PUBREL", pubrel(1)),
        ("PUBCOMP", pubcomp(1)),
        ("SUBSCRIBE", subscribe(1, &[(&topic, 0)])),
        ("UNSUBSCRIBE", unsubscribe(1, &[&topic])),
        ("PINGREQ", PINGREQ.to_vec()),
        ("DISCONNECT", DISCONNECT.to_vec()),
        ("CONNACK", connack(false, 0)),
        ("an HTTP request", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
    ];
    for (name, bytes) in first_packets {
        let mut wire = Wire::open();
        wire.send(bytes);
        wire.expect_close_of(name);
    }
}

/// [MQTT-3.1.0-1] A message sent before CONNECT reaches nobody.
#[test]
fn a_message_before_connect_is_not_passed_on() {
    let topic = unique();
    let mut subscriber = Wire::subscriber(&topic, 0);
    let mut wire = Wire::open();
    wire.send([Publish::new(&topic, "early").bytes(), Connect::new(unique()).bytes()].concat());
    wire.expect_close();
    subscriber.publish(&Publish::new(&topic, "marker"));
    assert_eq!(subscriber.next_publish().text(), "marker");
}

/// [MQTT-3.1.0-2] A second CONNECT closes the connection, the same one again as well as one with another identifier.
#[test]
fn a_second_connect_closes() {
    let first = Connect::new(unique());
    for second in [first.clone(), Connect::new(unique()), Connect::persistent(unique())] {
        let mut wire = Wire::connect(&first);
        wire.send(second.bytes());
        wire.expect_close_of("after a second CONNECT");
    }
}

/// [MQTT-3.1.0-2] Also when both come in one write: the first is answered, the second is not.
#[test]
fn two_connects_in_one_write_get_one_connack() {
    let connect = Connect::new(unique()).bytes();
    let mut wire = Wire::open();
    wire.send([connect.clone(), connect].concat());
    if let Some(packet) = wire.read() {
        assert_eq!(packet.bytes(), connack(false, 0));
        wire.expect_close();
    }
}

/// [MQTT-3.1.2-1] [MQTT-3.1.4-1] Another protocol's name is not MQTT 3.1.1: close, and no CONNACK.
#[test]
fn a_wrong_protocol_name_closes() {
    for name in ["MQTX", "mqtt", "Mqtt", "", "M", "MQT", "MQTTT", "MQTT\0", " MQTT", "\u{feff}MQTT"] {
        let mut wire = Wire::open();
        wire.send(raw_connect(name, 4, 0x02, 0, &field(unique())));
        wire.expect_close_of(format_args!("protocol name {name:?}"));
    }
}

/// [MQTT-3.1.2-1] The name of MQTT 3.1 is not that of 3.1.1, whatever the level: close. A broker that goes on under the
/// rules of 3.1 may refuse the level with its code 1.
#[test]
fn the_name_of_mqtt_3_1_is_another_protocol() {
    let mut wire = Wire::open();
    wire.send(raw_connect("MQIsdp", 4, 0x02, 0, &field(unique())));
    if let Some(answer) = wire.read() {
        assert!(!is_ours(), "{answer:?}");
        assert_eq!(answer.bytes(), connack(false, 1));
        wire.expect_close();
    }
}

/// [MQTT-3.1.2-2] [MQTT-3.2.2-4] [MQTT-3.2.2-5] A level that nobody has defined: CONNACK 0x01 without session present,
/// then a close.
#[test]
fn an_unknown_level_is_answered_with_code_1() {
    for level in [0, 1, 2, 3, 6, 7, 42, 0x7F, 0x80, 0x83, 0x84, 0xFE, 0xFF] {
        let mut wire = Wire::open();
        wire.send(raw_connect("MQTT", level, 0x02, 0, &field(unique())));
        let Some(answer) = wire.read() else { panic!("level {level}: closed without CONNACK") };
        assert_eq!(answer.bytes(), connack(false, 1), "level {level}");
        wire.expect_close_of(format_args!("after the CONNACK to level {level}"));
    }
}

/// [MQTT-3.1.2-2] A CONNECT of MQTT 5.0 (it has properties where 3.1.1 has the identifier): CONNACK 0x01 and a close.
/// A broker that speaks 5.0 as well may accept it.
#[test]
fn level_5_is_answered_with_code_1() {
    let payload = [&[0][..], &field(unique())].concat();
    let mut wire = Wire::open();
    wire.send(raw_connect("MQTT", 5, 0x02, 0, &payload));
    let answer = wire.next();
    let speaks_5 = answer.head == 0x20 && answer.body.len() > 2 && answer.body[1] == 0;
    if !speaks_5 {
        assert_eq!(answer.bytes(), connack(false, 1));
        wire.expect_close();
    }
}

/// [MQTT-3.1.4-4] [MQTT-3.2.0-1] What is sent right behind CONNECT, without waiting for CONNACK, is processed in turn, and
/// CONNACK comes first.
#[test]
fn packets_behind_connect_are_processed_after_it() {
    let topic = unique();
    let mut wire = Wire::open();
    wire.send(
        [
            Connect::new(unique()).bytes(),
            subscribe(7, &[(&topic, 0)]),
            Publish::new(&topic, "at once").bytes(),
            PINGREQ.to_vec(),
        ]
        .concat(),
    );
    wire.expect(connack(false, 0));
    wire.expect(suback(7, &[0]));
    let (one, other) = (wire.next(), wire.next());
    assert!(one.bytes() == PINGRESP || other.bytes() == PINGRESP);
    let message = if one.is_publish() { one } else { other };
    assert_eq!(message.publish(), Publish::new(&topic, "at once"));
}

/// [MQTT-3.1.4-5] Behind a CONNECT that is rejected with a return code nothing is processed.
#[test]
fn nothing_behind_a_rejected_connect_is_processed() {
    let topic = unique();
    let mut subscriber = Wire::subscriber(&topic, 0);
    let rejected = [
        (raw_connect("MQTT", 77, 0x02, 0, &field(unique())), 1),
        (raw_connect("MQTT", 4, 0x00, 0, &field("")), 2),
    ];
    for (connect, code) in rejected {
        let mut wire = Wire::open();
        let message = Publish::new(&topic, "from a rejected client");
        wire.send([connect, message.bytes(), message.retain().bytes(), PINGREQ.to_vec()].concat());
        if let Some(answer) = wire.read() {
            assert_eq!(answer.bytes(), connack(false, code));
        }
        wire.expect_close();
    }
    subscriber.publish(&Publish::new(&topic, "marker"));
    assert_eq!(subscriber.next_publish().text(), "marker");
    Wire::subscriber(&topic, 0).expect_quiet();
}

/// [MQTT-3.1.4-1] Behind a malformed CONNECT nothing is processed either.
#[test]
fn nothing_behind_a_malformed_connect_is_processed() {
    let topic = unique();
    let mut subscriber = Wire::subscriber(&topic, 0);
    let mut wire = Wire::open();
    let malformed = raw_connect("MQTT", 4, 0x03, 0, &field(unique()));
    wire.send([malformed, Publish::new(&topic, "from nobody").bytes()].concat());
    wire.expect_close();
    subscriber.publish(&Publish::new(&topic, "marker"));
    assert_eq!(subscriber.next_publish().text(), "marker");
}

/// [MQTT-3.1.4-2] [MQTT-3.1.3-2] A connection under an identifier that is connected already closes the earlier one, clean
/// or not.
#[test]
fn the_same_identifier_takes_over() {
    for (first_clean, second_clean) in [(true, true), (true, false), (false, true), (false, false)] {
        let id = crate::names::SessionId::new();
        let connect = |clean| if clean { Connect::new(&id) } else { Connect::persistent(&id) };
        let mut first = Wire::connect(&connect(first_clean));
        let mut second = Wire::connect(&connect(second_clean));
        first.expect_close_of("the connection that was taken over");
        second.expect_quiet();
    }
}

/// [MQTT-3.1.4-2] A chain of take-overs leaves the last one connected.
#[test]
fn only_the_last_of_many_take_overs_stays() {
    let id = unique();
    let mut wires: Vec<Wire> = (0..20).map(|_| Wire::connect(&Connect::new(&id))).collect();
    let mut last = wires.pop().expect("the last one");
    for wire in &mut wires {
        wire.expect_close();
    }
    last.expect_quiet();
}

/// [MQTT-3.1.3-2] Identifiers that differ in a single byte, in case or in normalisation are different clients.
#[test]
fn similar_identifiers_are_different_clients() {
    let base = unique();
    let ids = ["é", "e\u{301}", "a", "A", "a ", " a", "", "\u{feff}a"].map(|tail| format!("{base}{tail}"));
    let mut wires: Vec<Wire> = ids.iter().map(|id| Wire::connect(&Connect::new(id))).collect();
    for wire in &mut wires {
        wire.expect_quiet();
    }
}
