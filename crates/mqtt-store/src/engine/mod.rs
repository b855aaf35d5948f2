//! [`Engine`]: the little that the store asks of a key-value engine: point reads, ordered reads, and one atomic batch, which
//! runs of messages may go ahead of.
//!
//! It is the seam of the power-loss tests: [`fjall`] is the real one, and a double in the tests loses what was not synced.

#[cfg(test)]
pub(crate) mod double;
pub(crate) mod fjall;

use ::fjall::Slice;
use mqtt_broker::store::StoreError;

use crate::{encoding::Table, options::Durability};

/// A key and a value.
pub(crate) type Row = (Slice, Slice);
pub(crate) type Rows<'a> = Box<dyn Iterator<Item = Result<Row, StoreError>> + 'a>;

pub(crate) trait Reads {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Slice>, StoreError>;

    /// The rows from `from` on, before `to`, in the order of their keys.
    fn rows(&self, table: Table, from: &[u8], to: Option<&[u8]>) -> Rows<'_>;

    /// The last row from `from` on and before `to`.
    fn last(&self, table: Table, from: &[u8], to: &[u8]) -> Result<Option<Row>, StoreError>;
}

pub(crate) trait Engine: Reads + Send + Sync + 'static {
    /// All of the changes of the batch, or none. When it returns they have survived what `durability` says. After an error the
    /// engine takes no more.
    ///
    /// `bulk` is there before the batch, without which a crash may leave it: new rows of the table `runs` that the batch says
    /// nothing of, in the order of their keys.
    fn commit(
        &self,
        bulk: impl Iterator<Item = Row>,
        batch: Vec<Change>,
        durability: Durability,
    ) -> Result<(), StoreError>;
}

/// A change of one row. No row is changed twice in a batch.
pub(crate) struct Change {
    pub(crate) table: Table,
    pub(crate) key: Slice,
    /// `None` deletes.
    pub(crate) value: Option<Slice>,
}
