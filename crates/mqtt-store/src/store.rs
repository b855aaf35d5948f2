//! [`FjallStore`]: opens and closes what the other modules are.

use std::{io, path::Path, sync::Arc, task::Waker, time::Duration};

use mqtt_broker::store::{
    BatchCounts, DeliverPage, Expected, Mark, MessageKey, QueueRead, Record, Store, StoreError,
};

use crate::{
    ahead,
    check::{self, CheckReport, Progress, StoreInfo, Walk},
    copy,
    directory::{Directory, Synced},
    encoding::{FORMAT_VERSION, Table},
    engine::fjall::{FjallEngine, View},
    journal,
    ledger::Ledger,
    lines, manifest,
    options::{Durability, StoreOptions},
    readable::PassedOver,
    wal::{Files, Medium},
    writer::Writer,
};

/// A store in a directory. Clones are the same store; dropping the last of them closes it.
///
/// ```
/// use mqtt_broker::Broker;
/// use mqtt_store::{Durability, FjallStore, StoreOptions};
///
/// # fn main() -> Result<(), mqtt_broker::store::StoreError> {
/// # let directory = tempfile::tempdir().unwrap();
/// # let data_dir = directory.path().join("data");
/// let store = FjallStore::open(StoreOptions::new(data_dir).durability(Durability::Os))?;
/// let broker = Broker::builder().build_on(store.clone())?;
/// // Serve; then shut the broker down, and close the store, which syncs it:
/// store.close()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct FjallStore(Arc<Inner>);

struct Inner {
    writer: Writer<Files>,
    engine: Arc<FjallEngine>,
    directory: Directory,
    max_stall: Duration,
    /// When it was opened: see [`Ledger::newest_done`].
    newest_done: MessageKey,
}

impl FjallStore {
    /// Opens the store in a directory, and makes it if there is none. It is this process's alone until it is closed.
    ///
    /// # Errors
    /// If the directory cannot be used, is in use, or holds a store that is damaged or of another format.
    pub fn open(options: StoreOptions) -> Result<Self, StoreError> {
        if options.durability == Durability::Memory {
            let message = "durability \"memory\" keeps nothing: run the broker without a store";
            return Err(StoreError::new(message));
        }
        let directory = Directory::open(&options.dir)?;
        let store = Self::open_in(directory, &options)?;
        store.0.directory.complete()?;
        Ok(store)
    }

    /// The same, but where there is no store it makes none.
    ///
    /// # Errors
    /// Also if the directory holds no store.
    pub fn open_existing(options: StoreOptions) -> Result<Self, StoreError> {
        Directory::expect_store(&options.dir)?;
        Self::open(options)
    }

    fn open_in(directory: Directory, options: &StoreOptions) -> Result<Self, StoreError> {
        let Synced { mut number, is_sorted } = directory.synced()?;
        let log = if directory.is_new() {
            Files::create(&directory.log())?
        } else {
            Files::open(&directory.log())?
        };
        let mut journal_bytes = 0;
        if !directory.is_new() {
            // One is the engine's own.
            manifest::check(&directory.engine(), Table::ALL.len() + 1)?;
            let found = journal::check(&directory.engine(), number, log.seed())?;
            if is_sorted && found.last == Some(number) {
                journal::empty(&directory.engine())?;
            } else {
                journal_bytes = found.bytes;
            }
            if options.durability == Durability::Sync && found.last > Some(number) {
                journal::write_again(&directory.engine(), found.bytes_in_last)?;
            }
            number = number.max(found.last.unwrap_or_default());
        }
        let engine = Arc::new(FjallEngine::open(&directory.engine(), options, journal_bytes)?);
        let mut ledger = Ledger::open(Arc::clone(&engine), log.seed(), number, options.bulk())?;
        ledger.catch_up(&log, options.durability)?;
        let newest_done = ledger.newest_done();
        let viewed = Arc::clone(&engine);
        let writer = Writer::start(ledger, log, options, move || viewed.view())?;
        Ok(Self(Arc::new(Inner { writer, engine, directory, max_stall: options.max_stall, newest_done })))
    }

    /// Reads every row and compares what has to agree. Works while the store is being written to.
    ///
    /// # Errors
    /// If the files cannot be read. What is wrong with what they say stands in the report.
    pub fn check(&self, progress: &mut dyn FnMut(Progress)) -> Result<CheckReport, StoreError> {
        check::check(&self.view()?, self.walk(progress))
    }

    /// What there is, and how much room it takes. Works while the store is being written to.
    ///
    /// # Errors
    /// If the files cannot be read.
    pub fn info(&self, progress: &mut dyn FnMut(Progress)) -> Result<StoreInfo, StoreError> {
        let check::Counts { rows, waiting } = check::count(&self.view()?, self.walk(progress))?;
        let disk_bytes = self.0.engine.disk_bytes()? + self.0.directory.log_bytes()?;
        Ok(StoreInfo { format_version: FORMAT_VERSION, disk_bytes, rows, waiting })
    }

    /// Copies the store as it is now into a new directory, where it can be opened like any other. Works while the store is
    /// being written to.
    ///
    /// # Errors
    /// If the store cannot be read, or the directory cannot be used, is not empty, or has no room.
    pub fn backup(&self, dir: &Path, progress: &mut dyn FnMut(Progress)) -> Result<(), StoreError> {
        let directory = Directory::create(dir)?;
        let copy = FjallEngine::open(&directory.engine(), &StoreOptions::new(dir), 0)?;
        let seed = Files::create(&directory.log())?.seed();
        let batches = copy::copy(&self.view()?, &copy, seed, self.walk(progress))?;
        copy.sync()?;
        directory.set_synced(Synced { number: batches, is_sorted: false })?;
        drop(copy);
        directory.complete()
    }

    /// Writes everything as lines of JSON, which [`FjallStore::import`] reads. Works while the store is being written to. A row
    /// that cannot be read is passed over, and told.
    ///
    /// # Errors
    /// If the files cannot be read, or the lines cannot be written. What was written then is not a whole export.
    pub fn export(
        &self,
        out: &mut dyn io::Write,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<PassedOver, StoreError> {
        lines::export(&self.view()?, out, self.walk(progress))
    }

    /// Makes a store in a new directory out of what [`FjallStore::export`] wrote. If it fails, the directory holds a part
    /// of it that cannot be opened and is to be deleted.
    ///
    /// # Errors
    /// If the directory cannot be used or is not empty, or a line is not one of an export; the message names the line.
    pub fn import(
        options: StoreOptions,
        from: &mut dyn io::BufRead,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), StoreError> {
        let store = Self::open_in(Directory::create(&options.dir)?, &options)?;
        lines::import(&store.0.writer, from, Walk::new(0, progress))?;
        store.0.finish()?;
        store.0.directory.complete()
    }

    /// Blocks until everything up to `mark` is durable.
    ///
    /// # Errors
    /// If the store has failed.
    pub fn wait_until_durable(&self, mark: Mark) -> Result<(), StoreError> {
        self.0.writer.wait(mark)
    }

    /// The tables, with everything that was appended before.
    fn view(&self) -> Result<View, StoreError> {
        self.0.writer.settle()?;
        Ok(self.0.engine.view())
    }

    fn walk<'a>(&self, progress: &'a mut dyn FnMut(Progress)) -> Walk<'a> {
        let expected = Table::ALL.iter().map(|table| self.0.engine.approximate_rows(*table)).sum();
        Walk::new(expected, progress)
    }

    /// Writes what was appended before, and syncs it whatever the durability. What is appended afterwards is not kept. The
    /// directory is free again when the last clone is dropped.
    ///
    /// # Errors
    /// If the store has failed, now or before.
    pub fn close(self) -> Result<(), StoreError> {
        self.0.finish()
    }

    #[cfg(test)]
    pub(crate) fn engine(&self) -> &FjallEngine {
        &self.0.engine
    }
}

impl Inner {
    fn finish(&self) -> Result<(), StoreError> {
        let Some(number) = self.writer.close() else { return self.writer.failure().map_or(Ok(()), Err) };
        self.engine.sync()?;
        self.directory.set_synced(Synced { number, is_sorted: false })?;
        self.writer.clear_log()?;
        // All is safe by now: this is for the next start alone, and there may be no room for it.
        if let Err(error) = self.sort(number) {
            tracing::warn!("the next start will read the engine's journal, and take longer: {error}");
        }
        Ok(())
    }

    fn sort(&self, number: u64) -> Result<(), StoreError> {
        if self.engine.sort_if_worthwhile(self.max_stall)? {
            self.directory.set_synced(Synced { number, is_sorted: true })?;
        }
        Ok(())
    }
}

impl Store for FjallStore {
    fn append(&self, group: Vec<Record>) -> Mark {
        self.0.writer.append(group)
    }

    fn append_one(&self, record: Record) -> Mark {
        self.0.writer.append_one(record)
    }

    fn durable(&self) -> Mark {
        self.0.writer.durable()
    }

    fn congested_until(&self) -> Mark {
        self.0.writer.congested_until()
    }

    fn wake_at(&self, mark: Mark, waker: &Waker) {
        self.0.writer.wake_at(mark, waker);
    }

    fn batches(&self) -> Option<BatchCounts> {
        Some(self.0.writer.batches())
    }

    fn failure(&self) -> Option<StoreError> {
        self.0.writer.failure()
    }

    fn recover(&self, visit: &mut dyn FnMut(Record)) -> Result<(), StoreError> {
        let mut newest = 0;
        ahead::recover(&self.view()?, &mut |record| {
            if let Record::Queued { key, .. } = record {
                newest = newest.max(key);
            }
            visit(record);
        })?;
        self.0.writer.set_newest(newest);
        Ok(())
    }

    fn expected(&self) -> Expected {
        let rows = |table| usize::try_from(self.0.engine.approximate_rows(table)).unwrap_or(usize::MAX);
        let newest = self.0.newest_done;
        Expected { subscriptions: rows(Table::Subscriptions), retained: rows(Table::Retained), newest }
    }

    fn read_queue(&self, read: QueueRead, deliver: DeliverPage) {
        self.0.writer.read(read, deliver);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // A failure of the writer's has been told.
        if let Err(error) = self.finish()
            && self.writer.failure().is_none()
        {
            tracing::error!("the store in {} was not closed well: {error}", self.directory.path().display());
        }
    }
}
