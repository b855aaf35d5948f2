//! Every value reads back as what was written, and no other bytes pass for one.

use std::time::{Duration, SystemTime};

use mqtt_broker::{Message, PacketId, QoS, TopicName, store::QueuedMessage};
use proptest::{collection::vec, option, prelude::*};

use crate::encoding::{Encoder, Home, Presence, State, Step, Table, Value, decode, home_of, subscription};

fn qos() -> impl Strategy<Value = QoS> {
    (0..3_u8).prop_map(|qos| QoS::from_u8(qos).unwrap())
}

fn message() -> impl Strategy<Value = Message> {
    ("[^#+\0]{1,40}", vec(any::<u8>(), 0..100), qos(), any::<bool>()).prop_map(
        |(topic, payload, qos, retain)| {
            let message = Message::new(&TopicName::new(topic.into_bytes()).unwrap(), &payload, qos);
            if retain { message.retained() } else { message }
        },
    )
}

fn moment() -> impl Strategy<Value = SystemTime> {
    any::<u64>().prop_map(|nanos| SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos))
}

fn row() -> impl Strategy<Value = (Table, Value)> {
    let presence =
        prop_oneof![Just(Presence::Attached), moment().prop_map(Presence::Detached), Just(Presence::Ended),];
    let home = prop_oneof![message().prop_map(Home::Here), any::<u32>().prop_map(Home::Shared)];
    prop_oneof![
        (any::<u64>(), any::<bool>(), any::<u64>(), any::<u64>()).prop_map(
            |(number, synced, groups, seed)| (Table::Meta, Value::mark(number, synced, groups, seed))
        ),
        (any::<u64>(), ".*").prop_map(|(session, client_id)| {
            (Table::Sessions, Value::Session { session, client_id: client_id.into() })
        }),
        (presence, any::<u64>())
            .prop_map(|(presence, head)| { (Table::States, Value::State(State { presence, head })) }),
        (super::records::filter(), qos())
            .prop_map(|(filter, qos)| { (Table::Subscriptions, subscription(&filter, qos)) }),
        (qos(), any::<bool>(), home)
            .prop_map(|(qos, retain, home)| { (Table::Queue, Value::Queued { qos, retain, home }) }),
        vec((any::<u64>(), qos(), any::<bool>(), message()), 1..65).prop_map(|run| {
            let queued = |(key, qos, retain, message)| QueuedMessage { key, qos, retain, message };
            (Table::Runs, Value::Run(run.into_iter().map(queued).collect()))
        }),
        any::<u64>().prop_map(|gaps| (Table::Gaps, Value::Gaps(gaps))),
        vec((any::<u64>(), any::<u16>(), any::<bool>()), 0..40).prop_map(|steps| {
            let step = |(key, id, released)| (key, Step { packet_id: PacketId::new(id), released });
            (Table::Inflight, Value::Inflight(steps.into_iter().map(step).collect()))
        }),
        message().prop_map(|message| (Table::Messages, Value::Message(message))),
        any::<u32>().prop_map(|count| (Table::Shares, Value::Shares(count))),
        any::<u64>().prop_map(|ids| (Table::Received, Value::Received(ids))),
        (message(), option::of(moment()))
            .prop_map(|(message, expires_at)| { (Table::Retained, Value::Retained { message, expires_at }) }),
        (".*", message()).prop_map(|(client_id, will)| {
            (Table::Wills, Value::Will { client_id: client_id.into(), will })
        }),
    ]
}

proptest! {
    #[test]
    fn a_value_reads_back((table, value) in row(), key in vec(any::<u8>(), 1..40)) {
        let encoded = Encoder::default().encode(table, &key, &value);
        if let Value::Queued { home, .. } = &value {
            let epoch = match home { Home::Here(_) => None, Home::Shared(epoch) => Some(*epoch) };
            prop_assert_eq!(home_of(&key, &encoded), Ok(epoch));
        }
        prop_assert_eq!(decode(table, &key, &encoded), Ok(value));
    }

    #[test]
    fn a_flipped_bit_is_noticed(
        (table, value) in row(),
        key in vec(any::<u8>(), 1..40),
        bit in any::<proptest::sample::Index>(),
    ) {
        let mut encoded = Encoder::default().encode(table, &key, &value).to_vec();
        let bit = bit.index(encoded.len() * 8);
        encoded[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(decode(table, &key, &encoded).is_err());
    }

    #[test]
    fn a_value_under_another_key_is_noticed((table, value) in row(), key in vec(any::<u8>(), 1..40)) {
        let encoded = Encoder::default().encode(table, &key, &value);
        let other = [&key[..], b"x"].concat();
        prop_assert!(decode(table, &other, &encoded).is_err());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..100), table in 0..Table::ALL.len()) {
        prop_assert!(decode(Table::ALL[table], b"key", &bytes).is_err());
    }
}
