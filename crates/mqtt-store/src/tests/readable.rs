//! What an export has of a store with rows that cannot be read.

use std::iter;

use mqtt_broker::{
    Message, QoS, TopicFilter,
    store::{MessageKey, Record, SessionKey, Store},
};

use super::scratch;
use crate::{
    Durability, FjallStore, StoreOptions,
    encoding::{Table, entry_key},
    engine::{Change, Engine, Reads},
};

fn message(topic: &str, bytes: usize) -> Message {
    Message::new(&topic.try_into().unwrap(), &vec![b'x'; bytes], QoS::AtLeastOnce)
}

fn started(session: SessionKey) -> Record {
    Record::SessionStarted { session, client_id: format!("client {session}").into() }
}

fn queued(session: SessionKey, key: MessageKey, bytes: usize) -> Record {
    Record::Queued { session, key, qos: QoS::AtLeastOnce, retain: false, message: message("t", bytes) }
}

fn retained(topic: &str) -> Record {
    Record::Retained { message: message(topic, 3).retained(), expires_at: None }
}

fn records(store: &FjallStore) -> Vec<Record> {
    let mut all = Vec::new();
    store.recover(&mut |record| all.push(record)).unwrap();
    // What belongs to no session may come in between.
    all.sort_by_key(|record| matches!(record, Record::Retained { .. }));
    all
}

/// Writes nonsense to the first row of a table, or to that of a key.
fn damage(store: &FjallStore, table: Table, key: Option<fjall::Slice>) {
    let first = || store.engine().rows(table, &[], None).next().unwrap().unwrap().0;
    let change = Change { table, key: key.unwrap_or_else(first), value: Some("nonsense".into()) };
    store.engine().commit(iter::empty(), vec![change], Durability::Os).unwrap();
}

#[test]
fn what_can_be_read_is_exported_and_can_be_imported() {
    let directory = scratch();
    let options = |name| StoreOptions::new(directory.path().join(name)).durability(Durability::Os);
    let store = FjallStore::open(options("store")).unwrap();
    let filter = TopicFilter::try_from("a/#").unwrap();
    store.append(vec![
        started(1),
        Record::Subscribed { session: 1, filter, qos: QoS::AtLeastOnce },
        queued(1, 1, 3),
        queued(1, 2, 300),
        started(2),
        queued(2, 2, 300),
        Record::WillSet { key: 1, client_id: "client 1".into(), will: message("will", 3) },
        retained("a"),
        retained("b"),
    ]);
    store.info(&mut |_| {}).unwrap(); // It asks the engine.
    for table in [Table::Subscriptions, Table::Messages, Table::Wills, Table::Retained] {
        damage(&store, table, None);
    }
    damage(&store, Table::Runs, Some(entry_key(1, 9)));

    let mut lines = Vec::new();
    let passed_over = store.export(&mut lines, &mut |_| {}).unwrap();
    assert_eq!(passed_over.rows, 6, "the message was in two queues: {passed_over:?}");
    assert_eq!(passed_over.problems.len(), 6);
    assert!(passed_over.problems[0].contains("subscriptions"), "{passed_over:?}");
    FjallStore::import(options("copy"), &mut &lines[..], &mut |_| {}).unwrap();
    let copy = FjallStore::open(options("copy")).unwrap();
    assert_eq!(records(&copy), [started(1), queued(1, 1, 3), started(2), retained("b")]);
}
