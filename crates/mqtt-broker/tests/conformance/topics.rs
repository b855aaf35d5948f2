//! 4.7: topic names and filters.

use crate::names::{RetainedTopic, unique};
use crate::packets::{Publish, suback, subscribe};
use crate::wire::Wire;

/// Whether a subscription to `filter` gets a message to `topic`.
#[track_caller]
fn matches(filter: &str, topic: &str) -> bool {
    let mut wire = Wire::subscriber(filter, 0);
    wire.publish(&Publish::new(topic, "m"));
    let came = wire.settle();
    assert!(came.len() < 2, "{filter} gets {topic} more than once");
    came.first().is_some_and(|packet| packet.publish() == Publish::new(topic, "m"))
}

/// [MQTT-4.7.1-2] [MQTT-4.7.1-3] [MQTT-3.3.2-3] The examples of 4.7.1 and 4.7.3, and their neighbours. `T` is a unique level.
#[test]
fn wildcards_match_as_the_standard_shows() {
    let cases = [
        ("T/player1/#", "T/player1", true),
        ("T/player1/#", "T/player1/ranking", true),
        ("T/player1/#", "T/player1/score/wimbledon", true),
        ("T/player1/#", "T/player2", false),
        ("T/player1/#", "T/player12", false),
        ("T/#", "T", true),
        ("T/#", "T/", true),
        ("T/#", "/T", false),
        ("T/+", "T", false),
        ("T/+", "T/", true),
        ("T/+", "T/a", true),
        ("T/+", "T/a/b", false),
        ("T/+", "T//", false),
        ("T/+/b", "T/a/b", true),
        ("T/+/b", "T//b", true),
        ("T/+/b", "T/b", false),
        ("T/+/b", "T/a/a/b", false),
        ("T/+/+", "T/a/b", true),
        ("T/+/+", "T//", true),
        ("T/+/#", "T", false),
        ("T/+/#", "T/a", true),
        ("T/+/#", "T/a/b/c", true),
        ("+/T", "/T", true),
        ("+/T", "x/T", true),
        ("+/T", "T", false),
        ("/+/T", "/x/T", true),
        ("+/+/T", "/x/T", true),
        ("+/T/#", "/T", true),
        ("+/T/#", "x/T/y", true),
        ("/T", "T", false),
        ("/T", "/T", true),
        ("T/", "T", false),
        ("T//a", "T/a", false),
        ("T//a", "T//a", true),
        ("T/a", "T/A", false),
        ("T/a b", "T/a b", true),
        ("T/a ", "T/a", false),
    ];
    let level = unique();
    for (filter, topic, want) in cases {
        let (filter, topic) = (filter.replace('T', &level), topic.replace('T', &level));
        assert_eq!(matches(&filter, &topic), want, "filter {filter}, topic {topic}");
    }
}

/// [MQTT-4.7.3-4] [MQTT-1.5.3-3] Nothing is normalised: composed and decomposed letters, case, spaces and the byte order
/// mark make topics of their own.
#[test]
fn topics_are_matched_as_they_are() {
    let base = unique();
    let tails = ["é", "e\u{301}", "É", "e", "\u{212b}", "å", "ﬁ", "fi", "\u{feff}fi", "fi ", "\u{a0}fi"];
    for filter in tails {
        for topic in tails {
            let got = matches(&format!("{base}/{filter}"), &format!("{base}/{topic}"));
            assert_eq!(got, filter == topic, "filter {filter:?}, topic {topic:?}");
        }
    }
}

/// [MQTT-4.7.2-1] A filter that begins with a wildcard gets no topic that begins with `$`, published or retained. A broker
/// may keep such topics from clients altogether.
#[test]
fn leading_wildcards_do_not_match_dollar_topics() {
    let level = unique();
    let topic = RetainedTopic::under(&format!("${level}"), &format!("/{level}"));
    let filters =
        [format!("+/{level}"), format!("+/{level}/#"), format!("+/+/{level}/#"), format!("+/{level}/+")];
    let mut established: Vec<Wire> = filters.iter().map(|filter| Wire::subscriber(filter, 1)).collect();
    let mut publisher = Wire::client();
    publisher.send(Publish::new(&topic, "dollar").qos(1, 7).retain().bytes());
    publisher.settle_or_close();
    let mut publisher = Wire::client();
    for (filter, wire) in filters.iter().zip(&mut established) {
        let marker = filter.replace('+', "x").replace('#', "y");
        publisher.publish(&Publish::new(&marker, "marker").qos(1, 1));
        let mut late = Wire::subscriber(filter, 1);
        late.publish(&Publish::new(&marker, "marker").qos(1, 1));
        for wire in [wire, &mut late] {
            let before = wire.receive_until("marker");
            let from_dollar = before.iter().find(|message| message.topic.starts_with(b"$"));
            assert_eq!(from_dollar, None, "filter {filter}");
        }
    }
}

/// [MQTT-4.7.2-1] `#` alone gets everything but topics that begin with `$`, of which the broker may have some of its own.
#[test]
fn a_lone_hash_gets_no_dollar_topic() {
    let topic = unique();
    let mut wire = Wire::client();
    let mut publisher = Wire::client();
    publisher.send(Publish::new(format!("${topic}"), "dollar").bytes());
    publisher.settle_or_close();
    let mut publisher = Wire::client();
    assert_eq!(wire.subscribe("#", 0), 0);
    let mut got_marker = false;
    while !got_marker {
        // Other tests publish a lot, so that a marker may be dropped.
        publisher.publish(&Publish::new(&topic, "marker"));
        publisher.settle();
        for packet in wire.settle() {
            let message = packet.publish();
            assert!(!message.topic.starts_with(b"$"), "{message:?}");
            got_marker |= message.topic == topic.as_bytes();
        }
    }
    wire.unsubscribe("#");
}

/// [MQTT-4.7.2-1] `$` elsewhere than at the start is a character like any other.
#[test]
fn a_dollar_within_a_topic_is_nothing_special() {
    let base = unique();
    for (filter, topic) in
        [("/#", "/$SYS"), ("/+", "/$SYS"), ("/+/a", "/$SYS/a"), ("/$a", "/$a"), ("/a$", "/a$")]
    {
        assert!(matches(&format!("{base}{filter}"), &format!("{base}{topic}")), "{filter} {topic}");
    }
    assert!(matches(&format!("+/{base}"), &format!("x$/{base}")));
}

/// [MQTT-4.7.3-3] Topic names and filters of 65,535 bytes are taken, and nothing of them is lost.
#[test]
fn topics_of_65_535_bytes() {
    let base = unique();
    let topic = format!("{base}/{}", "x".repeat(65_535 - base.len() - 1));
    assert!(matches(&topic, &topic));
    assert!(matches(&format!("{base}/+"), &topic));
    assert!(matches(&format!("{base}/#"), &topic));
    let other = format!("{}y", &topic[..65_534]);
    assert!(!matches(&topic, &other));
    let multibyte =
        format!("{base}/{}", "é".repeat(65_534 - base.len()))[..].chars().take(32_000).collect::<String>();
    assert!(matches(&multibyte, &multibyte));
}

/// [MQTT-4.7.3-3] [MQTT-3.3.1-6] Such a topic can hold a retained message, at QoS 1.
#[test]
fn a_retained_message_under_65_535_bytes() {
    let level = unique();
    let topic = RetainedTopic::under(&level, &format!("/{}", "r".repeat(65_534 - level.len())));
    Wire::client().publish(&Publish::new(&topic, "kept").qos(1, 1).retain());
    let message = Wire::subscriber(&topic, 1).receive();
    assert!(message == Publish::new(&topic, "kept").qos(1, message.id).retain());
}

/// [MQTT-4.7.3-1] The shortest names: one character, one slash.
#[test]
fn the_shortest_topics() {
    for topic in ["/", "//", "-"] {
        let payload = unique();
        let mut wire = Wire::subscriber(topic, 0);
        wire.publish(&Publish::new(topic, &payload));
        while wire.next_publish() != Publish::new(topic, &payload) {}
    }
}

/// A topic of 65,536 levels is legal; a broker may refuse so many, by closing or with 0x80, but stays in service.
#[test]
fn a_topic_of_very_many_levels_harms_nobody() {
    let mut bystander = Wire::client();
    let topic = "/".repeat(65_535);
    let mut wire = Wire::client();
    wire.send([subscribe(1, &[(&topic, 0)]), Publish::new(&topic, "m").bytes()].concat());
    let answers = wire.settle_or_close();
    if let Some(answers) = answers {
        let granted = answers.iter().any(|packet| packet.bytes() == suback(1, &[0]));
        let delivered =
            answers.iter().any(|packet| packet.is_publish() && packet.publish().topic == topic.as_bytes());
        assert!(delivered || !granted, "{answers:?}");
    }
    bystander.expect_quiet();
}

/// [MQTT-3.8.4-6] Many subscribers under many filters: each gets what it asked for and nothing else.
#[test]
fn many_filters_side_by_side() {
    let base = unique();
    let mut wires: Vec<Wire> =
        (0..20).map(|index| Wire::subscriber(format!("{base}/{index}/+"), 0)).collect();
    let mut publisher = Wire::client();
    for index in 0..20 {
        publisher.publish(&Publish::new(format!("{base}/{index}/x"), index.to_string()));
    }
    for index in 0..20 {
        publisher.publish(&Publish::new(format!("{base}/{index}/y"), "marker"));
    }
    for (index, wire) in wires.iter_mut().enumerate() {
        let texts: Vec<String> = wire.receive_until("marker").iter().map(Publish::text).collect();
        assert_eq!(texts, [index.to_string()]);
    }
}
