//! What is acknowledged survives the loss of power; a disk that fails ends it all.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    task::{Wake, Waker},
    time::Duration,
};

use mqtt_broker::{
    Message, QoS,
    store::{Mark, MessageKey, QueueRead, Record, SessionKey},
};
use proptest::{collection::vec, prelude::*};

use super::records::{groups, sorted, states};
use crate::{
    Durability, StoreOptions,
    check::{Walk, check},
    encoding::Table,
    engine::{
        Reads,
        double::{Disk, Fault},
    },
    ledger::Ledger,
    reader::recover,
    wal::{Frame, Medium, Wal},
    writer::Writer,
};

fn start_with(disk: &Disk, options: StoreOptions) -> Writer<Disk> {
    let viewed = disk.clone();
    let ledger = ledger(disk, options.durability);
    Writer::start(ledger, disk.clone(), &options, move || viewed.clone()).unwrap()
}

fn ledger(disk: &Disk, durability: Durability) -> Ledger<Disk> {
    let mut ledger = Ledger::open(Arc::new(disk.clone()), 0, 0, 2).unwrap();
    ledger.catch_up(disk, durability).unwrap();
    ledger
}

/// Files of the log have 64 KiB.
pub(super) fn start(disk: &Disk, durability: Durability) -> Writer<Disk> {
    let options = StoreOptions::new("").durability(durability);
    start_with(disk, StoreOptions { max_pending_bytes: usize::MAX, memtable_bytes: 1, ..options })
}

/// What a store opened on this disk says.
pub(super) fn reopened(disk: &Disk) -> Vec<Record> {
    drop(ledger(disk, Durability::Os));
    sorted(|visit| recover(disk, visit).unwrap())
}

/// What somebody waits for who has appended a group.
#[derive(Clone, Copy, Debug)]
enum Waits {
    Not,
    ForTheLog,
    ForTheEngine,
}

impl Waits {
    fn at(self, writer: &Writer<Disk>, mark: Mark) {
        match self {
            Self::Not => {}
            Self::ForTheLog => writer.wait(mark).unwrap(),
            Self::ForTheEngine => writer.settle().unwrap(),
        }
    }
}

fn waits() -> impl Strategy<Value = Waits> {
    prop_oneof![Just(Waits::Not), Just(Waits::ForTheLog), Just(Waits::ForTheEngine)]
}

struct Sender(mpsc::Sender<()>);

impl Wake for Sender {
    fn wake(self: Arc<Self>) {
        let _ = self.0.send(());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Power is lost at any moment, with any of the batches that were not synced surviving or not.
    #[test]
    fn what_was_durable_survives_the_loss_of_power(
        groups in groups(1..30),
        waits in vec(waits(), 30),
        survivors in 0..3_usize,
        torn in any::<[u8; 4]>(),
    ) {
        let disk = Disk::default();
        let writer = start(&disk, Durability::Sync);
        let states = states(&groups);
        for (group, waits) in groups.into_iter().zip(waits) {
            let mark = writer.append(group);
            waits.at(&writer, mark);
            let durable = writer.durable();
            let left = reopened(&disk.after_power_loss(survivors, |number| torn[number % 4]));
            let possible = &states[durable.0 as usize..];
            prop_assert!(possible.contains(&left), "durable up to {durable:?}, left is {left:?}");
        }
    }

    /// The process ends at any moment: without a sync, what was written is still there.
    #[test]
    fn what_was_durable_without_a_sync_survives_the_process(
        groups in groups(1..30),
        waits in vec(waits(), 30),
    ) {
        let disk = Disk::default();
        let writer = start(&disk, Durability::Os);
        let states = states(&groups);
        for (group, waits) in groups.into_iter().zip(waits) {
            let mark = writer.append(group);
            waits.at(&writer, mark);
            let durable = writer.durable();
            let left = reopened(&disk.after_crash());
            prop_assert!(states[durable.0 as usize..].contains(&left));
        }
    }

    /// A write or a sync fails: everybody is woken, nothing more becomes durable, nothing is tried again.
    #[test]
    fn a_failure_is_final(groups in groups(2..30), commits in 0..20_u32, sync in any::<bool>()) {
        let disk = Disk::default();
        let writer = start(&disk, Durability::Sync);
        disk.fail_after(commits, if sync { Fault::Sync } else { Fault::Write });
        let states = states(&groups);
        for group in groups {
            let mark = writer.append(group);
            let _ = writer.wait(mark);
        }
        let durable = writer.durable();
        if writer.failure().is_some() {
            let mark = writer.append(vec![Record::WillCleared { key: 1 }]);
            prop_assert!(writer.wait(mark).is_err());
            prop_assert_eq!(writer.durable(), durable);
            prop_assert_eq!(writer.close(), None);
        }
        prop_assert_eq!(disk.tried_again(), 0);
        for survivors in 0..2 {
            let left = reopened(&disk.after_power_loss(survivors, |_| 255 * survivors as u8));
            prop_assert!(states[durable.0 as usize..].contains(&left));
        }
    }
}

/// A hole in what was left to the system to write: what was behind it does not come back when the log goes on.
#[test]
fn what_was_dropped_behind_a_hole_is_gone() {
    let started = |session| vec![Record::SessionStarted { session, client_id: "a".into() }];
    let disk = Disk::default();
    let mut log = Wal::new(disk.clone(), 0, u64::MAX, Durability::Os);
    for session in 1..=3 {
        let mut frame = Frame::default();
        frame.push(&started(session));
        log.write(&mut frame).unwrap();
    }
    let second = disk.log_bytes() / 3;
    disk.write(0, second as u64, b"?").unwrap();
    let writer = start(&disk, Durability::Os);
    writer.wait(writer.append(started(4))).unwrap();
    assert_eq!(reopened(&disk.after_crash()), [started(1), started(4)].concat());
}

/// Entries went ahead of their batch, which never came, and the log was lost: power was, in `os`.
#[test]
fn entries_that_went_ahead_of_their_session_are_nobodys() {
    let disk = Disk::default();
    disk.fail_after(2, Fault::Write);
    // More than one batch deletes.
    let group = [started(1)].into_iter().chain((1..=1_100).map(queued));
    ledger(&disk, Durability::Os).write(group, 1, Durability::Os, true).unwrap_err();
    let disk = disk.after_crash();
    let runs = || disk.rows(Table::Runs, &[], None).count();
    assert_eq!(runs(), 1_100_usize.div_ceil(64));
    // Another crash comes before they are deleted.
    ledger(&disk, Durability::Os).write([started(2)], 1, Durability::Os, false).unwrap();
    let mut ledger = ledger(&disk, Durability::Os);
    assert_eq!(sorted(|visit| recover(&disk, visit).unwrap()), [started(2)]);
    while ledger.has_leftovers() {
        ledger.write([], 1, Durability::Os, false).unwrap();
    }
    assert_eq!(runs(), 0);
    let report = check(&disk, Walk::new(0, &mut |_| {})).unwrap();
    assert!(report.is_ok(), "{:?}", report.problems);
}

/// What the log does not have, as so much waits that it is not written, the engine gets in one piece.
#[test]
fn nothing_goes_ahead_of_its_batch_that_is_not_in_the_log() {
    let disk = Disk::default();
    let options = StoreOptions { max_pending_bytes: 1, memtable_bytes: 1, ..StoreOptions::new("") };
    let writer = start_with(&disk, options.durability(Durability::Os));
    writer.append(vec![started(1)]);
    writer.settle().unwrap();
    // What was kept back is written when the engine has it.
    while disk.log_bytes() == 0 {
        std::thread::yield_now();
    }
    // The engine gets one thing more, whatever it is.
    disk.fail_after(1, Fault::Write);
    let message = Message::new(&"t".try_into().unwrap(), b"a payload", QoS::AtLeastOnce);
    let retained = Record::Retained { message, expires_at: None };
    writer.append(vec![queued(1), queued(2), retained.clone()]);
    let _ = writer.settle();
    assert_eq!(reopened(&disk.after_crash()), [started(1), queued(1), queued(2), retained]);
}

fn started(session: SessionKey) -> Record {
    Record::SessionStarted { session, client_id: "a".into() }
}

/// For the first session.
fn queued(key: MessageKey) -> Record {
    let message = Message::new(&"t".try_into().unwrap(), b"a payload", QoS::AtLeastOnce);
    Record::Queued { session: 1, key, qos: QoS::AtLeastOnce, retain: false, message }
}

/// The process ended between the write to the log and its sync. What goes ahead of its batch at the next start relies on the log.
#[test]
fn a_start_syncs_the_log_before_it_relies_on_it() {
    let disk = Disk::default();
    let group: Vec<_> = [started(1)].into_iter().chain((1..=9).map(queued)).collect();
    let mut log = Wal::new(disk.clone(), 0, u64::MAX, Durability::Os);
    let mut frame = Frame::default();
    frame.push(&group);
    log.write(&mut frame).unwrap();
    assert_relies_on_the_log(&disk, &group);
}

/// A start gets as far as to lay down the runs, and power is lost.
fn assert_relies_on_the_log(disk: &Disk, group: &[Record]) {
    disk.fail_after(3, Fault::Write); // The new epoch, the log's file and the runs get through.
    let mut ledger = Ledger::open(Arc::new(disk.clone()), 0, 0, 2).unwrap();
    ledger.catch_up(disk, Durability::Sync).unwrap_err();
    assert_eq!(reopened(&disk.after_power_loss(0, |_| 0)), group);
}

/// The sync failed, and the process ended. The system takes for written what it could not write.
#[test]
fn a_start_writes_again_what_may_not_be_on_the_disk() {
    let disk = Disk::default();
    let group: Vec<_> = [started(1)].into_iter().chain((1..=9).map(queued)).collect();
    let mut log = Wal::new(disk.clone(), 0, u64::MAX, Durability::Sync);
    let mut frame = Frame::default();
    frame.push(&group);
    disk.fail_after(0, Fault::Sync);
    log.write(&mut frame).unwrap_err();
    assert_relies_on_the_log(&disk.after_failed_sync(), &group);
}

/// Everybody who waits is woken when the disk fails, whatever they wait for.
#[test]
fn a_failure_wakes_everybody() {
    let disk = Disk::default();
    let writer = start(&disk, Durability::Sync);
    let (sender, woken) = mpsc::channel();
    for mark in 1..=100 {
        writer.wake_at(Mark(mark), &Waker::from(Arc::new(Sender(sender.clone()))));
    }
    disk.fail_after(0, Fault::Sync);
    writer.append(vec![Record::SessionStarted { session: 1, client_id: "a".into() }]);
    for _ in 1..=100 {
        woken.recv().unwrap();
    }
    assert!(writer.failure().is_some());
    assert_eq!(writer.durable(), Mark::NOTHING);
}

#[test]
fn who_asks_twice_for_the_same_is_woken_once() {
    let writer = start(&Disk::default(), Durability::Sync);
    let (sender, woken) = mpsc::channel();
    let waker = Waker::from(Arc::new(Sender(sender)));
    for _ in 0..3 {
        writer.wake_at(Mark(1), &waker);
    }
    writer.append(vec![Record::SessionStarted { session: 1, client_id: "a".into() }]);
    assert!(writer.close().is_some());
    assert_eq!(woken.try_iter().count(), 1);
}

/// Where that takes no sync, or the disk has rested: to wake another thread would take longer.
#[test]
fn who_waits_writes_the_log() {
    let me = Some(std::thread::current().id());
    for durability in [Durability::Os, Durability::Sync] {
        let disk = Disk::default();
        let writer = start(&disk, durability);
        // On a busy machine a sync may seem to take long, which is no rest.
        let wrote = (0..50).any(|_| {
            writer.wait(writer.append(vec![Record::WillCleared { key: 1 }])).unwrap();
            let wrote = disk.log_writer() == me;
            std::thread::sleep(Duration::from_millis(5));
            wrote
        });
        assert!(wrote, "{durability}");
    }
}

#[test]
fn a_disk_at_work_is_left_to_the_writer() {
    let disk = Disk::default();
    let writer = start(&disk, Durability::Sync);
    let me = Some(std::thread::current().id());
    let mine = (0..100).filter(|_| {
        writer.wait(writer.append(vec![Record::WillCleared { key: 1 }])).unwrap();
        disk.log_writer() == me
    });
    assert!(mine.count() < 50, "it has no time to rest");
}

/// Appenders wait when more is pending than may be, and go on when it is written.
#[test]
fn appenders_wait_for_a_slow_disk() {
    let disk = Disk::default();
    let writer = Arc::new(start_with(&disk, StoreOptions { max_pending_bytes: 1, ..StoreOptions::new("") }));
    let appended = Arc::new(AtomicUsize::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let appenders: Vec<_> = (0..4)
        .map(|_| {
            let (writer, appended, stop) = (Arc::clone(&writer), Arc::clone(&appended), Arc::clone(&stop));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    writer.append(vec![Record::WillCleared { key: 1 }]);
                    appended.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    while appended.load(Ordering::Relaxed) < 100 {
        std::thread::yield_now();
    }
    stop.store(true, Ordering::Relaxed);
    for appender in appenders {
        appender.join().unwrap();
    }
    assert!(writer.close().is_some());
    assert_eq!(writer.durable(), Mark(appended.load(Ordering::Relaxed) as u64));
}

/// A fault of the store's own: nobody waits for ever for a thread that is no more.
#[test]
fn a_thread_that_stumbles_is_a_failure() {
    let disk = Disk::default();
    let ledger = ledger(&disk, Durability::Sync);
    let no_view = || -> Disk { panic!("a fault") };
    let writer = Writer::start(ledger, disk.clone(), &StoreOptions::new(""), no_view).unwrap();
    let (sender, woken) = mpsc::channel();
    writer.wake_at(Mark(u64::MAX), &Waker::from(Arc::new(Sender(sender))));
    let read = QueueRead { session: 1, after: 0, most_bytes: 1 };
    writer.read(read, Box::new(|_| panic!("there is nothing to read")));
    woken.recv().unwrap();
    assert!(writer.failure().is_some());
    assert_eq!(writer.close(), None);
}

/// So is one of whoever takes a part of a queue, on the thread that read it.
#[test]
fn a_reader_that_stumbles_is_a_failure() {
    let writer = start(&Disk::default(), Durability::Sync);
    let (sender, woken) = mpsc::channel();
    writer.wake_at(Mark(u64::MAX), &Waker::from(Arc::new(Sender(sender))));
    let read = QueueRead { session: 1, after: 0, most_bytes: 1 };
    writer.read(read, Box::new(|_| panic!("a fault")));
    woken.recv().unwrap();
    assert!(writer.failure().is_some());
}

/// Two of one task, say, that look at other things too: they may ask for as long as there is no failure.
#[test]
fn who_waits_for_a_failure_is_known_however_often_he_asks() {
    let disk = Disk::default();
    let writer = start(&disk, Durability::Sync);
    let (sender, woken) = mpsc::channel();
    let wakers = [(); 2].map(|()| Waker::from(Arc::new(Sender(sender.clone()))));
    for waker in wakers.iter().cycle().take(100) {
        writer.wake_at(Mark(u64::MAX), waker);
    }
    disk.fail_after(0, Fault::Write);
    assert!(writer.wait(writer.append(vec![started(1)])).is_err());
    assert_eq!(writer.close(), None);
    assert_eq!(woken.try_iter().count(), 2);
}

/// The last batch hangs: the end is said to be none, as soon as that is known.
#[test]
fn the_end_does_not_wait_for_a_disk_that_hangs() {
    let disk = Disk::default();
    let options = StoreOptions { max_stall: Duration::from_secs(1), ..StoreOptions::new("") };
    let writer = start_with(&disk, options.durability(Durability::Os));
    disk.fail_after(0, Fault::Hang);
    writer.append(vec![started(1)]);
    assert_eq!(writer.close(), None);
    assert!(writer.failure().is_some());
}

/// Without a writer of its own the log is written by who waits, and he hangs with the disk. Others are told, and who waits for
/// the failure waits for nobody.
#[test]
fn a_disk_that_hangs_holds_nobody_but_who_writes() {
    let disk = Disk::default();
    let options = StoreOptions { max_stall: Duration::from_secs(1), ..StoreOptions::new("") };
    let writer = Arc::new(start_with(&disk, options.durability(Durability::Os)));
    let group = || vec![Record::SessionStarted { session: 1, client_id: "a".into() }];
    disk.fail_after(0, Fault::Hang);
    let hangs = Arc::clone(&writer);
    std::thread::spawn(move || hangs.wait(hangs.append(group())));
    while !disk.has_failed() {
        std::thread::yield_now();
    }
    let (sender, woken) = mpsc::channel();
    writer.wake_at(Mark(u64::MAX), &Waker::from(Arc::new(Sender(sender))));
    assert!(writer.failure().is_none(), "it was not waited for");
    assert!(writer.wait(writer.append(group())).is_err());
    woken.recv().unwrap();
    assert_eq!(writer.close(), None);
}

/// A disk that hangs, or an engine that waits for room for ever: who waits is told, and so is who is kept from appending;
/// and the end does not wait for what never ends.
#[test]
fn a_disk_that_hangs_has_failed() {
    let disk = Disk::default();
    let max_stall = Duration::from_secs(1);
    let writer = start_with(
        &disk,
        StoreOptions { max_pending_bytes: 1, max_stall, ..StoreOptions::new("/data/here") },
    );
    let group = || vec![Record::SessionStarted { session: 1, client_id: "a".into() }];
    writer.wait(writer.append(group())).unwrap();
    disk.fail_after(0, Fault::Hang);
    std::thread::scope(|scope| {
        // One of them is being written, one is pending, and the third has no room.
        for _ in 0..3 {
            scope.spawn(|| writer.wait(writer.append(group())).unwrap_err());
        }
    });
    let failure = writer.failure().unwrap();
    assert!(
        failure.message.contains("/data/here") && failure.message.contains("look at the disk"),
        "{failure}"
    );
    assert_eq!(writer.durable(), Mark(1));
    assert_eq!(writer.close(), None);
}

#[test]
fn who_appends_after_the_end_does_not_wait_for_ever() {
    let writer = start(&Disk::default(), Durability::Sync);
    assert!(writer.close().is_some());
    let error = writer.wait(writer.append(vec![started(1)])).unwrap_err();
    assert!(error.message.contains("was closed"), "{error}");
}
