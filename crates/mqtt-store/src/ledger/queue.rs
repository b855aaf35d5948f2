//! Queue entries and their messages.
//!
//! A message that one session waits for stands in its entry; so does a small one, however many wait. A large one that
//! several wait for is kept apart, once, with the number of entries that refer to it. Where many messages wait anew, those that
//! stand by themselves go into runs.

use mqtt_broker::store::{MessageKey, QueueRead, QueuedMessage, SessionKey, StoreError};

use super::{
    Ledger,
    draft::{Entry, Shares},
    open::read,
    runs::{first_in_runs, newest_in_runs},
};
use crate::{
    encoding::{SessionId, Table, Value, entry_key, home_of, id_key, message_key, message_of},
    engine::Engine,
    pages::Place,
};

/// After so many messages of a session are done with, its head is moved past the rows that were deleted.
const HEAD_STEP: u32 = 1024;
/// Of how many entries the ledger remembers where their message is. The others are read again when they are done with.
const REMEMBERED_ENTRIES: usize = 64 * 1024;

impl<E: Engine> Ledger<E> {
    pub(super) fn queue(&mut self, session: SessionKey, queued: QueuedMessage) -> Result<(), StoreError> {
        let Some(live) = self.sessions.get_mut(&session) else { return Ok(()) };
        let (id, key) = (live.id, queued.key);
        let newest = match live.newest {
            Some(newest) => newest,
            None => newest_row(&*self.engine, id)?.max(newest_in_runs(&*self.engine, id)?),
        };
        // The head is in the engine, and what goes ahead of its batch must not lie before it: nobody would see it there.
        let newest = newest.max(live.head.saturating_sub(1));
        live.newest = Some(newest.max(key));
        if key < live.head {
            live.head = key;
            self.draft.states.insert(session);
        }
        let is_newest = key > newest;
        if !is_newest || live.window.as_ref().is_some_and(|window| window.is_sent(key)) {
            self.finish(session, key)?;
        }
        self.draft.queue(id, queued, is_newest);
        Ok(())
    }

    pub(super) fn finish(&mut self, session: SessionKey, key: MessageKey) -> Result<(), StoreError> {
        let Some(live) = self.sessions.get_mut(&session) else { return Ok(()) };
        let entry = (live.id, key);
        if live.window.is_some() && live.change_window(|window| window.finish(key)) {
            self.draft.windows.push(session);
        }
        if self.draft.unqueue(entry) || self.draft.gone.contains(&entry) {
            return Ok(());
        }
        live.newest_done = live.newest_done.max(key);
        live.done_since_head += 1;
        if live.done_since_head == HEAD_STEP {
            self.stale_heads.push(session);
        }
        let home = self.homes.remove(&entry);
        if home.flatten().is_none() && self.finish_in_run(entry)? {
            return Ok(());
        }
        if let Some(home) = home {
            return self.dequeue(entry, home);
        }
        if self.shared_keys.is_none_or(|(first, last)| key < first || key > last) {
            return self.dequeue(entry, None); // Whatever the entry is, it holds its message itself.
        }
        let row = entry_key(entry.0, key);
        match self.engine.get(Table::Queue, &row)? {
            Some(value) => self.dequeue(entry, home_of(&row, &value)?),
            None => Ok(()),
        }
    }

    /// Deletes an entry that the engine has, and the message it refers to if it was the last to.
    pub(super) fn dequeue(&mut self, entry: Entry, home: Option<u32>) -> Result<(), StoreError> {
        if self.draft.gone.insert(entry)
            && let Some(epoch) = home
        {
            let shares = self.shares(epoch, entry.1)?;
            shares.now = shares.now.saturating_sub(1);
        }
        Ok(())
    }

    /// How many entries refer to a message that is kept apart.
    fn shares(&mut self, epoch: u32, key: MessageKey) -> Result<&mut Shares, StoreError> {
        use std::collections::hash_map::Entry::{Occupied, Vacant};

        match self.draft.shares.entry((epoch, key)) {
            Occupied(known) => Ok(known.into_mut()),
            Vacant(unknown) => {
                // Above the newest there are none.
                let may_exist = epoch != self.epoch || key <= self.newest_shared;
                let before = match may_exist.then(|| message_key(epoch, key)) {
                    Some(row) => match read(&*self.engine, Table::Shares, &row)? {
                        Some(Value::Shares(count)) => count,
                        _ => 0,
                    },
                    None => 0,
                };
                Ok(unknown.insert(Shares { before, now: before }))
            }
        }
    }

    /// Decides of each new message whether its entries hold it or refer to it.
    pub(super) fn place_messages(&mut self) -> Result<(), StoreError> {
        let large: Vec<(MessageKey, u32)> =
            self.draft.large.iter().map(|(&key, new)| (key, new.users)).collect();
        let mut newest = self.newest_shared;
        for (key, users) in large {
            let was_single = self.singles.contains(&key);
            let is_single = match (users, was_single) {
                (1, false) => key > self.newest_shared || self.shares(self.epoch, key)?.before == 0,
                _ => false,
            };
            if is_single {
                self.singles.insert(key);
                continue;
            }
            self.shares(self.epoch, key)?.now += users;
            let (first, last) = self.shared_keys.unwrap_or((key, key));
            self.shared_keys = Some((first.min(key), last.max(key)));
            newest = newest.max(key);
            if let Some(new) = self.draft.large.get_mut(&key) {
                new.shared = true;
            }
        }
        self.newest_shared = newest;
        if self.singles.len() > REMEMBERED_ENTRIES {
            self.singles.clear();
        }
        Ok(())
    }

    /// Has to come after [`Ledger::place_messages`].
    pub(super) fn remember_homes(&mut self) {
        if self.homes.len() > REMEMBERED_ENTRIES {
            self.homes.clear();
        }
        if self.shared_keys.is_none() {
            return; // Where there are none to tell them from, each holds its own.
        }
        let Self { draft, homes, epoch, .. } = self;
        draft.for_each_new(|entry, is_shared| {
            homes.insert(entry, is_shared.then_some(*epoch));
        });
    }

    /// Where to read a part of a queue; `None` if the session is over.
    pub(crate) fn place(&self, read: &QueueRead) -> Option<Place> {
        let live = self.sessions.get(&read.session)?;
        let from = live.head.max(read.after.saturating_add(1));
        let sent = live.window.iter().flat_map(|window| window.sent_from(from)).collect();
        Some(Place { id: live.id, head: live.head, from, sent })
    }

    /// Moves the heads that are far behind. They are written with the next batch.
    pub(super) fn move_heads(&mut self) -> Result<(), StoreError> {
        for session in std::mem::take(&mut self.stale_heads) {
            let Some(live) = self.sessions.get_mut(&session) else { continue };
            let from = entry_key(live.id, live.head);
            let first =
                self.engine.rows(Table::Queue, &from, Some(&id_key(live.id + 1))).next().transpose()?;
            let first = first.and_then(|(row, _)| message_of(&row));
            let in_runs = first_in_runs(&*self.engine, live.id, live.head)?;
            live.head =
                first.into_iter().chain(in_runs).min().unwrap_or_else(|| live.newest_done.saturating_add(1));
            live.done_since_head = 0;
            self.draft.states.insert(session);
        }
        Ok(())
    }
}

/// The greatest key in a session's queue.
fn newest_row<E: Engine>(engine: &E, id: SessionId) -> Result<MessageKey, StoreError> {
    let last = engine.last(Table::Queue, &id_key(id), &id_key(id + 1))?;
    Ok(last.and_then(|(row, _)| message_of(&row)).unwrap_or_default())
}
