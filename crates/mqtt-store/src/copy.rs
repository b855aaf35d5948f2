//! Copies all rows into another engine.

use std::iter;

use mqtt_broker::store::StoreError;

use crate::{
    check::Walk,
    encoding::{Encoder, MARK_KEY, Table, Value, verify},
    engine::{Change, Engine, Reads},
    options::Durability,
};

/// A batch of the copy ends after so many bytes.
const BATCH_BYTES: usize = 1024 * 1024;

/// Copies every row, with its checksum looked at. How many batches it took: the copy counts its own, and seals them with its
/// own seed.
pub(crate) fn copy(
    from: &impl Reads,
    to: &impl Engine,
    seed: u64,
    mut walk: Walk<'_>,
) -> Result<u64, StoreError> {
    let mut copy = Copy { to, seed, batch: Vec::new(), bytes: 0, batches: 0, encoder: Encoder::default() };
    for table in Table::ALL {
        for row in from.rows(table, &[], None) {
            let (key, value) = row?;
            verify(table, &key, &value)?;
            walk.step(table.name());
            if table == Table::Meta && key == MARK_KEY {
                continue;
            }
            copy.bytes += key.len() + value.len();
            // The rows may be parts of larger blocks: what is kept is to be no more than they are.
            let (key, value) = (key[..].into(), value[..].into());
            copy.batch.push(Change { table, key, value: Some(value) });
            if copy.bytes >= BATCH_BYTES {
                copy.commit()?;
            }
        }
        walk.tell(table.name());
    }
    copy.commit()?;
    Ok(copy.batches)
}

struct Copy<'a, E> {
    to: &'a E,
    seed: u64,
    batch: Vec<Change>,
    bytes: usize,
    batches: u64,
    encoder: Encoder,
}

impl<E: Engine> Copy<'_, E> {
    fn commit(&mut self) -> Result<(), StoreError> {
        self.batches += 1;
        let mark = Value::mark(self.batches, false, 0, self.seed);
        let value = self.encoder.encode(Table::Meta, MARK_KEY, &mark);
        let mut batch = std::mem::take(&mut self.batch);
        batch.push(Change { table: Table::Meta, key: MARK_KEY.into(), value: Some(value) });
        self.bytes = 0;
        self.to.commit(iter::empty(), batch, Durability::Os)
    }
}
