//! From where things are kept to a broker on its store, and to copies of that.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use mqtt_admin::OperationError;
use mqtt_broker::{Broker, Builder};
use mqtt_store::{FjallStore, StoreOptions};

use crate::config::Storage;

/// The store of a running broker, and the folder for its copies.
pub(super) struct Backups {
    store: FjallStore,
    folder: PathBuf,
}

/// The broker, with what an earlier process has left; its store, which whoever ends the broker has to close.
pub(super) fn build(
    storage: &Storage,
    builder: Builder,
) -> anyhow::Result<(Broker, Option<FjallStore>, Option<Backups>)> {
    match storage {
        Storage::Nothing => Ok((builder.build(), None, None)),
        Storage::Directory { path, durability, memtable_bytes, backup_dir } => {
            let mut options = StoreOptions::new(path).durability(*durability);
            options.memtable_bytes = *memtable_bytes;
            let store = FjallStore::open(options)?;
            let backups = Backups { store: store.clone(), folder: backup_dir.clone() };
            let broker =
                builder.build_on(store.clone()).context("cannot read what an earlier process has left")?;
            Ok((broker, Some(store), Some(backups)))
        }
    }
}

impl Backups {
    /// Copies the store as it is now into a new folder of this name, where a broker can start on it, and has `add` put there
    /// what else there is. Says where that is.
    pub(super) fn make(
        &self,
        name: &str,
        add: impl FnOnce(&Path) -> anyhow::Result<()>,
    ) -> Result<PathBuf, OperationError> {
        let copy = self.folder.join(name);
        if copy.exists() {
            return Err(OperationError::Invalid(format!(
                "{} is there already: take another name",
                copy.display()
            )));
        }
        // It makes all folders on the way, and syncs them.
        let made = self
            .store
            .backup(&copy, &mut |_| {})
            .map_err(|error| error.to_string())
            .and_then(|()| add(&copy).map_err(|error| format!("{error:#}")));
        match made {
            Ok(()) => Ok(copy),
            Err(why) => {
                // Half a copy is good for nothing, and the disk may be full.
                let _ = fs::remove_dir_all(&copy);
                Err(OperationError::Failed(why))
            }
        }
    }
}
