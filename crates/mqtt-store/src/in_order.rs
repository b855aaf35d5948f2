//! [`InOrder`]: the messages of one queue in the order of their keys, from the table that has a row for each and the one that has
//! runs of them.

use std::vec;

use fjall::Slice;
use mqtt_broker::store::{MessageKey, QueuedMessage, StoreError};
use mqtt_codec::QoS;

use crate::{
    encoding::{Home, Table, Value, damaged, decode, message_of},
    engine::Reads,
};

/// A message that waits.
pub(crate) struct Waiting {
    pub(crate) key: MessageKey,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) home: Home,
}

/// `Q` and `R` give one row after the other, in the order of their keys: of the table `queue` and of the table `runs`.
pub(crate) struct InOrder<'a, E, Q, R> {
    engine: &'a E,
    queue: Q,
    runs: R,
    /// The next one that has a row of its own.
    single: Option<Waiting>,
    /// What is left of a run, its first message taken out.
    next: Option<QueuedMessage>,
    rest: vec::IntoIter<QueuedMessage>,
}

impl<'a, E, Q, R> InOrder<'a, E, Q, R>
where
    E: Reads,
    Q: FnMut() -> Result<Option<(Slice, Value)>, StoreError>,
    R: FnMut() -> Result<Option<(Slice, Value)>, StoreError>,
{
    pub(crate) fn new(engine: &'a E, queue: Q, runs: R) -> Result<Self, StoreError> {
        let (next, rest) = (None, Vec::new().into_iter());
        let mut new = Self { engine, queue, runs, single: None, next, rest };
        new.take_single()?;
        new.take_from_runs()?;
        Ok(new)
    }

    pub(crate) fn next(&mut self) -> Result<Option<Waiting>, StoreError> {
        let in_run = self.next.as_ref().map(|queued| queued.key);
        if self.single.as_ref().is_some_and(|single| in_run.is_none_or(|key| single.key <= key)) {
            let single = self.single.take();
            self.take_single()?;
            return Ok(single);
        }
        let Some(QueuedMessage { key, qos, retain, message }) = self.next.take() else { return Ok(None) };
        self.take_from_runs()?;
        Ok(Some(Waiting { key, qos, retain, home: Home::Here(message) }))
    }

    fn take_single(&mut self) -> Result<(), StoreError> {
        while self.single.is_none()
            && let Some((row, value)) = (self.queue)()?
        {
            if let (Some(key), Value::Queued { qos, retain, home }) = (message_of(&row), value) {
                self.single = Some(Waiting { key, qos, retain, home });
            }
        }
        Ok(())
    }

    fn take_from_runs(&mut self) -> Result<(), StoreError> {
        self.next = self.rest.next();
        while self.next.is_none()
            && let Some((row, value)) = (self.runs)()?
        {
            if let Value::Run(mut run) = value {
                let gaps = gaps(self.engine, &row)?;
                let mut bits = (0..).map(|at| gaps >> at & 1 == 0);
                run.retain(|_| bits.next().unwrap_or(true));
                self.rest = run.into_iter();
                self.next = self.rest.next();
            }
        }
        Ok(())
    }
}

/// Which messages of a run are done with.
fn gaps<E: Reads>(engine: &E, run: &[u8]) -> Result<u64, StoreError> {
    let Some(value) = engine.get(Table::Gaps, run)? else { return Ok(0) };
    match decode(Table::Gaps, run, &value)? {
        Value::Gaps(gaps) => Ok(gaps),
        _ => Err(damaged(Table::Gaps, "is something else")),
    }
}
