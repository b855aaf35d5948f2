//! 3.1.2.5 and 3.14.4: the ends of a connection that publish its will, and the one that does not.

use std::time::{Duration, Instant};

use crate::names::unique;
use crate::packets::{Connect, DISCONNECT, PINGREQ, Publish, field, packet, raw_connect, subscribe};
use crate::wire::Wire;

/// A client with a will, and a subscriber to it.
struct Mortal {
    id: String,
    topic: String,
    wire: Wire,
    subscriber: Wire,
}

impl Mortal {
    #[track_caller]
    fn new(keep_alive_secs: u16) -> Self {
        let (id, topic) = (unique(), unique());
        let subscriber = Wire::subscriber(&topic, 0);
        let wire = Wire::connect(&Connect::new(&id).will(&topic, "gone").keep_alive(keep_alive_secs));
        Self { id, topic, wire, subscriber }
    }

    /// The will comes, once.
    #[track_caller]
    fn expect_will(&mut self, case: &str) {
        assert_eq!(self.subscriber.next_publish(), Publish::new(&self.topic, "gone"), "{case}");
        self.expect_no_will(case);
    }

    #[track_caller]
    fn expect_no_will(&mut self, case: &str) {
        self.subscriber.publish(&Publish::new(&self.topic, "marker"));
        assert_eq!(self.subscriber.next_publish().text(), "marker", "{case}");
    }
}

/// [MQTT-3.1.2-10] [MQTT-3.14.4-3] DISCONNECT discards the will, also when the socket is closed right behind it.
#[test]
fn disconnect_discards_the_will() {
    let mut mortal = Mortal::new(0);
    mortal.wire.send(DISCONNECT);
    mortal.wire.expect_close();
    mortal.expect_no_will("DISCONNECT");
    for _ in 0..10 {
        let Mortal { mut wire, topic, mut subscriber, .. } = Mortal::new(0);
        wire.send([Publish::new(&topic, "last words").bytes(), DISCONNECT.to_vec()].concat());
        drop(wire);
        assert_eq!(subscriber.next_publish().text(), "last words");
        subscriber.publish(&Publish::new(&topic, "marker"));
        assert_eq!(subscriber.next_publish().text(), "marker");
    }
}

/// [MQTT-3.1.2-8] A socket that is closed, in order and by a reset.
#[test]
fn a_closed_socket_publishes_the_will() {
    let mut mortal = Mortal::new(0);
    drop(std::mem::replace(&mut mortal.wire, Wire::client()));
    mortal.expect_will("closed");
    let mut mortal = Mortal::new(0);
    // Closing a socket with unread input resets the connection.
    mortal.wire.send(PINGREQ);
    let _ = mortal.wire.stream().peek(&mut [0]);
    drop(std::mem::replace(&mut mortal.wire, Wire::client()));
    mortal.expect_will("reset");
}

/// [MQTT-3.1.2-8] In the midst of a packet.
#[test]
fn a_socket_closed_within_a_packet_publishes_the_will() {
    let mut mortal = Mortal::new(0);
    mortal.wire.send([0xE0]);
    drop(std::mem::replace(&mut mortal.wire, Wire::client()));
    mortal.expect_will("half a DISCONNECT");
}

/// [MQTT-3.1.2-8] [MQTT-3.1.4-2] A take-over.
#[test]
fn a_take_over_publishes_the_will() {
    let mut mortal = Mortal::new(0);
    let mut second = Wire::connect(&Connect::new(&mortal.id));
    mortal.wire.expect_close();
    mortal.expect_will("taken over");
    second.expect_quiet();
}

/// [MQTT-3.1.2-8] [MQTT-3.1.4-2] A take-over by a client with the same will: that of the first is published, that of the
/// second is kept until its own end.
#[test]
fn a_take_over_with_a_will_publishes_one_each() {
    let mut mortal = Mortal::new(0);
    let second = Wire::connect(&Connect::new(&mortal.id).will(&mortal.topic, "gone"));
    mortal.wire.expect_close();
    mortal.expect_will("the first one's");
    drop(second);
    mortal.expect_will("the second one's");
}

/// [MQTT-3.1.2-8] [MQTT-3.1.0-2] A second CONNECT.
#[test]
fn a_second_connect_publishes_the_will() {
    let mut mortal = Mortal::new(0);
    mortal.wire.send(Connect::new(&mortal.id).bytes());
    mortal.wire.expect_close();
    mortal.expect_will("second CONNECT");
}

/// [MQTT-3.1.2-8] [MQTT-3.1.2-24] The keep alive running out.
#[test]
fn the_keep_alive_publishes_the_will() {
    let start = Instant::now();
    let mut mortal = Mortal::new(1);
    mortal.wire.expect_close();
    assert!(start.elapsed() >= Duration::from_millis(1_500));
    mortal.expect_will("keep alive");
}

/// [MQTT-3.1.2-8] [MQTT-4.8.0-1] Every violation that closes.
#[test]
fn a_violation_publishes_the_will() {
    let violations = [
        ("QoS 3", packet(0x36, &[0, 1, b'a', 0, 1])),
        ("type 15", vec![0xF0, 0]),
        ("type 0", vec![0, 0]),
        ("CONNACK", vec![0x20, 2, 0, 0]),
        ("PINGREQ with a flag", vec![0xC1, 0]),
        ("PINGREQ with a body", vec![0xC0, 1, 0]),
        ("length of five bytes", vec![0x30, 0xFF, 0xFF, 0xFF, 0xFF, 1]),
        ("wildcard in a topic name", Publish::new("a/+", "m").bytes()),
        ("empty topic", Publish::new("", "m").bytes()),
        ("ill-formed UTF-8", Publish::new([0xFF], "m").bytes()),
        ("no filter", packet(0x82, &[0, 1])),
        ("invalid filter", subscribe(1, &[("a/#/b", 0)])),
        ("requested QoS 3", subscribe(1, &[("a", 3)])),
        ("packet identifier 0", subscribe(0, &[("a", 0)])),
        ("PUBACK of one byte", packet(0x40, &[1])),
    ];
    for (case, bytes) in violations {
        let mut mortal = Mortal::new(0);
        mortal.wire.send(bytes);
        mortal.wire.expect_close_of(case);
        mortal.expect_will(case);
    }
}

/// [MQTT-3.14.1-1] [MQTT-3.1.2-8] A DISCONNECT with reserved bits set, or with a body, is none: the will is published.
#[test]
fn a_malformed_disconnect_publishes_the_will() {
    for bytes in [&[0xE1, 0][..], &[0xE2, 0], &[0xE8, 0], &[0xEF, 0], &[0xE0, 1, 0], &[0xE0, 2, 0, 0]] {
        let mut mortal = Mortal::new(0);
        mortal.wire.send(bytes);
        mortal.wire.expect_close();
        mortal.expect_will(&format!("{bytes:02x?}"));
    }
}

/// [MQTT-3.1.2-8] [MQTT-3.1.4-5] The will of a CONNECT that is not accepted is never published.
#[test]
fn a_connect_that_is_not_accepted_has_no_will() {
    let topic = unique();
    let mut subscriber = Wire::subscriber(&topic, 0);
    let will = [field(&topic), field("gone")].concat();
    let with_id = [field(unique()), will.clone()].concat();
    let without_id = [field(""), will].concat();
    let connects = [
        raw_connect("MQTT", 6, 0x06, 0, &with_id),
        raw_connect("MQTT", 4, 0x07, 0, &with_id),
        raw_connect("MQTT", 4, 0x04, 0, &without_id),
        raw_connect("MQTT", 4, 0x06, 0, &[&with_id[..], &[0]].concat()),
    ];
    for connect in connects {
        let mut wire = Wire::open();
        wire.send(connect);
        wire.wait_for_end();
    }
    subscriber.publish(&Publish::new(&topic, "marker"));
    assert_eq!(subscriber.next_publish().text(), "marker");
}

/// [MQTT-3.1.2-8] Hundred clients die at once: hundred wills.
#[test]
fn many_wills_at_once() {
    let topic = unique();
    let mut subscriber = Wire::subscriber(&topic, 1);
    let wires: Vec<Wire> = (0..100)
        .map(|number: u32| {
            Wire::connect(&Connect::new(unique()).will(&topic, number.to_string()).will_qos(1))
        })
        .collect();
    drop(wires);
    let mut numbers: Vec<u32> = (0..100).filter_map(|_| subscriber.receive().text().parse().ok()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..100).collect::<Vec<_>>());
}
