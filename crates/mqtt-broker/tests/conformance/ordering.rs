//! 4.6: messages and acknowledgements keep their order.

use crate::names::unique;
use crate::packets::{Connect, Publish, puback, pubcomp, pubrec, pubrel};
use crate::wire::Wire;

/// "0", "1", ... to one topic, as one write.
fn batch(topic: &str, qos: u8, count: u16) -> Vec<u8> {
    (0..count)
        .flat_map(|number| Publish::new(topic, number.to_string()).qos(qos, number + 1).bytes())
        .collect()
}

/// [MQTT-4.6.0-5] [MQTT-4.6.0-6] QoS 0: in order, to a subscriber at each QoS and to a wildcard.
#[test]
fn qos_0_keeps_its_order() {
    let base = unique();
    let topic = format!("{base}/a");
    let filters =
        [(topic.clone(), 0), (topic.clone(), 2), (format!("{base}/#"), 0), (format!("{base}/+"), 1)];
    let mut subscribers: Vec<Wire> =
        filters.iter().map(|(filter, qos)| Wire::subscriber(filter, *qos)).collect();
    Wire::client().send(batch(&topic, 0, 500));
    for subscriber in &mut subscribers {
        for number in 0..500 {
            assert_eq!(subscriber.next_publish(), Publish::new(&topic, number.to_string()));
        }
    }
}

/// [MQTT-4.6.0-2] [MQTT-4.6.0-5] [MQTT-4.6.0-6] QoS 1: PUBACKs and deliveries in order, more than a window holds.
#[test]
fn qos_1_keeps_its_order() {
    let topic = unique();
    let mut subscriber = Wire::subscriber(&topic, 1);
    let mut publisher = Wire::client();
    publisher.send(batch(&topic, 1, 300));
    for number in 0..300 {
        assert_eq!(subscriber.receive().text(), number.to_string());
    }
    for number in 0..300 {
        publisher.expect(puback(number + 1));
    }
}

/// [MQTT-4.6.0-3] [MQTT-4.6.0-4] [MQTT-4.6.0-5] [MQTT-4.6.0-6] QoS 2: PUBRECs in the order of the PUBLISH packets, and
/// deliveries in that order too.
#[test]
fn qos_2_keeps_its_order() {
    let topic = unique();
    let mut subscriber = Wire::subscriber(&topic, 2);
    let mut publisher = Wire::client();
    for _ in 0..10 {
        publisher.send(batch(&topic, 2, 15));
        for id in 1..=15 {
            publisher.expect(pubrec(id));
        }
        publisher.send((1..=15).flat_map(pubrel).collect::<Vec<u8>>());
        for id in 1..=15 {
            publisher.expect(pubcomp(id));
        }
        for number in 0..15 {
            assert_eq!(subscriber.receive().text(), number.to_string());
        }
    }
}

/// [MQTT-4.6.0-6] [MQTT-4.6.0-4] A subscriber that acknowledges late, and out of order, still gets messages in order.
#[test]
fn late_acknowledgements_do_not_change_the_order() {
    let topic = unique();
    let mut subscriber = Wire::subscriber(&topic, 1);
    let mut publisher = Wire::client();
    publisher.send(batch(&topic, 1, 200));
    let mut came = 0;
    while came < 200 {
        let mut held = Vec::new();
        for packet in subscriber.settle() {
            let message = packet.publish();
            assert_eq!(message.text(), came.to_string());
            came += 1;
            held.push(message.id);
        }
        subscriber.send(held.iter().rev().flat_map(|id| puback(*id)).collect::<Vec<u8>>());
    }
}

/// [MQTT-4.6.0-6] Two publishers at once: the messages of each keep their order, at each QoS.
#[test]
fn the_order_of_each_publisher_is_kept() {
    for qos in 0..3 {
        let topic = unique();
        let mut subscriber = Wire::subscriber(&topic, qos);
        let publish = |name: &'static str| {
            let topic = topic.clone();
            std::thread::spawn(move || {
                let mut wire = Wire::client();
                for number in 0..100 {
                    wire.publish(&Publish::new(&topic, format!("{name}{number}")).qos(qos, 1));
                }
                wire.settle();
            })
        };
        let publishers = [publish("a"), publish("b")];
        let (mut of_a, mut of_b) = (0, 0);
        for _ in 0..200 {
            let text = subscriber.receive().text();
            let next = if text.starts_with('a') { &mut of_a } else { &mut of_b };
            assert_eq!(text[1..], next.to_string());
            *next += 1;
        }
        for publisher in publishers {
            publisher.join().expect("the publisher ends");
        }
    }
}

/// [MQTT-4.6.0-5] [MQTT-4.6.0-6] Each topic keeps its order when a client publishes to many in turn.
#[test]
fn every_topic_is_ordered() {
    let base = unique();
    let mut subscriber = Wire::subscriber(format!("{base}/+"), 1);
    let messages = (0..300u16).flat_map(|number| {
        Publish::new(format!("{base}/{}", number % 7), number.to_string()).qos(1, number + 1).bytes()
    });
    let mut publisher = Wire::client();
    publisher.send(messages.collect::<Vec<u8>>());
    let mut last = [None; 7];
    for _ in 0..300 {
        let number: u16 = subscriber.receive().text().parse().expect("a number");
        let before = last[usize::from(number % 7)].replace(number);
        assert!(before.is_none_or(|before| before + 7 == number), "{number} after {before:?}");
    }
}

/// [MQTT-4.6.0-1] [MQTT-4.6.0-6] A connection that breaks again and again with some messages acknowledged: what comes again
/// and what is new keep the order of the publisher.
#[test]
fn order_over_broken_connections() {
    let (id, topic) = (crate::names::SessionId::new(), unique());
    let mut wire = Wire::connect(&Connect::persistent(&id));
    wire.subscribe(&topic, 1);
    let mut publisher = Wire::client();
    publisher.send(batch(&topic, 1, 60));
    for number in 0..60 {
        publisher.expect(puback(number + 1));
    }
    let mut next = 0;
    while next < 60 {
        // Four come, three are acknowledged, the fourth is the first to come again.
        for number in next..(next + 4).min(60) {
            let message = wire.next_publish();
            assert_eq!(message.text(), number.to_string());
            if number < next + 3 {
                wire.send(puback(message.id));
            }
        }
        // Answered once the acknowledgements before it are.
        wire.settle();
        next += 3;
        wire = Wire::connect(&Connect::persistent(&id));
    }
    wire.expect_quiet();
}
