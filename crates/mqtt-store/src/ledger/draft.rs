//! [`Draft`]: the batch that is being made. Knows nothing of the engine.

use std::{collections::HashMap, mem};

use fjall::Slice;
use mqtt_broker::{
    Message,
    store::{MessageKey, SessionKey},
};
use mqtt_codec::QoS;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::{
    encoding::{Encoder, Home, SessionId, Table, Value, entry_key, message_key},
    engine::Change,
};

/// A row of the queue.
pub(super) type Entry = (SessionId, MessageKey);

#[derive(Default)]
pub(super) struct Draft {
    /// Entries to write.
    pub(super) new: FxHashMap<Entry, New>,
    /// Their messages.
    pub(super) messages: FxHashMap<MessageKey, NewMessage>,
    /// Entries that the engine has and is to delete, or to replace.
    pub(super) gone: FxHashSet<Entry>,
    /// How many entries refer to a message that is kept apart, where that changes.
    pub(super) shares: FxHashMap<(u32, MessageKey), Shares>,
    /// Sessions whose state is to be written.
    pub(super) states: FxHashSet<SessionKey>,
    /// Of keys that clients choose too: hashed so that they cannot choose them ill.
    rows: HashMap<(Table, Slice), Option<Slice>>,
    encoder: Encoder,
}

#[derive(Clone, Copy)]
pub(super) struct New {
    pub(super) qos: QoS,
    pub(super) retain: bool,
}

pub(super) struct NewMessage {
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

    /// Takes back what it was going to do to a row.
    pub(super) fn leave(&mut self, table: Table, key: Slice) {
        self.rows.remove(&(table, key));
    }

    pub(super) fn touches(&self, table: Table, key: Slice) -> bool {
        self.rows.contains_key(&(table, key))
    }

    pub(super) fn queue(&mut self, entry: Entry, new: New, message: Message) {
        if self.new.insert(entry, new).is_none() {
            let fresh = NewMessage { message, users: 0, shared: false };
            self.messages.entry(entry.1).or_insert(fresh).users += 1;
        }
    }

    /// Takes back a new entry, if it is one.
    pub(super) fn unqueue(&mut self, entry: Entry) -> bool {
        let was_new = self.new.remove(&entry).is_some();
        if was_new && let Some(message) = self.messages.get_mut(&entry.1) {
            message.users -= 1;
            if message.users == 0 {
                self.messages.remove(&entry.1);
            }
        }
        was_new
    }

    /// All changes; what is left is empty.
    pub(super) fn take(&mut self, epoch: u32) -> Vec<Change> {
        let mut changes = Vec::with_capacity(2 * self.new.len() + self.gone.len() + self.rows.len() + 1);
        self.take_queue(epoch, &mut changes);
        self.take_shares(epoch, &mut changes);
        changes.extend(self.rows.drain().map(|((table, key), value)| Change { table, key, value }));
        changes
    }

    fn take_queue(&mut self, epoch: u32, changes: &mut Vec<Change>) {
        for (entry, New { qos, retain }) in mem::take(&mut self.new) {
            let Some(NewMessage { message, shared, .. }) = self.messages.get(&entry.1) else { continue };
            let home = if *shared { Home::Shared(epoch) } else { Home::Here(message.clone()) };
            let key = entry_key(entry.0, entry.1);
            let value = self.encoder.encode(Table::Queue, &key, &Value::Queued { qos, retain, home });
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
                && let Some(new) = self.messages.get(&message)
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
        self.messages.clear();
    }
}
