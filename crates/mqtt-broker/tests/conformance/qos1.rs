//! 4.3.2 and 4.4: QoS 1, the broker as receiver and as sender.

use crate::names::unique;
use crate::packets::{Publish, puback, pubcomp, pubrec, pubrel};
use crate::unacknowledged::Unacknowledged;
use crate::wire::Wire;

/// [MQTT-4.3.2-1] [MQTT-2.3.1-4] [MQTT-2.3.1-1] Deliveries in flight have DUP 0 and identifiers that differ and are not 0.
#[test]
fn deliveries_have_identifiers_of_their_own() {
    Unacknowledged::new(1, 15).expect_identifiers_of_their_own();
}

/// [MQTT-4.3.2-1] [MQTT-4.4.0-1] [MQTT-3.3.1-1] [MQTT-4.6.0-1] [MQTT-2.3.1-4] What is not acknowledged comes again on
/// reconnect: with DUP 1, the same identifier and content, in the order of the first time, as often as it takes.
#[test]
fn unacknowledged_messages_come_again_in_order() {
    Unacknowledged::new(1, 10).expect_all_again_in_order();
}

/// [MQTT-4.3.2-1] [MQTT-4.4.0-1] [MQTT-4.6.0-1] Those acknowledged do not come again, whatever the order of the PUBACKs.
#[test]
fn acknowledged_messages_do_not_come_again() {
    let mut session = Unacknowledged::new(1, 10);
    for index in [7, 0, 4, 5, 2] {
        session.wire.send(puback(session.messages[index].id));
    }
    session.wire.expect_quiet();
    session.reconnect();
    for index in [1, 3, 6, 8, 9] {
        assert_eq!(session.wire.next_publish(), session.messages[index].clone().dup());
    }
    session.wire.expect_quiet();
}

/// [MQTT-4.6.0-1] [MQTT-4.6.0-6] [MQTT-3.1.2-5] On reconnect the unacknowledged messages come before those that were
/// published meanwhile, which have DUP 0.
#[test]
fn old_messages_come_before_new_ones() {
    let mut session = Unacknowledged::new(1, 3);
    std::mem::replace(&mut session.wire, Wire::client()).cut();
    let mut publisher = Wire::client();
    for number in 3..8 {
        publisher.publish(&Publish::new(&session.topic, number.to_string()).qos(1, 1));
    }
    session.reconnect();
    for number in 0..8 {
        let message = session.wire.receive();
        assert_eq!((message.text(), message.dup), (number.to_string(), number < 3));
    }
    session.wire.expect_quiet();
}

/// [MQTT-4.3.2-1] [MQTT-4.4.0-1] An acknowledgement of the wrong kind does not complete a delivery at QoS 1: on reconnect
/// it comes again. What the broker does with such a packet (close, ignore) is left open.
#[test]
fn an_acknowledgement_of_the_wrong_kind_completes_nothing() {
    for (name, wrong) in [("PUBREC", pubrec as fn(u16) -> Vec<u8>), ("PUBCOMP", pubcomp), ("PUBREL", pubrel)]
    {
        let mut session = Unacknowledged::new(1, 1);
        let message = session.messages[0].clone();
        session.wire.send(wrong(message.id));
        session.reconnect();
        let again = session.wire.next();
        assert!(again.is_publish(), "after {name}: {again:?}");
        assert_eq!(again.publish(), message.clone().dup(), "after {name}");
        session.wire.send(puback(message.id));
        session.wire.expect_quiet();
        session.reconnect();
        session.wire.expect_quiet();
    }
}

/// [MQTT-4.3.2-1] A whole QoS 2 acknowledgement (PUBREC, PUBCOMP) does not complete a delivery at QoS 1 either.
#[test]
fn the_acknowledgements_of_qos_2_complete_nothing() {
    let mut session = Unacknowledged::new(1, 1);
    let message = session.messages[0].clone();
    session.wire.send([pubrec(message.id), pubcomp(message.id)].concat());
    session.reconnect();
    assert_eq!(session.wire.next_publish(), message.dup());
}

/// [MQTT-4.3.2-1] A PUBACK with an identifier that is not in flight completes no other delivery.
#[test]
fn a_puback_of_an_unknown_identifier_completes_nothing() {
    let mut session = Unacknowledged::new(1, 2);
    let known: Vec<u16> = session.messages.iter().map(|message| message.id).collect();
    let unknown = (1..100).find(|id| !known.contains(id)).expect("a free identifier");
    for id in [unknown, 65_535, 0x1234] {
        session.wire.send(puback(id));
        session.reconnect();
        for message in &session.messages {
            assert_eq!(session.wire.next_publish(), message.clone().dup());
        }
    }
}

/// [MQTT-4.3.2-1] The same PUBACK twice completes one delivery.
#[test]
fn a_puback_twice_completes_one_delivery() {
    let mut session = Unacknowledged::new(1, 2);
    let first = session.messages[0].id;
    session.wire.send([puback(first), puback(first)].concat());
    session.reconnect();
    assert_eq!(session.wire.next_publish(), session.messages[1].clone().dup());
    session.wire.expect_quiet();
}

/// [MQTT-4.3.2-2] [MQTT-3.3.4-1] After PUBACK the same identifier is a new message, with DUP 0 and with DUP 1.
#[test]
fn an_identifier_is_new_after_puback() {
    let topic = unique();
    let mut wire = Wire::subscriber(&topic, 0);
    for (text, dup) in [("one", false), ("two", false), ("three", true), ("three", true)] {
        wire.send(Publish { dup, ..Publish::new(&topic, text).qos(1, 5) }.bytes());
        assert_eq!(wire.answer(4).bytes(), puback(5));
        assert_eq!(wire.next_publish(), Publish::new(&topic, text));
    }
}

/// [MQTT-4.3.2-2] [MQTT-4.5.0-1] What a PUBACK has acknowledged reaches the subscribers although the publisher is cut off
/// at once.
#[test]
fn what_is_acknowledged_is_delivered() {
    let topic = unique();
    let mut subscriber = Wire::subscriber(&topic, 1);
    for number in 0..20 {
        Wire::client().publish(&Publish::new(&topic, number.to_string()).qos(1, 1));
    }
    let mut texts: Vec<u32> = (0..20).filter_map(|_| subscriber.receive().text().parse().ok()).collect();
    texts.sort_unstable();
    assert_eq!(texts, (0..20).collect::<Vec<_>>());
}

/// [MQTT-2.3.1-4] The broker's identifiers and the client's are two sets: the same value is in use in both directions.
#[test]
fn both_sides_may_use_the_same_identifier() {
    let mut session = Unacknowledged::new(1, 1);
    let message = session.messages[0].clone();
    let other = unique();
    session.wire.send(Publish::new(&other, "m").qos(1, message.id).bytes());
    session.wire.expect(puback(message.id));
    session.wire.send(Publish::new(&other, "m").qos(2, message.id).bytes());
    session.wire.expect(pubrec(message.id));
    session.wire.send([pubrel(message.id), puback(message.id)].concat());
    session.wire.expect(pubcomp(message.id));
    session.reconnect();
    session.wire.expect_quiet();
}

/// [MQTT-2.3.1-4] [MQTT-4.3.2-1] One delivery stays unacknowledged while more than 65,535 others pass: its identifier is
/// never given to another, none is 0, and it still comes again on reconnect.
#[test]
fn identifiers_wrap_around_one_that_is_in_flight() {
    const TOTAL: usize = 66_000;
    const BATCH: usize = 500;
    let mut session = Unacknowledged::new(1, 1);
    let held = session.messages[0].clone();
    let mut publisher = Wire::client();
    let (batch, pubacks): (Vec<_>, Vec<_>) = (1..=BATCH)
        .map(|id| (Publish::new(&session.topic, "x").qos(1, id as u16).bytes(), puback(id as u16)))
        .unzip();
    let batch = batch.concat();
    for _ in 0..TOTAL / BATCH {
        publisher.send(&batch);
        for _ in 0..BATCH {
            let message = session.wire.next_publish();
            assert_ne!(message.id, held.id, "an identifier in flight was given again");
            assert!(!message.dup);
            session.wire.send(puback(message.id));
        }
        for puback in &pubacks {
            publisher.expect(puback);
        }
    }
    session.reconnect();
    assert_eq!(session.wire.next_publish(), held.dup());
    session.wire.expect_quiet();
}
