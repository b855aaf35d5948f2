//! What others do while the engine is told of what is old, which it takes in turns with them.

use std::{collections::VecDeque, sync::Arc, thread, time::Duration};

use mqtt_broker::{
    Message, QoS,
    store::{Mark, QueueRead, Record, StoreError},
};

use crate::{Durability, StoreOptions, desk::Desk, engine::double::Disk, inbox::Inbox, wal::Wal};

/// More than the inbox keeps places for.
const MANY: u64 = 140_000;

/// What is done with and not written yet takes memory all the same.
#[test]
fn a_frame_that_is_not_written_holds_publishers_back() {
    let options = StoreOptions { max_pending_bytes: 2_000, ..StoreOptions::new("") };
    let wal = Wal::new(Disk::default(), 0, u64::MAX, Durability::Os);
    let desk = Desk::new(wal, Inbox::new(Some(0)), &options.durability(Durability::Os));
    let message = Message::new(&"t".try_into().unwrap(), &[7; 200], QoS::AtLeastOnce);
    for key in 1..=3 {
        let (qos, message) = (QoS::AtLeastOnce, message.clone());
        desk.append([Record::Queued { session: 1, key, qos, retain: false, message }]);
        desk.append([Record::Done { session: 1, key }]);
    }
    assert_eq!(desk.congested_until(), Mark(0));
    for key in 4..=8 {
        let (qos, message) = (QoS::AtLeastOnce, message.clone());
        desk.append([Record::Queued { session: 1, key, qos, retain: false, message }]);
        desk.append([Record::Done { session: 1, key }]);
    }
    assert_eq!(desk.congested_until(), Mark(16));
}

/// What is taken of a desk that holds many groups, while this is done to it.
fn taken_while(act: impl FnOnce(&Desk<Disk>)) -> Option<(u64, u64, usize)> {
    let options = StoreOptions { max_pending_bytes: usize::MAX, ..StoreOptions::new("") };
    let wal = Wal::new(Disk::default(), 0, u64::MAX, Durability::Os);
    let desk = Arc::new(Desk::new(wal, Inbox::new(Some(0)), &options.durability(Durability::Os)));
    for _ in 0..MANY {
        desk.append([Record::WillCleared { key: 1 }]);
    }
    let theirs = Arc::clone(&desk);
    let keeper = thread::spawn(move || {
        let taken = theirs.next(VecDeque::new(), true)?;
        Some((taken.mark.unwrap(), taken.slots.len() as u64, taken.reads.len()))
    });
    act(&desk);
    keeper.join().unwrap()
}

/// What was taken before a failure emptied the inbox is not all that there was.
#[test]
fn what_a_failure_has_dropped_is_not_told() {
    for round in 0..20 {
        let taken = taken_while(|desk| {
            thread::sleep(Duration::from_micros(100 + round * 450));
            desk.fail(StoreError::new("the disk is full"));
        });
        if let Some((mark, slots, _)) = taken {
            assert_eq!(slots, mark, "told up to there");
        }
    }
}

/// Who asks when others have their turn may ask for what is not taken this time.
#[test]
fn a_read_is_not_served_before_what_it_asks_for() {
    for round in 0..20 {
        let taken = taken_while(|desk| {
            thread::sleep(Duration::from_micros(100 + round * 450));
            let message = Message::new(&"t".try_into().unwrap(), b"a payload", QoS::AtLeastOnce);
            desk.append([Record::Queued {
                session: 1,
                key: 1,
                qos: QoS::AtLeastOnce,
                retain: false,
                message,
            }]);
            let read = QueueRead { session: 1, after: 0, most_bytes: 1 };
            desk.read(read, Box::new(|_| {}));
        });
        let (_, slots, reads) = taken.unwrap();
        assert!(reads == 0 || slots == MANY + 1, "{reads} with {slots} of {MANY} groups");
    }
}
