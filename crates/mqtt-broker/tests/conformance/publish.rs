//! 3.3: PUBLISH in and out, apart from retained messages (`retain`) and the flows of QoS 1 and 2 (`qos1`, `qos2`).

use crate::malformed::expect_close_after;
use crate::names::unique;
use crate::packets::{Publish, puback, pubcomp, pubrec, pubrel};
use crate::wire::Wire;

/// [MQTT-3.3.1-4] [MQTT-4.8.0-1] QoS 3 closes, with any DUP and RETAIN.
#[test]
fn qos_3_closes() {
    let topic = unique();
    for (dup, retain) in [(false, false), (true, false), (false, true), (true, true)] {
        let message = Publish { dup, retain, ..Publish::new(&topic, "m").qos(3, 1) };
        expect_close_after(&format!("dup {dup} retain {retain}"), message.bytes());
    }
}

/// [MQTT-3.3.1-2] [MQTT-4.8.0-1] DUP at QoS 0 is a violation.
#[test]
fn dup_at_qos_0_closes() {
    expect_close_after("DUP", Publish::new(unique(), "m").dup().bytes());
    expect_close_after("DUP and RETAIN", Publish::new(unique(), "").dup().retain().bytes());
}

/// [MQTT-3.3.2-2] [MQTT-4.7.1-1] [MQTT-4.7.3-1] A topic name has no wildcard and at least one character, at every QoS.
#[test]
fn a_topic_that_is_no_topic_name_closes() {
    let base = unique();
    let with_base = ["/#", "/+", "#", "+", "/+/a", "/a+", "/#/a", "/a#b"].map(|tail| format!("{base}{tail}"));
    for topic in with_base.iter().map(String::as_str).chain(["#", "+", "+/a", "/+", ""]) {
        for qos in 0..3 {
            expect_close_after(&format!("topic {topic:?}"), Publish::new(topic, "m").qos(qos, 1).bytes());
        }
    }
}

/// [MQTT-3.3.4-1] [MQTT-2.3.1-6] QoS 0 has no answer, QoS 1 a PUBACK and QoS 2 a PUBREC with the identifier of the PUBLISH.
#[test]
fn the_answer_follows_the_qos() {
    let topic = unique();
    let mut wire = Wire::client();
    wire.send(Publish::new(&topic, "m").bytes());
    wire.expect_quiet();
    for id in [1, 2, 255, 256, 257, 0x7FFF, 0x8000, 65_534, 65_535] {
        wire.send(Publish::new(&topic, "m").qos(1, id).bytes());
        wire.expect(puback(id));
        wire.send(Publish::new(&topic, "m").qos(2, id).bytes());
        wire.expect(pubrec(id));
        wire.send(pubrel(id));
        wire.expect(pubcomp(id));
    }
    wire.expect_quiet();
}

/// [MQTT-3.8.4-6] [MQTT-4.3.1-1] [MQTT-3.3.1-2] [MQTT-2.3.1-5] For each pair of published and granted QoS the message comes
/// at the lower one, with DUP 0, unchanged, with an identifier above QoS 0 and none at QoS 0.
#[test]
fn the_delivered_qos_is_the_lower_one() {
    for granted in 0..3 {
        let topic = unique();
        let mut subscriber = Wire::subscriber(&topic, granted);
        let mut publisher = Wire::client();
        for published in 0..3 {
            let text = format!("{published} to {granted}");
            publisher.publish(&Publish::new(&topic, &text).qos(published, 1));
            let message = subscriber.receive();
            let lower = published.min(granted);
            assert_eq!(message, Publish::new(&topic, &text).qos(lower, message.id));
            assert_eq!(message.id == 0, lower == 0);
        }
    }
}

/// [MQTT-3.3.1-3] DUP of the incoming PUBLISH is not that of the outgoing one.
#[test]
fn dup_is_not_passed_on() {
    let topic = unique();
    let mut subscriber = Wire::subscriber(&topic, 2);
    let mut publisher = Wire::client();
    publisher.publish(&Publish::new(&topic, "one").qos(1, 1).dup());
    publisher.publish(&Publish::new(&topic, "two").qos(2, 1).dup());
    for text in ["one", "two"] {
        let message = subscriber.receive();
        assert_eq!((message.text().as_str(), message.dup), (text, false));
    }
}

/// [MQTT-3.3.2-3] A subscriber by wildcard gets the topic name that was published to, not its filter.
#[test]
fn the_topic_name_is_the_published_one() {
    let base = unique();
    let mut subscriber = Wire::subscriber(format!("{base}/#"), 0);
    for tail in ["", "/", "/a", "/a/b", "//", "/ ", "/é", "/$x"] {
        let topic = format!("{base}{tail}");
        subscriber.publish(&Publish::new(&topic, "m"));
        assert_eq!(subscriber.next_publish(), Publish::new(&topic, "m"));
    }
}

/// 3.3.3: a payload of no bytes is a message like any other, at every QoS.
#[test]
fn empty_payloads_are_delivered() {
    let topic = unique();
    let mut wire = Wire::subscriber(&topic, 2);
    for qos in 0..3 {
        wire.publish(&Publish::new(&topic, "").qos(qos, 1));
        let message = wire.receive();
        assert_eq!(message, Publish::new(&topic, "").qos(qos, message.id));
    }
}

/// [MQTT-1.5.3-3] EF BB BF at the start of a topic is a character of it, in names and in filters.
#[test]
fn the_byte_order_mark_stays() {
    let base = unique();
    let (with, without) = (format!("\u{feff}{base}"), base);
    let mut with_mark = Wire::subscriber(&with, 0);
    let mut without_mark = Wire::subscriber(&without, 0);
    let mut publisher = Wire::client();
    for _ in 0..2 {
        publisher.publish(&Publish::new(&with, "with"));
        publisher.publish(&Publish::new(&without, "without"));
    }
    for _ in 0..2 {
        assert_eq!(with_mark.next_publish(), Publish::new(&with, "with"));
        assert_eq!(without_mark.next_publish(), Publish::new(&without, "without"));
    }
}

/// [MQTT-4.5.0-1] Every session with a matching subscription gets the message, its publisher and an absent one included.
#[test]
fn every_matching_session_gets_the_message() {
    let (base, away) = (unique(), crate::names::SessionId::new());
    let topic = format!("{base}/a/b");
    let absent = crate::packets::Connect::persistent(&away);
    let mut wire = Wire::connect(&absent);
    wire.subscribe(format!("{base}/+/b"), 1);
    wire.send(crate::packets::DISCONNECT);
    wire.expect_close();
    let filters = [topic.clone(), format!("{base}/#"), format!("{base}/+/+"), format!("+/{}", "a/b")];
    let mut subscribers: Vec<Wire> = filters.iter().map(|filter| Wire::subscriber(filter, 1)).collect();
    let mut publisher = Wire::subscriber(&topic, 1);
    publisher.publish(&Publish::new(&topic, "for all").qos(1, 1));
    subscribers.push(publisher);
    subscribers.push(Wire::connect(&absent));
    for subscriber in &mut subscribers {
        assert_eq!(subscriber.receive().text(), "for all");
    }
}
