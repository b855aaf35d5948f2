//! Messages come and go, and the process may end at any moment: none is lost that was durable, and none comes back.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use mqtt_broker::{
    Message, PacketId, QoS,
    store::{Mark, MessageKey, Record, SessionKey},
};
use proptest::{collection::vec, prelude::*};

use super::power_loss::{reopened, start};
use crate::{Durability, engine::double::Disk};

fn queued_for(session: SessionKey, key: MessageKey) -> Record {
    let qos = QoS::AtLeastOnce;
    let message = Message::new(&"t".try_into().unwrap(), b"a payload", qos);
    Record::Queued { session, key, qos, retain: false, message }
}

#[derive(Clone, Debug)]
enum Act {
    /// A new message, for these of the sessions 1 to 3.
    Queue([bool; 3], bool),
    /// How far one of the latest messages has come, for one of the sessions.
    Send(SessionKey, usize),
    Finish(SessionKey, usize),
    Wait,
    /// The engine is told.
    Settle,
}

fn act() -> impl Strategy<Value = Act> {
    let latest = || (1..4_u64, 0..6_usize);
    prop_oneof![
        4 => any::<([bool; 3], bool)>().prop_map(|(sessions, received)| Act::Queue(sessions, received)),
        2 => latest().prop_map(|(session, back)| Act::Send(session, back)),
        6 => latest().prop_map(|(session, back)| Act::Finish(session, back)),
        1 => Just(Act::Wait),
        1 => Just(Act::Settle),
    ]
}

/// What was appended about the messages: when each was queued, and when it was done with.
#[derive(Default)]
struct Marks {
    queued: BTreeMap<(SessionKey, MessageKey), Mark>,
    done: BTreeMap<(SessionKey, MessageKey), Mark>,
    latest: Mark,
}

impl Marks {
    /// What is left has what was promised, and nothing that was over.
    fn check(&self, durable: Mark, left: &[Record]) {
        let left = waiting(left);
        for (message, mark) in &self.queued {
            let done = self.done.get(message);
            if *mark <= durable && done.is_none() {
                assert!(left.contains(message), "{message:?} at {mark:?} is lost, durable is {durable:?}");
            }
            if done.is_some_and(|done| *done <= durable) {
                assert!(!left.contains(message), "{message:?} is back, durable is {durable:?}");
            }
        }
    }
}

fn waiting(records: &[Record]) -> BTreeSet<(SessionKey, MessageKey)> {
    let of = |record: &Record| match record {
        Record::Queued { session, key, .. } => Some((*session, *key)),
        _ => None,
    };
    records.iter().filter_map(of).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// The process ends at any moment: what was durable is there, in whatever order messages are done with.
    #[test]
    fn a_writer_keeps_what_it_says(acts in vec(act(), 20..120)) {
        let disk = Disk::default();
        let writer = start(&disk, Durability::Os);
        let mut key = 8;
        for session in 1..4 {
            writer.append_one(Record::SessionStarted { session, client_id: "b".into() });
        }
        let mut marks = Marks::default();
        for act in acts {
            marks.latest = match act {
                Act::Queue(sessions, received) => {
                    key += 1;
                    let named = (1..4).zip(sessions).filter(|(_, named)| *named).map(|(session, _)| session);
                    let mut group: Vec<_> = named.clone().map(|session| queued_for(session, key)).collect();
                    group.extend(received.then_some(Record::Received { session: 1, packet_id: PacketId::FIRST }));
                    let mark = writer.append(group);
                    marks.queued.extend(named.map(|session| ((session, key), mark)));
                    mark
                }
                Act::Send(session, back) => {
                    let key = key - back as u64;
                    writer.append_one(Record::Sent { session, key, packet_id: PacketId::FIRST })
                }
                Act::Finish(session, back) => {
                    let message = (session, key - back as u64);
                    let mark = writer.append_one(Record::Done { session, key: message.1 });
                    if marks.queued.contains_key(&message) {
                        marks.done.entry(message).or_insert(mark);
                    }
                    mark
                }
                Act::Wait => {
                    writer.wait(marks.latest).unwrap();
                    marks.latest
                }
                Act::Settle => {
                    writer.settle().unwrap();
                    marks.latest
                }
            };
            let durable = writer.durable();
            marks.check(durable, &reopened(&disk.after_crash()));
        }
        prop_assert!(writer.close().is_some());
        prop_assert_eq!(writer.durable(), marks.latest);
        marks.check(Mark(u64::MAX), &reopened(&disk));
    }
}

/// Publishers and subscribers on several threads, some of whose messages stay.
#[test]
fn threads_that_settle_at_the_same_time_lose_nothing() {
    const MESSAGES: u64 = 3_000;
    let disk = Disk::default();
    let writer = start(&disk, Durability::Os);
    let next_key = Mutex::new(1);
    let undone = Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for session in 1..4 {
            let (writer, next_key, undone) = (&writer, &next_key, &undone);
            writer.append_one(Record::SessionStarted { session, client_id: "a".into() });
            scope.spawn(move || {
                for n in 0..MESSAGES {
                    let (mark, key) = {
                        let mut next_key = next_key.lock().unwrap();
                        *next_key += 1;
                        (writer.append(vec![queued_for(session, *next_key)]), *next_key)
                    };
                    writer.append_one(Record::Sent { session, key, packet_id: PacketId::FIRST });
                    if n % 100 == 0 {
                        undone.lock().unwrap().insert((session, key));
                        writer.wait(mark).unwrap();
                    } else {
                        writer.append_one(Record::Done { session, key });
                        if n % 16 == 0 {
                            writer.wait(mark).unwrap();
                        }
                    }
                }
            });
        }
    });
    assert!(writer.close().is_some());
    assert_eq!(waiting(&reopened(&disk)), undone.into_inner().unwrap());
}
