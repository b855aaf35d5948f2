//! [`Disk`]: an engine that can lose what was not synced, and fail on demand.

use std::{collections::BTreeMap, mem, sync::Arc};

use fjall::Slice;
use mqtt_broker::store::StoreError;
use parking_lot::Mutex;

use super::{Change, Engine, Reads, Row, Rows};
use crate::{encoding::Table, options::Durability};

/// Clones are the same disk.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<Content>>);

#[derive(Default)]
struct Content {
    written: Tables,
    synced: Tables,
    /// Batches that were written and not synced.
    unsynced: Vec<Vec<Change>>,
    commits_left: Option<u32>,
    fault: Fault,
    failed: bool,
    commits_after_failure: u32,
}

type Tables = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// How a commit fails.
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
    /// Lets so many commits through, and fails the next.
    pub(crate) fn fail_after(&self, commits: u32, fault: Fault) {
        let mut content = self.0.lock();
        content.commits_left = Some(commits);
        content.fault = fault;
    }

    pub(crate) fn commits_after_failure(&self) -> u32 {
        self.0.lock().commits_after_failure
    }

    /// The disk after the loss of power: what was synced, and of the batches after it the first `survivors`.
    pub(crate) fn after_power_loss(&self, survivors: usize) -> Self {
        let content = self.0.lock();
        let mut left = content.synced.clone();
        for batch in content.unsynced.iter().take(survivors) {
            apply(&mut left, batch);
        }
        Self::holding(left)
    }

    /// The disk after the end of the process: what was written.
    pub(crate) fn after_crash(&self) -> Self {
        Self::holding(self.0.lock().written.clone())
    }

    pub(crate) fn row_count(&self) -> usize {
        self.0.lock().written.len()
    }

    fn holding(tables: Tables) -> Self {
        Self(Arc::new(Mutex::new(Content { written: tables.clone(), synced: tables, ..Content::default() })))
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

impl Engine for Disk {
    fn commit(&self, batch: Vec<Change>, durability: Durability) -> Result<(), StoreError> {
        let mut content = self.0.lock();
        if content.failed {
            content.commits_after_failure += 1;
            return Err(StoreError::new("the disk has failed before"));
        }
        content.failed = content.commits_left == Some(0);
        content.commits_left = content.commits_left.map(|left| left.saturating_sub(1));
        if content.failed && content.fault == Fault::Hang {
            drop(content);
            loop {
                std::thread::park();
            }
        }
        if content.failed && content.fault == Fault::Write {
            return Err(StoreError::new("the disk has failed to write"));
        }
        let mut keys: Vec<_> = batch.iter().map(|change| (change.table, &change.key)).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), batch.len(), "a batch changes no row twice");
        apply(&mut content.written, &batch);
        content.unsynced.push(batch);
        if content.failed {
            return Err(StoreError::new("the disk has failed to sync"));
        }
        if durability == Durability::Sync {
            content.synced = content.written.clone();
            drop(mem::take(&mut content.unsynced));
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
