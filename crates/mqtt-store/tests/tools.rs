//! Export and import, backup, check and info.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use mqtt_broker::{
    Message, PacketId, QoS, TopicFilter, TopicName,
    store::{Record, Store},
};
use mqtt_store::{Durability, FjallStore, Progress, StoreOptions};

fn options(path: &std::path::Path) -> StoreOptions {
    StoreOptions::new(path).durability(Durability::Os)
}

fn recovered(store: &FjallStore) -> Vec<Record> {
    let mut records = Vec::new();
    store.recover(&mut |record| records.push(record)).unwrap();
    // These may come between the others.
    records.sort_by_key(|record| matches!(record, Record::WillSet { .. } | Record::Retained { .. }));
    records
}

fn message(n: u64, payload: &[u8]) -> Message {
    Message::new(&TopicName::new(format!("topic/{n}").into_bytes()).unwrap(), payload, QoS::ExactlyOnce)
}

fn records() -> Vec<Record> {
    let at = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789);
    let filter = TopicFilter::try_from("a/+/ü").unwrap();
    let queued = |session, key, payload: &[u8]| {
        let message = message(key, payload);
        Record::Queued { session, key, qos: QoS::ExactlyOnce, retain: key == 1, message }
    };
    vec![
        Record::SessionStarted { session: 1, client_id: "one \"ü\"".into() },
        Record::Subscribed { session: 1, filter, qos: QoS::AtLeastOnce },
        queued(1, 1, b"text"),
        Record::Sent { session: 1, key: 1, packet_id: PacketId::FIRST },
        Record::Released { session: 1, key: 1 },
        queued(1, 2, &[0xff; 300]),
        Record::Received { session: 1, packet_id: PacketId::FIRST },
        Record::SessionDetached { session: 1, at },
        Record::SessionStarted { session: 2, client_id: "two".into() },
        queued(2, 2, &[0xff; 300]),
        Record::WillSet { key: 2, client_id: "two".into(), will: message(7, b"") },
        Record::Retained { message: message(3, b"\0\x01\xfe").retained(), expires_at: None },
        Record::Retained { message: message(4, "ü\n".as_bytes()).retained(), expires_at: Some(at) },
    ]
}

/// A store that is open, with all of the records in it.
fn store(directory: &tempfile::TempDir) -> FjallStore {
    let store = FjallStore::open(options(&directory.path().join("store"))).unwrap();
    store.wait_until_durable(store.append(records())).unwrap();
    store
}

#[test]
fn what_is_exported_can_be_imported() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    let mut export = Vec::new();
    let mut told = None;
    store.export(&mut export, &mut |progress| told = Some(progress)).unwrap();
    assert_eq!(told.map(|progress: Progress| progress.rows), Some(records().len() as u64));
    let text = String::from_utf8(export.clone()).unwrap();
    assert_eq!(text.lines().count(), records().len() + 2);
    assert!(text.contains(r#""payload":"text""#) && text.contains(r#""payload_hex":"0001fe""#), "{text}");

    let copy = directory.path().join("copy");
    FjallStore::import(options(&copy), &mut &export[..], &mut |_| {}).unwrap();
    let imported = FjallStore::open(options(&copy)).unwrap();
    assert_eq!(recovered(&imported), recovered(&store));
    assert_eq!(recovered(&imported), records());
    let again = FjallStore::import(options(&directory.path().join("store")), &mut &export[..], &mut |_| {});
    assert!(again.is_err());
}

/// The last group of an import may be empty. Nobody wrote it, and the import waited for it for ever.
#[test]
fn a_store_of_nothing_can_be_exported_and_imported() {
    let directory = tempfile::tempdir().unwrap();
    let mut export = Vec::new();
    let empty = FjallStore::open(options(&directory.path().join("empty"))).unwrap();
    empty.export(&mut export, &mut |_| {}).unwrap();
    empty.wait_until_durable(empty.append(Vec::new())).unwrap();
    let copy = directory.path().join("copy");
    FjallStore::import(options(&copy), &mut &export[..], &mut |_| {}).unwrap();
    assert_eq!(recovered(&FjallStore::open(options(&copy)).unwrap()), []);
}

#[test]
fn an_import_that_fails_leaves_nothing_that_opens() {
    let directory = tempfile::tempdir().unwrap();
    let mut export = Vec::new();
    store(&directory).export(&mut export, &mut |_| {}).unwrap();
    let text = String::from_utf8(export).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let broken = [
        (lines[..lines.len() - 1].join("\n"), "breaks off after line 14"),
        (lines[1..].join("\n"), "line 1 of the export does not begin an export"),
        (
            text.replace("\"version\":1", "\"version\":2"),
            "line 1 of the export begins an export of version 2",
        ),
        (text.replace("\"records\":13", "\"records\":14"), "line 15 of the export ends it with 14 records"),
        (text.replace("\"packet_id\":1", "\"packet_id\":0"), "line 5 of the export has a value"),
        (text.replace("released", "relaxed"), "line 6 of the export is no record"),
        (format!("{text}{text}"), "line 16 of the export comes after its end"),
    ];
    for (n, (export, said)) in broken.into_iter().enumerate() {
        let copy = directory.path().join(format!("copy {n}"));
        let error = FjallStore::import(options(&copy), &mut export.as_bytes(), &mut |_| {}).unwrap_err();
        assert!(error.message.contains(said), "{error}");
        let error = FjallStore::open(options(&copy)).map(drop).unwrap_err();
        assert!(error.message.contains("unfinished copy"), "{error}");
    }
}

#[test]
fn a_backup_is_the_store_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    let backup = directory.path().join("backup");
    store.backup(&backup, &mut |_| {}).unwrap();
    // The store goes on.
    store.wait_until_durable(store.append(vec![Record::SessionEnded { session: 1 }])).unwrap();
    let copy = FjallStore::open(options(&backup)).unwrap();
    assert_eq!(recovered(&copy), records());
    assert!(copy.check(&mut |_| {}).unwrap().is_ok());
    copy.wait_until_durable(copy.append(vec![Record::SessionEnded { session: 2 }])).unwrap();
    drop(copy);
    assert!(FjallStore::open(options(&backup)).is_ok());
    assert!(store.backup(&backup, &mut |_| {}).unwrap_err().message.contains("holds a store already"));
}

/// The key of a retained message is its topic, and one of them is the key of a row of the store's own.
#[test]
fn a_backup_has_the_retained_message_of_every_topic() {
    let directory = tempfile::tempdir().unwrap();
    let store = FjallStore::open(options(&directory.path().join("store"))).unwrap();
    let retained = ["gmqtt/batch-number", "gmqtt/epoch"].map(|topic| {
        let message = Message::new(&topic.try_into().unwrap(), b"x", QoS::AtLeastOnce).retained();
        Record::Retained { message, expires_at: None }
    });
    store.append(retained.to_vec());
    let backup = directory.path().join("backup");
    store.backup(&backup, &mut |_| {}).unwrap();
    assert_eq!(recovered(&FjallStore::open(options(&backup)).unwrap()), retained);
}

#[test]
fn a_backup_goes_nowhere_else() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    fs::write(directory.path().join("file"), "x").unwrap();
    for place in [".", "file", "store"] {
        assert!(store.backup(&directory.path().join(place), &mut |_| {}).is_err(), "{place}");
    }
    assert_eq!(recovered(&store), records());
}

#[test]
fn info_counts_rows() {
    let directory = tempfile::tempdir().unwrap();
    let info = store(&directory).info(&mut |_| {}).unwrap();
    assert_eq!(info.format_version, 5);
    assert!(info.disk_bytes > 0);
    let rows = |table| info.rows.iter().find(|(name, _)| *name == table).map(|(_, rows)| *rows);
    let counted = ["sessions", "subscriptions", "queue", "messages", "retained", "wills"].map(rows);
    assert_eq!(counted, [2, 1, 3, 1, 2, 1].map(Some));
    assert_eq!(info.waiting, 3);
}
