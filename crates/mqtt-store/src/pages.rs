//! Reads parts of queues, on a thread of its own: the writer does not wait until a disk has read.

use std::{
    collections::BTreeSet,
    sync::{Arc, mpsc::Receiver},
};

use fjall::Slice;
use mqtt_broker::store::{DeliverPage, MessageKey, QueuePage, QueueRead, QueuedMessage, StoreError};

use crate::{
    encoding::{Home, SessionId, Table, Value, damaged, decode, entry_key, id_key, message_key},
    engine::{Reads, Rows},
    in_order::{InOrder, Waiting},
};

/// A part of a queue to read, and the store as it was just after it was asked for.
pub(crate) struct Job<V> {
    pub(crate) view: Arc<V>,
    /// `None` if the session is over.
    pub(crate) place: Option<Place>,
    /// Before this key, of the keys that are asked for, the view has everything that was appended.
    pub(crate) known: MessageKey,
    pub(crate) read: QueueRead,
    pub(crate) deliver: DeliverPage,
}

/// Where a read begins, and what it passes over.
pub(crate) struct Place {
    pub(crate) id: SessionId,
    /// Nothing stands before it in the queue.
    pub(crate) head: MessageKey,
    pub(crate) from: MessageKey,
    /// Messages that are being sent.
    pub(crate) sent: BTreeSet<MessageKey>,
}

/// Serves until nobody asks any more. What goes on beyond what the view has is asked for `again`. What cannot be read is a
/// failure of the whole store.
pub(crate) fn read_all<V: Reads>(
    jobs: &Receiver<Job<V>>,
    again: impl Fn(QueueRead, DeliverPage),
    fail: impl Fn(StoreError),
) {
    for Job { view, place, known, read, deliver } in jobs {
        let page = match place {
            Some(place) => page(&*view, &place, read.most_bytes),
            None => Ok(QueuePage { messages: Vec::new(), is_last: true }),
        };
        drop(view); // It keeps the engine from forgetting what has been deleted since.
        match page {
            Ok(page) if is_known(&page, known) => deliver(page),
            Ok(_) => again(read, deliver),
            Err(error) => fail(error),
        }
    }
}

/// Whether it is full before this key.
fn is_known(page: &QueuePage, known: MessageKey) -> bool {
    let is_before = page.messages.last().is_some_and(|last| last.key < known);
    known == MessageKey::MAX || is_before && !page.is_last
}

fn page<R: Reads>(engine: &R, place: &Place, most_bytes: usize) -> Result<QueuePage, StoreError> {
    let (mut messages, mut bytes) = (Vec::new(), 0);
    let (from, to) = (entry_key(place.id, place.from), id_key(place.id + 1));
    // The run before may go on beyond it.
    let run = engine.last(Table::Runs, &entry_key(place.id, place.head), &from)?;
    let first_run = run.map_or_else(|| from.clone(), |(row, _)| row);
    let mut queue = engine.rows(Table::Queue, &from, Some(&to));
    let mut runs = engine.rows(Table::Runs, &first_run, Some(&to));
    let mut waiting =
        InOrder::new(engine, || next_row(Table::Queue, &mut queue), || next_row(Table::Runs, &mut runs))?;
    while let Some(Waiting { key, qos, retain, home }) = waiting.next()? {
        if key < place.from || place.sent.contains(&key) {
            continue;
        }
        if bytes >= most_bytes && !messages.is_empty() {
            return Ok(QueuePage { messages, is_last: false });
        }
        let message = match home {
            Home::Here(message) => message,
            Home::Shared(epoch) => shared(engine, &message_key(epoch, key))?,
        };
        let queued = QueuedMessage { key, qos, retain, message };
        bytes += queued.cost();
        messages.push(queued);
    }
    Ok(QueuePage { messages, is_last: true })
}

fn next_row(table: Table, rows: &mut Rows<'_>) -> Result<Option<(Slice, Value)>, StoreError> {
    match rows.next().transpose()? {
        Some((key, value)) => decode(table, &key, &value).map(|value| Some((key, value))),
        None => Ok(None),
    }
}

fn shared<R: Reads>(engine: &R, row: &[u8]) -> Result<mqtt_broker::Message, StoreError> {
    let value = engine.get(Table::Messages, row)?.ok_or_else(|| damaged(Table::Messages, "is missing"))?;
    match decode(Table::Messages, row, &value)? {
        Value::Message(message) => Ok(message),
        _ => Err(damaged(Table::Messages, "is something else")),
    }
}
