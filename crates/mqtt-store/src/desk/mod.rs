//! [`Desk`]: what those who append, those who wait and the store's threads share.
//!
//! A group goes two ways at once: encoded into the frame that the log gets next, and as records into the inbox, from which
//! the engine is told later. It is durable as soon as either has it.

mod keeper;

use std::{
    collections::VecDeque,
    mem, slice,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Waker,
    time::{Duration, Instant},
};

use mqtt_broker::store::{BatchCounter, DeliverPage, Mark, MessageKey, QueueRead, Record, StoreError};
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::{
    inbox::Inbox,
    options::{Durability, StoreOptions},
    waiters::Waiters,
    wal::{Frame, Medium, Wal},
    watch::Steps,
};

/// After so long without a sync the disk has rested.
const REST: Duration = Duration::from_millis(1);
/// For so long at most whoever needs a sync may do it, and keep the others of its thread waiting.
const SHORT_SYNC: Duration = Duration::from_millis(1);
/// So often somebody writes for others too; what then still waits is written at the keeper's next tick.
const MOST_TURNS: usize = 16;

pub(crate) struct Desk<M> {
    tray: Mutex<Tray>,
    /// The keeper has something to do.
    keep: Condvar,
    /// The writer has something to do.
    write: Condvar,
    /// The inbox was emptied, or the engine has what was in it.
    room: Condvar,
    log: Mutex<Log<M>>,
    durability: Durability,
    /// Groups of earlier processes.
    groups_before: u64,
    durable: AtomicU64,
    /// So many groups the engine should be told of, for want of room in the log; 0: there is room.
    old_groups: AtomicU64,
    /// Nothing more is written to the log before it has.
    is_log_full: AtomicBool,
    /// Up to here so much waits that nobody should begin more.
    congested_until: AtomicU64,
    waiters: Waiters,
    failure: OnceLock<StoreError>,
    max_pending_bytes: usize,
    pub(crate) log_steps: Steps,
    pub(crate) engine_steps: Steps,
    pub(crate) batches: BatchCounter,
    pub(crate) stalled: AtomicBool,
    pub(crate) ended: AtomicBool,
}

struct Log<M> {
    wal: Wal<M>,
    /// What was written last; its memory is used again.
    spare: Frame,
}

struct Tray {
    inbox: Inbox,
    frame: Frame,
    /// Records in the frame.
    records: usize,
    /// Groups that have come in: the mark of the latest.
    appended: u64,
    /// Those that were handed to the keeper, and those that the engine has.
    told: u64,
    settled: u64,
    /// Somebody waits for the engine to have everything.
    is_asked: bool,
    /// At most one a session.
    asks: Vec<Ask>,
    /// Whether they wait to be called.
    keeper: Rest,
    writer: Rest,
    /// There is something in the frame that somebody may wait for.
    is_urgent: bool,
    /// From when on the disk has rested, if a sync takes so little that whoever needs one may do it.
    rested_at: Option<Instant>,
    closed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// It is at work, and looks again by itself.
    None,
    /// Until its next tick, or until there is something that cannot wait.
    Dozing,
    /// Until something comes in.
    Asleep,
}

/// Somebody wants a part of a queue.
pub(crate) struct Ask {
    pub(crate) read: QueueRead,
    pub(crate) deliver: DeliverPage,
    /// What the engine has is not enough: it has to be told of everything first.
    is_for_all: bool,
}

impl Tray {
    /// Whether the engine has to be told before it can be asked for this.
    fn has_to_wait(&self, ask: &Ask) -> bool {
        let Ask { read: QueueRead { session, after, .. }, is_for_all, .. } = *ask;
        let known = self.inbox.silent_until(session, after);
        known < MessageKey::MAX && (is_for_all || known <= after.saturating_add(1))
    }

    /// What was asked for, each with the key before which the engine knows all of it.
    fn take_asks(&mut self) -> Vec<(Ask, MessageKey)> {
        let with_known = |ask: Ask| {
            let known = self.inbox.silent_until(ask.read.session, ask.read.after);
            (ask, known)
        };
        mem::take(&mut self.asks).into_iter().map(with_known).collect()
    }

    /// Whether the writer and the disk have nothing to do, and a sync took little last time.
    fn has_rested(&self) -> bool {
        self.writer == Rest::Asleep && self.rested_at.is_some_and(|at| at <= Instant::now())
    }
}

impl<M: Medium> Desk<M> {
    pub(crate) fn new(wal: Wal<M>, inbox: Inbox, options: &StoreOptions) -> Self {
        let tray = Tray {
            inbox,
            frame: Frame::default(),
            records: 0,
            appended: 0,
            told: 0,
            settled: 0,
            is_asked: false,
            asks: Vec::new(),
            keeper: Rest::None,
            writer: Rest::None,
            is_urgent: false,
            rested_at: None,
            closed: false,
        };
        let groups_before = wal.groups();
        Self {
            tray: Mutex::new(tray),
            keep: Condvar::new(),
            write: Condvar::new(),
            room: Condvar::new(),
            log: Mutex::new(Log { wal, spare: Frame::default() }),
            durability: options.durability,
            groups_before,
            durable: AtomicU64::new(0),
            old_groups: AtomicU64::new(0),
            is_log_full: AtomicBool::new(false),
            congested_until: AtomicU64::new(0),
            waiters: Waiters::default(),
            failure: OnceLock::new(),
            max_pending_bytes: options.max_pending_bytes,
            log_steps: Steps::default(),
            engine_steps: Steps::default(),
            batches: BatchCounter::default(),
            stalled: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        }
    }

    /// Takes a group, which is not empty.
    pub(crate) fn append(&self, group: Vec<Record>) -> Mark {
        let (mut tray, mark) = match self.enter(&group) {
            Ok(entered) => entered,
            Err(never) => return never,
        };
        let gone: Vec<_> = group.into_iter().filter_map(|record| tray.inbox.push(mark, record)).collect();
        self.call_if_needed(tray, mark);
        drop(gone); // Memory is given back while nobody waits.
        Mark(mark)
    }

    /// A group of one record, as most are. It is moved once, into its place: every copy would cost as much as its lock.
    pub(crate) fn append_one(&self, record: Record) -> Mark {
        let (mut tray, mark) = match self.enter(slice::from_ref(&record)) {
            Ok(entered) => entered,
            Err(never) => return never,
        };
        let gone = tray.inbox.push(mark, record);
        self.call_if_needed(tray, mark);
        drop(gone);
        Mark(mark)
    }

    /// Waits for room, and notes a group in the log's frame. The mark is one that is never durable if it came too late.
    fn enter(&self, group: &[Record]) -> Result<(MutexGuard<'_, Tray>, u64), Mark> {
        let mut tray = self.tray.lock();
        while tray.inbox.bytes() >= self.max_pending_bytes && !tray.closed {
            self.room.wait(&mut tray);
        }
        let mark = tray.appended + 1;
        if tray.closed {
            return Err(Mark(mark));
        }
        tray.appended = mark;
        tray.frame.push(group);
        tray.records += group.len();
        // Nobody waits to hear of an end.
        tray.is_urgent |= group.iter().any(|record| !matches!(record, Record::Done { .. }));
        Ok((tray, mark))
    }

    /// Calls whoever has something to do now that this group is in the inbox.
    fn call_if_needed(&self, mut tray: MutexGuard<'_, Tray>, mark: u64) {
        let is_congested = self.is_congested(&tray);
        if is_congested || tray.frame.len() > self.max_pending_bytes / 2 {
            self.congested_until.store(mark, Ordering::Relaxed);
        }
        if !is_congested && tray.writer == Rest::Asleep && tray.is_urgent && !tray.has_rested() {
            self.call_writer(&mut tray);
        }
        if tray.keeper == Rest::Asleep || tray.keeper == Rest::Dozing && self.is_due(&tray) {
            tray.keeper = Rest::None;
            self.keep.notify_one();
        }
    }

    /// So much waits for the engine, here or in the log, that nothing more is acknowledged until it has been told of it.
    fn is_congested(&self, tray: &Tray) -> bool {
        tray.inbox.bytes() > self.max_pending_bytes / 2 || self.is_log_full.load(Ordering::Relaxed)
    }

    /// Whether the engine has to be told now.
    fn is_due(&self, tray: &Tray) -> bool {
        tray.closed
            || tray.is_asked
            || tray.asks.iter().any(|ask| tray.has_to_wait(ask))
            || tray.inbox.bytes() > self.max_pending_bytes / 4
    }

    fn call_writer(&self, tray: &mut Tray) {
        if mem::replace(&mut tray.writer, Rest::None) == Rest::Asleep {
            self.write.notify_one();
        }
    }

    /// Has a part of a queue read: once the engine has all about the queue that was appended before, or where a part that is full
    /// lies before all that it does not have.
    pub(crate) fn read(&self, read: QueueRead, deliver: DeliverPage) {
        self.ask(Ask { read, deliver, is_for_all: false });
    }

    /// The part that was asked for is not full before what the engine does not have.
    pub(crate) fn read_all(&self, read: QueueRead, deliver: DeliverPage) {
        self.ask(Ask { read, deliver, is_for_all: true });
    }

    fn ask(&self, ask: Ask) {
        let mut tray = self.tray.lock();
        if !tray.closed {
            tray.asks.push(ask);
            self.call_keeper(&mut tray);
        }
    }

    /// Has the engine told of everything that was appended before, and waits for that, or for a failure.
    pub(crate) fn wait_for_engine(&self) {
        let mut tray = self.tray.lock();
        let all = tray.appended;
        tray.is_asked = true;
        self.call_keeper(&mut tray);
        while tray.settled < all && self.failure.get().is_none() {
            self.room.wait(&mut tray);
        }
    }

    /// Whether this is the mark of a group that came in too late.
    pub(crate) fn is_too_late(&self, mark: Mark) -> bool {
        let tray = self.tray.lock();
        tray.closed && mark.0 > tray.appended
    }

    fn call_keeper(&self, tray: &mut Tray) {
        if mem::replace(&mut tray.keeper, Rest::None) != Rest::None {
            self.keep.notify_one();
        }
    }

    pub(crate) fn appended(&self) -> Mark {
        Mark(self.tray.lock().appended)
    }

    pub(crate) fn set_newest(&self, key: u64) {
        self.tray.lock().inbox.set_newest(key);
    }

    pub(crate) fn durable(&self) -> Mark {
        Mark(self.durable.load(Ordering::Acquire))
    }

    pub(crate) fn congested_until(&self) -> Mark {
        Mark(self.congested_until.load(Ordering::Relaxed))
    }

    pub(crate) fn failure(&self) -> Option<StoreError> {
        self.failure.get().cloned()
    }

    /// Wakes `waker` when everything up to `mark` is durable. Whoever asks writes the log himself, and need not be woken, where
    /// that takes no sync, or a short one and the disk has nothing else to do: to wake another thread takes longer.
    pub(crate) fn wake_at(&self, mark: Mark, waker: &Waker) {
        let may_write = {
            let tray = self.tray.lock();
            // Who waits for what nobody has appended, or for a failure, has nothing to write.
            mark.0 <= tray.appended && (self.durability != Durability::Sync || tray.has_rested())
        };
        if may_write {
            self.write_in_turn();
        }
        if self.durable() >= mark {
            return;
        }
        self.waiters.add(mark, waker);
        {
            let mut tray = self.tray.lock();
            if !tray.frame.is_empty() {
                tray.is_urgent = true;
                self.call_writer(&mut tray);
            }
        }
        if may_write && self.durability != Durability::Sync {
            self.write_in_turn(); // Whoever wrote may have looked before the waiter was there.
        }
        // It may have become durable between the caller's look and the push.
        if self.durable() >= mark || self.failure.get().is_some() {
            self.wake_satisfied();
        }
    }

    /// Writes the log, unless somebody else does. He will look again: nobody waits for a disk that hangs but who writes.
    fn write_in_turn(&self) {
        let turns = if self.durability == Durability::Sync { 1 } else { MOST_TURNS };
        for _ in 0..turns {
            let Some(log) = self.log.try_lock() else { return };
            if !self.write(log) {
                return;
            }
        }
    }

    /// Writes what came in to the log, unless the engine is too far behind. Wakes those who wait for it when others can write.
    /// Whether more has come in meanwhile that somebody may wait for.
    fn write(&self, mut log: MutexGuard<'_, Log<M>>) -> bool {
        let Log { wal, spare } = &mut *log;
        let (mark, records) = {
            let mut tray = self.tray.lock();
            if tray.frame.is_empty() || tray.closed || self.is_congested(&tray) {
                return false;
            }
            mem::swap(&mut tray.frame, spare);
            tray.is_urgent = false;
            (tray.appended, mem::take(&mut tray.records))
        };
        let begun = Instant::now();
        let written = self.log_steps.count(|| wal.write(spare));
        let (now, took) = (Instant::now(), begun.elapsed());
        spare.clear();
        self.note_room(wal);
        drop(log);
        match written {
            Ok(()) if self.failure.get().is_none() => {
                self.batches.add(records, took);
                self.publish(mark);
                // The last thing: who finds the log taken relies on it.
                let mut tray = self.tray.lock();
                tray.rested_at = (took < SHORT_SYNC).then(|| now + REST);
                if self.is_log_full.load(Ordering::Relaxed) {
                    self.call_keeper(&mut tray);
                }
                return tray.is_urgent;
            }
            // It took too long, and everybody was told that it had failed.
            Ok(()) => {}
            Err(error) => self.fail(error),
        }
        false
    }

    /// Whoever has written, or made room, says how much there is before he lets go of the log, and looks at the tray only then:
    /// who waits for room is found there, or has seen that there is some. Whether there is some again.
    fn note_room(&self, wal: &Wal<M>) -> bool {
        self.old_groups.store(wal.old_groups(), Ordering::Relaxed);
        let is_full = wal.is_full();
        self.is_log_full.swap(is_full, Ordering::Relaxed) && !is_full
    }

    /// Writes whatever came in while it wrote what had come before, to the end.
    pub(crate) fn keep_writing(&self) {
        loop {
            let mut tray = self.tray.lock();
            while !tray.closed && (!tray.is_urgent || self.is_congested(&tray)) {
                tray.writer = Rest::Asleep;
                self.write.wait(&mut tray);
            }
            if tray.closed {
                return;
            }
            drop(tray);
            self.write(self.log.lock());
        }
    }

    /// Nothing in the log is needed any more.
    pub(crate) fn clear_log(&self) -> Result<(), StoreError> {
        self.log.lock().wal.clear()
    }

    fn publish(&self, mark: u64) {
        // The log and the engine may come here at the same time.
        self.durable.fetch_max(mark, Ordering::AcqRel);
        self.wake_satisfied();
    }

    pub(crate) fn fail(&self, error: StoreError) {
        tracing::error!("{error}; nothing more is acknowledged that must not be lost");
        // The first failure is the one that explains the others.
        let _ = self.failure.set(error);
        let dropped = {
            let mut tray = self.tray.lock();
            let mut slots = VecDeque::new();
            tray.inbox.take(&mut slots);
            tray.frame.clear();
            tray.told = tray.appended;
            self.close_tray(&mut tray);
            (slots, mem::take(&mut tray.asks))
        };
        drop(dropped);
        self.wake_satisfied();
    }

    /// Takes no more.
    pub(crate) fn close(&self) {
        self.close_tray(&mut self.tray.lock());
    }

    fn close_tray(&self, tray: &mut Tray) {
        tray.closed = true;
        self.room.notify_all();
        self.keep.notify_one();
        self.write.notify_one();
    }

    fn wake_satisfied(&self) {
        let everybody = self.failure.get().is_some();
        self.waiters.wake_until(if everybody { Mark(u64::MAX) } else { self.durable() });
    }
}
