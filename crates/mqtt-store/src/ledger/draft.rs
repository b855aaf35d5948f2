//! [`Draft`]: the batch that is being made. Knows nothing of the engine.

use std::{collections::HashMap, mem};

use fjall::Slice;
use mqtt_broker::{
    Message,
    store::{MessageKey, QueuedMessage, SessionKey},
};
use rustc_hash::{FxHashMap, FxHashSet};

use super::behind::{Behind, NewRuns};
use crate::{
    encoding::{Encoder, Home, SessionId, Table, Value, entry_key, message_key},
    engine::Change,
};

/// A message of up to so many bytes is put into each entry: a reference and its count would hardly take less.
const SMALL_MESSAGE_BYTES: usize = 128;

/// A row of the queue.
pub(super) type Entry = (SessionId, MessageKey);

#[derive(Default)]
pub(super) struct Draft {
    /// Entries to write: those behind all others of their queues, and the others.
    behind: Behind,
    new: FxHashMap<Entry, QueuedMessage>,
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

impl Draft {
    pub(super) fn put(&mut self, table: Table, key: Slice, value: &Value) {
        let value = self.encoder.encode(table, &key, value);
        self.rows.insert((table, key), Some(value));
    }

    pub(super) fn delete(&mut self, table: Table, key: Slice) {
        self.rows.insert((table, key), None);
    }

    /// `is_newest`: this queue never had a message with a greater key, or this one.
    pub(super) fn queue(&mut self, id: SessionId, queued: QueuedMessage, is_newest: bool) {
        let key = queued.key;
        let message = (queued.message.size() > SMALL_MESSAGE_BYTES).then(|| queued.message.clone());
        let is_first = if is_newest && Behind::takes(&queued) {
            self.behind.push(id, queued);
            true
        } else {
            self.new.insert((id, key), queued).is_none()
        };
        if is_first && let Some(message) = message {
            let fresh = Large { message, users: 0, shared: false };
            self.large.entry(key).or_insert(fresh).users += 1;
        }
    }

    /// Takes back a new entry, if it is one.
    pub(super) fn unqueue(&mut self, entry: Entry) -> bool {
        let new = self.new.remove(&entry);
        let Some(new) = new.as_ref().or_else(|| self.behind.take_back(entry)) else { return false };
        let size = new.message.size();
        self.lose_user(entry.1, size);
        true
    }

    /// Takes back what is new in the queue of a session that is over, as far as that is easily found.
    pub(super) fn unqueue_all(&mut self, id: SessionId) {
        for queued in self.behind.take_queue(id) {
            self.lose_user(queued.key, queued.message.size());
        }
    }

    fn lose_user(&mut self, key: MessageKey, size: usize) {
        if size > SMALL_MESSAGE_BYTES
            && let Some(large) = self.large.get_mut(&key)
        {
            large.users -= 1;
            if large.users == 0 {
                self.large.remove(&key);
            }
        }
    }

    /// How many entries there are to write.
    pub(super) fn new_entries(&self) -> usize {
        self.new.len() + self.behind.len()
    }

    /// Of each entry to write, whether it refers to a message that is kept apart.
    pub(super) fn for_each_new(&self, mut visit: impl FnMut(Entry, bool)) {
        self.new.keys().for_each(|entry| visit(*entry, is_shared(&self.large, entry.1)));
        self.behind.for_each(|entry| visit(entry, is_shared(&self.large, entry.1)));
    }

    /// Takes out the entries that may go into runs: those behind all others, if their messages are for them alone.
    pub(super) fn take_runs(&mut self) -> NewRuns {
        let Self { new, behind, large, .. } = self;
        if large.values().any(|large| large.shared) {
            behind.take_if(
                |queued| is_shared(large, queued.key),
                |id, queued| drop(new.insert((id, queued.key), queued)),
            );
        }
        behind.take_runs()
    }

    /// All changes; what is left is empty.
    pub(super) fn take(&mut self, epoch: u32) -> Vec<Change> {
        let of_queue = self.new_entries() + self.gone.len() + 2 * self.shares.len();
        let mut changes = Vec::with_capacity(of_queue + self.rows.len() + 1);
        self.take_queue(epoch, &mut changes);
        self.take_shares(epoch, &mut changes);
        changes.extend(self.rows.drain().map(|((table, key), value)| Change { table, key, value }));
        changes
    }

    fn take_queue(&mut self, epoch: u32, changes: &mut Vec<Change>) {
        let Self { new, behind, large, gone, encoder, .. } = self;
        let mut put = |id: SessionId, queued: QueuedMessage| {
            let QueuedMessage { key: message_key, qos, retain, message } = queued;
            let is_shared = is_shared(large, message_key);
            let home = if is_shared { Home::Shared(epoch) } else { Home::Here(message) };
            let key = entry_key(id, message_key);
            let value = encoder.encode(Table::Queue, &key, &Value::Queued { qos, retain, home });
            changes.push(Change { table: Table::Queue, key, value: Some(value) });
            gone.remove(&(id, message_key));
        };
        for ((id, _), queued) in new.drain() {
            put(id, queued);
        }
        behind.take_each(put);
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

fn is_shared(large: &FxHashMap<MessageKey, Large>, key: MessageKey) -> bool {
    large.get(&key).is_some_and(|large| large.shared)
}
