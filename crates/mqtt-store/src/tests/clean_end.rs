//! A clean end leaves little to read: what was only in the engine's journal is in sorted files then.

use std::{fs, path::Path};

use mqtt_broker::{
    Message, QoS, TopicName,
    store::{Record, Store},
};

use super::scratch;
use crate::{
    Durability, FjallStore, StoreOptions, journal,
    wal::{Files, Medium},
};

static PAYLOAD: [u8; 64 * 1024] = [7; 64 * 1024];

fn open(directory: &Path) -> FjallStore {
    FjallStore::open(StoreOptions::new(directory).durability(Durability::Os)).unwrap()
}

fn retained(number: usize) -> Record {
    let topic: TopicName = format!("topic/{number:02}").as_str().try_into().unwrap();
    Record::Retained { message: Message::new(&topic, &PAYLOAD, QoS::AtLeastOnce), expires_at: None }
}

/// A store that was closed with so many retained messages.
fn closed(messages: usize) -> tempfile::TempDir {
    let directory = scratch();
    let store = open(directory.path());
    for number in 0..messages {
        store.append_one(retained(number));
    }
    store.close().unwrap();
    directory
}

fn recovered(store: &FjallStore) -> Vec<Record> {
    let mut records = Vec::new();
    store.recover(&mut |record| records.push(record)).unwrap();
    records
}

fn synced(directory: &Path) -> String {
    fs::read_to_string(directory.join("synced")).unwrap()
}

fn journal_bytes(directory: &Path) -> u64 {
    let seed = Files::open(&directory.join("log")).unwrap().seed();
    journal::check(&directory.join("db"), 0, seed).unwrap().bytes
}

#[test]
fn a_long_journal_is_not_read_again() {
    let directory = closed(40);
    assert!(synced(directory.path()).ends_with(" sorted\n"), "{}", synced(directory.path()));
    assert!(journal_bytes(directory.path()) > 2 << 20);
    for _ in 0..2 {
        let store = open(directory.path());
        assert_eq!(recovered(&store), (0..40).map(retained).collect::<Vec<_>>());
        assert!(journal_bytes(directory.path()) < 1024);
        store.close().unwrap();
    }
}

/// To sort a few rows takes longer than to read them.
#[test]
fn a_short_journal_is_left_as_it_is() {
    let directory = closed(4);
    assert!(!synced(directory.path()).contains("sorted"), "{}", synced(directory.path()));
    assert_eq!(recovered(&open(directory.path())), (0..4).map(retained).collect::<Vec<_>>());
}

/// What the clean end before says of the journal is not true of what came later.
#[test]
fn what_came_after_a_clean_end_is_kept() {
    let directory = closed(40);
    let store = open(directory.path());
    store.append_one(retained(40));
    recovered(&store); // The engine has been told by then.
    let killed = scratch();
    copy(directory.path(), killed.path());
    assert!(synced(killed.path()).ends_with(" sorted\n"));
    assert_eq!(recovered(&open(killed.path())).len(), 41);
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let (entry, to) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).unwrap();
        if entry.is_dir() {
            fs::create_dir(&to).unwrap();
            copy(&entry, &to);
        } else {
            fs::copy(entry, to).unwrap();
        }
    }
}
