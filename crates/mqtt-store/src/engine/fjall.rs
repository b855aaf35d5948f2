//! [`FjallEngine`]: the engine on fjall, a keyspace a table.
//!
//! fjall keeps a journal that every batch is appended to, and sorted files that it is sorted into later. It has no way to
//! take back a batch that failed, and says so by refusing everything after: the store does the same.
//!
//! What is only in the journal is read, row by row, at the next start, and that takes longer than all else: so a clean end
//! writes it to sorted files.

use std::{
    fmt::Display,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use fjall::{
    AbstractTree, Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Slice, Snapshot,
    compaction::Leveled,
};
use mqtt_broker::store::StoreError;
use parking_lot::Mutex;

use super::{Change, Engine, Reads, Row, Rows};
use crate::{
    encoding::Table,
    options::{Durability, StoreOptions},
};

/// How much of the journal may be waiting to be sorted into files: what has to be read again at the next start.
const MAX_JOURNAL_BYTES: u64 = 128 * 1024 * 1024;

/// Threads that sort and merge files. The engine keeps the first for sorting: as long as all others merge and one more merge is asked
/// for, that one passes it on to itself, over and over, and takes a whole processor for it (fjall 3.1.13). Two are asked for at a
/// time and more, of which all but the first mostly find nothing to do: so there is somebody left to take them.
const WORKERS: usize = 4;

/// A journal of up to so many bytes is read at a start as soon as the tables would be sorted before.
const SMALL_JOURNAL_BYTES: u64 = 1024 * 1024;
/// How often to look whether the engine has sorted its tables.
const SORTING_LOOK: Duration = Duration::from_millis(2);

pub(crate) struct FjallEngine {
    database: Database,
    tables: [Keyspace; Table::ALL.len()],
    path: PathBuf,
    /// What the journal holds, roughly.
    journal_bytes: AtomicU64,
    /// Held from the bulk of a batch to its end: nobody is to see one without the other.
    turn: Mutex<()>,
}

impl FjallEngine {
    /// The engine whose journal holds so many bytes.
    pub(crate) fn open(path: &Path, options: &StoreOptions, journal_bytes: u64) -> Result<Self, StoreError> {
        guarded(path, "opened", || {
            let database = Database::builder(path)
                .manual_journal_persist(true)
                .max_journaling_size(MAX_JOURNAL_BYTES)
                .cache_size(options.cache_bytes)
                .worker_threads(WORKERS)
                .open()?;
            let open = |table: Table| database.keyspace(table.name(), || table_options(table, options));
            let tables = open_tables(open)?;
            let journal_bytes = AtomicU64::new(journal_bytes);
            Ok(Self { database, tables, path: path.to_owned(), journal_bytes, turn: Mutex::default() })
        })
    }

    /// The store as it is now, whatever is written meanwhile.
    pub(crate) fn view(self: &Arc<Self>) -> View {
        let _turn = self.turn.lock();
        View { engine: Arc::clone(self), snapshot: self.database.snapshot() }
    }

    /// How many rows a table has, roughly: at least as many.
    pub(crate) fn approximate_rows(&self, table: Table) -> u64 {
        self.table(table).approximate_len() as u64
    }

    pub(crate) fn disk_bytes(&self) -> Result<u64, StoreError> {
        guarded(&self.path, "read", || self.database.disk_space())
    }

    /// Syncs whatever was committed.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        guarded(&self.path, "written", || self.database.persist(PersistMode::SyncAll))
    }

    /// Writes all tables to sorted files if it takes the next start longer to read the journal. Whether nothing in the
    /// journal is needed any more; it may be within `patience`, or for want of room not at all.
    pub(crate) fn sort_if_worthwhile(&self, patience: Duration) -> Result<bool, StoreError> {
        if self.journal_bytes.load(Ordering::Relaxed) <= SMALL_JOURNAL_BYTES {
            return Ok(false);
        }
        self.sort_into_files(patience)
    }

    /// Whether it was done in time. After an error the engine takes no more.
    pub(crate) fn sort_into_files(&self, patience: Duration) -> Result<bool, StoreError> {
        guarded(&self.path, "written", || {
            for table in &self.tables {
                table.rotate_memtable()?;
            }
            let end = Instant::now() + patience;
            while !self.tables.iter().all(is_sorted) {
                if Instant::now() >= end {
                    return Ok(false);
                }
                thread::sleep(SORTING_LOOK);
                // If sorting has failed, so does this.
                self.database.persist(PersistMode::Buffer)?;
            }
            Ok(true)
        })
    }

    /// Past the journal and the table in memory: at half of their price, but synced, and a file more to merge.
    fn lay_down(&self, bulk: impl Iterator<Item = Row>) -> fjall::Result<()> {
        // What the table has in memory is sorted with it, and other rows of the same batches are only in the journal.
        self.database.persist(PersistMode::SyncData)?;
        let mut ingestion = self.table(Table::Runs).start_ingestion()?;
        for (key, value) in bulk {
            ingestion.write(key, value)?;
        }
        ingestion.finish()
    }

    fn table(&self, table: Table) -> &Keyspace {
        // One keyspace for each of `Table::ALL`, in that order.
        &self.tables[table as usize]
    }

    fn guard_rows(&self, mut rows: fjall::Iter) -> Rows<'_> {
        let mut done = false;
        Box::new(std::iter::from_fn(move || {
            if done {
                return None;
            }
            let row = guarded(&self.path, "read", || rows.next().map(fjall::Guard::into_inner).transpose());
            done = row.is_err();
            row.transpose()
        }))
    }
}

impl Reads for FjallEngine {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Slice>, StoreError> {
        guarded(&self.path, "read", || self.table(table).get(key))
    }

    fn rows(&self, table: Table, from: &[u8], to: Option<&[u8]>) -> Rows<'_> {
        let table = self.table(table);
        self.guard_rows(match to {
            Some(to) => table.range(from..to),
            None => table.range(from..),
        })
    }

    fn last(&self, table: Table, from: &[u8], to: &[u8]) -> Result<Option<Row>, StoreError> {
        guarded(&self.path, "read", || {
            self.table(table).range(from..to).next_back().map(fjall::Guard::into_inner).transpose()
        })
    }
}

impl Engine for FjallEngine {
    fn commit(
        &self,
        bulk: impl Iterator<Item = Row>,
        batch: Vec<Change>,
        durability: Durability,
    ) -> Result<(), StoreError> {
        let _turn = self.turn.lock();
        let mut bulk = bulk.peekable();
        if bulk.peek().is_some() {
            guarded(&self.path, "written", || self.lay_down(bulk))?;
        }
        let mode = match durability {
            Durability::Sync => PersistMode::SyncData,
            Durability::Os | Durability::Memory => PersistMode::Buffer,
        };
        guarded(&self.path, "written", || {
            let mut changes = fjall::OwnedWriteBatch::with_capacity(self.database.clone(), batch.len())
                .durability(Some(mode));
            let mut bytes = 0;
            for change in batch {
                bytes += change.key.len() + change.value.as_ref().map_or(0, |value| value.len());
                match change.value {
                    Some(value) => changes.insert(self.table(change.table), change.key, value),
                    None => changes.remove(self.table(change.table), change.key),
                }
            }
            self.journal_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            changes.commit()
        })
    }
}

/// All tables as they were at one moment, between two batches.
pub(crate) struct View {
    engine: Arc<FjallEngine>,
    snapshot: Snapshot,
}

impl Reads for View {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Slice>, StoreError> {
        guarded(&self.engine.path, "read", || self.snapshot.get(self.engine.table(table), key))
    }

    fn rows(&self, table: Table, from: &[u8], to: Option<&[u8]>) -> Rows<'_> {
        let table = self.engine.table(table);
        self.engine.guard_rows(match to {
            Some(to) => self.snapshot.range(table, from..to),
            None => self.snapshot.range(table, from..),
        })
    }

    fn last(&self, table: Table, from: &[u8], to: &[u8]) -> Result<Option<Row>, StoreError> {
        guarded(&self.engine.path, "read", || {
            let mut rows = self.snapshot.range(self.engine.table(table), from..to);
            rows.next_back().map(fjall::Guard::into_inner).transpose()
        })
    }
}

/// Whether all of a table is in sorted files.
fn is_sorted(table: &Keyspace) -> bool {
    table.tree.active_memtable().is_empty() && table.tree.sealed_memtable_count() == 0
}

fn open_tables(
    open: impl Fn(Table) -> fjall::Result<Keyspace>,
) -> fjall::Result<[Keyspace; Table::ALL.len()]> {
    let mut tables = Vec::with_capacity(Table::ALL.len());
    for table in Table::ALL {
        tables.push(open(table)?);
    }
    tables.try_into().map_err(|_| fjall::Error::Unrecoverable)
}

fn table_options(table: Table, options: &StoreOptions) -> KeyspaceCreateOptions {
    // Bulk makes many files, and whoever merges them less often writes them less often. With 20 the engine slows down who writes.
    let merges_from = if table == Table::Runs { 16 } else { 4 };
    KeyspaceCreateOptions::default()
        .compaction_strategy(Arc::new(Leveled::default().with_l0_threshold(merges_from)))
        .manual_journal_persist(true)
        .max_memtable_size(options.memtable_bytes as u64)
        // Messages and entries are read because they are known to be there.
        .expect_point_read_hits(matches!(table, Table::Queue | Table::Runs | Table::Messages))
}

/// Does something with the engine. An error says where and what to do; so does a panic, which is how the engine answers to
/// some damaged files.
fn guarded<T>(path: &Path, what: &str, act: impl FnOnce() -> fjall::Result<T>) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(explain(path, what, &error)),
        Err(_) => Err(damage(path, what, "the storage engine stumbled over its files")),
    }
}

fn explain(path: &Path, what: &str, error: &fjall::Error) -> StoreError {
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => {
            StoreError::new(format!("the store in {} could not be {what}: {error}", path.display()))
        }
        fjall::Error::Poisoned => StoreError::new(format!(
            "the store in {} could not be {what}: writing in the background failed, as when the disk is full",
            path.display()
        )),
        fjall::Error::Locked => {
            StoreError::new(format!("the store in {} is in use by another process", path.display()))
        }
        fjall::Error::InvalidVersion(version) => StoreError::new(format!(
            "the files in {} have version {version:?} of the storage engine, which this program cannot read",
            path.display()
        )),
        error => damage(path, what, error),
    }
}

fn damage(path: &Path, what: &str, why: impl Display) -> StoreError {
    StoreError::new(format!(
        "the store in {} is damaged and could not be {what}: {why}; restore the data directory from a backup",
        path.display()
    ))
}
