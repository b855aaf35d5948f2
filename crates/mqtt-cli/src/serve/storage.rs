//! From where things are kept to a broker on its store.

use anyhow::Context;
use mqtt_broker::{Broker, Builder};
use mqtt_store::{FjallStore, StoreOptions};

use crate::config::Storage;

/// The broker, with what an earlier process has left.
pub(super) fn build(storage: &Storage, builder: Builder) -> anyhow::Result<Broker> {
    match storage {
        Storage::Nothing => Ok(builder.build()),
        Storage::Directory { path, durability, memtable_bytes } => {
            let mut options = StoreOptions::new(path).durability(*durability);
            options.memtable_bytes = *memtable_bytes;
            let store = FjallStore::open(options)?;
            builder.build_on(store).context("cannot read what an earlier process has left")
        }
    }
}
