//! [`Writer`]: the one thread that writes, and those who wait for it.
//!
//! Appenders only push into a buffer. The thread takes all that is in it, makes one batch of it, commits that with one
//! sync, and publishes the mark: while it syncs, the next batch gathers. With a sync nobody ever waits for a batch to fill;
//! without one the thread may wait a little, under load, for messages to be done with ([`Patience`]).
//!
//! A batch that fails is the last one: what was not durable then never becomes so, and everybody who waits is woken to see
//! the failure. It is not tried again, because after a failed sync nobody knows what the disk has. A second thread looks
//! once a second whether the first still moves: a batch that takes too long has failed, though nobody says so.

use std::{
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

use mqtt_broker::store::{BatchCounter, BatchCounts, DeliverPage, Mark, QueueRead, Record, StoreError};
use parking_lot::{Condvar, Mutex};

use crate::{
    engine::{Engine, Reads},
    ledger::Ledger,
    options::{Durability, StoreOptions},
    pages::{self, Job},
    patience::Patience,
};

/// What a record costs in memory besides its message.
const RECORD_BYTES: usize = mem::size_of::<Record>();
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
    inbox: Mutex<Inbox>,
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
struct Inbox {
    records: Vec<Record>,
    /// At most one a session.
    reads: Vec<(QueueRead, DeliverPage)>,
    bytes: usize,
    /// Groups taken so far: the mark of the latest.
    appended: u64,
    /// Messages that came in, each once for each session.
    queued: usize,
    /// Messages that were done with meanwhile; among them may be some that came in before.
    done: usize,
    writer: WriterIs,
    closed: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum WriterIs {
    #[default]
    Busy,
    /// Until something comes in.
    Asleep,
    /// Until most of what came in is done with.
    Patient,
}

impl Inbox {
    /// Whether what came in may wait to be done with: most of it is not, and nobody is held up.
    fn has_time(&self, max_bytes: usize) -> bool {
        // Seven in eight, not all: while messages keep coming, some are always on their way.
        let is_mostly_done = self.done >= self.queued - self.queued / 8;
        !is_mostly_done && self.reads.is_empty() && !self.closed && self.bytes < max_bytes / 2
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
            inbox: Mutex::default(),
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

    pub(crate) fn append(&self, group: Vec<Record>) -> Mark {
        let bytes: usize = group.iter().map(size).sum();
        let queued = group.iter().filter(|record| matches!(record, Record::Queued { .. })).count();
        let done = group.iter().filter(|record| matches!(record, Record::Done { .. })).count();
        let mut inbox = self.desk.inbox.lock();
        while inbox.bytes >= self.desk.max_pending_bytes && !inbox.closed {
            self.desk.room.wait(&mut inbox);
        }
        if group.is_empty() {
            return Mark(inbox.appended); // Nothing would be written that could make a new mark durable.
        }
        inbox.appended += 1;
        let mark = Mark(inbox.appended);
        if inbox.closed {
            return mark;
        }
        inbox.bytes += bytes;
        if inbox.bytes >= self.desk.max_pending_bytes / 2 {
            self.desk.congested_until.store(mark.0, Ordering::Relaxed);
        }
        inbox.records.extend(group);
        inbox.queued += queued;
        inbox.done += done;
        let is_needed = match inbox.writer {
            WriterIs::Busy => false,
            WriterIs::Asleep => true,
            WriterIs::Patient => !inbox.has_time(self.desk.max_pending_bytes),
        };
        if is_needed {
            self.desk.work.notify_one();
        }
        mark
    }

    /// Has a part of a queue read once everything that was appended before is written.
    pub(crate) fn read(&self, read: QueueRead, deliver: DeliverPage) {
        let mut inbox = self.desk.inbox.lock();
        if inbox.closed {
            return;
        }
        inbox.reads.push((read, deliver));
        if inbox.writer != WriterIs::Busy {
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
            let mut inbox = self.desk.inbox.lock();
            inbox.closed = true;
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
    /// What to write and read next; `None` at the end.
    fn next(&self, emptied: Vec<Record>, may_sleep: bool, patience: &Patience) -> Option<Taken> {
        let mut inbox = self.inbox.lock();
        while inbox.records.is_empty() && inbox.reads.is_empty() && !inbox.closed && may_sleep {
            inbox.writer = WriterIs::Asleep;
            self.work.wait(&mut inbox);
        }
        if let Some(deadline) = patience.deadline(Instant::now()) {
            inbox.writer = WriterIs::Patient;
            while inbox.has_time(self.max_pending_bytes)
                && !self.work.wait_until(&mut inbox, deadline).timed_out()
            {}
        }
        inbox.writer = WriterIs::Busy;
        if inbox.records.is_empty() && inbox.closed {
            return None;
        }
        let records = mem::replace(&mut inbox.records, emptied);
        inbox.bytes = 0;
        (inbox.queued, inbox.done) = (0, 0);
        self.room.notify_all();
        Some(Taken { records, mark: inbox.appended, reads: mem::take(&mut inbox.reads) })
    }

    fn publish(&self, mark: u64) {
        self.durable.store(mark, Ordering::Release);
        self.wake_satisfied();
    }

    fn fail(&self, error: StoreError) {
        tracing::error!("{error}; nothing more is acknowledged that must not be lost");
        // The first failure is the one that explains the others.
        let _ = self.failure.set(error);
        let dropped = {
            let mut inbox = self.inbox.lock();
            inbox.closed = true;
            self.room.notify_all();
            (mem::take(&mut inbox.records), mem::take(&mut inbox.reads))
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

/// The records to write next, the mark of the last of them, and what to read then.
struct Taken {
    records: Vec<Record>,
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
    let (mut records, mut patience) = (Vec::new(), Patience::new(durability, Instant::now()));
    while let Some(Taken { records: taken, mark, reads }) =
        desk.next(records, !ledger.has_leftovers(), &patience)
    {
        records = taken;
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

/// What a record takes in memory, roughly.
pub(crate) fn size(record: &Record) -> usize {
    RECORD_BYTES
        + match record {
            Record::Queued { message, .. } | Record::Retained { message, .. } => message.size(),
            Record::WillSet { will, .. } => will.size(),
            _ => 0,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_time_until_most_of_it_is_done_with_or_somebody_is_held_up() {
        let inbox = |queued, done| Inbox { queued, done, bytes: 10, ..Inbox::default() };
        assert!(inbox(1, 0).has_time(100) && inbox(16, 13).has_time(100));
        assert!(!inbox(16, 14).has_time(100), "seven in eight");
        assert!(!inbox(0, 0).has_time(100) && !inbox(1, 5).has_time(100), "nothing to wait for");
        assert!(!inbox(1, 0).has_time(20), "so much that connections are not read from");
        assert!(!Inbox { closed: true, ..inbox(1, 0) }.has_time(100));
        let read = QueueRead { session: 1, after: 0, most_bytes: 1 };
        assert!(!Inbox { reads: vec![(read, Box::new(|_| {}))], ..inbox(1, 0) }.has_time(100));
    }
}
