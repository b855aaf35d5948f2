//! 3.3.5: a message that matches several subscriptions of one client.

use crate::names::unique;
use crate::packets::Publish;
use crate::wire::Wire;

/// The copies of one message that a client with these subscriptions gets, by QoS, highest first.
fn copies(subscriptions: &[(String, u8)], topic: &str, qos: u8) -> Vec<u8> {
    let marker = unique();
    let mut wire = Wire::subscriber(&marker, 0);
    for (filter, granted) in subscriptions {
        assert_eq!(wire.subscribe(filter, *granted), *granted);
    }
    let mut publisher = Wire::client();
    publisher.publish(&Publish::new(topic, "m").qos(qos, 1));
    publisher.publish(&Publish::new(&marker, "marker"));
    let mut messages = wire.receive_until("marker");
    // Copies above QoS 0 may be behind a marker at QoS 0, but they are on their way before it.
    for late in wire.settle().iter().filter(|packet| packet.is_publish()) {
        wire.acknowledge(&late.publish());
        messages.push(late.publish());
    }
    assert!(messages.iter().all(|message| message.topic == topic.as_bytes() && message.payload == b"m"));
    let mut qos: Vec<u8> = messages.iter().map(|message| message.qos).collect();
    qos.sort_unstable_by(|one, other| other.cmp(one));
    qos
}

/// [MQTT-3.3.5-1] Either one copy at the highest QoS, or one a subscription, each at the QoS of its own.
#[test]
fn overlapping_subscriptions_deliver_at_the_highest_qos() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let base = unique();
        let filters = [format!("{base}/a"), format!("{base}/+"), format!("{base}/#")];
        let subscriptions: Vec<_> = filters.into_iter().zip(order).collect();
        for published in 0..3 {
            let got = copies(&subscriptions, &format!("{base}/a"), published);
            let mut each: Vec<u8> = order.iter().map(|granted| published.min(*granted)).collect();
            each.sort_unstable_by(|one, other| other.cmp(one));
            assert!(
                got == [published] || got == each,
                "published at {published}, granted {order:?}, got {got:?}"
            );
        }
    }
}

/// [MQTT-3.3.5-1] After one of two is gone the other one delivers, at its own QoS.
#[test]
fn what_is_left_of_overlapping_subscriptions_delivers() {
    let base = unique();
    let (exact, wildcard, topic) = (format!("{base}/a"), format!("{base}/#"), format!("{base}/a"));
    let mut wire = Wire::subscriber(&exact, 2);
    wire.subscribe(&wildcard, 1);
    wire.unsubscribe(&exact);
    wire.publish(&Publish::new(&topic, "first").qos(2, 1));
    wire.publish(&Publish::new(&topic, "marker").qos(2, 1));
    let first = wire.receive();
    assert_eq!((first.text().as_str(), first.qos), ("first", 1));
    assert_eq!(wire.receive().text(), "marker");
}
