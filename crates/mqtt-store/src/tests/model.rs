//! Whatever is appended, in whatever groups, with the store closed and opened again in between: it says the same as the
//! store that keeps everything in memory.

use std::sync::Arc;

use mqtt_broker::store::{MemoryStore, Record, Store};
use proptest::{collection::vec, prelude::*};

use super::{
    records::{groups, record, recovered, sorted},
    scratch,
};
use crate::{
    Durability, FjallStore, StoreOptions,
    check::{Walk, check},
    engine::double::Disk,
    ledger::Ledger,
    reader::recover,
};

#[derive(Clone, Debug)]
enum Act {
    Write(Vec<Record>),
    Sweep,
    Reopen,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => vec(record(), 1..30).prop_map(Act::Write),
        1 => Just(Act::Sweep),
        1 => Just(Act::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// Batches of any size, each of which may undo what the one before did.
    #[test]
    fn a_ledger_says_the_same_as_the_store_in_memory(acts in vec(act(), 1..30)) {
        let disk = Disk::default();
        let model = MemoryStore::default();
        let open = || Ledger::open(Arc::new(disk.clone()), 0, 0, 2).unwrap();
        let mut ledger = open();
        for act in acts {
            match act {
                Act::Write(records) => {
                    model.append(records.clone());
                    ledger.write(records, 0, Durability::Sync, true).unwrap();
                }
                Act::Sweep => while ledger.has_leftovers() {
                    ledger.write([], 0, Durability::Sync, true).unwrap();
                },
                Act::Reopen => ledger = open(),
            }
            prop_assert_eq!(sorted(|visit| recover(&disk, visit).unwrap()), recovered(&model));
            let report = check(&disk, Walk::new(0, &mut |_| {})).unwrap();
            prop_assert!(report.is_ok(), "{:?}", report.problems);
        }
    }

    /// When every session is over and nothing is retained, nothing is left but the two rows of the table "meta".
    #[test]
    fn a_ledger_leaves_nothing_behind(batches in groups(1..30)) {
        let disk = Disk::default();
        let mut ledger = Ledger::open(Arc::new(disk.clone()), 0, 0, 2).unwrap();
        let mut undo = Vec::new();
        for records in batches {
            for record in &records {
                undo.push(match record {
                    Record::SessionStarted { session, .. } => Record::SessionEnded { session: *session },
                    Record::Retained { message, .. } => {
                        Record::RetainedCleared { topic: message.topic().try_into().unwrap() }
                    }
                    Record::WillSet { key, .. } => Record::WillCleared { key: *key },
                    _ => continue,
                });
            }
            ledger.write(records, 0, Durability::Sync, true).unwrap();
        }
        ledger.write(undo, 0, Durability::Sync, true).unwrap();
        while ledger.has_leftovers() {
            ledger.write([], 0, Durability::Sync, true).unwrap();
        }
        prop_assert_eq!(disk.row_count(), 2);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn a_store_says_the_same_as_the_store_in_memory(histories in vec(groups(1..40), 1..3)) {
        let directory = scratch();
        let model = MemoryStore::default();
        // Two entries may go ahead of their batch.
        let options = StoreOptions { memtable_bytes: 8 * 1024, ..StoreOptions::new(directory.path()) };
        let open = || FjallStore::open(options.clone().durability(Durability::Os)).unwrap();
        for groups in histories {
            let store = open();
            let (logged, unlogged) = groups.split_at(groups.len() / 2);
            for group in logged {
                model.append(group.clone());
                let mark = store.append(group.clone());
                store.wait_until_durable(mark).unwrap();
            }
            prop_assert_eq!(recovered(&store), recovered(&model));
            for group in unlogged {
                model.append(group.clone());
                store.append(group.clone());
            }
            store.close().unwrap();
            let store = open();
            prop_assert_eq!(recovered(&store), recovered(&model));
            let report = store.check(&mut |_| {}).unwrap();
            prop_assert!(report.is_ok(), "{:?}", report.problems);
        }
    }
}
