//! Fuzz targets: filters and topics of any text, against the plain reading of the standard, `TopicFilter::matches`.

#[path = "../client/mod.rs"]
mod client;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use mqtt_codec::{QoS, TopicFilter, TopicName};
use mqtt_router::{
    DeliveryMode, Retained, RetainedLimits, RetainedScan, Route, SharedStrategy, Subscriptions,
};

use client::Client;

const MAX_LEVELS: usize = 32;

/// A level of a topic or filter: few words, so that they meet, and any text.
#[derive(Clone, Debug, bolero::TypeGenerator)]
enum Level {
    Word(u8),
    Text(String),
}

type Levels = Vec<Level>;

fn spelled(levels: &[Level]) -> String {
    const WORDS: [&str; 10] = ["", "a", "b", "a-", "$", "$SYS", "+", "+", "#", "\u{1}"];
    let word = |level: &Level| match level {
        Level::Word(index) => WORDS[usize::from(*index) % WORDS.len()].to_owned(),
        Level::Text(text) => text.clone(),
    };
    levels.iter().map(word).collect::<Vec<_>>().join("/")
}

/// `None` if it is none.
fn topic(levels: &Levels) -> Option<TopicName> {
    TopicName::new(spelled(levels)).ok()
}

fn filter(levels: &Levels) -> Option<TopicFilter> {
    TopicFilter::new(spelled(levels)).ok()
}

#[test]
fn filters() {
    bolero::check!().with_type::<(Vec<(bool, u8, Levels)>, Vec<Levels>)>().for_each(|(changes, topics)| {
        let mut subscriptions = Subscriptions::new(MAX_LEVELS, SharedStrategy::RoundRobin);
        let mut model = BTreeSet::new();
        for (is_made, id, levels) in changes {
            let Some(filter) = filter(levels) else { continue };
            // Members of a group take turns: the property tests look at those.
            if filter.as_str().starts_with("$share/") {
                continue;
            }
            let (id, key) = (u64::from(*id % 8), (filter.clone(), u64::from(*id % 8)));
            if *is_made {
                match subscriptions.subscribe(&filter, &Client(id), QoS::AtLeastOnce) {
                    Ok(is_new) => assert_eq!(is_new, model.insert(key)),
                    Err(_) => assert!(filter.as_str().split('/').count() > MAX_LEVELS),
                }
            } else {
                assert_eq!(subscriptions.unsubscribe(&filter, id), model.remove(&key));
            }
        }
        assert_eq!(subscriptions.len(), model.len());
        let mut route = Route::new();
        for topic in topics.iter().filter_map(topic) {
            subscriptions.route(topic.as_bytes(), DeliveryMode::Overlap, &mut route);
            let mut found: Vec<u64> = route.direct.iter().map(|(client, _)| client.0).collect();
            let matching = model.iter().filter(|(filter, _)| filter.matches(&topic));
            let mut expected: Vec<u64> = matching.map(|(_, id)| *id).collect();
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected, "{topic}");
        }
        for (filter, id) in model {
            assert!(subscriptions.unsubscribe(&filter, id));
        }
        assert_eq!((subscriptions.len(), subscriptions.node_count()), (0, 0));
    });
}

#[test]
fn retained() {
    bolero::check!().with_type::<(Vec<(bool, Levels)>, Vec<Levels>, u8)>().for_each(
        |(changes, filters, limit)| {
            let (now, limit) = (Instant::now(), usize::from(*limit % 7) + 1);
            let mut store = Retained::new(RetainedLimits { max_messages: usize::MAX, max_bytes: usize::MAX });
            let mut model = BTreeMap::new();
            for (number, (is_kept, levels)) in changes.iter().enumerate() {
                let Some(topic) = topic(levels) else { continue };
                let key: Vec<String> = topic.as_str().split('/').map(String::from).collect();
                if *is_kept {
                    store.set(&topic, number, 1, None).expect("there is room");
                    model.insert(key, (topic, number));
                } else {
                    assert_eq!(store.clear(&topic), model.remove(&key).map(|(_, held)| held));
                }
            }
            assert_eq!(store.len(), model.len());
            for filter in filters.iter().filter_map(filter) {
                let expected: Vec<_> =
                    model.values().filter(|(topic, _)| filter.matches(topic)).cloned().collect();
                let (mut scan, mut found) = (RetainedScan::new(&filter), Vec::new());
                while !scan.is_finished() {
                    found.append(&mut store.next_chunk(&mut scan, limit, now));
                }
                assert_eq!(found, expected, "{filter}");
            }
        },
    );
}
