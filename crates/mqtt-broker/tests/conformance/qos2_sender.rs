//! 4.3.3 and 4.4: QoS 2, the broker as sender.

use crate::names::unique;
use crate::packets::{Publish, puback, pubcomp, pubrec, pubrel};
use crate::unacknowledged::Unacknowledged;
use crate::wire::Wire;

/// [MQTT-4.3.3-1] [MQTT-2.3.1-6] [MQTT-3.6.1-1] PUBREC is answered by PUBREL (flags 0010) with its identifier; after
/// PUBCOMP nothing comes again.
#[test]
fn the_whole_flow() {
    let mut session = Unacknowledged::new(2, 1);
    session.receive(0);
    session.wire.send(pubcomp(session.messages[0].id));
    session.wire.expect_quiet();
    session.reconnect();
    session.wire.expect_quiet();
}

/// [MQTT-4.3.3-1] [MQTT-2.3.1-4] Deliveries in flight have identifiers that differ.
#[test]
fn deliveries_have_identifiers_of_their_own() {
    Unacknowledged::new(2, 15).expect_identifiers_of_their_own();
}

/// [MQTT-4.3.3-1] [MQTT-4.4.0-1] [MQTT-3.3.1-1] [MQTT-4.6.0-1] Before PUBREC the PUBLISH comes again on reconnect, with
/// DUP 1, the same identifier and content, in order, as often as it takes.
#[test]
fn messages_without_pubrec_come_again_in_order() {
    Unacknowledged::new(2, 10).expect_all_again_in_order();
}

/// [MQTT-4.3.3-1] [MQTT-4.4.0-1] Between PUBREC and PUBCOMP the PUBREL comes again on reconnect, and never the PUBLISH.
#[test]
fn after_pubrec_the_pubrel_comes_again() {
    let mut session = Unacknowledged::new(2, 1);
    session.receive(0);
    let id = session.messages[0].id;
    for _ in 0..3 {
        session.reconnect();
        session.wire.expect(pubrel(id));
        session.wire.expect_quiet();
    }
    session.wire.send(pubcomp(id));
    session.reconnect();
    session.wire.expect_quiet();
}

/// [MQTT-4.3.3-1] [MQTT-4.4.0-1] [MQTT-4.6.0-1] [MQTT-4.6.0-4] Deliveries in different states: each continues where it was,
/// PUBLISH packets and PUBREL packets each in their order.
#[test]
fn each_delivery_continues_where_it_was() {
    let mut session = Unacknowledged::new(2, 9);
    for index in [0, 1, 3, 6] {
        session.receive(index);
    }
    session.wire.send(pubcomp(session.messages[1].id));
    session.wire.expect_quiet();
    session.reconnect();
    let (mut publishes, mut pubrels) = (Vec::new(), Vec::new());
    for packet in session.wire.settle() {
        if packet.is_publish() { publishes.push(packet.publish()) } else { pubrels.push(packet.bytes()) }
    }
    let want: Vec<Publish> = [2, 4, 5, 7, 8].map(|index| session.messages[index].clone().dup()).to_vec();
    assert_eq!(publishes, want);
    assert_eq!(pubrels, [0, 3, 6].map(|index| pubrel(session.messages[index].id)));
}

/// [MQTT-4.6.0-4] PUBREL packets in the order of the PUBREC packets, not in that of the messages.
#[test]
fn pubrels_follow_the_pubrecs() {
    let mut session = Unacknowledged::new(2, 8);
    let order = [5, 0, 7, 3, 1, 2, 6, 4].map(|index| session.messages[index].id);
    session.wire.send(order.map(pubrec).concat());
    for id in order {
        session.wire.expect(pubrel(id));
    }
}

/// [MQTT-4.3.3-1] [MQTT-4.4.0-1] Before PUBREC, a PUBACK, a PUBCOMP or a PUBREL completes nothing: the PUBLISH comes again.
#[test]
fn a_wrong_acknowledgement_of_a_publish_completes_nothing() {
    for (name, wrong) in [("PUBACK", puback as fn(u16) -> Vec<u8>), ("PUBCOMP", pubcomp), ("PUBREL", pubrel)]
    {
        let mut session = Unacknowledged::new(2, 1);
        let message = session.messages[0].clone();
        session.wire.send(wrong(message.id));
        session.reconnect();
        let again = session.wire.next();
        assert!(again.is_publish(), "after {name}: {again:?}");
        assert_eq!(again.publish(), message.dup(), "after {name}");
        session.receive(0);
        session.wire.send(pubcomp(session.messages[0].id));
        session.reconnect();
        session.wire.expect_quiet();
    }
}

/// [MQTT-4.3.3-1] [MQTT-4.4.0-1] Between PUBREC and PUBCOMP, a PUBACK or a PUBREL completes nothing: the PUBREL comes again.
#[test]
fn a_wrong_acknowledgement_of_a_pubrel_completes_nothing() {
    for (name, wrong) in [("PUBACK", puback as fn(u16) -> Vec<u8>), ("PUBREL", pubrel)] {
        let mut session = Unacknowledged::new(2, 1);
        session.receive(0);
        let id = session.messages[0].id;
        session.wire.send(wrong(id));
        session.reconnect();
        let again = session.wire.read().unwrap_or_else(|| panic!("after {name}: closed"));
        assert_eq!(again.bytes(), pubrel(id), "after {name}");
        session.wire.expect_quiet();
    }
}

/// [MQTT-4.3.3-1] A second PUBREC (the client has not seen the PUBREL) is answered again or closes, and the PUBLISH does
/// not come back.
#[test]
fn a_second_pubrec_brings_no_publish() {
    let mut session = Unacknowledged::new(2, 1);
    session.receive(0);
    let id = session.messages[0].id;
    session.wire.send(pubrec(id));
    let answers = session.wire.settle_or_close().unwrap_or_default();
    assert!(answers.iter().all(|answer| answer.bytes() == pubrel(id)), "{answers:?}");
    session.reconnect();
    session.wire.expect(pubrel(id));
    session.wire.expect_quiet();
}

/// [MQTT-4.3.3-1] PUBREC or PUBCOMP with an identifier that is not in flight completes no other delivery.
#[test]
fn acknowledgements_of_unknown_identifiers_complete_nothing() {
    let mut session = Unacknowledged::new(2, 2);
    session.receive(0);
    let ids: Vec<u16> = session.messages.iter().map(|message| message.id).collect();
    let unknown = (1..100).find(|id| !ids.contains(id)).expect("a free identifier");
    for wrong in [pubrec(unknown), pubcomp(unknown), puback(unknown)] {
        session.wire.send(wrong);
        session.reconnect();
        let mut came: Vec<Vec<u8>> = session.wire.settle().iter().map(crate::wire::Packet::bytes).collect();
        came.sort_unstable();
        let mut want = vec![pubrel(ids[0]), session.messages[1].clone().dup().bytes()];
        want.sort_unstable();
        assert_eq!(came, want);
    }
}

/// [MQTT-4.3.3-1] [MQTT-2.3.1-4] An identifier in use by a PUBREL is not given to another delivery.
#[test]
fn an_identifier_is_in_use_until_pubcomp() {
    let mut session = Unacknowledged::new(2, 1);
    session.receive(0);
    let held = session.messages[0].id;
    let topic = unique();
    session.wire.subscribe(&topic, 2);
    let mut publisher = Wire::client();
    for number in 0..200 {
        publisher.publish(&Publish::new(&topic, number.to_string()).qos(1 + number % 2, 1));
        assert_ne!(session.wire.receive().id, held);
    }
    session.reconnect();
    session.wire.expect(pubrel(held));
    session.wire.expect_quiet();
}
