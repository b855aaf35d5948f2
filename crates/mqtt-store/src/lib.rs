//! A durable [`Store`](mqtt_broker::store::Store) for mqtt-broker, on the embedded key-value engine fjall.
//!
//! [`FjallStore`] writes what is appended to a log: whatever came in while it wrote goes into the next frame, one frame is one
//! sync, and then everybody who waits for it is told. The engine is told later, and only of what is left by then. `docs/durability.md` says what is promised, what the files hold, and
//! what happens when something fails.
//!
//! ```
//! use mqtt_store::{FjallStore, StoreOptions};
//!
//! # fn main() -> Result<(), mqtt_broker::store::StoreError> {
//! # let directory = tempfile::tempdir().unwrap();
//! # let data_dir = directory.path().join("data");
//! let store = FjallStore::open(StoreOptions::new(data_dir))?;
//! store.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! Not here: which changes are worth keeping, and who waits for which of them. That is the broker's to know.

mod ahead;
mod check;
mod copy;
mod desk;
mod directory;
mod encoding;
mod engine;
mod in_order;
mod inbox;
mod journal;
mod ledger;
mod lines;
mod manifest;
mod options;
mod pages;
mod readable;
mod reader;
mod store;
mod waiters;
mod wal;
mod watch;
mod writer;

#[cfg(test)]
mod tests;

pub use self::{
    check::{CheckReport, Progress, StoreInfo},
    options::{Durability, StoreOptions},
    readable::PassedOver,
    store::FjallStore,
};
