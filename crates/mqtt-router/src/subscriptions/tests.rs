//! Tests of the subscriptions by hand-picked cases; random ones against the oracle are in `tests/`.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use super::*;

pub(super) struct Session {
    id: u64,
    online: AtomicBool,
}

pub(super) type Client = Arc<Session>;

impl Session {
    pub(super) fn set_online(&self, online: bool) {
        self.online.store(online, Relaxed);
    }
}

impl Subscriber for Session {
    fn id(&self) -> u64 {
        self.id
    }

    fn is_online(&self) -> bool {
        self.online.load(Relaxed)
    }
}

pub(super) fn client(id: u64) -> Client {
    Arc::new(Session { id, online: AtomicBool::new(true) })
}

pub(super) fn filter(text: &str) -> TopicFilter {
    TopicFilter::try_from(text).unwrap()
}

fn empty() -> Subscriptions<Client> {
    Subscriptions::new(DEFAULT_MAX_TOPIC_LEVELS, SharedStrategy::RoundRobin)
}

fn receivers(subscriptions: &Subscriptions<Client>, topic: &str, mode: DeliveryMode) -> Vec<(u64, u8)> {
    let mut route = Route::new();
    subscriptions.route(topic.as_bytes(), mode, &mut route);
    let mut found: Vec<_> = route.direct.iter().map(|(client, qos)| (client.id(), qos.as_u8())).collect();
    found.sort_unstable();
    found
}

/// [MQTT-3.3.5-1]
#[test]
fn overlapping_subscriptions_count_once_with_the_highest_qos_or_each() {
    let mut subscriptions = empty();
    let (one, two) = (client(1), client(2));
    subscriptions.subscribe(&filter("a/b"), &one, QoS::AtMostOnce).unwrap();
    subscriptions.subscribe(&filter("a/+"), &one, QoS::ExactlyOnce).unwrap();
    subscriptions.subscribe(&filter("a/#"), &one, QoS::AtLeastOnce).unwrap();
    subscriptions.subscribe(&filter("#"), &two, QoS::AtLeastOnce).unwrap();
    assert_eq!(receivers(&subscriptions, "a/b", DeliveryMode::Once), [(1, 2), (2, 1)]);
    assert_eq!(receivers(&subscriptions, "a/b", DeliveryMode::Overlap), [(1, 0), (1, 1), (1, 2), (2, 1)]);
}

/// [MQTT-3.8.4-3]
#[test]
fn an_identical_filter_replaces_the_subscription() {
    for text in ["a/b", "a/+", "$share/g/a/b"] {
        let mut subscriptions = empty();
        assert_eq!(subscriptions.subscribe(&filter(text), &client(1), QoS::ExactlyOnce), Ok(true));
        assert_eq!(subscriptions.subscribe(&filter(text), &client(1), QoS::AtMostOnce), Ok(false));
        assert_eq!(subscriptions.len(), 1);
        let mut route = Route::new();
        subscriptions.route(b"a/b", DeliveryMode::Once, &mut route);
        let shared = route.groups.iter().flat_map(|group| group.members());
        let granted: Vec<QoS> = route.direct.iter().chain(shared).map(|(_, qos)| *qos).collect();
        assert_eq!(granted, [QoS::AtMostOnce], "{text}");
    }
}

/// [MQTT-3.10.4-1] [MQTT-3.10.4-2]
#[test]
fn unsubscribing_needs_the_very_same_filter() {
    let mut subscriptions = empty();
    subscriptions.subscribe(&filter("a/+"), &client(1), QoS::AtMostOnce).unwrap();
    for other in ["a/b", "a/#", "+/+", "A/+", "a", "$share/g/a/+", "$share/g"] {
        assert!(!subscriptions.unsubscribe(&filter(other), 1), "{other}");
    }
    assert!(!subscriptions.unsubscribe(&filter("a/+"), 2));
    assert!(subscriptions.unsubscribe(&filter("a/+"), 1));
    assert_eq!(receivers(&subscriptions, "a/b", DeliveryMode::Overlap), []);
    assert_eq!((subscriptions.len(), subscriptions.node_count()), (0, 0));
}

/// [MQTT-4.7.2-1]
#[test]
fn a_wildcard_first_level_does_not_match_dollar_topics() {
    let mut subscriptions = empty();
    for (id, text) in ["#", "+/x", "$SYS/#", "$SYS/+", "$SYS/x", "+/#"].into_iter().enumerate() {
        subscriptions.subscribe(&filter(text), &client(id as u64), QoS::AtMostOnce).unwrap();
    }
    assert_eq!(receivers(&subscriptions, "$SYS/x", DeliveryMode::Once), [(2, 0), (3, 0), (4, 0)]);
    assert_eq!(receivers(&subscriptions, "a$/x", DeliveryMode::Once), [(0, 0), (1, 0), (5, 0)]);
}

/// Thousands of edges of the same names, so that some share a hash's tag: parent and level decide, not the hash.
#[test]
fn levels_of_the_same_name_below_different_parents_are_different() {
    const LEVELS: [&str; 4] = ["w", "x", "y", "z"];
    let mut subscriptions = empty();
    let missing = |parent: usize| LEVELS[parent % LEVELS.len()];
    for parent in 0..3_000 {
        for level in LEVELS.into_iter().filter(|&level| level != missing(parent)) {
            let filter = filter(&format!("{parent}/{level}/+"));
            subscriptions.subscribe(&filter, &client(parent as u64), QoS::AtMostOnce).unwrap();
        }
    }
    for parent in 0..3_000 {
        for level in LEVELS {
            let expected: &[_] = if level == missing(parent) { &[] } else { &[(parent as u64, 0)] };
            assert_eq!(
                receivers(&subscriptions, &format!("{parent}/{level}/t"), DeliveryMode::Overlap),
                expected
            );
        }
    }
}

#[test]
fn the_level_limit_counts_the_filter_without_its_group() {
    let mut subscriptions = Subscriptions::new(3, SharedStrategy::RoundRobin);
    let one = client(1);
    for good in ["a/b/c", "+/+/#", "//", "$share/g/a/b/c"] {
        assert_eq!(subscriptions.subscribe(&filter(good), &one, QoS::AtMostOnce), Ok(true), "{good}");
    }
    for deep in ["a/b/c/d", "+/+/+/#", "///", "$share/g/a/b/c/d"] {
        let refused = subscriptions.subscribe(&filter(deep), &one, QoS::AtMostOnce);
        assert_eq!(refused, Err(SubscribeError::TooManyLevels), "{deep}");
    }
    assert_eq!(subscriptions.len(), 4);
}

/// As deep as a filter of 65,535 bytes can be: no recursion, no stack to exhaust.
#[test]
fn the_deepest_filter_matches_the_deepest_topic() {
    let mut subscriptions = Subscriptions::new(usize::MAX, SharedStrategy::RoundRobin);
    let deepest = "+/".repeat(32_767) + "+";
    subscriptions.subscribe(&filter(&deepest), &client(1), QoS::AtMostOnce).unwrap();
    subscriptions.subscribe(&filter(&deepest.replace('+', "a")), &client(2), QoS::AtMostOnce).unwrap();
    let almost = "a/".repeat(32_767) + "#";
    subscriptions.subscribe(&filter(&almost), &client(3), QoS::AtMostOnce).unwrap();
    let topic = "a/".repeat(32_767) + "a";
    assert_eq!(receivers(&subscriptions, &topic, DeliveryMode::Once), [(1, 0), (2, 0), (3, 0)]);
    assert_eq!(receivers(&subscriptions, &"/".repeat(65_535), DeliveryMode::Once), []);
    for (id, text) in [(1, &deepest), (2, &topic), (3, &almost)] {
        assert!(subscriptions.unsubscribe(&filter(text), id));
    }
    assert_eq!(subscriptions.node_count(), 0);
}

#[test]
fn the_generation_changes_with_every_change_and_only_then() {
    let mut subscriptions = empty();
    let mut seen = vec![subscriptions.generation()];
    let one = client(1);
    subscriptions.subscribe(&filter("a"), &one, QoS::AtMostOnce).unwrap();
    seen.push(subscriptions.generation());
    subscriptions.subscribe(&filter("a"), &one, QoS::AtLeastOnce).unwrap();
    seen.push(subscriptions.generation());
    subscriptions.unsubscribe(&filter("a"), 1);
    seen.push(subscriptions.generation());
    assert!(seen.is_sorted_by(|earlier, later| earlier < later), "{seen:?}");
    subscriptions.unsubscribe(&filter("a"), 1);
    assert_eq!(Some(&subscriptions.generation()), seen.last());
}

#[test]
fn a_route_is_filled_anew_each_time() {
    let mut subscriptions = empty();
    subscriptions.subscribe(&filter("a"), &client(1), QoS::AtMostOnce).unwrap();
    subscriptions.subscribe(&filter("$share/g/a"), &client(2), QoS::AtMostOnce).unwrap();
    let mut route = Route::new();
    for _ in 0..2 {
        subscriptions.route(b"a", DeliveryMode::Once, &mut route);
        assert_eq!((route.direct.len(), route.groups.len()), (1, 1));
    }
    subscriptions.route(b"b", DeliveryMode::Once, &mut route);
    assert!(route.is_empty());
}

/// One client with filters that overlap in every way makes matching dear, and its route has one receiver all the same.
#[test]
fn the_cost_of_a_route_tells_what_was_looked_at() {
    let mut subscriptions = empty();
    for mask in 0..1_u32 << 8 {
        let levels = (0..8).map(|level| if mask >> level & 1 == 1 { "+" } else { "a" });
        let text = levels.collect::<Vec<_>>().join("/") + "/#";
        subscriptions.subscribe(&filter(&text), &client(1), QoS::AtMostOnce).unwrap();
    }
    let mut route = Route::new();
    subscriptions.route(b"a/a/a/a/a/a/a/a", DeliveryMode::Once, &mut route);
    assert_eq!(route.direct.len(), 1);
    assert!(route.cost() >= 512, "{}", route.cost());
    subscriptions.route(b"b", DeliveryMode::Once, &mut route);
    assert!(route.cost() <= 2, "{}", route.cost());
}
