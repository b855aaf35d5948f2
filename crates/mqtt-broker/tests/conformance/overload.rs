//! A client that does not read, does not finish or floods harms no other client.

use std::io::Write as _;
use std::time::Duration;

use crate::names::unique;
use crate::packets::{Connect, PINGREQ, Publish, field, subscribe};
use crate::wire::Wire;

/// Writes `bytes` over and over, up to `limit` bytes in all, until the broker takes no more. Reads nothing.
fn flood(wire: &Wire, bytes: &[u8], limit: usize) {
    let mut stream = wire.stream();
    stream.set_write_timeout(Some(Duration::from_millis(300))).expect("a write time-out");
    let mut written = 0;
    while written < limit && stream.write_all(bytes).is_ok() {
        written += bytes.len();
    }
}

/// Two other clients exchange messages at every QoS.
#[track_caller]
fn expect_service() {
    let topic = unique();
    let mut subscriber = Wire::subscriber(&topic, 2);
    let mut publisher = Wire::client();
    for qos in 0..3 {
        publisher.publish(&Publish::new(&topic, qos.to_string()).qos(qos, 1));
        assert_eq!(subscriber.receive().text(), qos.to_string());
    }
}

/// [MQTT-4.8.0-1] A client that publishes to itself and never reads, so that the broker cannot write to it.
#[test]
fn a_client_that_never_reads_its_messages() {
    let topic = unique();
    let mut wire = Wire::client();
    wire.send(subscribe(1, &[(&topic, 0)]));
    flood(&wire, &Publish::new(&topic, vec![b'x'; 4_096]).bytes().repeat(16), 24 << 20);
    expect_service();
}

/// A client that never reads the answers to what it sends.
#[test]
fn a_client_that_never_reads_its_answers() {
    let topic = unique();
    let batches = [
        PINGREQ.repeat(8_192),
        Publish::new(&topic, "m").qos(1, 7).bytes().repeat(1_024),
        subscribe(9, &[(&topic, 0)]).repeat(1_024),
    ];
    let wires = batches.map(|batch| {
        let wire = Wire::client();
        flood(&wire, &batch, 2 << 20);
        wire
    });
    expect_service();
    drop(wires);
}

/// A subscriber that never reads while another client publishes to it: the publisher and the other subscribers go on.
#[test]
fn a_subscriber_that_never_reads_delays_nobody() {
    let topic = unique();
    let deaf: Vec<Wire> = (0..3).map(|qos| Wire::subscriber(&topic, qos)).collect();
    let mut publisher = Wire::client();
    let payload = vec![b'x'; 16 * 1_024];
    for _ in 0..400 {
        publisher.publish(&Publish::new(&topic, &payload).qos(1, 1));
    }
    let mut subscriber = Wire::subscriber(&topic, 1);
    publisher.publish(&Publish::new(&topic, "still here").qos(1, 1));
    assert_eq!(subscriber.receive().text(), "still here");
    expect_service();
    drop(deaf);
}

/// Connections that stop in the midst of a packet, before and after CONNECT, and one that announces 256 MB.
#[test]
fn connections_that_stop_midway() {
    let connect = Connect::new(unique()).bytes();
    let mut idle: Vec<Wire> = (0..connect.len()).map(|_| Wire::open()).collect();
    for (length, wire) in idle.iter_mut().enumerate() {
        wire.send(&connect[..length]);
    }
    for start in [&[0x30, 0xFF, 0xFF, 0xFF, 0x7F, 0, 1, b'a'][..], &[0x82, 100, 0], &[0x30]] {
        let mut wire = Wire::client();
        wire.send(start);
        idle.push(wire);
    }
    expect_service();
}

/// Many connections at once, and many that come and go.
#[test]
fn many_connections() {
    let mut wires: Vec<Wire> = (0..100).map(|_| Wire::client()).collect();
    for _ in 0..100 {
        drop(Wire::open());
    }
    for wire in &mut wires {
        wire.expect_quiet();
    }
}

/// Subscriptions to the same topics in many shapes, then all gone: the broker still serves, and delivers none.
#[test]
fn many_subscriptions_come_and_go() {
    let base = unique();
    let filters: Vec<(String, u8)> =
        (0..500).map(|index| (format!("{base}/{}/+/{index}/#", index % 10), 0)).collect();
    let mut wire = Wire::client();
    wire.send(subscribe(1, &filters));
    assert_eq!(wire.answer(9).body.len(), 502);
    let bodies: Vec<u8> = filters.iter().flat_map(|(filter, _)| field(filter)).collect();
    wire.send(crate::packets::packet(0xA2, &[&[0, 2], &bodies[..]].concat()));
    assert_eq!(wire.answer(11).body, [0, 2]);
    wire.publish(&Publish::new(format!("{base}/1/x/1"), "m"));
    wire.expect_quiet();
}
