//! The codec's corpus of packets, sent to the broker: each one that is refused there closes the connection here.

#[path = "../../../mqtt-codec/tests/corpus/mod.rs"]
mod packets_txt;

use packets_txt::{Case, Outcome, cases};

use crate::broker::is_ours;
use crate::packets::{Connect, DISCONNECT, connack};
use crate::wire::{Packet, Wire};

/// What a broker that reads whole packets only would wait for: a packet whose fault shows before it is whole.
fn is_refused_early(bytes: &[u8]) -> bool {
    bytes.len() < 2 || bytes.len() < 6 && bytes[1..].iter().all(|byte| byte & 0x80 != 0)
}

/// A CONNECT of MQTT 3.1 or 5.0, which a broker may serve as well.
fn is_of_another_version(bytes: &[u8]) -> bool {
    let has = |head: &[u8]| bytes.get(2..).is_some_and(|body| body.starts_with(head));
    has(b"\0\x06MQIsdp\x03") || has(b"\0\x04MQTT\x05")
}

/// The refused packets, with the reason.
fn refused() -> Vec<(Case, &'static str)> {
    let refused = cases().into_iter().filter_map(|case| match case.outcome {
        Outcome::Refused(reason) => Some((case, reason)),
        _ => None,
    });
    let judged = |case: &Case| !is_refused_early(&case.bytes) && !is_of_another_version(&case.bytes);
    refused.filter(|(case, _)| is_ours() || judged(case)).collect()
}

/// Sends each by `send`, which returns the broker's answer if it is not the close that is due.
#[track_caller]
fn send_each(send: impl Fn(&Case, &str) -> Option<Packet>) {
    let mut bystander = Wire::client();
    let mut wrong = Vec::new();
    for (case, reason) in refused() {
        if let Some(answer) = send(&case, reason) {
            wrong.push(format!("{} ({}, {reason}): {answer:?}", case.about, case.section));
        }
    }
    assert!(wrong.is_empty(), "wanted a close, got an answer to\n{}", wrong.join("\n"));
    bystander.expect_quiet();
    Wire::client().send(DISCONNECT);
}

/// [MQTT-4.8.0-1] [MQTT-3.1.0-2] On a connection that is open, each refused packet closes, and no other connection.
#[test]
fn refused_packets_close_an_open_connection() {
    send_each(|case, _| {
        let mut wire = Wire::client();
        wire.send(&case.bytes);
        if is_refused_early(&case.bytes) { wire.read() } else { wire.read_after_ping() }
    });
}

/// [MQTT-3.1.0-1] [MQTT-3.1.4-1] [MQTT-3.1.2-2] As first packet each of them closes too; a CONNECT of an unknown level is
/// answered before.
#[test]
fn refused_packets_close_a_new_connection() {
    send_each(|case, reason| {
        let mut wire = Wire::open();
        wire.send(&case.bytes);
        if reason.starts_with("UnsupportedProtocolLevel") {
            let answer = wire.next();
            if answer.bytes() != connack(false, 1) {
                return Some(answer);
            }
        }
        wire.read()
    });
}

/// [MQTT-4.8.0-1] A flipped bit anywhere in a CONNECT never harms the broker: it accepts, refuses or closes.
#[test]
fn flipped_bits_of_a_connect() {
    // No flip makes this the identifier of another test.
    let id = "corpus-flipped";
    let connect = Connect::new(id).will("t", "m").user_name("u").password("p").bytes();
    let mut bystander = Wire::client();
    for bit in 0..connect.len() * 8 {
        let mut flipped = connect.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        // What is still short of its length is ended by the filling, which is no packet itself.
        flipped.extend([0xFF; 3]);
        let mut wire = Wire::open();
        wire.send(flipped);
        wire.cut();
    }
    Wire::connect(&Connect::new(id)).send(DISCONNECT);
    bystander.expect_quiet();
    Wire::client().send(DISCONNECT);
}
