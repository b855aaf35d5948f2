//! [`Draft`]: the batch that is being made. Knows nothing of the engine.

use std::{collections::HashMap, mem};

use fjall::Slice;
use mqtt_broker::{
    Message,
    store::{MessageKey, QueuedMessage, SessionKey},
};
use mqtt_codec::QoS;
use rustc_hash::{FxHashMap, FxHashSet};

use super::runs::MOST_BYTES;
use crate::{
    encoding::{Encoder, Home, MOST_IN_A_RUN, SessionId, Table, Value, entry_key, message_key},
    engine::{Change, Row},
};

/// A message of up to so many bytes is put into each entry: a reference and its count would hardly take less.
const SMALL_MESSAGE_BYTES: usize = 128;

/// A row of the queue.
pub(super) type Entry = (SessionId, MessageKey);

#[derive(Default)]
pub(super) struct Draft {
    /// Entries to write.
    pub(super) new: FxHashMap<Entry, New>,
    /// The large ones of their messages.
    pub(super) large: FxHashMap<MessageKey, Large>,
    /// Entries that the engine has and is to delete, or to replace.
    pub(super) gone: FxHashSet<Entry>,
    /// How many entries refer to a message that is kept apart, where that changes.
    pub(super) shares: FxHashMap<(u32, MessageKey), Shares>,
    /// Sessions in whose windows something changes. It is written when all is known: most messages come and go.
    pub(super) windows: Vec<SessionKey>,
    /// Sessions whose state is to be written.
    pub(super) states: FxHashSet<SessionKey>,
    /// Of keys that clients choose too: hashed so that they cannot choose them ill.
    rows: HashMap<(Table, Slice), Option<Slice>>,
    encoder: Encoder,
}

pub(super) struct New {
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) message: Message,
    /// Whether its session never had a message with a greater key or this one.
    pub(super) is_newest: bool,
}

pub(super) struct Large {
    pub(super) message: Message,
    /// New entries that have it.
    pub(super) users: u32,
    /// Whether they refer to it, or hold it.
    pub(super) shared: bool,
}

#[derive(Clone, Copy)]
pub(super) struct Shares {
    pub(super) before: u32,
    pub(super) now: u32,
}

impl New {
    /// `shared` is the epoch under which the message is kept apart, if it is.
    fn into_row(self, (id, key): Entry, shared: Option<u32>, encoder: &mut Encoder) -> Row {
        let Self { qos, retain, message, .. } = self;
        let home = shared.map_or_else(|| Home::Here(message), Home::Shared);
        let key = entry_key(id, key);
        let value = encoder.encode(Table::Queue, &key, &Value::Queued { qos, retain, home });
        (key, value)
    }

    fn queued(self, key: MessageKey) -> QueuedMessage {
        let Self { qos, retain, message, .. } = self;
        QueuedMessage { key, qos, retain, message }
    }
}

impl Draft {
    pub(super) fn put(&mut self, table: Table, key: Slice, value: &Value) {
        let value = self.encoder.encode(table, &key, value);
        self.rows.insert((table, key), Some(value));
    }

    pub(super) fn delete(&mut self, table: Table, key: Slice) {
        self.rows.insert((table, key), None);
    }

    pub(super) fn queue(&mut self, entry: Entry, new: New) {
        let message = (new.message.size() > SMALL_MESSAGE_BYTES).then(|| new.message.clone());
        let is_first = self.new.insert(entry, new).is_none();
        if is_first && let Some(message) = message {
            let fresh = Large { message, users: 0, shared: false };
            self.large.entry(entry.1).or_insert(fresh).users += 1;
        }
    }

    /// Takes back a new entry, if it is one.
    pub(super) fn unqueue(&mut self, entry: Entry) -> bool {
        let Some(new) = self.new.remove(&entry) else { return false };
        if new.message.size() > SMALL_MESSAGE_BYTES
            && let Some(large) = self.large.get_mut(&entry.1)
        {
            large.users -= 1;
            if large.users == 0 {
                self.large.remove(&entry.1);
            }
        }
        true
    }

    /// Takes out new entries behind all others of their sessions whose messages are for them alone: rows of the table `runs`, in
    /// the order of their keys. `tell` hears of each, and of the last message in it.
    pub(super) fn take_runs(&mut self, mut tell: impl FnMut(SessionId, MessageKey)) -> Vec<Row> {
        let Self { new, large, encoder, .. } = self;
        let is_plain = |entry: &Entry, new: &mut New| {
            new.is_newest && !large.get(&entry.1).is_some_and(|message| message.shared)
        };
        let mut plain: Vec<_> = new.extract_if(|entry, new| is_plain(entry, new)).collect();
        plain.sort_unstable_by_key(|(entry, _)| *entry);
        let mut plain = plain.into_iter().peekable();
        let mut rows = Vec::new();
        while let Some(((id, key), first)) = plain.next() {
            let (mut bytes, mut last) = (first.message.size(), key);
            let mut run = vec![first.queued(key)];
            while run.len() < MOST_IN_A_RUN
                && bytes < MOST_BYTES
                && let Some(((_, key), next)) = plain.next_if(|((of, _), _)| *of == id)
            {
                bytes += next.message.size();
                last = key;
                run.push(next.queued(key));
            }
            tell(id, last);
            let key = entry_key(id, key);
            let value = encoder.encode(Table::Runs, &key, &Value::Run(run));
            rows.push((key, value));
        }
        rows
    }

    /// All changes; what is left is empty.
    pub(super) fn take(&mut self, epoch: u32) -> Vec<Change> {
        let of_queue = self.new.len() + self.gone.len() + 2 * self.shares.len();
        let mut changes = Vec::with_capacity(of_queue + self.rows.len() + 1);
        self.take_queue(epoch, &mut changes);
        self.take_shares(epoch, &mut changes);
        changes.extend(self.rows.drain().map(|((table, key), value)| Change { table, key, value }));
        changes
    }

    fn take_queue(&mut self, epoch: u32, changes: &mut Vec<Change>) {
        for (entry, new) in self.new.drain() {
            let is_shared = self.large.get(&entry.1).is_some_and(|large| large.shared);
            let (key, value) = new.into_row(entry, is_shared.then_some(epoch), &mut self.encoder);
            changes.push(Change { table: Table::Queue, key, value: Some(value) });
            self.gone.remove(&entry);
        }
        let deleted = self.gone.drain().map(|(id, key)| entry_key(id, key));
        changes.extend(deleted.map(|key| Change { table: Table::Queue, key, value: None }));
    }

    fn take_shares(&mut self, epoch: u32, changes: &mut Vec<Change>) {
        for ((of_epoch, message), Shares { before, now }) in mem::take(&mut self.shares) {
            let key = message_key(of_epoch, message);
            if before == 0
                && of_epoch == epoch
                && now > 0
                && let Some(new) = self.large.get(&message)
            {
                let value = Value::Message(new.message.clone());
                let value = self.encoder.encode(Table::Messages, &key, &value);
                changes.push(Change { table: Table::Messages, key: key.clone(), value: Some(value) });
            }
            if now == 0 && before > 0 {
                changes.push(Change { table: Table::Messages, key: key.clone(), value: None });
            }
            if now != before {
                let value = (now > 0).then(|| self.encoder.encode(Table::Shares, &key, &Value::Shares(now)));
                changes.push(Change { table: Table::Shares, key, value });
            }
        }
        self.large.clear();
    }
}
