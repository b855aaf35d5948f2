//! 3.3.1.3: retained messages.

use crate::names::{RetainedTopic, SessionId, unique};
use crate::packets::{Connect, DISCONNECT, Publish};
use crate::wire::Wire;

/// Publishes at QoS 1, so that the message is kept when this returns.
fn retain(topic: &str, payload: &str) {
    Wire::client().publish(&Publish::new(topic, payload).qos(1, 1).retain());
}

/// What a new subscriber gets at once, as text.
#[track_caller]
fn retained(filter: &str) -> Vec<String> {
    let marker = unique();
    let mut wire = Wire::subscriber(filter, 1);
    assert_eq!(wire.subscribe(&marker, 1), 1);
    wire.publish(&Publish::new(&marker, "marker").qos(1, 1));
    wire.receive_until("marker").iter().map(Publish::text).collect()
}

/// [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-8] A later subscriber gets the message with RETAIN 1 and at the lower of its
/// QoS and the subscription's.
#[test]
fn a_new_subscription_gets_the_retained_message() {
    for published in 0..3 {
        let topic = RetainedTopic::new();
        let mut publisher = Wire::client();
        publisher.publish(&Publish::new(&topic, "kept").qos(published, 1).retain());
        publisher.settle();
        for granted in 0..3 {
            let message = Wire::subscriber(&topic, granted).receive();
            let lower = published.min(granted);
            assert_eq!(message, Publish::new(&topic, "kept").qos(lower, message.id).retain());
        }
    }
}

/// [MQTT-3.3.1-6] Only the last one of a topic, whatever the QoS of each was.
#[test]
fn the_last_retained_message_counts() {
    let topic = RetainedTopic::new();
    let mut publisher = Wire::client();
    for (number, qos) in [2, 0, 1, 1, 0, 2, 1].into_iter().enumerate() {
        publisher.publish(&Publish::new(&topic, number.to_string()).qos(qos, 1).retain());
    }
    assert_eq!(retained(&topic), ["6"]);
}

/// [MQTT-3.3.1-7] A retained message at QoS 0 removes the earlier one, at QoS 2. It may be dropped itself at any time, so
/// a new subscriber gets it or nothing.
#[test]
fn a_retained_qos_0_message_replaces_the_earlier_one() {
    let topic = RetainedTopic::new();
    let mut publisher = Wire::client();
    publisher.publish(&Publish::new(&topic, "earlier").qos(2, 1).retain());
    publisher.publish(&Publish::new(&topic, "later").retain());
    publisher.settle();
    let got = retained(&topic);
    assert!(got == ["later"] || got.is_empty(), "{got:?}");
}

/// [MQTT-3.3.1-6] A wildcard subscription gets that of each matching topic, the parent level of `#` included, and no other.
#[test]
fn a_wildcard_gets_each_matching_topic() {
    let base = unique();
    let tails = ["", "/", "/a", "/a/b", "/b", "/b/b/b"];
    let topics = tails.map(|tail| RetainedTopic::under(&base, tail));
    for topic in &topics {
        retain(topic, topic);
    }
    let other = RetainedTopic::under(&base, "x");
    retain(&other, "other");
    for (filter, matching) in [
        ("/#", &tails[..]),
        ("/+", &["/", "/a", "/b"]),
        ("/+/b", &["/a/b"]),
        ("/a/#", &["/a", "/a/b"]),
        ("/+/+/+", &["/b/b/b"]),
        ("/+/#", &["/", "/a", "/a/b", "/b", "/b/b/b"]),
    ] {
        let mut got = retained(&format!("{base}{filter}"));
        got.sort_unstable();
        let mut want: Vec<String> = matching.iter().map(|tail| format!("{base}{tail}")).collect();
        want.sort_unstable();
        assert_eq!(got, want, "{filter}");
    }
}

/// [MQTT-3.3.1-9] An established subscription gets the same message with RETAIN 0, at every QoS.
#[test]
fn an_established_subscription_gets_retain_0() {
    let topic = RetainedTopic::new();
    for granted in 0..3 {
        let mut subscriber = Wire::subscriber(unique(), 0);
        subscriber.subscribe(&topic, granted);
        let earlier = subscriber.settle();
        for packet in earlier.iter().filter(|packet| packet.is_publish()) {
            subscriber.acknowledge(&packet.publish());
        }
        let mut publisher = Wire::client();
        for published in 0..3 {
            publisher.publish(&Publish::new(&topic, "m").qos(published, 1).retain());
            let message = subscriber.receive();
            assert!(!message.retain, "published at {published}, granted {granted}: {message:?}");
        }
    }
}

/// [MQTT-3.3.1-9] Also a session that was away when it was published: its subscription was established.
#[test]
fn an_absent_session_gets_retain_0() {
    let (id, topic) = (SessionId::new(), RetainedTopic::new());
    let mut wire = Wire::connect(&Connect::persistent(&id));
    wire.subscribe(&topic, 1);
    wire.send(DISCONNECT);
    wire.expect_close();
    retain(&topic, "while away");
    let message = Wire::connect(&Connect::persistent(&id)).receive();
    assert_eq!((message.text().as_str(), message.retain), ("while away", false));
}

/// [MQTT-3.3.1-10] [MQTT-3.3.1-11] An empty payload removes the retained message, goes to established subscribers as any
/// message does, and is not stored itself.
#[test]
fn an_empty_payload_removes_the_retained_message() {
    for qos in 0..3 {
        let topic = RetainedTopic::new();
        retain(&topic, "to be removed");
        let mut established = Wire::client();
        established.subscribe(&topic, 2);
        assert!(established.receive().retain);
        established.publish(&Publish::new(&topic, "").qos(qos, 1).retain());
        let message = established.receive();
        assert_eq!(message, Publish::new(&topic, "").qos(qos, message.id));
        assert_eq!(retained(&topic), [""; 0]);
    }
}

/// [MQTT-3.3.1-11] An empty retained message where none was before is not stored either.
#[test]
fn an_empty_retained_message_is_not_stored() {
    let topic = RetainedTopic::new();
    retain(&topic, "");
    assert_eq!(retained(&topic), [""; 0]);
}

/// [MQTT-3.3.1-12] A message with RETAIN 0, empty or not, leaves the retained one as it is.
#[test]
fn retain_0_leaves_the_retained_message() {
    let topic = RetainedTopic::new();
    retain(&topic, "kept");
    let mut publisher = Wire::client();
    for qos in 0..3 {
        publisher.publish(&Publish::new(&topic, "passing").qos(qos, 1));
        publisher.publish(&Publish::new(&topic, "").qos(qos, 1));
    }
    assert_eq!(retained(&topic), ["kept"]);
}

/// [MQTT-3.1.2-7] A retained message survives the session and the connection of who sent it, clean or not.
#[test]
fn retained_messages_survive_the_session() {
    let (topic, id) = (RetainedTopic::new(), SessionId::new());
    let mut publisher = Wire::connect(&Connect::persistent(&id));
    publisher.publish(&Publish::new(&topic, "kept").qos(1, 1).retain());
    drop(publisher);
    Wire::connect(&Connect::new(&id)).send(DISCONNECT);
    assert_eq!(retained(&topic), ["kept"]);
}

/// [MQTT-3.8.4-3] [MQTT-3.3.1-8] An identical subscription again sends the retained message again, with RETAIN 1.
#[test]
fn subscribing_again_sends_the_retained_message_again() {
    let topic = RetainedTopic::new();
    retain(&topic, "kept");
    let mut wire = Wire::client();
    for granted in [0, 1, 1, 2, 0] {
        wire.subscribe(&topic, granted);
        let message = wire.receive();
        assert_eq!(message, Publish::new(&topic, "kept").qos(granted.min(1), message.id).retain());
    }
}

/// [MQTT-3.3.1-6] A session that is resumed subscribes to nothing anew: it gets no retained message for it.
#[test]
fn resuming_a_session_sends_no_retained_message() {
    let (id, topic) = (SessionId::new(), RetainedTopic::new());
    retain(&topic, "kept");
    let mut wire = Wire::connect(&Connect::persistent(&id));
    wire.subscribe(&topic, 0);
    assert_eq!(wire.receive().text(), "kept");
    wire.send(DISCONNECT);
    wire.expect_close();
    Wire::connect(&Connect::persistent(&id)).expect_quiet();
}

/// [MQTT-3.3.1-8] A retained message that is not yet acknowledged comes again with RETAIN 1 and DUP 1 on reconnect.
#[test]
fn a_redelivered_retained_message_keeps_retain_1() {
    let (id, topic) = (SessionId::new(), RetainedTopic::new());
    retain(&topic, "kept");
    let mut wire = Wire::connect(&Connect::persistent(&id));
    wire.subscribe(&topic, 1);
    let first = wire.next_publish();
    drop(wire);
    let again = Wire::connect(&Connect::persistent(&id)).receive();
    assert_eq!(again, first.dup());
}
