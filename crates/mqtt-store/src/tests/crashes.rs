//! The process ends between any two writes: while the engine is told, with runs ahead of a batch that never comes, and while the next
//! start takes in the log. What was appended was in the log, so that the store says the same as one that keeps everything in memory.

use std::{
    collections::{BTreeSet, VecDeque},
    mem,
    sync::Arc,
};

use mqtt_broker::{
    Message, PacketId, QoS,
    store::{MemoryStore, MessageKey, Record, SessionKey, Store, StoreError},
};
use proptest::{collection::vec, prelude::*};

use super::{
    records::{recovered, sorted},
    runs::{assert_sound, read, rows, waiting},
};
use crate::{
    Durability,
    encoding::Table,
    engine::double::{Disk, Fault},
    inbox::{Inbox, Later},
    ledger::Ledger,
    reader::recover,
    wal::{Frame, Wal},
};

#[derive(Clone, Debug)]
enum Act {
    /// So many new messages, of about so many bytes, for each of these sessions.
    Queue(usize, Vec<SessionKey>, usize),
    /// Of what waits for a session: so many are left out, then each of so many is done with.
    Finish(SessionKey, usize, usize),
    FinishAll,
    /// The first so many of a session are sent.
    Send(SessionKey, usize),
    /// A session ends, and another one of the same key begins.
    Restart(SessionKey),
    /// The engine is told, but of the latest groups.
    Tell(u64),
    /// The engine takes so many writes, and the process ends. So do the next two, after so many.
    Crash([u32; 3]),
}

fn act() -> impl Strategy<Value = Act> {
    let session = || 1..4_u64;
    let sessions = prop_oneof![
        3 => session().prop_map(|session| vec![session]),
        1 => Just(vec![1, 2]),
        1 => Just(vec![1, 2, 3]),
    ];
    let bytes = prop_oneof![Just(3_usize), Just(200), Just(2_000)];
    prop_oneof![
        6 => (1..40_usize, sessions, bytes).prop_map(|(many, sessions, bytes)| Act::Queue(many, sessions, bytes)),
        6 => (session(), 0..20_usize, 1..6_usize).prop_map(|(session, skip, step)| Act::Finish(session, skip, step)),
        1 => Just(Act::FinishAll),
        2 => (session(), 1..5_usize).prop_map(|(session, many)| Act::Send(session, many)),
        1 => session().prop_map(Act::Restart),
        5 => (0..6_u64).prop_map(Act::Tell),
        4 => [0..3_u32, 0..6_u32, 0..6_u32].prop_map(Act::Crash),
    ]
}

/// A store without its threads, and what it should say.
struct World {
    disk: Disk,
    ledger: Ledger<Disk>,
    log: Wal<Disk>,
    inbox: Inbox,
    later: Later,
    groups_before: u64,
    mark: u64,
    next_key: MessageKey,
}

impl World {
    fn open(disk: &Disk) -> Result<Self, StoreError> {
        let mut ledger = Ledger::open(Arc::new(disk.clone()), 0, 0, 2)?;
        ledger.catch_up(disk, Durability::Os)?;
        let log = Wal::new(disk.clone(), ledger.groups(), u64::MAX, Durability::Os);
        // As the broker does: keys go on from what waits, and may have been given out before.
        let newest = waiting(disk).iter().map(|(_, key)| *key).max().unwrap_or_default();
        let mut inbox = Inbox::new(ledger.newest());
        inbox.set_newest(newest);
        let groups_before = ledger.groups();
        let (later, next_key) = (Later::default(), newest + 1);
        Ok(Self { disk: disk.clone(), ledger, log, inbox, later, groups_before, mark: 0, next_key })
    }

    fn append(&mut self, model: &MemoryStore, group: Vec<Record>) {
        let mut frame = Frame::default();
        frame.push(&group);
        self.log.write(&mut frame).unwrap();
        model.append(group.clone());
        self.mark += 1;
        for record in group {
            self.inbox.push(self.mark, record);
        }
    }

    fn tell(&mut self, mark: u64) -> Result<(), StoreError> {
        let mut slots = VecDeque::new();
        while !self.inbox.take_until(mark, usize::MAX, &mut slots) {}
        let groups = (self.groups_before + mark).max(self.ledger.groups());
        self.ledger.write(self.later.unpack(slots.into_iter(), mark), groups, Durability::Os, true)
    }

    fn check(&self, model: &MemoryStore, after: MessageKey) {
        assert_eq!(sorted(|visit| recover(&self.disk, visit).unwrap()), recovered(model));
        let sent = of(model, |record| matches!(record, Record::Sent { .. }));
        let unsent: Vec<_> = queued_in(model).into_iter().filter(|entry| !sent.contains(entry)).collect();
        for session in 1..4 {
            let is_asked_for = |entry: &&(SessionKey, MessageKey)| entry.0 == session && entry.1 > after;
            let expected: Vec<_> = unsent.iter().filter(is_asked_for).map(|(_, key)| *key).collect();
            assert_eq!(read(&self.disk, &self.ledger, session, after), expected, "{session} after {after}");
        }
        assert_sound(&self.disk);
    }

    /// The process ends after so many writes to the engine; so do those that come after it.
    fn crash(mut self, writes: [u32; 3]) -> Self {
        let [first, rest @ ..] = writes;
        self.disk.fail_after(first, Fault::Write);
        let _ = self.tell(self.mark);
        let mut disk = self.disk.after_crash();
        for writes in rest {
            disk.fail_after(writes, Fault::Write);
            drop(Self::open(&disk));
            disk = disk.after_crash();
        }
        Self::open(&disk).unwrap()
    }
}

fn of(model: &MemoryStore, is_it: impl Fn(&Record) -> bool) -> BTreeSet<(SessionKey, MessageKey)> {
    let mut found = BTreeSet::new();
    let visit = &mut |record: Record| {
        if let Record::Queued { session, key, .. } | Record::Sent { session, key, .. } = record
            && is_it(&record)
        {
            found.insert((session, key));
        }
    };
    model.recover(visit).unwrap();
    found
}

fn queued_in(model: &MemoryStore) -> BTreeSet<(SessionKey, MessageKey)> {
    of(model, |record| matches!(record, Record::Queued { .. }))
}

fn started(session: SessionKey) -> Record {
    Record::SessionStarted { session, client_id: format!("client {session}").into() }
}

fn queued(session: SessionKey, key: MessageKey, bytes: usize) -> Record {
    let qos = QoS::AtLeastOnce;
    let message = Message::new(&"t".try_into().unwrap(), &vec![b'x'; bytes], qos);
    Record::Queued { session, key, qos, retain: false, message }
}

/// What an act appends, in groups.
fn groups(act: &Act, model: &MemoryStore, next_key: &mut MessageKey) -> Vec<Vec<Record>> {
    let of_session = |session| queued_in(model).into_iter().filter(move |entry| entry.0 == session);
    let done = |(session, key)| vec![Record::Done { session, key }];
    match *act {
        Act::Queue(many, ref sessions, bytes) => (0..many)
            .map(|n| {
                let key = mem::replace(next_key, *next_key + 1);
                // One of seven is larger than what may be in a run.
                let bytes = if n % 7 == 0 { bytes * 3 } else { bytes };
                sessions.iter().map(|session| queued(*session, key, bytes)).collect()
            })
            .collect(),
        Act::Finish(session, skip, step) => of_session(session).skip(skip).step_by(step).map(done).collect(),
        Act::FinishAll => queued_in(model).into_iter().map(done).collect(),
        Act::Send(session, many) => (1..)
            .zip(of_session(session).take(many))
            .map(|(id, (session, key))| {
                vec![Record::Sent { session, key, packet_id: PacketId::new(id).unwrap() }]
            })
            .collect(),
        Act::Restart(session) => vec![vec![Record::SessionEnded { session }, started(session)]],
        Act::Tell(_) | Act::Crash(_) => Vec::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_was_in_the_log_is_there_after_any_crashes(acts in vec(act(), 1..40), after in 0..300_u64) {
        let model = MemoryStore::default();
        let mut world = World::open(&Disk::default()).unwrap();
        world.append(&model, vec![started(1), started(2), started(3)]);
        for act in acts {
            for group in groups(&act, &model, &mut world.next_key) {
                world.append(&model, group);
            }
            match act {
                Act::Tell(but) => {
                    world.tell(world.mark.saturating_sub(but)).unwrap();
                    if but == 0 {
                        world.check(&model, after);
                    }
                }
                Act::Crash(writes) => {
                    world = world.crash(writes);
                    world.check(&model, 0);
                    world.check(&model, after);
                }
                _ => {}
            }
        }
        for group in groups(&Act::FinishAll, &model, &mut world.next_key) {
            world.append(&model, group);
        }
        world.tell(world.mark).unwrap();
        world.check(&model, 0);
        while world.ledger.has_leftovers() {
            world.ledger.write([], world.ledger.groups(), Durability::Os, false).unwrap();
        }
        for table in [Table::Runs, Table::Gaps, Table::Queue, Table::Shares, Table::Messages] {
            prop_assert_eq!(rows(&world.disk, table), 0, "{:?}", table);
        }
    }
}
