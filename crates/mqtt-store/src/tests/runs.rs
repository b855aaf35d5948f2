//! Messages that wait in runs: each is there until it is done with, in whatever order that happens, and little is written for it.

use std::{
    collections::BTreeSet,
    sync::{Arc, mpsc::channel},
};

use mqtt_broker::{
    Message, QoS,
    store::{MessageKey, QueueRead, Record, SessionKey, Store},
};
use proptest::{collection::vec, prelude::*};

use super::{records::sorted, scratch};
use crate::{
    Durability, FjallStore, StoreOptions,
    check::{Walk, check, count},
    encoding::{Table, Value, decode},
    engine::{
        Reads,
        double::{Disk, Fault},
    },
    ledger::Ledger,
    pages::{self, Job},
    reader::recover,
};

fn started(session: SessionKey) -> Record {
    Record::SessionStarted { session, client_id: format!("client {session}").into() }
}

fn queued(session: SessionKey, key: MessageKey) -> Record {
    // Some are large, and some are so large that a run has few of them.
    let payload = vec![b'x'; if key.is_multiple_of(50) { 20_000 } else { (key % 200) as usize }];
    let message = Message::new(&"t".try_into().unwrap(), &payload, QoS::AtLeastOnce);
    Record::Queued { session, key, qos: QoS::AtLeastOnce, retain: false, message }
}

fn done(session: SessionKey, key: MessageKey) -> Record {
    Record::Done { session, key }
}

/// A ledger with a session for which these messages wait.
fn with_queue(disk: &Disk, keys: impl Iterator<Item = MessageKey>) -> Ledger<Disk> {
    let mut ledger = open(disk);
    write(&mut ledger, [started(1)].into_iter().chain(keys.map(|key| queued(1, key))));
    ledger
}

/// A ledger that makes runs of two new entries or more.
fn open(disk: &Disk) -> Ledger<Disk> {
    Ledger::open(Arc::new(disk.clone()), 0, 0, 2).unwrap()
}

fn write(ledger: &mut Ledger<Disk>, records: impl IntoIterator<Item = Record>) {
    ledger.write(records, 0, Durability::Sync, true).unwrap();
}

pub(super) fn rows(disk: &Disk, table: Table) -> usize {
    disk.rows(table, &[], None).count()
}

/// The messages of a session that wait behind this one, as they are read a page at a time.
pub(super) fn read(
    disk: &Disk,
    ledger: &Ledger<Disk>,
    session: SessionKey,
    mut after: MessageKey,
) -> Vec<MessageKey> {
    let mut keys = Vec::new();
    loop {
        let (jobs, taken) = channel();
        let (deliver, page) = channel();
        let read = QueueRead { session, after, most_bytes: 4_000 };
        let place = ledger.place(&read);
        let deliver = Box::new(move |page| deliver.send(page).unwrap());
        jobs.send(Job { view: Arc::new(disk.clone()), place, known: MessageKey::MAX, read, deliver })
            .unwrap();
        drop(jobs);
        pages::read_all(&taken, |_, _| panic!("all is known"), |error| panic!("{error}"));
        let page = page.recv().unwrap();
        keys.extend(page.messages.iter().map(|queued| queued.key));
        after = keys.last().copied().unwrap_or(after);
        if page.is_last {
            return keys;
        }
    }
}

pub(super) fn waiting(disk: &Disk) -> Vec<(SessionKey, MessageKey)> {
    let mut keys = Vec::new();
    recover(disk, &mut |record| {
        if let Record::Queued { session, key, .. } = record {
            keys.push((session, key));
        }
    })
    .unwrap();
    keys
}

fn counted(disk: &Disk) -> u64 {
    count(disk, Walk::new(0, &mut |_| {})).unwrap().waiting
}

pub(super) fn assert_sound(disk: &Disk) {
    let report = check(disk, Walk::new(0, &mut |_| {})).unwrap();
    assert!(report.is_ok(), "{:?}", report.problems);
}

#[test]
fn many_messages_take_few_rows_and_leave_none() {
    let disk = Disk::default();
    let mut ledger = with_queue(&disk, 1..=49);
    write(&mut ledger, (51..=99).map(|key| queued(1, key)));
    assert_eq!((rows(&disk, Table::Runs), rows(&disk, Table::Queue)), (2, 0));
    write(&mut ledger, (1..=40).chain(51..=60).map(|key| done(1, key)));
    assert_eq!((rows(&disk, Table::Runs), rows(&disk, Table::Gaps)), (2, 2));
    write(&mut ledger, (41..=49).map(|key| done(1, key)));
    assert_eq!(
        (rows(&disk, Table::Runs), rows(&disk, Table::Gaps)),
        (1, 1),
        "of a run that is over nothing is left"
    );
    assert_eq!(read(&disk, &ledger, 1, 0), (61..=99).collect::<Vec<_>>());
    write(&mut ledger, (61..=99).map(|key| done(1, key)));
    assert_eq!((rows(&disk, Table::Runs), rows(&disk, Table::Gaps)), (0, 0));
    assert_sound(&disk);
}

#[test]
fn a_batch_may_go_from_run_to_run_and_back() {
    let disk = Disk::default();
    let mut ledger = with_queue(&disk, 1..=3);
    write(&mut ledger, (4..=6).map(|key| queued(1, key)));
    write(&mut ledger, [done(1, 1), done(1, 5), done(1, 3), done(1, 4), done(1, 1)]);
    assert_eq!(waiting(&disk), [(1, 2), (1, 6)]);
    write(&mut ledger, [done(1, 2)]);
    assert_eq!(waiting(&disk), [(1, 6)]);
    assert_sound(&disk);
}

/// A message that comes again after its run, as when a batch was cut off by a crash and is taken in from the log again.
#[test]
fn what_comes_again_stands_for_itself() {
    let disk = Disk::default();
    with_queue(&disk, 1..=3);
    write(&mut open(&disk), (1..=3).map(|key| queued(1, key)));
    assert_eq!(waiting(&disk), [(1, 1), (1, 2), (1, 3)]);
    assert_eq!((rows(&disk, Table::Runs), rows(&disk, Table::Queue)), (0, 3));
    assert_sound(&disk);
}

/// Rows of a session that is over go, a few at a time, whatever was done with before.
#[test]
fn the_runs_of_a_session_that_is_over_go_too() {
    let disk = Disk::default();
    let mut ledger = with_queue(&disk, 1..=9);
    write(&mut ledger, [done(1, 2), Record::SessionEnded { session: 1 }]);
    assert_sound(&disk);
    assert_eq!(rows(&disk, Table::Gaps), 1);
    while ledger.has_leftovers() {
        write(&mut ledger, []);
    }
    assert_eq!((rows(&disk, Table::Runs), rows(&disk, Table::Gaps)), (0, 0));
    assert_sound(&disk);
}

#[test]
fn a_check_says_what_does_not_fit() {
    let disk = Disk::default();
    let mut ledger = with_queue(&disk, 1..=3);
    write(&mut ledger, [done(1, 1)]);
    let (key, value) = disk.rows(Table::Gaps, &[], None).next().unwrap().unwrap();
    assert_eq!(decode(Table::Gaps, &key, &value), Ok(Value::Gaps(1)));
    let problems = |disk: &Disk| check(disk, Walk::new(0, &mut |_| {})).unwrap().problems;
    for gaps in [0b111, 0b1001] {
        let disk = disk.after_crash();
        disk.put(Table::Gaps, &key, &Value::Gaps(gaps));
        assert_eq!(problems(&disk), ["the run of message 1 has gaps that do not fit it"]);
    }
    disk.put(Table::Gaps, &[&key[..8], &[0; 8]].concat(), &Value::Gaps(1));
    let [problem] = &problems(&disk)[..] else { panic!() };
    assert!(problem.starts_with("there are gaps of a run that is not there"));
}

/// A head is moved past what was done with, and nothing that waits stands before it.
#[test]
fn no_head_is_moved_past_a_run() {
    let disk = Disk::default();
    let mut ledger = with_queue(&disk, 1..=1_300);
    write(&mut ledger, (51..=1_200).map(|key| done(1, key)));
    write(&mut ledger, [Record::SessionAttached { session: 1 }]);
    let left: Vec<_> = (1..=50).chain(1_201..=1_300).map(|key| (1, key)).collect();
    assert_eq!(waiting(&disk), left);
    assert_sound(&disk);
    write(&mut ledger, (1..=50).chain(1_201..=1_250).map(|key| done(1, key)));
    write(&mut ledger, (1_251..=1_299).map(|key| done(1, key)));
    assert_eq!(waiting(&disk), [(1, 1_300)]);
    assert_sound(&disk);
}

/// Its run went ahead of a batch that never came, and below the head that the engine knows: then nobody would see it until a later
/// message moved the head back, and its keys would be given out again.
#[test]
fn nothing_goes_ahead_below_a_head() {
    let disk = Disk::default();
    let mut ledger = with_queue(&disk, 1..=1_100);
    write(&mut ledger, (1..=1_100).map(|key| done(1, key)));
    write(&mut ledger, [Record::SessionAttached { session: 1 }]);
    let mut ledger = open(&disk); // Keys begin with 1 again.
    disk.fail_after(1, Fault::Write);
    let again = (1..=200).map(|key| queued(1, key));
    let _ = ledger.write(again, 0, Durability::Os, true);
    let disk = disk.after_power_loss(0, |_| 0);
    let before = waiting(&disk);
    let next = before.last().map_or(0, |(_, key)| *key) + 1;
    write(&mut open(&disk), [queued(1, next)]);
    assert_eq!(waiting(&disk), [before, vec![(1, next)]].concat());
    assert_sound(&disk);
}

/// Otherwise its messages would all be before that head, and none in a run, until so many more had come.
#[test]
fn a_store_knows_of_keys_that_a_head_was_moved_past() {
    let directory = scratch();
    let options = StoreOptions::new(directory.path()).durability(Durability::Os);
    let store = FjallStore::open(options.clone()).unwrap();
    assert_eq!(store.expected().newest, 0);
    store.append([started(1)].into_iter().chain((1..=1_100).map(|key| queued(1, key))).collect());
    store.info(&mut |_| {}).unwrap();
    store.append((1..=1_100).map(|key| done(1, key)).collect());
    store.info(&mut |_| {}).unwrap();
    store.append(vec![Record::SessionAttached { session: 1 }]);
    store.close().unwrap();
    assert_eq!(FjallStore::open(options).unwrap().expected().newest, 1_100);
}

/// Those beside them wait, and would keep them on the disk.
#[test]
fn large_messages_that_are_done_with_take_no_room() {
    let disk = Disk::default();
    let mut ledger = open(&disk);
    let message = |size| Message::new(&"t".try_into().unwrap(), &vec![b'x'; size], QoS::AtLeastOnce);
    let queued = |key, size| Record::Queued {
        session: 1,
        key,
        qos: QoS::AtLeastOnce,
        retain: false,
        message: message(size),
    };
    write(&mut ledger, [started(1)]);
    for key in (1..64).step_by(2) {
        write(&mut ledger, [queued(key, 1), queued(key + 1, 1024 * 1024)]);
        write(&mut ledger, [done(1, key + 1)]);
    }
    let bytes: usize = [Table::Runs, Table::Queue]
        .iter()
        .flat_map(|table| disk.rows(*table, &[], None))
        .map(|row| row.unwrap().1.len())
        .sum();
    assert_eq!(waiting(&disk).len(), 32);
    assert!(bytes < 64 * 1024, "{bytes}");
}

/// What was queued for it in the batch in which it ended is not written, either.
#[test]
fn a_session_that_ends_at_once_has_no_runs() {
    let disk = Disk::default();
    let mut ledger = open(&disk);
    let all = [started(1)].into_iter().chain((1..=9).map(|key| queued(1, key)));
    write(&mut ledger, all.chain([Record::SessionEnded { session: 1 }]));
    assert_eq!((rows(&disk, Table::Runs), rows(&disk, Table::Queue)), (0, 0));
}

#[derive(Clone, Debug)]
enum Act {
    /// So many new messages, for one of two sessions, or for both.
    Queue(usize, Vec<SessionKey>),
    /// Some of those that wait for a session are done with, each so many behind the one before.
    Finish(SessionKey, Vec<usize>),
    FinishFirst(SessionKey, usize),
    Reopen,
}

fn act() -> impl Strategy<Value = Act> {
    let session = || 1..3_u64;
    let sessions = prop_oneof![3 => session().prop_map(|session| vec![session]), 1 => Just(vec![1, 2])];
    prop_oneof![
        4 => (1..150_usize, sessions).prop_map(|(many, sessions)| Act::Queue(many, sessions)),
        3 => (session(), vec(0..90_usize, 1..20)).prop_map(|(session, steps)| Act::Finish(session, steps)),
        3 => (session(), 1..200_usize).prop_map(|(session, many)| Act::FinishFirst(session, many)),
        1 => Just(Act::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever is done with, in whatever order: the rest is there, for who reads the store and for who reads a queue.
    #[test]
    fn what_is_not_done_with_waits(acts in vec(act(), 1..20), places in vec(any::<prop::sample::Index>(), 20)) {
        let disk = Disk::default();
        let mut ledger = open(&disk);
        write(&mut ledger, [started(1), started(2)]);
        let (mut left, mut key) = (BTreeSet::new(), 0);
        for (act, place) in acts.into_iter().zip(places) {
            let mut batch = Vec::new();
            let mine = |session| move |entry: &&(SessionKey, MessageKey)| entry.0 == session;
            match act {
                Act::Queue(many, sessions) => for _ in 0..many {
                    key += 1;
                    batch.extend(sessions.iter().map(|session| queued(*session, key)));
                    left.extend(sessions.iter().map(|session| (*session, key)));
                },
                Act::Finish(session, steps) => {
                    let waiting: Vec<_> = left.iter().filter(mine(session)).copied().collect();
                    let mut at = 0;
                    for step in steps {
                        at += step;
                        if let Some((_, key)) = waiting.get(at * 7 % waiting.len().max(1)) {
                            batch.push(done(session, *key));
                            left.remove(&(session, *key));
                        }
                    }
                }
                Act::FinishFirst(session, many) => {
                    let first: Vec<_> = left.iter().filter(mine(session)).take(many).copied().collect();
                    for (_, key) in first {
                        batch.push(done(session, key));
                        left.remove(&(session, key));
                    }
                }
                Act::Reopen => ledger = open(&disk),
            }
            write(&mut ledger, batch);
            prop_assert_eq!(waiting(&disk), left.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(counted(&disk), left.len() as u64);
            for session in [1, 2] {
                let after = place.index(key as usize + 1) as MessageKey;
                let expected: Vec<_> =
                    left.iter().filter(mine(session)).map(|(_, key)| *key).filter(|key| *key > after).collect();
                prop_assert_eq!(read(&disk, &ledger, session, after), expected);
            }
            assert_sound(&disk);
        }
        prop_assert_eq!(sorted(|visit| recover(&disk, visit).unwrap()).len(), left.len() + 2);
    }
}
