//! Tests of the retained store by hand-picked cases; random ones against the oracle are in `tests/`.

use std::time::Duration;

use super::*;

fn name(text: &str) -> TopicName {
    TopicName::try_from(text).unwrap()
}

fn filter(text: &str) -> TopicFilter {
    TopicFilter::try_from(text).unwrap()
}

fn store(max_messages: usize, max_bytes: usize) -> Retained<&'static str> {
    Retained::new(RetainedLimits { max_messages, max_bytes })
}

fn found(store: &Retained<&'static str>, text: &str) -> Vec<String> {
    let found = store.matching(&filter(text), None, usize::MAX, Instant::now());
    found.into_iter().map(|(topic, _)| topic.to_string()).collect()
}

/// [MQTT-3.3.1-5] [MQTT-3.3.1-7] [MQTT-3.3.1-10]
#[test]
fn sets_replaces_and_clears() {
    let now = Instant::now();
    let mut store = store(10, 100);
    assert_eq!(store.set(&name("a/b"), "one", 3, None), Ok(None));
    assert_eq!(store.set(&name("a/b"), "second", 6, None), Ok(Some("one")));
    assert_eq!((store.get(&name("a/b"), now), store.get(&name("a"), now)), (Some(&"second"), None));
    assert_eq!((store.len(), store.bytes()), (1, 6));
    assert_eq!(store.clear(&name("a")), None);
    assert_eq!(store.clear(&name("a/b")), Some("second"));
    assert_eq!((store.len(), store.bytes(), store.is_empty()), (0, 0, true));
}

/// [MQTT-3.3.1-6]
#[test]
fn finds_in_topic_order_and_in_chunks() {
    let mut store = store(100, 100);
    for topic in ["a-b", "a/x", "a", "/a", "b/x/y", "a/x/c", "a/y", "/", "a/x/b", "b"] {
        store.set(&name(topic), "", 0, None).unwrap();
    }
    let all = ["/", "/a", "a", "a/x", "a/x/b", "a/x/c", "a/y", "a-b", "b", "b/x/y"];
    assert_eq!(found(&store, "#"), all);
    assert_eq!(found(&store, "a/#"), ["a", "a/x", "a/x/b", "a/x/c", "a/y"]);
    assert_eq!(found(&store, "+/x"), ["a/x"]);
    assert_eq!(found(&store, "+/x/+"), ["a/x/b", "a/x/c", "b/x/y"]);
    assert_eq!(found(&store, "+/+"), ["/", "/a", "a/x", "a/y"]);
    assert_eq!(found(&store, "a/x"), ["a/x"]);
    for limit in 1..12 {
        let (mut scan, mut chunks) = (RetainedScan::new(&filter("#")), Vec::new());
        while !scan.is_finished() {
            let chunk = store.next_chunk(&mut scan, limit, Instant::now());
            assert!(chunk.len() <= limit);
            chunks.extend(chunk.into_iter().map(|(topic, _)| topic.to_string()));
        }
        assert_eq!(chunks, all);
    }
    assert_eq!(store.matching(&filter("#"), Some(&name("b/x/y")), 5, Instant::now()), []);
}

/// [MQTT-4.7.2-1]
#[test]
fn a_wildcard_first_level_does_not_find_dollar_topics() {
    let mut store = store(100, 100);
    for topic in ["$SYS/x", "$", "x", "%/x", "\"/x"] {
        store.set(&name(topic), "", 0, None).unwrap();
    }
    assert_eq!(found(&store, "#"), ["\"/x", "%/x", "x"]);
    assert_eq!(found(&store, "+/x"), ["\"/x", "%/x"]);
    assert_eq!(found(&store, "$SYS/#"), ["$SYS/x"]);
    assert_eq!(found(&store, "$"), ["$"]);
}

#[test]
fn room_is_made_for_what_is_expected_and_no_more_than_may_come() {
    let limits = RetainedLimits { max_messages: 1_000, max_bytes: usize::MAX };
    let mut filling = RetainedFilling::new(limits, usize::MAX);
    for n in 0..1_001 {
        filling.set(n.to_string().as_bytes(), "x", 1, None);
    }
    let store = filling.finish();
    let room = store.messages.capacity();
    assert!((1_000..10_000).contains(&room), "{room}");
    assert_eq!(store.len(), 1_000);
}

/// Whatever the order in which they come, and however often a topic does.
#[test]
fn filled_is_as_if_set_one_by_one() {
    let now = Instant::now();
    let limits = RetainedLimits { max_messages: 120, max_bytes: 700 };
    let (mut filling, mut set) = (RetainedFilling::new(limits, 10), Retained::new(limits));
    for n in 0..300_u64 {
        let topic = name(&format!("{}/{}", n * 7 % 13, n * 11 % 150));
        let size = n as usize % 9;
        let expires_at = (n % 5 == 4).then(|| now + Duration::from_secs(n));
        filling.set(topic.as_bytes(), n, size, expires_at);
        let _ = set.set(&topic, n, size, expires_at);
    }
    let mut filled = filling.finish();
    let all = |store: &Retained<u64>| store.matching(&filter("#"), None, usize::MAX, now);
    assert!(filled.len() > 64, "more than go into the table together");
    assert_eq!(all(&filled), all(&set));
    assert_eq!(
        (filled.len(), filled.bytes(), filled.next_expiry()),
        (set.len(), set.bytes(), set.next_expiry())
    );
    let later = now + Duration::from_secs(150);
    assert_eq!(filled.expire(later, usize::MAX), set.expire(later, usize::MAX));
    assert_eq!((filled.len(), all(&filled)), (set.len(), all(&set)));
}

#[test]
fn a_full_store_refuses_the_newcomer() {
    let mut store = store(2, 10);
    store.set(&name("a"), "old", 4, None).unwrap();
    store.set(&name("b"), "old", 4, None).unwrap();
    assert_eq!(store.set(&name("c"), "new", 0, None), Err(RetainedFull::Messages));
    assert_eq!(store.set(&name("b"), "new", 7, None), Err(RetainedFull::Bytes));
    assert_eq!(store.get(&name("b"), Instant::now()), Some(&"old"));
    assert_eq!(store.set(&name("b"), "new", 6, None), Ok(Some("old")));
    assert_eq!((store.len(), store.bytes()), (2, 10));
    store.clear(&name("a"));
    assert_eq!(store.set(&name("c"), "new", 5, None), Err(RetainedFull::Bytes));
    assert_eq!(store.set(&name("c"), "new", 4, None), Ok(None));
    assert_eq!(store.set(&name("c"), "huge", usize::MAX, None), Err(RetainedFull::Bytes));
}

#[test]
fn expires_what_is_due_and_nothing_else() {
    let start = Instant::now();
    let at = |secs| start + Duration::from_secs(secs);
    let mut store = store(100, 100);
    store.set(&name("a"), "a", 1, Some(at(1))).unwrap();
    store.set(&name("b"), "b", 1, Some(at(1))).unwrap();
    store.set(&name("b"), "b", 1, Some(at(3))).unwrap();
    store.set(&name("c"), "c", 1, Some(at(1))).unwrap();
    store.set(&name("c"), "c", 1, None).unwrap();
    store.set(&name("d"), "d", 1, Some(at(1))).unwrap();
    store.clear(&name("d"));
    assert_eq!((store.next_expiry(), store.expire(start, 9).len()), (Some(at(1)), 0));
    assert_eq!((store.get(&name("a"), start), store.get(&name("a"), at(1))), (Some(&"a"), None));
    assert_eq!(store.matching(&filter("a"), None, 9, at(1)), [], "expired, though not yet removed");
    assert_eq!((store.expire(at(2), 9).len(), store.len(), store.next_expiry()), (1, 2, Some(at(3))));
    assert_eq!(
        (store.expire(at(3), 9).len(), store.len(), store.bytes(), store.next_expiry()),
        (1, 1, 1, None)
    );
}

#[test]
fn expires_a_few_at_a_time() {
    let now = Instant::now();
    let mut store = store(100, 100);
    for n in 0..10 {
        store.set(&name(&n.to_string()), "", 1, Some(now)).unwrap();
    }
    assert_eq!([4; 4].map(|limit| store.expire(now, limit).len()), [4, 4, 2, 0]);
    assert!(store.is_empty());
}

/// One chunk looks at a bounded number of messages, even if none of them is a match.
#[test]
fn a_filter_that_matches_nothing_is_answered_in_steps() {
    let mut store = store(usize::MAX, 0);
    for n in 0..5_000 {
        store.set(&name(&format!("{n}/a")), "", 0, None).unwrap();
    }
    let (mut scan, mut chunks) = (RetainedScan::new(&filter("+/b")), 0);
    while !scan.is_finished() {
        assert_eq!(store.next_chunk(&mut scan, 1, Instant::now()), []);
        chunks += 1;
    }
    assert!(chunks >= 5_000 / LOOKS.0, "{chunks}");
    assert_eq!(store.matching(&filter("+/b"), None, 1, Instant::now()), []);
}

/// Topics that differ in their last bytes alone are compared to the end at each step: a few take as long as thousands of short ones.
#[test]
fn a_chunk_looks_at_few_of_topics_that_are_long() {
    let mut store = store(usize::MAX, 0);
    let long = "x".repeat(65_000);
    for n in 0..100 {
        store.set(&name(&format!("{long}/{n}/a")), "", 0, None).unwrap();
    }
    let looks = 1 + 65_000 / LOOK_BYTES;
    for (level, found) in [("a", LOOKS.0.div_ceil(looks)), ("b", 0)] {
        let mut scan = RetainedScan::new(&filter(&format!("{long}/+/{level}")));
        assert_eq!(store.next_chunk(&mut scan, LOOKS.0 / LOOKS.1, Instant::now()).len(), found);
        let mut chunks = 1;
        while !scan.is_finished() {
            store.next_chunk(&mut scan, LOOKS.0 / LOOKS.1, Instant::now());
            chunks += 1;
        }
        assert!(chunks >= 100 * looks / LOOKS.0 / 2, "{level}: {chunks}");
    }
}

/// It may promise too much, never too little. [MQTT-4.7.2-1]
#[test]
fn what_may_match_is_all_that_does_and_little_else() {
    let topics = ["a", "a/b", "a-b", "a/b/c", "/x", "/", "$SYS/broker/uptime", "$SYS", "ä/ö", "b"];
    let filters = [
        "#", "+", "+/+", "/#", "/+", "/x", "a", "a/#", "a/+", "a/b", "a/+/c", "a/b/c/#", "b/#", "$SYS/#",
        "$SYS",
    ];
    let now = Instant::now();
    for bits in 0..1 << topics.len() {
        let mut store = store(10, 1_000);
        for (_, topic) in topics.iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0) {
            store.set(&name(topic), "kept", 1, None).unwrap();
        }
        for text in filters {
            let finds = !store.matching(&filter(text), None, usize::MAX, now).is_empty();
            assert!(store.may_match(&filter(text)) || !finds, "{text} {bits:b}");
        }
    }
    let mut store = store(10, 1_000);
    store.set(&name("$SYS/broker/uptime"), "kept", 1, None).unwrap();
    store.set(&name("a/b"), "kept", 1, None).unwrap();
    for text in ["b", "b/#", "a/b/c", "a/c/#", "$SYS/a", "$SYS/broker/uptime/x"] {
        assert!(!store.may_match(&filter(text)), "{text}");
    }
    store.clear(&name("a/b")).unwrap();
    assert!(!store.may_match(&filter("#")) && !store.may_match(&filter("+/broker/#")));
}
