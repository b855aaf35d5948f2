//! [`Readable`]: tables without the rows that cannot be read, for who wants what a damaged store still has.
//!
//! Not here: blocks of the engine's files that do not match their checksums, which it does not read past; and what a session is made of,
//! without which a store does not open.

use std::cell::RefCell;

use fjall::Slice;
use mqtt_broker::store::StoreError;

use crate::{
    check::{PROBLEMS_TOLD, row_problem},
    encoding::{Home, Table, Value, damaged, decode, filter_of, message_key, message_of},
    engine::{Reads, Row, Rows},
};

/// Rows that an export has passed over, because they cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PassedOver {
    /// What is wrong with them, the first hundred in words.
    pub problems: Vec<String>,
    /// How many there are.
    pub rows: u64,
}

pub(crate) struct Readable<'a, R> {
    tables: &'a R,
    passed_over: RefCell<PassedOver>,
}

impl<'a, R: Reads> Readable<'a, R> {
    pub(crate) fn new(tables: &'a R) -> Self {
        Self { tables, passed_over: RefCell::default() }
    }

    pub(crate) fn passed_over(self) -> PassedOver {
        self.passed_over.into_inner()
    }

    fn is_readable(&self, table: Table, key: &[u8], value: &[u8]) -> bool {
        let Err(error) = self.look_at(table, key, value) else { return true };
        let mut passed_over = self.passed_over.borrow_mut();
        passed_over.rows += 1;
        if passed_over.problems.len() < PROBLEMS_TOLD {
            passed_over.problems.push(row_problem(&error, key));
        }
        false
    }

    fn look_at(&self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        match decode(table, key, value)? {
            Value::Subscription { filter, .. } => filter_of(key, filter).map(drop),
            // Without its message an entry is nothing.
            Value::Queued { home: Home::Shared(epoch), .. } => {
                let row = message_key(epoch, message_of(key).unwrap_or_default());
                [Table::Messages, Table::Shares].into_iter().try_for_each(|apart| {
                    let value = self.tables.get(apart, &row)?.ok_or_else(|| damaged(apart, "is missing"))?;
                    decode(apart, &row, &value).map(drop)
                })
            }
            _ => Ok(()),
        }
    }
}

impl<R: Reads> Reads for Readable<'_, R> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Slice>, StoreError> {
        Ok(self.tables.get(table, key)?.filter(|value| self.is_readable(table, key, value)))
    }

    fn rows(&self, table: Table, from: &[u8], to: Option<&[u8]>) -> Rows<'_> {
        let rows = self.tables.rows(table, from, to);
        Box::new(
            rows.filter(move |row| {
                row.as_ref().map_or(true, |(key, value)| self.is_readable(table, key, value))
            }),
        )
    }

    fn last(&self, table: Table, from: &[u8], to: &[u8]) -> Result<Option<Row>, StoreError> {
        self.tables.last(table, from, to)
    }
}
