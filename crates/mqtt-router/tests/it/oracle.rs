//! Both stores against the plain reading of the standard, `TopicFilter::matches`, in random sequences of changes.

use std::{collections::BTreeMap, time::Instant};

use mqtt_codec::{QoS, TopicFilter, TopicName};
use mqtt_router::{
    DeliveryMode, Retained, RetainedLimits, RetainedScan, Route, SharedStrategy, Subscriptions,
};
use proptest::{collection::vec, prelude::*, sample::select};

use crate::client::Client;

/// Few different levels, so that filters and topics meet; some that sort between `/` and the letters, or below `$`.
fn topic() -> impl Strategy<Value = TopicName> {
    let level = select(vec!["", "a", "b", "ab", "a-", "$", "$SYS", "ä", "\u{1}"]);
    vec(level, 1..6).prop_filter_map("empty", |levels| TopicName::new(levels.join("/")).ok())
}

fn filter() -> impl Strategy<Value = TopicFilter> {
    let level = select(vec!["", "a", "b", "ab", "a-", "$", "$SYS", "ä", "\u{1}", "+", "+", "+", "#"]);
    vec(level, 1..6).prop_filter_map("not a filter", |levels| TopicFilter::new(levels.join("/")).ok())
}

#[derive(Clone, Debug)]
struct Change {
    filter: TopicFilter,
    group: Option<&'static str>,
    id: u64,
    /// `None` unsubscribes.
    qos: Option<QoS>,
}

fn change() -> impl Strategy<Value = Change> {
    let qos = select(vec![None, Some(QoS::AtMostOnce), Some(QoS::AtLeastOnce), Some(QoS::ExactlyOnce)]);
    let group = select(vec![None, None, None, Some("g"), Some("h")]);
    (filter(), group, 0..40_u64, qos).prop_map(|(filter, group, id, qos)| Change { filter, group, id, qos })
}

fn spelled(filter: &TopicFilter, group: Option<&str>) -> TopicFilter {
    group.map_or_else(
        || filter.clone(),
        |group| TopicFilter::new(format!("$share/{group}/{filter}")).expect("a filter"),
    )
}

type Model = BTreeMap<(TopicFilter, Option<&'static str>, u64), QoS>;

fn check_route(subscriptions: &Subscriptions<Client>, model: &Model, topic: &TopicName) {
    let mut route = Route::new();
    let matching = || model.iter().filter(|((filter, ..), _)| filter.matches(topic));

    subscriptions.route(topic.as_bytes(), DeliveryMode::Overlap, &mut route);
    let mut each: Vec<_> = route.direct.iter().map(|(client, qos)| (client.0, *qos)).collect();
    let direct = || matching().filter(|((_, group, _), _)| group.is_none());
    let mut expected: Vec<_> = direct().map(|((.., id), qos)| (*id, *qos)).collect();
    each.sort_unstable();
    expected.sort_unstable();
    assert_eq!(each, expected, "overlap, {topic}");

    let members = |(client, qos): &(Client, QoS)| (client.0, *qos);
    let mut groups: Vec<Vec<_>> =
        route.groups.iter().map(|group| group.members().iter().map(members).collect()).collect();
    let mut by_group: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for ((filter, group, id), qos) in matching().filter(|((_, group, _), _)| group.is_some()) {
        by_group.entry((filter, group)).or_default().push((*id, *qos));
    }
    let mut expected: Vec<Vec<_>> = by_group.into_values().collect();
    groups.sort_unstable();
    expected.sort_unstable();
    assert_eq!(groups, expected, "shared, {topic}");

    subscriptions.route(topic.as_bytes(), DeliveryMode::Once, &mut route);
    let mut once: Vec<_> = route.direct.iter().map(|(client, qos)| (client.0, *qos)).collect();
    once.sort_unstable();
    let mut highest: BTreeMap<u64, QoS> = BTreeMap::new();
    for ((.., id), qos) in direct() {
        highest.entry(*id).and_modify(|held| *held = (*held).max(*qos)).or_insert(*qos);
    }
    assert_eq!(once, highest.into_iter().collect::<Vec<_>>(), "once, {topic}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// [MQTT-3.3.5-1] [MQTT-4.7.1-2] [MQTT-4.7.1-3] [MQTT-4.7.2-1] [MQTT-4.7.3-4]
    #[test]
    fn subscriptions_agree_with_the_standard(
        changes in vec(change(), 1..120),
        topics in vec(topic(), 1..12),
    ) {
        let mut subscriptions = Subscriptions::new(128, SharedStrategy::RoundRobin);
        let mut model = Model::new();
        for change in &changes {
            let key = (change.filter.clone(), change.group, change.id);
            let filter = spelled(&change.filter, change.group);
            let generation = subscriptions.generation();
            let changed = if let Some(qos) = change.qos {
                let is_new = subscriptions.subscribe(&filter, &Client(change.id), qos);
                prop_assert_eq!(is_new, Ok(model.insert(key, qos).is_none()));
                true
            } else {
                let was_there = subscriptions.unsubscribe(&filter, change.id);
                prop_assert_eq!(was_there, model.remove(&key).is_some());
                was_there
            };
            prop_assert_eq!(subscriptions.generation() != generation, changed);
            prop_assert_eq!(subscriptions.len(), model.len());
        }
        for topic in &topics {
            check_route(&subscriptions, &model, topic);
        }
        while let Some(((filter, group, id), _)) = model.pop_first() {
            prop_assert!(subscriptions.unsubscribe(&spelled(&filter, group), id));
            check_route(&subscriptions, &model, &topics[model.len() % topics.len()]);
        }
        prop_assert!(subscriptions.is_empty());
        prop_assert_eq!(subscriptions.node_count(), 0);
    }

    /// [MQTT-3.3.1-6] [MQTT-4.7.2-1]
    #[test]
    fn retained_agrees_with_the_standard(
        changes in vec((topic(), select(vec![true, true, false])), 1..120),
        filters in vec(filter(), 1..12),
        limit in 1..7_usize,
    ) {
        let now = Instant::now();
        let mut store = Retained::new(RetainedLimits { max_messages: 1_000, max_bytes: 1_000_000 });
        let mut model: BTreeMap<Vec<String>, (TopicName, usize)> = BTreeMap::new();
        for (n, (topic, keep)) in changes.iter().enumerate() {
            let levels = topic.as_str().split('/').map(String::from).collect();
            let earlier = if *keep {
                prop_assert_eq!(store.get(topic, now).copied(), model.get(&levels).map(|(_, held)| *held));
                let earlier = store.set(topic, n, n, None).expect("there is room");
                (earlier, model.insert(levels, (topic.clone(), n)))
            } else {
                (store.clear(topic), model.remove(&levels))
            };
            prop_assert_eq!(earlier.0, earlier.1.map(|(_, held)| held));
        }
        prop_assert_eq!(store.len(), model.len());
        prop_assert_eq!(store.bytes(), model.values().map(|(_, size)| size).sum::<usize>());
        for filter in &filters {
            let expected: Vec<_> = model.values().filter(|(topic, _)| filter.matches(topic)).cloned().collect();
            let mut found = Vec::new();
            loop {
                let chunk = store.matching(filter, found.last().map(|(topic, _)| topic), limit, now);
                if chunk.is_empty() { break }
                prop_assert!(chunk.len() <= limit);
                found.extend(chunk);
            }
            prop_assert_eq!(&found, &expected, "{}", filter);
            let (mut scan, mut found) = (RetainedScan::new(filter), Vec::new());
            while !scan.is_finished() {
                found.append(&mut store.next_chunk(&mut scan, limit, now));
            }
            prop_assert_eq!(&found, &expected, "{}", filter);
        }
        for (topic, held) in model.into_values() {
            prop_assert_eq!(store.clear(&topic), Some(held));
        }
        prop_assert!(store.is_empty());
        prop_assert_eq!(store.bytes(), 0);
    }
}
