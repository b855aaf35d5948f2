//! [`Writer`]: the store's threads. One tells the engine what is left of what came in; one writes the log, where that takes a
//! sync; one reads parts of queues; one looks whether telling or writing hangs.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Sender, channel},
    },
    task::{Wake, Waker},
    thread::{self, JoinHandle, Thread},
    time::Duration,
};

use mqtt_broker::store::{BatchCounts, DeliverPage, Mark, MessageKey, QueueRead, Record, StoreError};
use parking_lot::Mutex;

use crate::{
    desk::{Ask, Desk},
    engine::{Engine, Reads},
    inbox::{Inbox, Later, Slot},
    ledger::Ledger,
    options::{Durability, StoreOptions},
    pages::{self, Job},
    wal::{Medium, Wal},
    watch::watch,
};

/// How often to look whether a thread has ended.
const END_LOOK: Duration = Duration::from_micros(500);
/// What a table gathers in memory is so many times a file of the log, which is no less than the other.
const LOG_FILE_SHARE: u64 = 2;
const LEAST_LOG_FILE: u64 = 64 * 1024;
/// And so many times what the engine is told at a time: no more than a file of the log, as that is in memory more than once.
const BATCH_SHARE: usize = 2;

pub(crate) struct Writer<M> {
    desk: Arc<Desk<M>>,
    keeper: Mutex<Option<JoinHandle<Option<u64>>>>,
    /// End with the keeper.
    others: Mutex<Vec<JoinHandle<()>>>,
    watch: Mutex<Option<JoinHandle<()>>>,
}

impl<M: Medium> Writer<M> {
    /// `view` shows the engine as it is at that moment. Of the log, the ledger has everything.
    pub(crate) fn start<E: Engine, V: Reads + Send + Sync + 'static>(
        ledger: Ledger<E>,
        log: M,
        options: &StoreOptions,
        view: impl Fn() -> V + Send + 'static,
    ) -> Result<Self, StoreError> {
        let durability = options.durability;
        let file_bytes = (options.memtable_bytes as u64 / LOG_FILE_SHARE).max(LEAST_LOG_FILE);
        let wal = Wal::new(log, ledger.groups(), file_bytes, durability);
        let desk = Arc::new(Desk::new(wal, Inbox::new(ledger.newest()), options));
        let batch_bytes = options.memtable_bytes / BATCH_SHARE;
        let (jobs, taken) = channel();
        let theirs = Arc::clone(&desk);
        let keeper = spawn("store-keeper", move || {
            let _tells = TellsOfPanic(&*theirs);
            keep(&theirs, ledger, (durability, batch_bytes), &view, &jobs)
        })?;
        let theirs = Arc::clone(&desk);
        let mut others = vec![spawn("store-reader", move || {
            let _tells = TellsOfPanic(&*theirs);
            pages::read_all(
                &taken,
                |read, deliver| theirs.read_all(read, deliver),
                |error| theirs.fail(error),
            );
        })?];
        if durability == Durability::Sync {
            let theirs = Arc::clone(&desk);
            others.push(spawn("store-writer", move || {
                let _tells = TellsOfPanic(&*theirs);
                theirs.keep_writing();
            })?);
        }
        let (theirs, options) = (Arc::clone(&desk), options.clone());
        let watch = spawn("store-watch", move || watch(&theirs, &options))?;
        let (keeper, watch) = (Mutex::new(Some(keeper)), Mutex::new(Some(watch)));
        Ok(Self { desk, keeper, others: Mutex::new(others), watch })
    }

    pub(crate) fn append(&self, group: Vec<Record>) -> Mark {
        if group.is_empty() {
            return self.desk.appended(); // Nothing would be written that could make a new mark durable.
        }
        self.desk.append(group)
    }

    pub(crate) fn append_one(&self, record: Record) -> Mark {
        self.desk.append_one(record)
    }

    /// No message that is in the engine has a greater key.
    pub(crate) fn set_newest(&self, key: MessageKey) {
        self.desk.set_newest(key);
    }

    /// Has a part of a queue read, as it is with all that was appended before.
    pub(crate) fn read(&self, read: QueueRead, deliver: DeliverPage) {
        self.desk.read(read, deliver);
    }

    pub(crate) fn durable(&self) -> Mark {
        self.desk.durable()
    }

    pub(crate) fn congested_until(&self) -> Mark {
        self.desk.congested_until()
    }

    pub(crate) fn wake_at(&self, mark: Mark, waker: &Waker) {
        self.desk.wake_at(mark, waker);
    }

    pub(crate) fn wait(&self, mark: Mark) -> Result<(), StoreError> {
        let waker = Waker::from(Arc::new(Parked(thread::current())));
        while self.durable() < mark {
            if let Some(error) = self.failure() {
                return Err(error);
            }
            if self.desk.is_too_late(mark) {
                return Err(StoreError::new("the store was closed before this was appended"));
            }
            self.wake_at(mark, &waker);
            if self.durable() < mark {
                thread::park();
            }
        }
        Ok(())
    }

    /// Has the engine told of everything that was appended before, and waits for that.
    pub(crate) fn settle(&self) -> Result<(), StoreError> {
        self.desk.wait_for_engine();
        self.failure().map_or(Ok(()), Err)
    }

    /// After the end, once what the engine has is on the disk.
    pub(crate) fn clear_log(&self) -> Result<(), StoreError> {
        self.desk.clear_log()
    }

    pub(crate) fn batches(&self) -> BatchCounts {
        self.desk.batches.counts()
    }

    pub(crate) fn failure(&self) -> Option<StoreError> {
        self.desk.failure()
    }

    /// Tells the engine of what was appended before, and ends the threads: the number of the last batch, unless the store has
    /// failed or was closed before.
    pub(crate) fn close(&self) -> Option<u64> {
        self.desk.close();
        let keeper = self.keeper.lock().take()?;
        let number = self.join(keeper).flatten();
        for other in self.others.lock().drain(..) {
            self.join(other);
        }
        self.desk.ended.store(true, Ordering::Relaxed);
        if let Some(watch) = self.watch.lock().take() {
            watch.thread().unpark();
            self.join(watch); // It has the log's files open, too.
        }
        number.filter(|_| self.failure().is_none())
    }

    /// Waits for the end of a thread, unless the disk hangs: then it may never come. Whoever takes a page, or is woken, may be the
    /// last to have the store: then this is that thread itself.
    fn join<T>(&self, thread: JoinHandle<T>) -> Option<T> {
        if thread.thread().id() == thread::current().id() {
            return None;
        }
        while !thread.is_finished() {
            if self.desk.stalled.load(Ordering::Relaxed) {
                return None;
            }
            thread::sleep(END_LOOK);
        }
        thread.join().ok()
    }
}

/// Tells the engine what came in when it is time, to the end.
fn keep<E: Engine, M: Medium, V: Reads>(
    desk: &Desk<M>,
    mut ledger: Ledger<E>,
    (durability, batch_bytes): (Durability, usize),
    view: &impl Fn() -> V,
    jobs: &Sender<Job<V>>,
) -> Option<u64> {
    let (mut slots, mut later) = (VecDeque::new(), Later::default());
    let first = ledger.groups();
    while let Some(taken) = desk.next(slots, !ledger.has_leftovers()) {
        slots = taken.slots;
        loop {
            let (places, mark) = next_batch(&slots, batch_bytes);
            let mark = mark.or(taken.mark);
            let groups = mark.map_or(ledger.groups(), |mark| first + mark);
            let is_logged = mark.is_some_and(|mark| mark <= desk.durable().0);
            let records = later.unpack(slots.drain(..places), mark.unwrap_or_default());
            let written = desk.engine_steps.count(|| ledger.write(records, groups, durability, is_logged));
            if let Err(error) = written {
                desk.fail(error);
            }
            if desk.failure().is_some() {
                return None; // It may have taken too long, and everybody was told that it had failed.
            }
            if let Some(mark) = mark {
                desk.settle(mark, groups);
            }
            if slots.is_empty() {
                break;
            }
        }
        if !taken.asks.is_empty() {
            let (view, under_way) = (Arc::new(view()), later.sent());
            for (Ask { read, deliver, .. }, known) in taken.asks {
                let (view, mut place) = (Arc::clone(&view), ledger.place(&read));
                if let Some(place) = &mut place {
                    place.sent.extend(under_way.get(&read.session).into_iter().flatten());
                }
                // If the reader has ended, so has the store.
                let _ = jobs.send(Job { view, place, known, read, deliver });
            }
        }
    }
    Some(ledger.number())
}

/// How many places from the front are as many groups as are enough for a batch; the mark of the last, unless that is all there is.
fn next_batch(slots: &VecDeque<Slot>, enough: usize) -> (usize, Option<u64>) {
    let (mut places, mut bytes, mut mark) = (0, 0, 0);
    for slot in slots {
        if bytes >= enough.max(1) && slot.mark() != mark {
            return (places, Some(mark));
        }
        (places, bytes, mark) = (places + 1, bytes + slot.bytes(), slot.mark());
    }
    (places, None)
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

/// Without this thread nothing goes on, and nobody would be told.
struct TellsOfPanic<'a, M: Medium>(&'a Desk<M>);

impl<M: Medium> Drop for TellsOfPanic<'_, M> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail(StoreError::new(
                "the store stumbled over a fault of its own; start again, and report this",
            ));
        }
    }
}

/// A thread that waits.
struct Parked(Thread);

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
