//! 3.1.2.4 and 4.1: what a session keeps while its client is away, and what a clean one discards.

use crate::names::{SessionId, unique};
use crate::packets::{Connect, DISCONNECT, Publish, puback};
use crate::wire::Wire;

/// A stored session, subscribed at `qos`, whose client has gone: by DISCONNECT or by a cut.
#[track_caller]
fn absent(id: &SessionId, topic: &str, qos: u8, disconnect: bool) {
    let mut wire = Wire::connect(&Connect::persistent(id));
    wire.subscribe(topic, qos);
    if disconnect {
        wire.send(DISCONNECT);
        wire.expect_close();
    } else {
        wire.cut();
    }
}

/// [MQTT-3.1.2-4] [MQTT-3.1.2-5] [MQTT-4.5.0-1] [MQTT-4.1.0-1] Messages at QoS 1 and 2 wait for an absent session, in
/// order, at the lower QoS, with DUP 0 and RETAIN 0; those at QoS 0 may.
#[test]
fn messages_wait_for_an_absent_session() {
    for disconnect in [true, false] {
        let (id, topic) = (SessionId::new(), unique());
        absent(&id, &topic, 2, disconnect);
        let mut publisher = Wire::client();
        for number in 0..30u8 {
            publisher.publish(&Publish::new(&topic, number.to_string()).qos(number % 3, 1));
        }
        let mut back = Wire::connect(&Connect::persistent(&id));
        assert!(back.session_present);
        let mut came = Vec::new();
        while came.last() != Some(&29) {
            let message = back.receive();
            let number: u8 = message.text().parse().expect("a number");
            assert_eq!(message, Publish::new(&topic, number.to_string()).qos(number % 3, message.id));
            came.push(number);
        }
        // QoS 0 may be missing, and is not ordered against the others.
        let stored = |qos: u8| came.iter().copied().filter(move |number| number % 3 == qos);
        assert!(stored(1).eq((0..30).filter(|number| number % 3 == 1)), "{came:?}");
        assert!(stored(2).eq((0..30).filter(|number| number % 3 == 2)), "{came:?}");
        assert!(stored(0).is_sorted());
    }
}

/// [MQTT-3.1.2-5] Stored messages that are acknowledged do not come at the next connection.
#[test]
fn stored_messages_come_once() {
    let (id, topic) = (SessionId::new(), unique());
    absent(&id, &topic, 1, true);
    let mut publisher = Wire::client();
    for number in 0..5 {
        publisher.publish(&Publish::new(&topic, number.to_string()).qos(1, 1));
    }
    let mut back = Wire::connect(&Connect::persistent(&id));
    for number in 0..5 {
        assert_eq!(back.receive().text(), number.to_string());
    }
    back.expect_quiet();
    Wire::connect(&Connect::persistent(&id)).expect_quiet();
}

/// [MQTT-3.1.2-4] [MQTT-4.1.0-1] All subscriptions of a session are there again, with their QoS, without a SUBSCRIBE.
#[test]
fn subscriptions_are_resumed() {
    let (id, base) = (SessionId::new(), unique());
    let mut wire = Wire::connect(&Connect::persistent(&id));
    for qos in 0..3 {
        wire.subscribe(format!("{base}/{qos}/+"), qos);
    }
    drop(wire);
    let mut back = Wire::connect(&Connect::persistent(&id));
    for qos in 0..3 {
        back.publish(&Publish::new(format!("{base}/{qos}/x"), "m").qos(2, 1));
        assert_eq!(back.receive().qos, qos);
    }
}

/// [MQTT-3.1.2-6] [MQTT-3.1.4-3] A clean session discards an earlier one: its subscriptions, its stored messages, its
/// deliveries in flight; and they do not come back with a later session.
#[test]
fn a_clean_session_discards_the_earlier_one() {
    let (id, topic) = (SessionId::new(), unique());
    let mut wire = Wire::connect(&Connect::persistent(&id));
    wire.subscribe(&topic, 1);
    let mut publisher = Wire::client();
    publisher.publish(&Publish::new(&topic, "in flight").qos(1, 1));
    wire.next_publish();
    wire.cut();
    publisher.publish(&Publish::new(&topic, "stored").qos(1, 1));
    for connect in [Connect::new(&id), Connect::persistent(&id)] {
        let mut wire = Wire::connect(&connect);
        assert!(!wire.session_present);
        publisher.publish(&Publish::new(&topic, "not subscribed").qos(1, 1));
        wire.expect_quiet();
    }
}

/// [MQTT-3.1.2-6] The state of a clean session ends with its connection, however that ends.
#[test]
fn a_clean_session_leaves_nothing() {
    for disconnect in [true, false] {
        let (id, topic) = (SessionId::new(), unique());
        let mut wire = Wire::connect(&Connect::new(&id));
        wire.subscribe(&topic, 1);
        Wire::client().publish(&Publish::new(&topic, "in flight").qos(1, 1));
        wire.next_publish();
        if disconnect {
            wire.send(DISCONNECT);
            wire.expect_close();
        }
        drop(wire);
        let mut next = Wire::connect(&Connect::persistent(&id));
        assert!(!next.session_present);
        next.publish(&Publish::new(&topic, "nobody is subscribed").qos(1, 1));
        next.expect_quiet();
    }
}

/// [MQTT-3.1.2-4] [MQTT-3.1.4-2] [MQTT-4.4.0-1] A take-over resumes the session: subscriptions, deliveries in flight (with
/// DUP 1) and what is published later.
#[test]
fn a_take_over_resumes_the_session() {
    let (id, topic) = (SessionId::new(), unique());
    let mut first = Wire::connect(&Connect::persistent(&id));
    first.subscribe(&topic, 1);
    let mut publisher = Wire::client();
    publisher.publish(&Publish::new(&topic, "in flight").qos(1, 1));
    let message = first.next_publish();
    let mut second = Wire::connect(&Connect::persistent(&id));
    assert!(second.session_present);
    first.expect_close();
    assert_eq!(second.next_publish(), message.clone().dup());
    second.send(puback(message.id));
    publisher.publish(&Publish::new(&topic, "later").qos(1, 1));
    let later = second.receive();
    assert_eq!((later.text().as_str(), later.dup), ("later", false));
}

/// [MQTT-3.1.4-2] What the connection that was taken over still sends has no effect.
#[test]
fn a_connection_that_was_taken_over_is_deaf() {
    let (id, topic) = (SessionId::new(), unique());
    let mut first = Wire::connect(&Connect::persistent(&id));
    let mut second = Wire::connect(&Connect::persistent(&id));
    second.subscribe(&topic, 1);
    first.send(Publish::new(&topic, "from the past").bytes());
    first.expect_close();
    second.publish(&Publish::new(&topic, "marker").qos(1, 1));
    let came = second.receive_until("marker");
    assert!(came.is_empty(), "{came:?}");
}

/// [MQTT-4.1.0-2] [MQTT-4.1.0-1] A session is kept over connections that come and go quickly, and nothing is lost.
#[test]
fn nothing_is_lost_over_quick_reconnects() {
    let (id, topic) = (SessionId::new(), unique());
    absent(&id, &topic, 1, false);
    let mut publisher = Wire::client();
    let mut came = Vec::new();
    for number in 0..30 {
        publisher.publish(&Publish::new(&topic, number.to_string()).qos(1, 1));
        let mut wire = Wire::connect(&Connect::persistent(&id));
        assert!(wire.session_present);
        if number % 3 == 2 {
            while came.last() != Some(&number) {
                came.push(wire.receive().text().parse().expect("a number"));
            }
            wire.settle();
        }
    }
    assert_eq!(came, (0..30).collect::<Vec<i32>>());
}

/// [MQTT-3.1.2-5] A stored session's queue is its own: another absent session gets the same messages.
#[test]
fn each_absent_session_has_its_own_messages() {
    let topic = unique();
    let ids = [SessionId::new(), SessionId::new()];
    for id in &ids {
        absent(id, &topic, 2, true);
    }
    Wire::client().publish(&Publish::new(&topic, "for both").qos(2, 1));
    for id in &ids {
        let mut back = Wire::connect(&Connect::persistent(id));
        assert_eq!(back.receive().text(), "for both");
        back.expect_quiet();
    }
}

/// [MQTT-3.1.2-5] More messages than a window of identifiers in flight wait and come in order.
#[test]
fn a_long_queue_comes_in_order() {
    let (id, topic) = (SessionId::new(), unique());
    absent(&id, &topic, 2, true);
    let mut publisher = Wire::client();
    for number in 0..100 {
        publisher.publish(&Publish::new(&topic, number.to_string()).qos(1 + number % 2, 1));
    }
    let mut back = Wire::connect(&Connect::persistent(&id));
    let mut numbers: [Vec<u8>; 2] = [Vec::new(), Vec::new()];
    for _ in 0..100 {
        let message = back.receive();
        numbers[usize::from(message.qos - 1)].push(message.text().parse().expect("a number"));
    }
    assert!(numbers[0].iter().copied().eq((0..100).step_by(2)), "{numbers:?}");
    assert!(numbers[1].iter().copied().eq((1..100).step_by(2)), "{numbers:?}");
}
