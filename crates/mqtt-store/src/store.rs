//! [`FjallStore`]: opens and closes what the other modules are.

use std::{sync::Arc, task::Waker};

use mqtt_broker::store::{Mark, Record, Store, StoreError};

use crate::{
    check::{self, CheckReport, Progress, Walk},
    directory::Directory,
    encoding::Table,
    engine::fjall::FjallEngine,
    journal,
    ledger::Ledger,
    manifest,
    options::{Durability, StoreOptions},
    reader,
    writer::Writer,
};

/// A store in a directory. Dropping it closes it.
pub struct FjallStore {
    writer: Writer,
    engine: Arc<FjallEngine>,
    directory: Directory,
}

impl FjallStore {
    /// Opens the store in a directory, and makes it if there is none. It is this process's alone until it is closed.
    ///
    /// # Errors
    /// If the directory cannot be used, is in use, or holds a store that is damaged or of another format.
    pub fn open(options: StoreOptions) -> Result<Self, StoreError> {
        if options.durability == Durability::Memory {
            return Err(StoreError::new(
                "durability \"memory\" keeps nothing: run the broker without a store",
            ));
        }
        let directory = Directory::open(&options.dir)?;
        let mut expected = directory.synced();
        if !directory.is_new() {
            // One is the engine's own.
            manifest::check(&directory.engine(), Table::ALL.len() + 1)?;
            expected = expected.max(journal::check(&directory.engine(), expected)?.unwrap_or_default());
        }
        let engine = Arc::new(FjallEngine::open(&directory.engine(), &options)?);
        let ledger = Ledger::open(Arc::clone(&engine), expected)?;
        directory.complete()?;
        let writer = Writer::start(ledger, options.durability, options.max_pending_bytes)?;
        Ok(Self { writer, engine, directory })
    }

    /// Reads every row and compares what has to agree. Works while the store is being written to.
    ///
    /// # Errors
    /// If the files cannot be read. What is wrong with what they say stands in the report.
    pub fn check(&self, progress: &mut dyn FnMut(Progress)) -> Result<CheckReport, StoreError> {
        check::check(&self.engine.view(), self.walk(progress))
    }

    fn walk<'a>(&self, progress: &'a mut dyn FnMut(Progress)) -> Walk<'a> {
        let expected = Table::ALL.iter().map(|table| self.engine.approximate_rows(*table)).sum();
        Walk::new(expected, progress)
    }

    /// Writes what was appended before, syncs it whatever the durability, and lets go of the directory.
    ///
    /// # Errors
    /// If the store has failed, now or before.
    pub fn close(self) -> Result<(), StoreError> {
        self.finish()
    }

    #[cfg(test)]
    pub(crate) fn engine(&self) -> &FjallEngine {
        &self.engine
    }

    fn finish(&self) -> Result<(), StoreError> {
        let Some(number) = self.writer.close() else { return self.failure().map_or(Ok(()), Err) };
        self.engine.sync()?;
        self.directory.set_synced(number)
    }
}

impl Store for FjallStore {
    fn append(&self, group: Vec<Record>) -> Mark {
        self.writer.append(group)
    }

    fn durable(&self) -> Mark {
        self.writer.durable()
    }

    fn wake_at(&self, mark: Mark, waker: &Waker) {
        self.writer.wake_at(mark, waker);
    }

    fn failure(&self) -> Option<StoreError> {
        self.writer.failure()
    }

    fn recover(&self, visit: &mut dyn FnMut(Record)) -> Result<(), StoreError> {
        reader::recover(&self.engine.view(), visit)
    }
}

impl Drop for FjallStore {
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            tracing::error!("the store in {} was not closed well: {error}", self.directory.path().display());
        }
    }
}
