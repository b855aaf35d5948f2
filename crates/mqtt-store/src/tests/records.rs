//! Records at random. Few sessions, keys and names, so that records meet each other.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use mqtt_broker::{
    Message, PacketId, QoS, TopicFilter, TopicName,
    store::{MemoryStore, Record, Store},
};
use proptest::{collection::vec, option, prelude::*};

/// What a store is given: groups of records.
pub(crate) fn groups(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Vec<Record>>> {
    vec(vec(record(), 1..8), count)
}

/// What is recovered, with the sessions in the order of their keys and the subscriptions of each in the order of their
/// filters: which order they come in is each store's own.
pub(super) fn sorted(recover: impl FnOnce(&mut dyn FnMut(Record))) -> Vec<Record> {
    let (mut sessions, mut rest) = (Vec::<(_, Vec<Record>)>::new(), Vec::new());
    recover(&mut |record| match record {
        Record::SessionStarted { session, .. } => sessions.push((session, vec![record])),
        Record::WillSet { .. } | Record::Retained { .. } => rest.push(record),
        _ => sessions.last_mut().unwrap().1.push(record),
    });
    sessions.sort_by_key(|(session, _)| *session);
    for (_, records) in &mut sessions {
        let subscriptions = records.iter().take_while(|record| !is_past_subscriptions(record)).count();
        records[..subscriptions].sort_by(|one, two| filter_of(one).cmp(&filter_of(two)));
    }
    sessions.into_iter().flat_map(|(_, records)| records).chain(rest).collect()
}

fn is_past_subscriptions(record: &Record) -> bool {
    !matches!(record, Record::SessionStarted { .. } | Record::Subscribed { .. })
}

fn filter_of(record: &Record) -> Option<&TopicFilter> {
    if let Record::Subscribed { filter, .. } = record { Some(filter) } else { None }
}

pub(super) fn recovered(store: &impl Store) -> Vec<Record> {
    sorted(|visit| store.recover(visit).unwrap())
}

/// What there is after none, one, two, ... of the groups.
pub(super) fn states(groups: &[Vec<Record>]) -> Vec<Vec<Record>> {
    let model = MemoryStore::default();
    let after = groups.iter().map(|group| {
        model.append(group.clone());
        recovered(&model)
    });
    std::iter::once(Vec::new()).chain(after).collect()
}

pub(super) fn record() -> impl Strategy<Value = Record> {
    let session = || 1..4_u64;
    let key = || 1..8_u64;
    let id = || (1..4_u16).prop_map(|id| PacketId::new(id).unwrap());
    prop_oneof![
        2 => session().prop_map(|session| Record::SessionStarted { session, client_id: name(session) }),
        1 => session().prop_map(|session| Record::SessionAttached { session }),
        1 => (session(), moment()).prop_map(|(session, at)| Record::SessionDetached { session, at }),
        1 => session().prop_map(|session| Record::SessionEnded { session }),
        3 => (session(), filter(), qos()).prop_map(|(session, filter, qos)| {
            Record::Subscribed { session, filter, qos }
        }),
        1 => (session(), filter()).prop_map(|(session, filter)| Record::Unsubscribed { session, filter }),
        8 => (session(), key(), qos(), any::<bool>()).prop_map(|(session, key, qos, retain)| {
            Record::Queued { session, key, qos, retain, message: message(key) }
        }),
        4 => (session(), key(), id()).prop_map(|(session, key, packet_id)| {
            Record::Sent { session, key, packet_id }
        }),
        2 => (session(), key()).prop_map(|(session, key)| Record::Released { session, key }),
        5 => (session(), key()).prop_map(|(session, key)| Record::Done { session, key }),
        2 => (session(), id()).prop_map(|(session, packet_id)| Record::Received { session, packet_id }),
        2 => (session(), id()).prop_map(|(session, packet_id)| Record::Forgotten { session, packet_id }),
        2 => (key(), option::of(moment())).prop_map(|(key, expires_at)| {
            Record::Retained { message: message(key).retained(), expires_at }
        }),
        1 => key().prop_map(|key| Record::RetainedCleared { topic: topic(key) }),
        1 => (session(), key()).prop_map(|(session, key)| {
            Record::WillSet { key: session, client_id: name(session), will: message(key) }
        }),
        1 => session().prop_map(|key| Record::WillCleared { key }),
    ]
}

pub(super) fn name(session: u64) -> Arc<str> {
    format!("client {session}").into()
}

fn qos() -> impl Strategy<Value = QoS> {
    prop_oneof![Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)]
}

fn moment() -> impl Strategy<Value = SystemTime> {
    (0..5_000_000_000_000_000_000_u64).prop_map(|nanos| SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos))
}

/// One in twenty is as long as a filter can be; there are two such, which differ in the last byte.
pub(super) fn filter() -> impl Strategy<Value = TopicFilter> {
    prop_oneof![19 => Just(3_usize), 1 => Just(65_534)].prop_flat_map(|length| {
        (b'0'..b'2').prop_map(move |last| {
            let mut filter = vec![b'x'; length];
            filter.push(last);
            TopicFilter::new(filter).unwrap()
        })
    })
}

fn topic(key: u64) -> TopicName {
    TopicName::new(format!("topic/{key}").into_bytes()).unwrap()
}

/// A message has one content, small or large, however often it is queued.
pub(crate) fn message(key: u64) -> Message {
    let payload = vec![key as u8; if key.is_multiple_of(2) { 4 } else { 400 }];
    Message::new(&topic(key), &payload, QoS::ExactlyOnce)
}
