//! [`Draft`]: the batch that is being made. Knows nothing of the engine.

use std::{collections::HashMap, mem};

use fjall::Slice;
use mqtt_broker::{
    Message,
    store::{MessageKey, SessionKey},
};
use mqtt_codec::{PacketId, QoS};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::{
    encoding::{Encoder, Home, SessionId, Table, Value, entry_key, message_key, received_key},
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
    /// Rows of the table `inflight` that change; `None` deletes. Made of when all is known: most messages come and go.
    pub(super) inflight: FxHashMap<Entry, Option<Progress>>,
    /// Identifiers of QoS 2 messages that came in, where it changes whether the engine has them.
    pub(super) received: FxHashMap<(SessionId, PacketId), Known>,
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

/// How far the delivery of a message has come.
#[derive(Clone, Copy, Default)]
pub(super) struct Progress {
    pub(super) packet_id: Option<PacketId>,
    pub(super) released: bool,
}

/// Whether the engine has a row, and is to have it.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub(super) before: bool,
    pub(super) now: bool,
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
        let of_sessions = self.gone.len() + self.inflight.len() + self.received.len();
        let mut changes = Vec::with_capacity(2 * self.new.len() + of_sessions + self.rows.len() + 1);
        self.take_queue(epoch, &mut changes);
        self.take_inflight(&mut changes);
        self.take_received(&mut changes);
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

    fn take_inflight(&mut self, changes: &mut Vec<Change>) {
        for ((id, key), progress) in self.inflight.drain() {
            let key = entry_key(id, key);
            let value = progress.map(|Progress { packet_id, released }| {
                self.encoder.encode(Table::Inflight, &key, &Value::Inflight { packet_id, released })
            });
            changes.push(Change { table: Table::Inflight, key, value });
        }
    }

    fn take_received(&mut self, changes: &mut Vec<Change>) {
        for ((id, packet_id), Known { before, now }) in self.received.drain() {
            if before != now {
                let key = received_key(id, packet_id);
                let value = now.then(|| self.encoder.encode(Table::Received, &key, &Value::Received));
                changes.push(Change { table: Table::Received, key, value });
            }
        }
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
