//! Rows of sessions that are over: nobody sees them any more, and they are deleted a few with each batch.

use std::sync::Arc;

use fjall::Slice;
use mqtt_broker::store::{MessageKey, StoreError};

use super::{Ledger, SessionId};
use crate::{
    encoding::{Table, entry_key, home_of, id_key, message_of},
    engine::Engine,
};

/// Rows that one batch deletes besides what else is in it.
const ROWS_PER_BATCH: usize = 1024;

const TABLES_OF_A_SESSION: [Table; 6] =
    [Table::Queue, Table::Runs, Table::Gaps, Table::Inflight, Table::Subscriptions, Table::Received];

/// What is left of a session: its rows from `from` on in the table at this place, and those of the tables after it.
pub(super) struct Leftovers {
    id: SessionId,
    table: usize,
    from: Slice,
}

impl Leftovers {
    pub(super) fn new(id: SessionId, head: MessageKey) -> Self {
        Self { id, table: 0, from: entry_key(id, head) }
    }
}

impl<E: Engine> Ledger<E> {
    /// Whether rows of ended sessions wait to be deleted.
    pub(crate) fn has_leftovers(&self) -> bool {
        !self.leftovers.is_empty()
    }

    /// Deletes some of them. Only called before the draft has changes of its own.
    pub(super) fn sweep(&mut self) -> Result<(), StoreError> {
        let mut budget = ROWS_PER_BATCH;
        while budget > 0
            && let Some(mut left) = self.leftovers.pop_front()
        {
            while budget > 0
                && let Some(&table) = TABLES_OF_A_SESSION.get(left.table)
            {
                budget -= self.sweep_table(&mut left, table, budget)?;
            }
            if left.table < TABLES_OF_A_SESSION.len() {
                self.leftovers.push_front(left);
            } else {
                self.draft.delete(Table::States, id_key(left.id));
                budget = budget.saturating_sub(1);
            }
        }
        Ok(())
    }

    fn sweep_table(
        &mut self,
        left: &mut Leftovers,
        table: Table,
        budget: usize,
    ) -> Result<usize, StoreError> {
        let engine = Arc::clone(&self.engine);
        let mut rows = engine.rows(table, &left.from, Some(&id_key(left.id.saturating_add(1))));
        for swept in 0..budget {
            let Some((key, value)) = rows.next().transpose()? else {
                left.table += 1;
                left.from = id_key(left.id);
                return Ok(swept);
            };
            // The row after this one cannot be smaller.
            left.from = [&key[..], &[0]].concat().into();
            match message_of(&key) {
                Some(message) if table == Table::Queue => {
                    self.dequeue((left.id, message), home_of(&key, &value)?)?;
                }
                _ => self.draft.delete(table, key),
            }
        }
        Ok(budget)
    }
}
