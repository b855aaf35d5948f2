//! [`Disk`]: an engine and a log's files that can lose what was not synced, and fail on demand.

use std::{
    collections::BTreeMap,
    mem,
    sync::Arc,
    thread::{self, ThreadId},
};

use fjall::Slice;
use mqtt_broker::store::StoreError;
use parking_lot::{Mutex, MutexGuard};

use super::{Change, Engine, Reads, Row, Rows};
use crate::{
    encoding::{Encoder, Table, Value},
    options::Durability,
    wal::{FILES, Medium},
};

/// Clones are the same disk.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<Content>>);

#[derive(Default)]
struct Content {
    /// Of the log's checksums.
    seed: u64,
    written: Tables,
    synced: Tables,
    /// Batches that were written and not synced.
    unsynced: Vec<Vec<Change>>,
    log: Log,
    commits_left: Option<u32>,
    fault: Fault,
    /// What failed. The other part has not heard of it, and goes on, but on a disk that hangs.
    failed: Option<Part>,
    tried_again: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Engine,
    Log,
}

/// The log's files.
#[derive(Clone, Default)]
struct Log {
    written: [Vec<u8>; FILES],
    synced: [Vec<u8>; FILES],
    /// Who wrote last.
    writer: Option<ThreadId>,
    /// Writes after the last sync: the file, the place, and the bytes.
    unsynced: Vec<(usize, usize, Vec<u8>)>,
}

type Tables = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// How a batch or a frame fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing of the batch is there.
    #[default]
    Write,
    /// It is written, but whether it survives nobody knows.
    Sync,
    /// It never returns.
    Hang,
}

impl Disk {
    /// An empty one whose log has this seed.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Content { seed, ..Content::default() })))
    }

    /// Lets so many batches and frames through, and fails the next.
    pub(crate) fn fail_after(&self, commits: u32, fault: Fault) {
        let mut content = self.0.lock();
        content.commits_left = Some(commits);
        content.fault = fault;
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.0.lock().failed.is_some()
    }

    /// How often what had failed was written to again.
    pub(crate) fn tried_again(&self) -> u32 {
        self.0.lock().tried_again
    }

    /// The disk after the loss of power: what was synced; of the batches after it the first `survivors`; of what was written to
    /// the log after it each as `torn` says: of its bytes so many of 256 parts.
    pub(crate) fn after_power_loss(&self, survivors: usize, torn: impl Fn(usize) -> u8) -> Self {
        let content = self.0.lock();
        let mut left = content.synced.clone();
        for batch in content.unsynced.iter().take(survivors) {
            apply(&mut left, batch);
        }
        let mut files = content.log.synced.clone();
        for (number, (file, at, bytes)) in content.log.unsynced.iter().enumerate() {
            let kept = bytes.len() * usize::from(torn(number)) / 255;
            overwrite(&mut files[*file], *at, &bytes[..kept]);
        }
        Self::holding(left, files)
    }

    /// The disk after the end of the process: what was written.
    pub(crate) fn after_crash(&self) -> Self {
        let content = self.0.lock();
        Self::holding(content.written.clone(), content.log.written.clone())
    }

    /// The disk after the end of a process for which a sync of the log failed: what was written can be read, and no sync writes it
    /// any more.
    pub(crate) fn after_failed_sync(&self) -> Self {
        let log = self.0.lock().log.clone();
        let disk = self.after_crash();
        disk.0.lock().log = Log { unsynced: Vec::new(), ..log };
        disk
    }

    /// The thread that wrote to the log last.
    pub(crate) fn log_writer(&self) -> Option<ThreadId> {
        self.0.lock().log.writer
    }

    /// Bytes of the log, of whatever round.
    pub(crate) fn log_bytes(&self) -> usize {
        self.0.lock().log.written.iter().map(Vec::len).sum()
    }

    /// Writes a row as nobody should.
    pub(crate) fn put(&self, table: Table, key: &[u8], value: &Value) {
        let value = Encoder::default().encode(table, key, value).to_vec();
        self.0.lock().written.insert((table, key.to_vec()), value);
    }

    pub(crate) fn row_count(&self) -> usize {
        self.0.lock().written.len()
    }

    fn holding(tables: Tables, files: [Vec<u8>; FILES]) -> Self {
        let log = Log { written: files.clone(), synced: files, ..Log::default() };
        Self(Arc::new(Mutex::new(Content {
            written: tables.clone(),
            synced: tables,
            log,
            ..Content::default()
        })))
    }

    fn range(&self, table: Table, from: &[u8], to: Option<&[u8]>) -> Vec<Row> {
        let content = self.0.lock();
        let rows = content.written.range((table, from.to_vec())..);
        let in_range = |(of, key): &(Table, Vec<u8>)| *of == table && to.is_none_or(|to| &key[..] < to);
        rows.take_while(|(key, _)| in_range(key))
            .map(|((_, key), value)| (Slice::from(&key[..]), Slice::from(&value[..])))
            .collect()
    }
}

impl Reads for Disk {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Slice>, StoreError> {
        Ok(self.0.lock().written.get(&(table, key.to_vec())).map(|value| Slice::from(&value[..])))
    }

    fn rows(&self, table: Table, from: &[u8], to: Option<&[u8]>) -> Rows<'_> {
        Box::new(self.range(table, from, to).into_iter().map(Ok))
    }

    fn last(&self, table: Table, from: &[u8], to: &[u8]) -> Result<Option<Row>, StoreError> {
        Ok(self.range(table, from, Some(to)).pop())
    }
}

impl Disk {
    /// One more thing to write: an error if it is not to be.
    fn step(&self, part: Part) -> Result<MutexGuard<'_, Content>, StoreError> {
        let mut content = self.0.lock();
        if content.failed.is_none() && content.commits_left == Some(0) {
            content.failed = Some(part);
        } else if content.failed == Some(part) && content.fault != Fault::Hang {
            content.tried_again += 1;
            return Err(StoreError::new("the disk has failed before"));
        }
        content.commits_left = content.commits_left.map(|left| left.saturating_sub(1));
        if content.failed.is_some() && content.fault == Fault::Hang {
            drop(content);
            loop {
                std::thread::park();
            }
        }
        if content.failed == Some(part) && content.fault == Fault::Write {
            return Err(StoreError::new("the disk has failed to write"));
        }
        Ok(content)
    }
}

impl Medium for Disk {
    fn seed(&self) -> u64 {
        self.0.lock().seed
    }

    fn read(&self, file: usize) -> Result<Vec<u8>, StoreError> {
        Ok(self.0.lock().log.written[file].clone())
    }

    fn len(&self, file: usize) -> Result<u64, StoreError> {
        Ok(self.0.lock().log.written[file].len() as u64)
    }

    fn write(&self, file: usize, at: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let mut content = self.step(Part::Log)?;
        let at = usize::try_from(at).unwrap();
        overwrite(&mut content.log.written[file], at, bytes);
        content.log.unsynced.push((file, at, bytes.to_vec()));
        content.log.writer = Some(thread::current().id());
        Ok(())
    }

    fn cut(&self, file: usize, len: u64) -> Result<(), StoreError> {
        self.0.lock().log.written[file].truncate(usize::try_from(len).unwrap());
        Ok(())
    }

    fn grow(&self, file: usize, from: u64, by: usize) -> Result<(), StoreError> {
        let file = &mut self.0.lock().log.written[file];
        file.resize(file.len().max(usize::try_from(from).unwrap() + by), 0);
        Ok(())
    }

    fn sync(&self, file: usize) -> Result<(), StoreError> {
        let mut content = self.0.lock();
        if content.failed == Some(Part::Log) {
            return Err(StoreError::new("the disk has failed to sync"));
        }
        let Log { written, synced, unsynced, .. } = &mut content.log;
        for (_, at, bytes) in unsynced.extract_if(.., |(of, ..)| *of == file) {
            overwrite(&mut synced[file], at, &bytes);
        }
        // What it has become shorter or longer by.
        synced[file].resize(written[file].len(), 0);
        Ok(())
    }

    fn clear(&self) -> Result<(), StoreError> {
        self.0.lock().log = Log::default();
        Ok(())
    }

    fn damage(&self, file: usize, at: u64, what: &str) -> StoreError {
        StoreError::new(format!("file {file} is damaged at {at}: {what}"))
    }
}

fn overwrite(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    file.resize(file.len().max(end), 0);
    file[at..end].copy_from_slice(bytes);
}

impl Engine for Disk {
    fn commit(
        &self,
        bulk: impl Iterator<Item = Row>,
        batch: Vec<Change>,
        durability: Durability,
    ) -> Result<(), StoreError> {
        let bulk: Vec<_> = bulk.collect();
        if !bulk.is_empty() {
            self.lay_down(bulk)?;
        }
        let mut content = self.step(Part::Engine)?;
        let mut keys: Vec<_> = batch.iter().map(|change| (change.table, &change.key)).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), batch.len(), "a batch changes no row twice");
        apply(&mut content.written, &batch);
        content.unsynced.push(batch);
        if content.failed == Some(Part::Engine) {
            return Err(StoreError::new("the disk has failed to sync"));
        }
        if durability == Durability::Sync {
            content.synced = content.written.clone();
            drop(mem::take(&mut content.unsynced));
        }
        Ok(())
    }
}

impl Disk {
    /// A sorted file is synced by itself, and there or not there.
    fn lay_down(&self, bulk: Vec<Row>) -> Result<(), StoreError> {
        assert!(bulk.is_sorted_by(|(one, _), (two, _)| one < two));
        let new = |(key, value)| Change { table: Table::Runs, key, value: Some(value) };
        let bulk: Vec<_> = bulk.into_iter().map(new).collect();
        let mut content = self.step(Part::Engine)?;
        // What was committed before is sorted with it.
        content.synced = content.written.clone();
        drop(mem::take(&mut content.unsynced));
        apply(&mut content.written, &bulk);
        apply(&mut content.synced, &bulk);
        if content.failed == Some(Part::Engine) {
            return Err(StoreError::new("the disk has failed to sync"));
        }
        Ok(())
    }
}

fn apply(tables: &mut Tables, batch: &[Change]) {
    for Change { table, key, value } in batch {
        match value {
            Some(value) => drop(tables.insert((*table, key.to_vec()), value.to_vec())),
            None => drop(tables.remove(&(*table, key.to_vec()))),
        }
    }
}
