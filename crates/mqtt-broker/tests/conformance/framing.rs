//! 4.2 and 2.2.3: TCP is a stream of bytes; where it is cut into segments means nothing.

use std::time::Duration;

use crate::names::unique;
use crate::packets::{
    Connect, PINGREQ, PINGRESP, Publish, connack, packet, puback, pubcomp, pubrec, pubrel, suback, subscribe,
    unsuback, unsubscribe,
};
use crate::wire::Wire;

/// A whole conversation in one go: CONNECT, SUBSCRIBE, PUBLISH at each QoS, PUBREL, UNSUBSCRIBE, PINGREQ.
fn conversation(topic: &str) -> Vec<u8> {
    [
        Connect::new(unique()).bytes(),
        subscribe(1, &[(topic, 0)]),
        Publish::new(topic, "zero").bytes(),
        Publish::new(topic, "one").qos(1, 2).bytes(),
        Publish::new(topic, "two").qos(2, 3).bytes(),
        pubrel(3),
        unsubscribe(4, &[topic]),
        PINGREQ.to_vec(),
    ]
    .concat()
}

/// What it brings: the answers in the order of the requests, the three messages in theirs, PINGRESP last but for messages.
#[track_caller]
fn expect_conversation(wire: &mut Wire, topic: &str) {
    wire.expect(connack(false, 0));
    let (mut answers, mut messages) = (Vec::new(), Vec::new());
    while answers.len() < 6 || messages.len() < 3 {
        let packet = wire.next();
        if packet.is_publish() { messages.push(packet.publish()) } else { answers.push(packet.bytes()) }
    }
    assert_eq!(answers, [suback(1, &[0]), puback(2), pubrec(3), pubcomp(3), unsuback(4), PINGRESP.to_vec()]);
    assert_eq!(messages, ["zero", "one", "two"].map(|text| Publish::new(topic, text)));
}

/// [MQTT-7.1.1-1] [MQTT-7.0.0-2] Many packets in one write, all of plain 3.1.1.
#[test]
fn many_packets_in_one_write() {
    let topic = unique();
    let mut wire = Wire::open();
    wire.send(conversation(&topic));
    expect_conversation(&mut wire, &topic);
}

/// [MQTT-7.1.1-1] A byte a write.
#[test]
fn a_byte_a_write() {
    let topic = unique();
    let mut wire = Wire::open();
    for byte in conversation(&topic) {
        wire.send([byte]);
    }
    expect_conversation(&mut wire, &topic);
}

/// [MQTT-7.1.1-1] Two writes, cut at every byte of the conversation, with a pause so that the broker sees both halves.
#[test]
fn cut_at_every_byte() {
    let topic = unique();
    let length = conversation(&topic).len();
    // All at once, so that the pause is waited for once and not once a cut.
    let mut wires: Vec<_> = (1..length).map(|cut| (cut, Wire::open(), unique())).collect();
    let conversations: Vec<_> = wires.iter().map(|(_, _, topic)| conversation(topic)).collect();
    for ((cut, wire, _), bytes) in wires.iter_mut().zip(&conversations) {
        wire.send(&bytes[..*cut]);
    }
    std::thread::sleep(Duration::from_millis(100));
    for ((cut, wire, topic), bytes) in wires.iter_mut().zip(&conversations) {
        wire.send(&bytes[*cut..]);
        expect_conversation(wire, topic);
    }
}

/// [MQTT-7.1.1-1] Messages whose remaining length is at each edge of one, two, three and four bytes.
#[test]
fn remaining_lengths_at_their_edges() {
    let topic = unique();
    let mut wire = Wire::subscriber(&topic, 0);
    let head = topic.len() + 2;
    for remaining in [head, 127, 128, 129, 16_383, 16_384, 16_385, 100_000] {
        let payload: Vec<u8> = (0..remaining - head).map(|index| index as u8).collect();
        wire.publish(&Publish::new(&topic, &payload));
        let message = wire.next_publish();
        assert!(message == Publish::new(&topic, &payload), "{remaining}: {message:?}");
    }
}

/// [MQTT-7.1.1-1] Messages of a megabyte and more pass unchanged, if the broker takes packets of that size.
#[test]
fn large_messages() {
    let topic = unique();
    for size in [1 << 20, 2_097_152 - topic.len() - 2 - 1, 2_097_152 - topic.len() - 2] {
        let payload: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
        let mut wire = Wire::subscriber(&topic, 0);
        wire.send(packet(0x30, &[&[0, topic.len() as u8], topic.as_bytes(), &payload].concat()));
        if let Some(message) = wire.read() {
            assert!(message.publish().payload == payload, "{size} bytes came out changed");
        }
    }
}
