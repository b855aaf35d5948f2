//! 3.1.2.10: a client that says nothing for one and a half times its keep alive is cut off.
//!
//! The time is that of a real clock, so the tests wait; each bound leaves room for a busy machine.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::names::unique;
use crate::packets::{Connect, PINGREQ, Publish, pubrel, subscribe, unsubscribe};
use crate::wire::Wire;

/// How late a close may be seen. Less than a second, or a broker that counts in whole seconds would pass.
const LATE: Duration = Duration::from_millis(900);

/// The broker has closed at `limit` after `start`, no earlier and not much later.
#[track_caller]
fn expect_cut_at(start: Instant, limit: Duration) {
    let took = start.elapsed();
    assert!(took >= limit, "cut off after {took:?}, not {limit:?}");
    assert!(took < limit + LATE, "cut off only after {took:?}, not {limit:?}");
}

/// [MQTT-3.1.2-24] Keep alive 2 s: silence is cut off after 3 s.
#[test]
fn silence_is_cut_off_after_one_and_a_half_times() {
    let start = Instant::now();
    let mut wire = Wire::connect(&Connect::new(unique()).keep_alive(2));
    wire.expect_close();
    expect_cut_at(start, Duration::from_secs(3));
}

/// [MQTT-3.1.2-24] Keep alive 1 s: after 1.5 s, which a broker that counts in whole seconds misses.
#[test]
fn one_second_is_one_and_a_half() {
    let start = Instant::now();
    let mut wire = Wire::connect(&Connect::new(unique()).keep_alive(1));
    wire.expect_close();
    expect_cut_at(start, Duration::from_millis(1_500));
}

/// [MQTT-3.1.2-24] Every packet starts the time anew, PINGREQ or another.
#[test]
fn every_packet_starts_the_time_anew() {
    let packets = [
        PINGREQ.to_vec(),
        Publish::new(unique(), "m").bytes(),
        Publish::new(unique(), "m").qos(1, 1).bytes(),
        subscribe(1, &[(unique(), 0)]),
        unsubscribe(1, &[unique()]),
        pubrel(1),
    ];
    let mut wires: Vec<_> =
        packets.iter().map(|_| Wire::connect(&Connect::new(unique()).keep_alive(2))).collect();
    sleep(Duration::from_secs(2));
    for (wire, packet) in wires.iter_mut().zip(&packets) {
        wire.send(packet);
    }
    sleep(Duration::from_secs(2));
    for (wire, packet) in wires.iter_mut().zip(&packets) {
        assert!(wire.settle_or_close().is_some(), "cut off, 2 s after {packet:02x?}");
    }
}

/// [MQTT-3.1.2-24] What the broker sends does not count: a subscriber that only listens is cut off.
#[test]
fn deliveries_do_not_count() {
    let topic = unique();
    let start = Instant::now();
    let mut wire = Wire::connect(&Connect::new(unique()).keep_alive(1));
    wire.subscribe(&topic, 0);
    let mut publisher = Wire::client();
    for _ in 0..8 {
        sleep(Duration::from_millis(150));
        publisher.publish(&Publish::new(&topic, "m"));
    }
    wire.wait_for_end();
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(1_500) && took < Duration::from_millis(1_500) + LATE, "{took:?}");
}

/// [MQTT-3.1.2-24] Nor do the bytes of a packet that is never whole.
#[test]
fn a_packet_that_never_ends_does_not_count() {
    let start = Instant::now();
    let mut wire = Wire::connect(&Connect::new(unique()).keep_alive(1));
    let message = Publish::new(unique(), "never whole").bytes();
    for byte in &message[..12] {
        wire.send([*byte]);
        sleep(Duration::from_millis(120));
    }
    wire.expect_close();
    expect_cut_at(start, Duration::from_millis(1_500));
}

/// [MQTT-3.1.2-24] Keep alive 0 turns it off, and 65,535 s is a long time.
#[test]
fn keep_alive_0_is_off() {
    let mut wires = [0, 65_535].map(|secs| Wire::connect(&Connect::new(unique()).keep_alive(secs)));
    sleep(Duration::from_millis(2_500));
    for wire in &mut wires {
        wire.expect_quiet();
    }
}

/// [MQTT-3.1.2-24] The keep alive is that of each connection: another one under the same session has its own.
#[test]
fn each_connection_has_its_own_keep_alive() {
    let id = crate::names::SessionId::new();
    let first = Wire::connect(&Connect::persistent(&id).keep_alive(1));
    let mut second = Wire::connect(&Connect::persistent(&id).keep_alive(60));
    drop(first);
    second.expect_silence(Duration::from_millis(2_500));
    second.expect_quiet();
}
