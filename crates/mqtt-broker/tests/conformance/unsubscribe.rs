//! 3.10 and 3.11: UNSUBSCRIBE and UNSUBACK.

use crate::malformed::expect_close_after;
use crate::names::{SessionId, unique};
use crate::packets::{Connect, Publish, packet, puback, pubcomp, pubrec, pubrel, unsuback, unsubscribe};
use crate::wire::Wire;

/// [MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-2.3.1-7] UNSUBACK with the same identifier, whether the filter was subscribed to,
/// never was, or no longer is.
#[test]
fn unsubscribe_is_always_answered() {
    let (topic, never) = (unique(), unique());
    let mut wire = Wire::subscriber(&topic, 0);
    for (id, filter) in [(1, &never), (0x0102, &topic), (65_535, &topic), (2, &never)] {
        wire.send(unsubscribe(id, &[filter]));
        wire.expect(unsuback(id));
    }
    wire.expect_quiet();
}

/// [MQTT-3.10.4-2] After UNSUBACK no message comes for the filter.
#[test]
fn nothing_comes_after_unsuback() {
    let (topic, other) = (unique(), unique());
    let mut wire = Wire::subscriber(&topic, 1);
    wire.subscribe(&other, 1);
    wire.publish(&Publish::new(&topic, "before").qos(1, 1));
    assert_eq!(wire.receive().text(), "before");
    wire.unsubscribe(&topic);
    let mut publisher = Wire::client();
    for qos in 0..3 {
        publisher.publish(&Publish::new(&topic, "after").qos(qos, 1));
    }
    publisher.publish(&Publish::new(&other, "marker").qos(1, 1));
    assert_eq!(wire.receive().text(), "marker");
}

/// [MQTT-3.10.4-6] [MQTT-3.10.4-4] Several filters in one packet: all go, those unknown too, with one UNSUBACK.
#[test]
fn several_filters_get_one_unsuback() {
    let base = unique();
    let filters: Vec<String> = (0..20).map(|index| format!("{base}/{index}")).collect();
    let mut wire = Wire::client();
    for filter in filters.iter().step_by(2) {
        wire.subscribe(filter, 0);
    }
    let last = format!("{base}/last");
    wire.subscribe(&last, 0);
    let twice: Vec<&String> = filters.iter().chain(&filters).collect();
    wire.send(unsubscribe(77, &twice));
    wire.expect(unsuback(77));
    for filter in &filters {
        wire.publish(&Publish::new(filter, "m"));
    }
    wire.publish(&Publish::new(&last, "marker"));
    assert_eq!(wire.next_publish().text(), "marker");
    wire.expect_quiet();
}

/// [MQTT-3.10.4-1] Filters are compared byte for byte: one that matches the same topics, or looks alike, removes nothing.
#[test]
fn filters_are_compared_byte_for_byte() {
    let base = unique();
    let subscribed = format!("{base}/a/é");
    let mut wire = Wire::subscriber(&subscribed, 0);
    let others = [
        "/a/+",
        "/#",
        "/+/é",
        "/a/e\u{301}",
        "/A/é",
        "/a/É",
        "/a/é/",
        "//a/é",
        "/a",
        "/a/é ",
        "/a/é/#",
        "/a/\u{feff}é",
    ];
    for tail in others {
        wire.unsubscribe(format!("{base}{tail}"));
    }
    wire.publish(&Publish::new(&subscribed, "m"));
    assert_eq!(wire.next_publish().text(), "m");
}

/// [MQTT-3.10.4-1] The same with a wildcard filter: a topic that it matches is another filter.
#[test]
fn a_wildcard_filter_is_removed_by_itself_alone() {
    let base = unique();
    let (wildcard, topic) = (format!("{base}/+"), format!("{base}/a"));
    let mut wire = Wire::subscriber(&wildcard, 0);
    wire.unsubscribe(&topic);
    wire.publish(&Publish::new(&topic, "still"));
    assert_eq!(wire.next_publish().text(), "still");
    wire.unsubscribe(&wildcard);
    wire.publish(&Publish::new(&topic, "gone"));
    wire.expect_quiet();
}

/// [MQTT-3.10.4-2] Only this client's subscription goes.
#[test]
fn another_client_stays_subscribed() {
    let topic = unique();
    let mut one = Wire::subscriber(&topic, 0);
    let mut other = Wire::subscriber(&topic, 0);
    one.unsubscribe(&topic);
    other.publish(&Publish::new(&topic, "m"));
    assert_eq!(other.next_publish().text(), "m");
    one.expect_quiet();
}

/// [MQTT-3.10.4-3] Deliveries at QoS 1 and 2 that have begun go on to their end after UNSUBSCRIBE.
#[test]
fn deliveries_begun_are_completed() {
    let topic = unique();
    let mut wire = Wire::subscriber(&topic, 2);
    let mut publisher = Wire::client();
    publisher.publish(&Publish::new(&topic, "one").qos(1, 1));
    publisher.publish(&Publish::new(&topic, "two").qos(2, 1));
    let (one, two) = (wire.next_publish(), wire.next_publish());
    wire.unsubscribe(&topic);
    wire.send(puback(one.id));
    wire.send(pubrec(two.id));
    wire.expect(pubrel(two.id));
    wire.send(pubcomp(two.id));
    wire.expect_quiet();
}

/// [MQTT-3.10.4-3] [MQTT-4.4.0-1] Also over a reconnect.
#[test]
fn deliveries_begun_are_completed_after_a_reconnect() {
    let (id, topic) = (SessionId::new(), unique());
    let mut wire = Wire::connect(&Connect::persistent(&id));
    wire.subscribe(&topic, 2);
    let mut publisher = Wire::client();
    for qos in [1, 2, 2] {
        publisher.publish(&Publish::new(&topic, "m").qos(qos, 1));
    }
    let messages: Vec<Publish> = (0..3).map(|_| wire.next_publish()).collect();
    wire.send(pubrec(messages[2].id));
    wire.expect(pubrel(messages[2].id));
    wire.unsubscribe(&topic);
    drop(wire);
    let mut back = Wire::connect(&Connect::persistent(&id));
    let mut came: Vec<Vec<u8>> = back.settle().iter().map(crate::wire::Packet::bytes).collect();
    came.sort_unstable();
    let mut want =
        vec![messages[0].clone().dup().bytes(), messages[1].clone().dup().bytes(), pubrel(messages[2].id)];
    want.sort_unstable();
    assert_eq!(came, want);
}

/// [MQTT-3.10.4-2] [MQTT-4.1.0-1] What is unsubscribed stays so in a session that is resumed.
#[test]
fn unsubscribing_outlives_the_connection() {
    let (id, topic) = (SessionId::new(), unique());
    let mut wire = Wire::connect(&Connect::persistent(&id));
    wire.subscribe(&topic, 1);
    wire.unsubscribe(&topic);
    drop(wire);
    Wire::client().publish(&Publish::new(&topic, "while away").qos(1, 1));
    let mut back = Wire::connect(&Connect::persistent(&id));
    assert!(back.session_present);
    back.publish(&Publish::new(&topic, "when back").qos(1, 1));
    back.expect_quiet();
}

/// [MQTT-3.10.3-2] [MQTT-4.8.0-1] UNSUBSCRIBE without a filter closes.
#[test]
fn no_filter_closes() {
    expect_close_after("no filter", packet(0xA2, &[0, 1]));
}

/// [MQTT-4.7.1-2] [MQTT-4.7.1-3] [MQTT-4.7.3-1] So does a filter that is none.
#[test]
fn invalid_filters_close() {
    for filter in ["", "#/a", "a#", "a/#/b", "+a", "a+", "a/+b"] {
        expect_close_after(&format!("filter {filter:?}"), unsubscribe(1, &[filter]));
    }
}
