//! [`Writer`]: the one thread that writes, and those who wait for it.
//!
//! Appenders only push into the [`Inbox`]. The thread takes all that is in it, makes one batch of it, commits that with one
//! sync, and publishes the mark: while it syncs, the next batch gathers. With a sync nobody ever waits for a batch to fill;
//! without one the thread may wait a little, under load, for messages to be done with ([`Patience`]). Meanwhile appenders
//! publish what there is nothing left to write of.
//!
//! A batch that fails is the last one: what was not durable then never becomes so, and everybody who waits is woken to see
//! the failure. It is not tried again, because after a failed sync nobody knows what the disk has. A second thread looks
//! once a second whether the first still moves: a batch that takes too long has failed, though nobody says so.

use std::{
    collections::VecDeque,
    io, mem,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Sender, channel},
    },
    task::{Wake, Waker},
    thread::{self, JoinHandle, Thread},
    time::{Duration, Instant},
};

use mqtt_broker::store::{
    BatchCounter, BatchCounts, DeliverPage, Mark, MessageKey, QueueRead, Record, StoreError,
};
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::{
    engine::{Engine, Reads},
    inbox::{Inbox, Slot},
    ledger::{Ledger, Outcome},
    options::{Durability, StoreOptions},
    pages::{self, Job},
    patience::Patience,
};

/// How often somebody looks whether a batch is stuck.
const LOOK: Duration = Duration::from_secs(1);

pub(crate) struct Writer {
    desk: Arc<Desk>,
    thread: Mutex<Option<JoinHandle<Option<u64>>>>,
    /// Ends with the writer.
    reader: Mutex<Option<JoinHandle<()>>>,
    watch: Thread,
}

/// What appenders, waiters and the thread share.
pub(crate) struct Desk {
    tray: Mutex<Tray>,
    /// Something came in, or the end.
    work: Condvar,
    /// The inbox was emptied.
    room: Condvar,
    durable: AtomicU64,
    /// Up to here so much waits that nobody should begin more.
    congested_until: AtomicU64,
    waiters: Mutex<Vec<(Mark, Waker)>>,
    failure: OnceLock<StoreError>,
    max_pending_bytes: usize,
    /// Counts the beginnings and the ends of batches: odd while one is being written.
    steps: AtomicU64,
    batches: BatchCounter,
    stalled: AtomicBool,
    ended: AtomicBool,
}

#[derive(Default)]
struct Tray {
    inbox: Inbox,
    /// At most one a session.
    reads: Vec<(QueueRead, DeliverPage)>,
    writer: WriterIs,
    closed: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum WriterIs {
    #[default]
    Busy,
    /// Until something comes in.
    Asleep,
    /// Until most of what came in is done with. Whatever it took before is durable.
    Patient,
}

impl Tray {
    /// Whether somebody is held up until all that came in is written.
    fn is_needed(&self, max_bytes: usize) -> bool {
        !self.reads.is_empty() || self.closed || self.inbox.bytes() >= max_bytes / 2
    }
}

impl Writer {
    /// `view` shows the engine as it is at that moment.
    pub(crate) fn start<E: Engine, V: Reads + Send + Sync + 'static>(
        ledger: Ledger<E>,
        options: &StoreOptions,
        view: impl Fn() -> V + Send + 'static,
    ) -> Result<Self, StoreError> {
        let desk = Arc::new(Desk {
            tray: Mutex::new(Tray { inbox: Inbox::new(ledger.newest()), ..Tray::default() }),
            work: Condvar::new(),
            room: Condvar::new(),
            durable: AtomicU64::new(0),
            congested_until: AtomicU64::new(0),
            waiters: Mutex::default(),
            failure: OnceLock::new(),
            max_pending_bytes: options.max_pending_bytes,
            steps: AtomicU64::new(0),
            batches: BatchCounter::default(),
            stalled: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let (theirs, durability) = (Arc::clone(&desk), options.durability);
        let (jobs, taken) = channel();
        let thread = spawn("store-writer", move || write_all(&theirs, ledger, durability, &view, &jobs))?;
        let theirs = Arc::clone(&desk);
        let reader = spawn("store-reader", move || pages::read_all(&taken, |error| theirs.fail(error)))?;
        let (theirs, options) = (Arc::clone(&desk), options.clone());
        let watch = spawn("store-watch", move || watch(&theirs, &options))?.thread().clone();
        Ok(Self { desk, thread: Mutex::new(Some(thread)), reader: Mutex::new(Some(reader)), watch })
    }

    pub(crate) fn append(&self, mut group: Vec<Record>) -> Mark {
        match group.pop() {
            Some(record) if group.is_empty() => self.append_one(record),
            Some(last) => self.desk.admit(|inbox| {
                group.push(last);
                inbox.push_group(group);
                None
            }),
            // Nothing would be written that could make a new mark durable.
            None => Mark(self.desk.tray.lock().inbox.appended()),
        }
    }

    pub(crate) fn append_one(&self, record: Record) -> Mark {
        self.desk.admit(|inbox| inbox.push_one(record))
    }

    /// No message that is in the engine has a greater key.
    pub(crate) fn set_newest(&self, key: MessageKey) {
        self.desk.tray.lock().inbox.set_newest(key);
    }

    /// Has a part of a queue read once everything that was appended before is written.
    pub(crate) fn read(&self, read: QueueRead, deliver: DeliverPage) {
        let mut tray = self.desk.tray.lock();
        if tray.closed {
            return;
        }
        tray.reads.push((read, deliver));
        if tray.writer != WriterIs::Busy {
            self.desk.work.notify_one();
        }
    }

    pub(crate) fn durable(&self) -> Mark {
        Mark(self.desk.durable.load(Ordering::Acquire))
    }

    pub(crate) fn congested_until(&self) -> Mark {
        Mark(self.desk.congested_until.load(Ordering::Relaxed))
    }

    pub(crate) fn wake_at(&self, mark: Mark, waker: &Waker) {
        {
            let mut waiters = self.desk.waiters.lock();
            // Who asks twice is woken once.
            if !waiters.last().is_some_and(|(last, known)| *last == mark && known.will_wake(waker)) {
                waiters.push((mark, waker.clone()));
            }
        }
        // The thread may have published between the caller's look and the push.
        if self.durable() >= mark || self.desk.failure.get().is_some() {
            self.desk.wake_satisfied();
        }
    }

    pub(crate) fn wait(&self, mark: Mark) -> Result<(), StoreError> {
        let waker = Waker::from(Arc::new(Parked(thread::current())));
        while self.durable() < mark {
            if let Some(error) = self.failure() {
                return Err(error);
            }
            self.wake_at(mark, &waker);
            thread::park();
        }
        Ok(())
    }

    pub(crate) fn batches(&self) -> BatchCounts {
        self.desk.batches.counts()
    }

    pub(crate) fn failure(&self) -> Option<StoreError> {
        self.desk.failure.get().cloned()
    }

    /// Writes what was appended before, and ends the thread: the number of the last batch, unless the store has failed or
    /// was closed before.
    pub(crate) fn close(&self) -> Option<u64> {
        {
            let mut tray = self.desk.tray.lock();
            tray.closed = true;
            self.desk.work.notify_one();
            self.desk.room.notify_all();
        }
        self.desk.ended.store(true, Ordering::Relaxed);
        self.watch.unpark();
        let thread = self.thread.lock().take()?;
        if self.desk.stalled.load(Ordering::Relaxed) {
            return None; // It may never end.
        }
        let number = thread.join().unwrap_or_else(|_| {
            self.desk.fail(StoreError::new("the store's writer stumbled; what it had not written is lost"));
            None
        });
        // Whoever takes a page may be the last to have the store: then this is the reader itself.
        if let Some(reader) = self.reader.lock().take()
            && reader.thread().id() != thread::current().id()
        {
            let _ = reader.join();
        }
        number
    }
}

impl Desk {
    /// Takes what `add` adds to the inbox, and has the writer see to it if need be.
    fn admit(&self, add: impl FnOnce(&mut Inbox) -> Option<Record>) -> Mark {
        let mut tray = self.tray.lock();
        while tray.inbox.bytes() >= self.max_pending_bytes && !tray.closed {
            self.room.wait(&mut tray);
        }
        if tray.closed {
            tray.inbox.refuse();
            return Mark(tray.inbox.appended());
        }
        let gone = add(&mut tray.inbox);
        let mark = Mark(tray.inbox.appended());
        if tray.inbox.bytes() >= self.max_pending_bytes / 2 {
            self.congested_until.store(mark.0, Ordering::Relaxed);
        }
        let mut settled = None;
        if tray.writer == WriterIs::Patient && !self.has_time(&tray) && tray.inbox.can_settle() {
            settled = Some(tray.inbox.settle()); // Nothing was to be written: the writer may go on waiting.
        }
        match tray.writer {
            WriterIs::Asleep => drop(self.work.notify_one()),
            WriterIs::Patient if !self.has_time(&tray) => drop(self.work.notify_one()),
            WriterIs::Patient | WriterIs::Busy => {}
        }
        drop(tray);
        drop(gone);
        if let Some(settled) = settled {
            self.publish(settled);
        }
        mark
    }

    fn has_time(&self, tray: &Tray) -> bool {
        tray.inbox.has_time() && !tray.is_needed(self.max_pending_bytes)
    }

    /// What to write and read next; `None` at the end.
    fn next(&self, mut slots: VecDeque<Slot>, may_sleep: bool, patience: &mut Patience) -> Option<Taken> {
        let mut tray = self.tray.lock();
        loop {
            let (now, spared) = (Instant::now(), tray.inbox.take_spared());
            patience.learn(Outcome { queued: spared, spared }, now);
            let Some(deadline) = patience.deadline(now) else { break };
            let Some(mark) = self.wait(&mut tray, deadline, &mut slots) else { break };
            if !slots.is_empty() || !may_sleep {
                return Some(Taken { slots, mark, reads: Vec::new() });
            }
        }
        while tray.inbox.is_empty() && tray.reads.is_empty() && !tray.closed && may_sleep {
            tray.writer = WriterIs::Asleep;
            self.work.wait(&mut tray);
        }
        tray.writer = WriterIs::Busy;
        if tray.inbox.is_empty() && tray.closed {
            return None;
        }
        let mark = tray.inbox.take_all(&mut slots);
        self.room.notify_all();
        Some(Taken { slots, mark, reads: mem::take(&mut tray.reads) })
    }

    /// Waits for messages to be done with, and takes what has waited for long enough: what was there before. The mark up to
    /// which nothing is left to write; `None` if everything is to be taken.
    fn wait(
        &self,
        tray: &mut MutexGuard<'_, Tray>,
        deadline: Instant,
        slots: &mut VecDeque<Slot>,
    ) -> Option<u64> {
        tray.writer = WriterIs::Patient;
        let (seen, mut is_over) = (tray.inbox.appended(), false);
        while self.has_time(tray) && !is_over {
            is_over = self.work.wait_until(tray, deadline).timed_out();
        }
        tray.writer = WriterIs::Busy;
        let is_needed = tray.is_needed(self.max_pending_bytes);
        (!is_needed).then(|| tray.inbox.take_until(if is_over { seen } else { 0 }, slots))
    }

    fn publish(&self, mark: u64) {
        // Whoever settles and the writer may come here at the same time.
        self.durable.fetch_max(mark, Ordering::AcqRel);
        self.wake_satisfied();
    }

    fn fail(&self, error: StoreError) {
        tracing::error!("{error}; nothing more is acknowledged that must not be lost");
        // The first failure is the one that explains the others.
        let _ = self.failure.set(error);
        let dropped = {
            let mut tray = self.tray.lock();
            tray.closed = true;
            self.room.notify_all();
            let mut slots = VecDeque::new();
            tray.inbox.take_all(&mut slots);
            (slots, mem::take(&mut tray.reads))
        };
        drop(dropped);
        self.wake_satisfied();
    }

    fn wake_satisfied(&self) {
        let (durable, failed) = (Mark(self.durable.load(Ordering::Acquire)), self.failure.get().is_some());
        let satisfied: Vec<_> =
            self.waiters.lock().extract_if(.., |(mark, _)| failed || *mark <= durable).collect();
        // Not under the lock: a waker may do anything.
        for (_, waker) in satisfied {
            waker.wake();
        }
    }
}

/// What to write next, the mark up to which everything is written then, and what to read then.
struct Taken {
    slots: VecDeque<Slot>,
    mark: u64,
    reads: Vec<(QueueRead, DeliverPage)>,
}

fn write_all<E: Engine, V: Reads>(
    desk: &Desk,
    mut ledger: Ledger<E>,
    durability: Durability,
    view: &impl Fn() -> V,
    jobs: &Sender<Job<V>>,
) -> Option<u64> {
    let (mut slots, mut records) = (VecDeque::new(), Vec::new());
    let mut patience = Patience::new(durability, Instant::now());
    while let Some(taken) = desk.next(slots, !ledger.has_leftovers(), &mut patience) {
        let Taken { mark, reads, .. } = taken;
        slots = taken.slots;
        slots.drain(..).for_each(|slot| slot.unpack(&mut records));
        desk.steps.fetch_add(1, Ordering::Relaxed);
        let (size, begun) = (records.len(), Instant::now());
        let written = ledger.write(&mut records, durability);
        desk.steps.fetch_add(1, Ordering::Relaxed);
        let outcome = match written {
            Ok(outcome) => outcome,
            Err(error) => {
                desk.fail(error);
                return None;
            }
        };
        if desk.failure.get().is_some() {
            return None; // It took too long, and everybody was told that it had failed.
        }
        // What is left to tidy up makes batches too, but none that anybody waits for.
        if size > 0 {
            desk.batches.add(size, begun.elapsed());
        }
        desk.publish(mark);
        patience.learn(outcome, Instant::now());
        if !reads.is_empty() {
            let view = Arc::new(view());
            for (read, deliver) in reads {
                // If the reader has ended, so has the store.
                let _ = jobs.send(Job { view: Arc::clone(&view), place: ledger.place(&read), read, deliver });
            }
        }
    }
    Some(ledger.number())
}

/// Calls a batch failed that is stuck. It counts its own looks, and so no time in which the whole process stood still.
fn watch(desk: &Desk, options: &StoreOptions) {
    let (mut last, mut looks) = (0, 0_u64);
    while !desk.ended.load(Ordering::Relaxed) && desk.failure.get().is_none() {
        thread::park_timeout(LOOK);
        let steps = desk.steps.load(Ordering::Relaxed);
        looks = if steps == last && steps % 2 == 1 { looks + 1 } else { 0 };
        last = steps;
        if looks >= options.max_stall.as_secs().max(1) {
            desk.stalled.store(true, Ordering::Relaxed);
            desk.fail(StoreError::new(format!(
                "the store in {} could not be written: nothing has moved for {looks} s; look at the disk and the room \
                 on it",
                options.dir.display()
            )));
        }
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, StoreError> {
    let spawned = thread::Builder::new().name(name.into()).spawn(work);
    spawned.map_err(|error| no_thread(&error))
}

pub(crate) fn no_thread(error: &io::Error) -> StoreError {
    StoreError::new(format!("the store's thread could not be started: {error}"))
}

/// A thread that waits.
struct Parked(Thread);

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
