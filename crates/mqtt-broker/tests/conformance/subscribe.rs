//! 3.8 and 3.9: SUBSCRIBE and SUBACK.

use crate::broker::is_ours;
use crate::malformed::expect_close_after;
use crate::names::unique;
use crate::packets::{PINGREQ, Publish, packet, puback, suback, subscribe};
use crate::wire::Wire;

/// [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-2.3.1-7] [MQTT-3.9.3-2] SUBSCRIBE is answered by a SUBACK with its identifier.
#[test]
fn suback_repeats_the_identifier() {
    let mut wire = Wire::client();
    for id in [1, 2, 0x00FF, 0x0100, 0x7FFF, 0x8000, 65_535] {
        for qos in 0..3 {
            wire.send(subscribe(id, &[(unique(), qos)]));
            wire.expect(suback(id, &[qos]));
        }
    }
}

/// [MQTT-3.8.4-5] [MQTT-3.9.3-1] [MQTT-3.9.3-2] [MQTT-3.8.4-4] One SUBACK with a return code for each filter, in order.
#[test]
fn return_codes_come_in_the_order_of_the_filters() {
    let base = unique();
    let asked = [2, 0, 1, 1, 0, 2, 2, 1, 0];
    let filters: Vec<_> =
        asked.iter().enumerate().map(|(index, qos)| (format!("{base}/{index}"), *qos)).collect();
    let mut wire = Wire::client();
    wire.send(subscribe(3, &filters));
    wire.expect(suback(3, &asked));
    for (filter, qos) in &filters {
        wire.publish(&Publish::new(filter, "m").qos(2, 1));
        assert_eq!(wire.receive().qos, *qos);
    }
}

/// [MQTT-3.8.4-4] The filters of one packet act as if each came in a packet of its own: of two equal ones the later counts.
#[test]
fn filters_of_one_packet_act_as_a_sequence() {
    let topic = unique();
    let mut wire = Wire::client();
    wire.send(subscribe(3, &[(&topic, 2), (&topic, 0), (&topic, 1)]));
    wire.expect(suback(3, &[2, 0, 1]));
    wire.publish(&Publish::new(&topic, "m").qos(2, 1));
    wire.publish(&Publish::new(&topic, "marker").qos(2, 1));
    assert_eq!(wire.receive().qos, 1);
    assert_eq!(wire.receive().text(), "marker");
}

/// [MQTT-3.8.4-4] [MQTT-3.8.4-5] A hundred filters in one packet.
#[test]
fn many_filters_in_one_packet() {
    let base = unique();
    let filters: Vec<_> = (0..100).map(|index| (format!("{base}/{index}"), index % 3)).collect();
    let mut wire = Wire::client();
    wire.send(subscribe(3, &filters));
    wire.expect(suback(3, &filters.iter().map(|(_, qos)| *qos).collect::<Vec<_>>()));
    wire.publish(&Publish::new(format!("{base}/99"), "m"));
    assert_eq!(wire.next_publish().topic, format!("{base}/99").as_bytes());
}

/// [MQTT-3.8.3-3] [MQTT-4.8.0-1] SUBSCRIBE without a filter closes.
#[test]
fn no_filter_closes() {
    expect_close_after("no filter", packet(0x82, &[0, 1]));
}

/// [MQTT-3.8.3-4] Each of the six reserved bits of a requested QoS, and QoS 3, closes; also behind good filters.
#[test]
fn reserved_bits_of_the_requested_qos_close() {
    let filter = unique();
    for options in [3, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0x81, 0xFF] {
        expect_close_after(&format!("options {options:#04x}"), subscribe(1, &[(&filter, options)]));
        let second = subscribe(1, &[(&filter, 1), (&filter, options)]);
        expect_close_after(&format!("second options {options:#04x}"), second);
    }
}

/// A packet that is refused has no effect on our broker: its good filters are not subscribed to either. The standard asks
/// for the close alone.
#[test]
fn a_refused_packet_subscribes_to_nothing() {
    let (topic, id) = (unique(), crate::names::SessionId::new());
    let connect = crate::packets::Connect::persistent(&id);
    let mut wire = Wire::connect(&connect);
    wire.send(subscribe(1, &[(topic.as_str(), 1), ("other", 3)]));
    wire.expect_close();
    let mut back = Wire::connect(&connect);
    back.publish(&Publish::new(&topic, "m").qos(1, 1));
    let came = back.settle();
    assert!(came.is_empty() || !is_ours(), "{came:?}");
}

/// [MQTT-4.7.1-2] [MQTT-4.7.1-3] [MQTT-4.7.3-1] Filters that are none: `#` not last or not alone in its level, `+` not
/// alone in its level, no character at all.
#[test]
fn invalid_filters_close() {
    let invalid = [
        "", "#/", "#/a", "a#", "a/b#", "a/#/b", "##", "#+", "+#", "+a", "a+", "a/+b", "a/b+/c", "++", "a/++",
        "/#/", "a/#b",
    ];
    for filter in invalid {
        expect_close_after(&format!("filter {filter:?}"), subscribe(1, &[(filter, 0)]));
        expect_close_after(
            &format!("second filter {filter:?}"),
            subscribe(1, &[(unique().as_str(), 0), (filter, 0)]),
        );
    }
}

/// [MQTT-3.8.3-2] [MQTT-4.7.1-2] [MQTT-4.7.1-3] Wildcards where they may be are granted.
#[test]
fn valid_wildcards_are_granted() {
    let base = unique();
    let tails = ["/#", "/+", "/+/+", "/+/a", "/a/+/b", "/+/#", "/a/#", "//#", "/+/", "//+", "/+//+/#"];
    let mut wire = Wire::client();
    for filter in tails
        .map(|tail| format!("{base}{tail}"))
        .into_iter()
        .chain([format!("+/{base}"), format!("/{base}/#")])
    {
        assert_eq!(wire.subscribe(&filter, 1), 1, "{filter}");
    }
}

/// [MQTT-3.8.4-3] The same filter again replaces the subscription: one copy, at the new QoS, up and down.
#[test]
fn subscribing_again_replaces_the_qos() {
    let topic = unique();
    let mut wire = Wire::client();
    for granted in [0, 2, 1, 0, 1, 2, 2] {
        assert_eq!(wire.subscribe(&topic, granted), granted);
        wire.publish(&Publish::new(&topic, "m").qos(2, 1));
        wire.publish(&Publish::new(&topic, "marker").qos(2, 1));
        assert_eq!(wire.receive().qos, granted);
        assert_eq!(wire.receive().text(), "marker");
    }
}

/// [MQTT-3.8.4-3] Replacing does not interrupt the flow: while the client subscribes again and again, no message is lost
/// and none comes twice.
#[test]
fn subscribing_again_loses_nothing() {
    let topic = unique();
    let mut wire = Wire::subscriber(&topic, 1);
    let publisher = std::thread::spawn({
        let topic = topic.clone();
        move || {
            let mut publisher = Wire::client();
            for number in 0..300 {
                publisher.publish(&Publish::new(&topic, number.to_string()).qos(1, 1));
            }
        }
    });
    for number in 0..300 {
        if number % 3 == 0 {
            assert_eq!(wire.subscribe(&topic, 1), 1);
        }
        assert_eq!(wire.receive().text(), number.to_string());
    }
    publisher.join().expect("the publisher ends");
}

/// [MQTT-3.8.4-3] A delivery in flight is not touched by replacing the subscription.
#[test]
fn subscribing_again_keeps_deliveries_in_flight() {
    let (topic, id) = (unique(), crate::names::SessionId::new());
    let connect = crate::packets::Connect::persistent(&id);
    let mut wire = Wire::connect(&connect);
    wire.subscribe(&topic, 1);
    Wire::client().publish(&Publish::new(&topic, "m").qos(1, 1));
    let message = wire.next_publish();
    wire.subscribe(&topic, 0);
    let mut back = Wire::connect(&connect);
    assert_eq!(back.next_publish(), message.clone().dup());
    back.send(puback(message.id));
    back.expect_quiet();
}

/// [MQTT-3.8.4-1] A subscription counts from its SUBACK on: what is published behind SUBSCRIBE in one write comes.
#[test]
fn a_message_behind_subscribe_is_delivered() {
    let topic = unique();
    let mut wire = Wire::client();
    wire.send([subscribe(1, &[(&topic, 0)]), Publish::new(&topic, "m").bytes(), PINGREQ.to_vec()].concat());
    assert_eq!(wire.answer(9).bytes(), suback(1, &[0]));
    assert_eq!(wire.answer(13).head, 0xD0);
    assert!(wire.settle().iter().any(|packet| packet.is_publish() && packet.publish().text() == "m"));
}
