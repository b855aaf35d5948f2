//! Tests of the shared groups, a strategy each, with members who are offline.

use super::*;
use crate::subscriptions::{
    DeliveryMode, Route, Subscriptions,
    tests::{Client, client, filter},
};

const STRATEGIES: [SharedStrategy; 5] = [
    SharedStrategy::RoundRobin,
    SharedStrategy::Random,
    SharedStrategy::Sticky,
    SharedStrategy::HashClient,
    SharedStrategy::HashTopic,
];

fn group(strategy: SharedStrategy, clients: &[Client]) -> SharedGroup<Client> {
    let mut clients = clients.iter().map(|client| (client.clone(), QoS::AtLeastOnce));
    let mut group = SharedGroup::new(strategy, clients.next().unwrap());
    for client in clients {
        assert!(group.insert(client));
    }
    group
}

fn clients(count: u64) -> Vec<Client> {
    (0..count).map(client).collect()
}

/// Who gets a thousand messages, each from a publisher of its own on a topic of its own.
fn picks(group: &SharedGroup<Client>) -> Vec<u64> {
    (0..1_000_u64).map(|n| group.pick(mix(n), &n.to_be_bytes()).unwrap().0.id()).collect()
}

fn shares(picks: &[u64], members: usize) -> Vec<usize> {
    (0..members as u64).map(|id| picks.iter().filter(|&&picked| picked == id).count()).collect()
}

#[test]
fn splits_group_and_filter() {
    let split = |text: &str| {
        let filter = filter(text);
        let split = split_shared(&filter);
        split.map(|shared| shared.map(|(group, inner)| format!("{group} {inner}")))
    };
    assert_eq!(split("$share/g/a/+"), Ok(Some("g a/+".into())));
    assert_eq!(split("$share/g//"), Ok(Some("g /".into())));
    assert_eq!(split("$share/g/#"), Ok(Some("g #".into())));
    for plain in ["$share", "$shared/g/a", "a/$share/g/b", "$SHARE/g/a"] {
        assert_eq!(split(plain), Ok(None), "{plain}");
    }
    for bad in ["$share/", "$share/g", "$share/g/", "$share//x", "$share/+/x", "$share/#"] {
        assert_eq!(split(bad), Err(SubscribeError::BadSharedFilter), "{bad}");
    }
}

#[test]
fn whoever_is_offline_is_passed_over_in_every_strategy() {
    for strategy in STRATEGIES {
        let clients = clients(5);
        let group = group(strategy, &clients);
        for offline in [0, 2, 3] {
            clients[offline].set_online(false);
        }
        let picks = picks(&group);
        assert!(picks.iter().all(|id| [1, 4].contains(id)), "{strategy:?}");
    }
}

/// Their share was lost.
#[test]
fn whoever_may_not_have_a_message_is_passed_over_in_every_strategy() {
    for strategy in STRATEGIES {
        let clients = clients(5);
        let group = group(strategy, &clients);
        clients[1].set_online(false);
        let pick = |may: &[u64]| {
            let picks = (0..1_000_u64).map(|n| {
                let may = |client: &Client, _| may.contains(&client.id());
                group.pick_who(mix(n), &n.to_be_bytes(), may).unwrap().0.id()
            });
            picks.collect::<Vec<_>>()
        };
        assert!(pick(&[0, 1, 3]).iter().all(|id| [0, 3].contains(id)), "{strategy:?}");
        assert!(pick(&[1]).iter().all(|id| *id == 1), "{strategy:?}: it is offline, but it may");
        assert!(pick(&[]).iter().all(|id| *id != 1), "{strategy:?}");
    }
}

#[test]
fn somebody_is_picked_even_if_all_are_offline() {
    for strategy in STRATEGIES {
        let clients = clients(4);
        let group = group(strategy, &clients);
        for client in &clients {
            client.set_online(false);
        }
        let shares = shares(&picks(&group), 4);
        assert_eq!(shares.iter().sum::<usize>(), 1_000);
        if strategy != SharedStrategy::Sticky {
            assert!(shares.iter().all(|&share| share > 150), "{strategy:?}: {shares:?}");
        }
    }
}

#[test]
fn round_robin_gives_each_online_member_the_same_share() {
    let clients = clients(5);
    let group = group(SharedStrategy::RoundRobin, &clients);
    assert_eq!(shares(&picks(&group), 5), [200; 5]);
    clients[0].set_online(false);
    assert_eq!(shares(&picks(&group), 5), [0, 250, 250, 250, 250]);
}

#[test]
fn round_robin_goes_on_with_the_next_when_others_come_and_go() {
    let clients = clients(6);
    let mut group = group(SharedStrategy::RoundRobin, &clients[1..5]);
    let pick = |group: &SharedGroup<Client>| group.pick(0, b"t").unwrap().0.id();
    let mut picked = vec![];
    picked.extend([pick(&group), pick(&group)]);
    group.insert((clients[0].clone(), QoS::AtMostOnce));
    picked.push(pick(&group));
    group.remove(1);
    picked.push(pick(&group));
    group.insert((clients[5].clone(), QoS::AtMostOnce));
    picked.extend([pick(&group), pick(&group)]);
    assert_eq!(picked, [1, 2, 3, 4, 0, 2]);
}

#[test]
fn random_reaches_everyone_about_evenly() {
    let clients = clients(4);
    let group = group(SharedStrategy::Random, &clients);
    let shares = shares(&picks(&group), 4);
    assert!(shares.iter().all(|&share| share > 150), "{shares:?}");
}

#[test]
fn sticky_stays_with_one_until_it_leaves_or_is_offline() {
    let clients = clients(3);
    let mut group = group(SharedStrategy::Sticky, &clients[1..]);
    assert_eq!(shares(&picks(&group), 3), [0, 1_000, 0]);
    group.insert((clients[0].clone(), QoS::AtMostOnce));
    assert_eq!(shares(&picks(&group), 3), [0, 1_000, 0]);
    clients[1].set_online(false);
    assert_eq!(shares(&picks(&group), 3), [0, 0, 1_000]);
    clients[1].set_online(true);
    assert_eq!(shares(&picks(&group), 3), [0, 0, 1_000]);
    group.remove(2);
    assert_eq!(shares(&picks(&group), 3), [1_000, 0, 0]);
}

#[test]
fn hashing_keeps_a_publisher_or_a_topic_with_one_member() {
    let clients = clients(4);
    let (by_client, by_topic) =
        (group(SharedStrategy::HashClient, &clients), group(SharedStrategy::HashTopic, &clients));
    for n in 0..100_u64 {
        let id = |group: &SharedGroup<Client>, publisher: u64, topic: u64| {
            group.pick(mix(publisher), &topic.to_be_bytes()).unwrap().0.id()
        };
        assert_eq!(id(&by_client, n, 0), id(&by_client, n, n + 1));
        assert_eq!(id(&by_topic, 0, n), id(&by_topic, n + 1, n));
    }
    for group in [by_client, by_topic] {
        let shares = shares(&picks(&group), 4);
        assert!(shares.iter().all(|&share| share > 150), "{shares:?}");
    }
}

/// A route that was taken before a change keeps the members it saw; the next one sees the change.
#[test]
fn a_change_of_members_leaves_earlier_routes_alone() {
    let mut subscriptions = Subscriptions::new(8, SharedStrategy::RoundRobin);
    let shared = filter("$share/g/a/#");
    let members = |route: &Route<Client>| -> Vec<Vec<u64>> {
        let ids =
            |group: &SharedGroup<Client>| group.members().iter().map(|(client, _)| client.id()).collect();
        route.groups.iter().map(|group| ids(group)).collect()
    };
    let (mut before, mut after) = (Route::new(), Route::new());
    subscriptions.subscribe(&shared, &client(1), QoS::AtMostOnce).unwrap();
    subscriptions.subscribe(&filter("$share/h/a/#"), &client(9), QoS::AtMostOnce).unwrap();
    subscriptions.route(b"a/b", DeliveryMode::Once, &mut before);
    subscriptions.subscribe(&shared, &client(2), QoS::AtMostOnce).unwrap();
    subscriptions.route(b"a/b", DeliveryMode::Once, &mut after);
    assert_eq!((members(&before), members(&after)), (vec![vec![1], vec![9]], vec![vec![1, 2], vec![9]]));
    for (text, id) in [("$share/g/a/#", 1), ("$share/g/a/#", 2), ("$share/h/a/#", 9)] {
        assert!(subscriptions.unsubscribe(&filter(text), id));
    }
    assert_eq!((subscriptions.len(), subscriptions.node_count()), (0, 0));
    assert_eq!(members(&after), [vec![1, 2], vec![9]]);
}
