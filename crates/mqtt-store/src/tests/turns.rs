//! What others do while the engine is told of what is old, which it takes in turns with them.

use std::{
    collections::VecDeque,
    sync::{Arc, mpsc},
    task::{Wake, Waker},
    thread,
    time::Duration,
};

use mqtt_broker::{
    Message, QoS,
    store::{Mark, QueueRead, Record, StoreError},
};

use super::power_loss::{reopened, start};
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
        desk.append_one(Record::Queued { session: 1, key, qos, retain: false, message });
        desk.append_one(Record::Done { session: 1, key });
    }
    assert_eq!(desk.congested_until(), Mark(0));
    for key in 4..=8 {
        let (qos, message) = (QoS::AtLeastOnce, message.clone());
        desk.append_one(Record::Queued { session: 1, key, qos, retain: false, message });
        desk.append_one(Record::Done { session: 1, key });
    }
    assert_eq!(desk.congested_until(), Mark(16));
}

struct Sender(mpsc::Sender<()>);

impl Wake for Sender {
    fn wake(self: Arc<Self>) {
        let _ = self.0.send(());
    }
}

/// A message that is done with at once: the inbox has nothing of it, and the log has it.
fn passing(key: u64) -> Vec<Record> {
    let message = Message::new(&"t".try_into().unwrap(), &[7; 4_000], QoS::AtLeastOnce);
    vec![Record::Queued { session: 1, key, qos: QoS::AtLeastOnce, retain: false, message }]
}

/// The log may not grow for as long as one round of the engine takes.
#[test]
fn a_full_log_holds_publishers_back_until_the_engine_has_followed() {
    for durability in [Durability::Sync, Durability::Os] {
        let wal = Wal::new(Disk::default(), 0, 10_000, durability);
        let options = StoreOptions::new("").durability(durability);
        let desk = Arc::new(Desk::new(wal, Inbox::new(Some(0)), &options));
        let theirs = Arc::clone(&desk);
        let writer = (durability == Durability::Sync).then(|| thread::spawn(move || theirs.keep_writing()));
        let (sender, woken) = mpsc::channel();
        let waker = Waker::from(Arc::new(Sender(sender)));
        let mut marks = (1..1_000).map(|key| {
            desk.append(passing(key));
            let mark = desk.append_one(Record::Done { session: 1, key });
            let is_full = desk.congested_until() == mark;
            desk.wake_at(mark, &waker);
            while !is_full && desk.durable() < mark {
                woken.recv().unwrap();
            }
            (mark, is_full)
        });
        let (last, _) = marks.find(|(_, is_full)| *is_full).expect("there is a bound");
        thread::sleep(Duration::from_millis(5)); // For the writer to find that it is full, and fall asleep.
        assert!(desk.durable() < last);
        let told = desk.next(VecDeque::new(), true).unwrap().mark.unwrap();
        assert!(told < last.0, "{durability}: it is told of what is oldest");
        desk.settle(told, told);
        while desk.durable() < last {
            woken.recv().unwrap();
        }
        desk.close();
        if let Some(writer) = writer {
            writer.join().unwrap();
        }
    }
}

/// Publishers that wait for each message, and a log that is full again and again: nobody waits for ever.
#[test]
fn whatever_passes_through_the_log_stays_bounded() {
    for durability in [Durability::Sync, Durability::Os] {
        let disk = Disk::default();
        let writer = start(&disk, durability);
        // Twice four files of 64 KiB, and what each was made longer by ahead, or may be before it is cut.
        let most = 1024 * 1024 * if durability == Durability::Sync { 2 } else { 1 };
        thread::scope(|scope| {
            for publisher in 0..4 {
                let (writer, disk) = (&writer, &disk);
                scope.spawn(move || {
                    for key in (1 + publisher..2_000).step_by(4) {
                        writer.append(passing(key));
                        writer.wait(writer.append_one(Record::Done { session: 1, key })).unwrap();
                        assert!(disk.log_bytes() < most, "{durability}: {}", disk.log_bytes());
                    }
                });
            }
        });
        assert!(writer.close().is_some());
        assert_eq!(reopened(&disk), [], "{durability}");
    }
}

/// What is taken of a desk that holds many groups, while this is done to it.
fn taken_while(act: impl FnOnce(&Desk<Disk>)) -> Option<(u64, u64, usize)> {
    let options = StoreOptions { max_pending_bytes: usize::MAX, ..StoreOptions::new("") };
    let wal = Wal::new(Disk::default(), 0, u64::MAX, Durability::Os);
    let desk = Arc::new(Desk::new(wal, Inbox::new(Some(0)), &options.durability(Durability::Os)));
    for _ in 0..MANY {
        desk.append_one(Record::WillCleared { key: 1 });
    }
    let theirs = Arc::clone(&desk);
    let keeper = thread::spawn(move || {
        let taken = theirs.next(VecDeque::new(), true)?;
        Some((taken.mark.unwrap(), taken.slots.len() as u64, taken.asks.len()))
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
            desk.append_one(Record::Queued {
                session: 1,
                key: 1,
                qos: QoS::AtLeastOnce,
                retain: false,
                message,
            });
            let read = QueueRead { session: 1, after: 0, most_bytes: 1 };
            desk.read(read, Box::new(|_| {}));
        });
        let (_, slots, reads) = taken.unwrap();
        assert!(reads == 0 || slots == MANY + 1, "{reads} with {slots} of {MANY} groups");
    }
}
