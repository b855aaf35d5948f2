//! 3.1.2.5 to 3.1.2.7: what a will is. When it is published: `will_end`.

use crate::names::{RetainedTopic, SessionId, unique};
use crate::packets::{Connect, DISCONNECT, Publish};
use crate::wire::Wire;

/// Connects and cuts the connection.
#[track_caller]
fn die(connect: &Connect) {
    Wire::connect(connect).cut();
}

/// [MQTT-3.1.2-8] [MQTT-3.1.2-9] [MQTT-3.1.2-16] [MQTT-3.8.4-6] The will comes with its topic, its message and the lower of
/// its QoS and the subscription's, not retained.
#[test]
fn the_will_has_its_qos() {
    for will_qos in 0..3 {
        for granted in 0..3 {
            let topic = unique();
            let mut subscriber = Wire::subscriber(&topic, granted);
            die(&Connect::new(unique()).will(&topic, "gone").will_qos(will_qos));
            let message = subscriber.receive();
            assert_eq!(message, Publish::new(&topic, "gone").qos(will_qos.min(granted), message.id));
        }
    }
}

/// [MQTT-3.1.2-16] [MQTT-3.1.2-17] [MQTT-3.3.1-9] With Will Retain 1 it is a retained message, with 0 it is not.
#[test]
fn the_will_is_retained_or_not() {
    for will_qos in 0..3 {
        for retain in [true, false] {
            let topic = RetainedTopic::new();
            let mut established = Wire::subscriber(&topic, 2);
            let connect = Connect::new(unique()).will(&topic, "gone").will_qos(will_qos);
            die(&if retain { connect.will_retain() } else { connect });
            let message = established.receive();
            assert_eq!(message, Publish::new(&topic, "gone").qos(will_qos, message.id));
            let mut late = Wire::subscriber(&topic, 2);
            if retain {
                let message = late.receive();
                assert_eq!(message, Publish::new(&topic, "gone").qos(will_qos, message.id).retain());
            }
            late.expect_quiet();
        }
    }
}

/// [MQTT-3.1.2-17] [MQTT-3.3.1-10] An empty will message with Will Retain 1 removes the retained message.
#[test]
fn an_empty_retained_will_removes_the_retained_message() {
    let topic = RetainedTopic::new();
    let mut wire = Wire::client();
    wire.publish(&Publish::new(&topic, "kept").qos(1, 1).retain());
    wire.subscribe(&topic, 0);
    assert_eq!(wire.receive().text(), "kept");
    die(&Connect::new(unique()).will(&topic, "").will_retain());
    assert_eq!(wire.receive(), Publish::new(&topic, ""));
    Wire::subscriber(&topic, 0).expect_quiet();
}

/// [MQTT-3.1.2-9] A will message may be empty, and as long as a field can be.
#[test]
fn a_will_message_of_any_length() {
    for length in [0, 1, 65_535] {
        let topic = unique();
        let mut subscriber = Wire::subscriber(&topic, 0);
        die(&Connect::new(unique()).will(&topic, vec![b'w'; length]));
        assert_eq!(subscriber.receive().payload.len(), length);
    }
}

/// [MQTT-3.1.2-8] [MQTT-3.1.2-5] A will at QoS 1 or 2 waits for an absent session like any message.
#[test]
fn a_will_waits_for_an_absent_session() {
    for qos in [1, 2] {
        let (id, topic) = (SessionId::new(), unique());
        let mut away = Wire::connect(&Connect::persistent(&id));
        away.subscribe(&topic, 2);
        away.send(DISCONNECT);
        away.expect_close();
        die(&Connect::new(unique()).will(&topic, "gone").will_qos(qos));
        let message = Wire::connect(&Connect::persistent(&id)).receive();
        assert_eq!(message, Publish::new(&topic, "gone").qos(qos, message.id));
    }
}

/// [MQTT-3.1.2-12] Without a Will flag nothing is published.
#[test]
fn no_will_no_message() {
    let topic = unique();
    let mut subscriber = Wire::subscriber(format!("{topic}/#"), 0);
    die(&Connect::new(&topic));
    subscriber.publish(&Publish::new(&topic, "marker"));
    assert_eq!(subscriber.receive().text(), "marker");
}

/// [MQTT-3.1.2-10] [MQTT-3.1.2-8] The will belongs to the connection, not to the session: it is published once, and a later
/// connection under the same session has its own or none.
#[test]
fn a_will_belongs_to_its_connection() {
    let (id, topic) = (SessionId::new(), unique());
    let mut subscriber = Wire::subscriber(&topic, 0);
    die(&Connect::persistent(&id).will(&topic, "first"));
    assert_eq!(subscriber.receive().text(), "first");
    die(&Connect::persistent(&id));
    die(&Connect::persistent(&id).will(&topic, "second"));
    assert_eq!(subscriber.receive().text(), "second");
    let mut orderly = Wire::connect(&Connect::persistent(&id).will(&topic, "third"));
    orderly.send(DISCONNECT);
    orderly.expect_close();
    die(&Connect::persistent(&id));
    subscriber.publish(&Publish::new(&topic, "marker"));
    assert_eq!(subscriber.receive().text(), "marker");
}

/// [MQTT-3.1.2-8] The will comes after what the client itself has published, to who subscribes to both.
#[test]
fn a_will_comes_last() {
    let topic = unique();
    let mut subscriber = Wire::subscriber(&topic, 1);
    let mut wire = Wire::connect(&Connect::new(unique()).will(&topic, "gone").will_qos(1));
    for number in 0..20 {
        wire.send(Publish::new(&topic, number.to_string()).qos(1, number + 1).bytes());
    }
    wire.cut();
    for number in 0..20 {
        assert_eq!(subscriber.receive().text(), number.to_string());
    }
    assert_eq!(subscriber.receive().text(), "gone");
}

/// [MQTT-3.1.2-8] The client's own later connection may subscribe to its will: at a take-over it may get it, and nobody
/// gets it twice.
#[test]
fn a_will_is_published_once() {
    let (id, topic) = (unique(), unique());
    let mut subscriber = Wire::subscriber(&topic, 0);
    let mut first = Wire::connect(&Connect::new(&id).will(&topic, "gone"));
    let mut second = Wire::connect(&Connect::new(&id));
    first.expect_close();
    drop(first);
    assert_eq!(subscriber.receive().text(), "gone");
    second.send(DISCONNECT);
    second.expect_close();
    subscriber.publish(&Publish::new(&topic, "marker"));
    assert_eq!(subscriber.receive().text(), "marker");
}
