//! 4.3.3 and 4.4: QoS 2, the broker as receiver. As sender: `qos2_sender`.

use crate::names::{SessionId, unique};
use crate::packets::{Connect, DISCONNECT, Publish, connack, pubcomp, pubrec, pubrel};
use crate::wire::Wire;

/// A stored session that publishes, and somebody who listens.
struct Pair {
    id: SessionId,
    topic: String,
    wire: Wire,
    listener: Wire,
}

impl Pair {
    #[track_caller]
    fn new() -> Self {
        let (id, topic) = (SessionId::new(), unique());
        let wire = Wire::connect(&Connect::persistent(&id));
        let listener = Wire::subscriber(&topic, 0);
        Self { id, topic, wire, listener }
    }

    fn message(&self, text: &str, id: u16) -> Publish {
        Publish::new(&self.topic, text).qos(2, id)
    }

    #[track_caller]
    fn reconnect(&mut self) {
        self.wire = Wire::connect(&Connect::persistent(&self.id));
        assert!(self.wire.session_present);
    }

    /// What the listener has got, up to now.
    #[track_caller]
    fn heard(&mut self) -> Vec<String> {
        Wire::client().publish(&Publish::new(&self.topic, "marker").qos(1, 1));
        self.listener.receive_until("marker").iter().map(Publish::text).collect()
    }
}

/// [MQTT-4.3.3-2] [MQTT-2.3.1-6] [MQTT-3.3.4-1] PUBLISH, PUBREC, PUBREL, PUBCOMP, all with one identifier; delivered once.
#[test]
fn the_whole_flow_delivers_once() {
    let mut pair = Pair::new();
    for id in [1, 0x00FF, 0xFF00, 65_535] {
        pair.wire.send(pair.message("m", id).bytes());
        pair.wire.expect(pubrec(id));
        pair.wire.send(pubrel(id));
        pair.wire.expect(pubcomp(id));
    }
    pair.wire.expect_quiet();
    assert_eq!(pair.heard(), ["m"; 4]);
}

/// [MQTT-4.3.3-2] [MQTT-3.3.1-3] Before PUBREL a PUBLISH with the same identifier is a duplicate: a PUBREC each, one
/// delivery.
#[test]
fn duplicates_before_pubrel_are_not_passed_on() {
    let mut pair = Pair::new();
    pair.wire.send(pair.message("once", 9).bytes());
    pair.wire.expect(pubrec(9));
    for _ in 0..5 {
        pair.wire.send(pair.message("once", 9).dup().bytes());
        pair.wire.expect(pubrec(9));
    }
    pair.wire.send(pubrel(9));
    pair.wire.expect(pubcomp(9));
    assert_eq!(pair.heard(), ["once"]);
}

/// [MQTT-4.3.3-2] Also when all come in one write.
#[test]
fn duplicates_in_one_write_are_not_passed_on() {
    let mut pair = Pair::new();
    let (first, again) = (pair.message("once", 9).bytes(), pair.message("once", 9).dup().bytes());
    pair.wire.send([first, again.clone(), again, pubrel(9)].concat());
    for _ in 0..3 {
        pair.wire.expect(pubrec(9));
    }
    pair.wire.expect(pubcomp(9));
    assert_eq!(pair.heard(), ["once"]);
}

/// [MQTT-4.3.3-2] It is the identifier that tells: without DUP it is a duplicate just the same.
#[test]
fn a_duplicate_without_dup_is_not_passed_on() {
    let mut pair = Pair::new();
    for _ in 0..2 {
        pair.wire.send(pair.message("once", 9).bytes());
        pair.wire.expect(pubrec(9));
    }
    pair.wire.send(pubrel(9));
    pair.wire.expect(pubcomp(9));
    assert_eq!(pair.heard(), ["once"]);
}

/// [MQTT-4.3.3-2] After PUBCOMP the identifier is a new message, whatever DUP says.
#[test]
fn an_identifier_is_new_after_pubcomp() {
    let mut pair = Pair::new();
    for (text, dup) in [("one", false), ("two", false), ("three", true)] {
        pair.wire.send(Publish { dup, ..pair.message(text, 9) }.bytes());
        pair.wire.expect(pubrec(9));
        pair.wire.send(pubrel(9));
        pair.wire.expect(pubcomp(9));
    }
    assert_eq!(pair.heard(), ["one", "two", "three"]);
}

/// [MQTT-4.3.3-2] PUBREL is answered by PUBCOMP also when it comes again, and when its identifier is unknown: the earlier
/// PUBCOMP may have been lost.
#[test]
fn every_pubrel_is_answered() {
    let mut pair = Pair::new();
    pair.wire.send(pair.message("m", 9).bytes());
    pair.wire.expect(pubrec(9));
    for id in [9, 9, 9, 4_711] {
        pair.wire.send(pubrel(id));
        pair.wire.expect(pubcomp(id));
    }
    pair.reconnect();
    pair.wire.send(pubrel(9));
    pair.wire.expect(pubcomp(9));
    assert_eq!(pair.heard(), ["m"]);
}

/// [MQTT-4.3.3-2] [MQTT-4.4.0-1] [MQTT-4.1.0-1] The identifiers received and not released survive a reconnect: the PUBLISH
/// that is sent again is a duplicate.
#[test]
fn received_identifiers_survive_a_reconnect() {
    let mut pair = Pair::new();
    pair.wire.send(pair.message("once", 9).bytes());
    pair.wire.expect(pubrec(9));
    for _ in 0..3 {
        pair.reconnect();
        pair.wire.send(pair.message("once", 9).dup().bytes());
        pair.wire.expect(pubrec(9));
    }
    pair.reconnect();
    pair.wire.send(pubrel(9));
    pair.wire.expect(pubcomp(9));
    pair.wire.send(pair.message("next", 9).bytes());
    pair.wire.expect(pubrec(9));
    pair.wire.send(pubrel(9));
    pair.wire.expect(pubcomp(9));
    assert_eq!(pair.heard(), ["once", "next"]);
}

/// [MQTT-4.3.3-2] They survive a take-over too, and DISCONNECT.
#[test]
fn received_identifiers_survive_a_take_over_and_disconnect() {
    let mut pair = Pair::new();
    pair.wire.send(pair.message("once", 9).bytes());
    pair.wire.expect(pubrec(9));
    let mut taken_over = std::mem::replace(&mut pair.wire, Wire::connect(&Connect::persistent(&pair.id)));
    taken_over.expect_close();
    pair.wire.send(pair.message("once", 9).dup().bytes());
    pair.wire.expect(pubrec(9));
    pair.wire.send(DISCONNECT);
    pair.wire.expect_close();
    pair.reconnect();
    pair.wire.send(pair.message("once", 9).dup().bytes());
    pair.wire.expect(pubrec(9));
    pair.wire.send(pubrel(9));
    pair.wire.expect(pubcomp(9));
    assert_eq!(pair.heard(), ["once"]);
}

/// [MQTT-3.1.2-6] A clean session has discarded them: the same identifier is a new message.
#[test]
fn a_clean_session_forgets_received_identifiers() {
    let mut pair = Pair::new();
    pair.wire.send(pair.message("first", 9).bytes());
    pair.wire.expect(pubrec(9));
    pair.wire = Wire::open();
    pair.wire.send(Connect::new(&pair.id).bytes());
    pair.wire.expect(connack(false, 0));
    pair.wire.send(pair.message("second", 9).dup().bytes());
    pair.wire.expect(pubrec(9));
    pair.wire.send(pubrel(9));
    pair.wire.expect(pubcomp(9));
    let heard = pair.heard();
    // A broker that passes messages on at PUBREL has discarded the first one with the session.
    assert!(heard == ["first", "second"] || heard == ["second"], "{heard:?}");
}

/// [MQTT-4.3.3-2] The same identifier of two clients is two messages.
#[test]
fn identifiers_are_a_matter_of_each_client() {
    let mut pair = Pair::new();
    let mut other = Wire::client();
    pair.wire.send(pair.message("one", 9).bytes());
    pair.wire.expect(pubrec(9));
    other.send(pair.message("other", 9).bytes());
    other.expect(pubrec(9));
    for wire in [&mut pair.wire, &mut other] {
        wire.send(pubrel(9));
        wire.expect(pubcomp(9));
    }
    let mut heard = pair.heard();
    heard.sort_unstable();
    assert_eq!(heard, ["one", "other"]);
}

/// [MQTT-4.6.0-3] Many open at once, with identifiers that fall: PUBRECs and deliveries in the order of the PUBLISH
/// packets, PUBCOMPs in that of the PUBREL packets.
#[test]
fn many_flows_at_once() {
    let mut pair = Pair::new();
    let ids: Vec<u16> = (1..=15).rev().collect();
    pair.wire.send(ids.iter().flat_map(|id| pair.message(&id.to_string(), *id).bytes()).collect::<Vec<u8>>());
    for id in &ids {
        pair.wire.expect(pubrec(*id));
    }
    pair.wire.send(ids.iter().flat_map(|id| pubrel(*id)).collect::<Vec<u8>>());
    for id in &ids {
        pair.wire.expect(pubcomp(*id));
    }
    let heard = pair.heard();
    assert_eq!(heard, ids.iter().map(u16::to_string).collect::<Vec<_>>());
}
