//! [`Ledger`]: turns records into batches of rows, and knows between batches what it would otherwise have to read.
//!
//! A batch says what has changed since the one before, not what happened: a message that was queued, sent and done with
//! within one batch leaves no row, a retained message that was replaced leaves one. What the ledger keeps in memory grows
//! with sessions and with messages inflight, never with messages that wait.

mod behind;
mod draft;
mod leftovers;
mod open;
mod queue;
mod runs;
mod window;

use std::{collections::VecDeque, mem, sync::Arc};

use mqtt_broker::store::{MessageKey, QueuedMessage, Record, SessionKey, StoreError};
use rustc_hash::{FxHashMap, FxHashSet};

pub(crate) use self::window::received_ids;
use self::{
    behind::NewRuns,
    draft::{Draft, Entry},
    leftovers::Leftovers,
    runs::Runs,
    window::{Block, Change, Window},
};
use crate::{
    encoding::{
        MARK_KEY, Presence, SessionId, State, Step, Table, Value, block_key, id_key, subscription,
        subscription_key,
    },
    engine::Engine,
    options::Durability,
};

pub(crate) struct Ledger<E> {
    engine: Arc<E>,
    /// What the marks of batches are sealed with.
    seed: u64,
    /// So many new entries may go ahead of their batch, in runs, as a sorted file of their own.
    bulk: usize,
    /// The number of the latest batch.
    number: u64,
    /// Whether the latest batch was synced, and with it all before.
    is_synced: bool,
    /// How many groups of records the batches up to the latest have taken in.
    groups: u64,
    epoch: u32,
    next_id: SessionId,
    sessions: FxHashMap<SessionKey, Live>,
    leftovers: VecDeque<Leftovers>,
    /// Sessions whose head is far behind.
    stale_heads: Vec<SessionKey>,
    runs: Runs,
    /// For lately written entries: `None` if they hold their message themselves, else under which epoch it is kept.
    homes: FxHashMap<Entry, Option<u32>>,
    /// Messages that were lately written into a single entry.
    singles: FxHashSet<MessageKey>,
    /// The greatest key among the messages that this epoch keeps apart from the entries.
    newest_shared: MessageKey,
    /// Messages that are kept apart have keys from the first to the last of these; `None` if there are none.
    shared_keys: Option<(MessageKey, MessageKey)>,
    draft: Draft,
}

/// A session that is not over.
struct Live {
    id: SessionId,
    presence: Presence,
    head: MessageKey,
    /// No row of its queue has a greater key; `None` as long as nobody has looked.
    newest: Option<MessageKey>,
    /// The greatest key among those that were done with.
    newest_done: MessageKey,
    done_since_head: u32,
    /// Behind a pointer, because most sessions have nothing under way; `None` until one had.
    window: Option<Box<Window>>,
}

impl<E: Engine> Ledger<E> {
    /// The number of the latest batch.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// How many groups of records the engine has.
    pub(crate) fn groups(&self) -> u64 {
        self.groups
    }

    /// The greatest key of a message in the engine, if that is known without looking.
    pub(crate) fn newest(&self) -> Option<MessageKey> {
        self.sessions.is_empty().then_some(0)
    }

    /// The greatest key that a head was moved past. Messages with such keys would have to lie before a head, and could not go into
    /// runs: new ones had better be greater.
    pub(crate) fn newest_done(&self) -> MessageKey {
        self.sessions.values().map(|live| live.head.saturating_sub(1)).max().unwrap_or_default()
    }

    /// Makes one batch of these records and commits it: with them there have been so many groups. Nothing is committed if
    /// nothing has changed. If the log has these groups a part may go ahead: after a crash the rest is taken in from there, and that
    /// part again, to no effect.
    pub(crate) fn write(
        &mut self,
        records: impl IntoIterator<Item = Record>,
        groups: u64,
        durability: Durability,
        is_logged: bool,
    ) -> Result<(), StoreError> {
        // To lose the deletion of what nobody can see is no loss.
        let durability = if groups == self.groups { Durability::Os } else { durability };
        self.sweep()?;
        for record in records {
            self.apply(record)?;
        }
        self.commit(groups, durability, is_logged)?;
        self.move_heads()
    }

    fn apply(&mut self, record: Record) -> Result<(), StoreError> {
        match record {
            Record::SessionStarted { session, client_id } => self.start(session, &client_id),
            Record::SessionAttached { session } => self.set_presence(session, Presence::Attached),
            Record::SessionDetached { session, at } => self.set_presence(session, Presence::Detached(at)),
            Record::SessionEnded { session } => self.end(session),
            Record::Subscribed { session, filter, qos } => {
                if let Some(id) = self.id(session) {
                    let key = subscription_key(id, &filter);
                    self.draft.put(Table::Subscriptions, key, &subscription(&filter, qos));
                }
            }
            Record::Unsubscribed { session, filter } => {
                if let Some(id) = self.id(session) {
                    self.draft.delete(Table::Subscriptions, subscription_key(id, &filter));
                }
            }
            Record::Queued { session, key, qos, retain, message } => {
                self.queue(session, QueuedMessage { key, qos, retain, message })?;
            }
            Record::Sent { session, key, packet_id } => {
                self.advance(session, key, |step| step.packet_id = Some(packet_id));
            }
            Record::Released { session, key } => {
                self.advance(session, key, |step| step.released = true);
            }
            Record::Done { session, key } => self.finish(session, key)?,
            Record::Received { session, packet_id } => {
                self.change_window(session, |window| window.set_received(packet_id, true));
            }
            Record::Forgotten { session, packet_id } => {
                self.change_window(session, |window| window.set_received(packet_id, false));
            }
            Record::Retained { message, expires_at } => {
                let topic = message.topic_bytes().into();
                self.draft.put(Table::Retained, topic, &Value::Retained { message, expires_at });
            }
            Record::RetainedCleared { topic } => self.draft.delete(Table::Retained, topic.as_bytes().into()),
            Record::WillSet { key, client_id, will } => {
                let value = Value::Will { client_id: (*client_id).into(), will };
                self.draft.put(Table::Wills, id_key(key), &value);
            }
            Record::WillCleared { key } => self.draft.delete(Table::Wills, id_key(key)),
        }
        Ok(())
    }

    /// The store's number of a session; `None` if it is over, and what is said of it says nothing any more.
    fn id(&self, session: SessionKey) -> Option<SessionId> {
        self.sessions.get(&session).map(|live| live.id)
    }

    fn start(&mut self, session: SessionKey, client_id: &str) {
        self.end(session);
        let id = self.next_id;
        self.next_id += 1;
        self.sessions.insert(session, Live::new(id));
        let value = Value::Session { session, client_id: client_id.into() };
        self.draft.put(Table::Sessions, id_key(id), &value);
        self.draft.states.insert(session);
    }

    fn set_presence(&mut self, session: SessionKey, presence: Presence) {
        if let Some(live) = self.sessions.get_mut(&session) {
            live.presence = presence;
            self.draft.states.insert(session);
        }
    }

    /// Notes how far the delivery of a message has come.
    fn advance(&mut self, session: SessionKey, key: MessageKey, advance: impl FnOnce(&mut Step)) {
        self.change_window(session, |window| window.advance(key, advance));
    }

    fn change_window(&mut self, session: SessionKey, change: impl FnOnce(&mut Window)) {
        let Some(live) = self.sessions.get_mut(&session) else { return };
        if live.change_window(change) {
            self.draft.windows.push(session);
        }
    }

    fn write_windows(&mut self) {
        for session in mem::take(&mut self.draft.windows) {
            let Some(live) = self.sessions.get_mut(&session) else { continue };
            let changes = live.window.as_mut().map(|window| window.take_changes());
            for (block, change) in changes.into_iter().flatten() {
                let (table, number) = match block {
                    Block::Sent(number) => (Table::Inflight, number),
                    Block::Received(number) => (Table::Received, number),
                };
                let key = block_key(live.id, number);
                match change {
                    Change::Write(value) => self.draft.put(table, key, &value),
                    Change::Delete => self.draft.delete(table, key),
                }
            }
        }
    }

    /// The session is gone with this batch; its rows go with those after.
    fn end(&mut self, session: SessionKey) {
        if let Some(live) = self.sessions.remove(&session) {
            let state = State { presence: Presence::Ended, head: live.head };
            self.draft.put(Table::States, id_key(live.id), &Value::State(state));
            self.draft.delete(Table::Sessions, id_key(live.id));
            self.draft.unqueue_all(live.id);
            self.runs.end(live.id);
            self.leftovers.push_back(Leftovers::new(live.id, live.head));
        }
    }

    fn commit(&mut self, groups: u64, durability: Durability, is_logged: bool) -> Result<(), StoreError> {
        self.place_messages()?;
        self.remember_homes();
        self.write_windows();
        self.write_gaps();
        for session in mem::take(&mut self.draft.states) {
            if let Some(live) = self.sessions.get(&session) {
                let state = State { presence: live.presence, head: live.head };
                self.draft.put(Table::States, id_key(live.id), &Value::State(state));
            }
        }
        let has_bulk = is_logged && self.draft.new_entries() >= self.bulk;
        let runs = if has_bulk { self.draft.take_runs() } else { NewRuns::default() };
        runs.latest().for_each(|(id, last)| self.runs.note(id, last));
        let mut changes = self.draft.take(self.epoch);
        if !has_bulk && changes.is_empty() && groups == self.groups {
            return Ok(());
        }
        self.number += 1;
        self.groups = groups;
        let after_synced = mem::replace(&mut self.is_synced, durability == Durability::Sync);
        let mark = Value::mark(self.number, after_synced, groups, self.seed);
        self.draft.put(Table::Meta, MARK_KEY.into(), &mark);
        changes.append(&mut self.draft.take(self.epoch));
        self.engine.commit(runs, changes, durability)
    }
}

impl Live {
    fn new(id: SessionId) -> Self {
        Self {
            id,
            presence: Presence::Attached,
            head: 0,
            newest: Some(0),
            newest_done: 0,
            done_since_head: 0,
            window: None,
        }
    }

    /// Whether this is the first change in this batch.
    fn change_window(&mut self, change: impl FnOnce(&mut Window)) -> bool {
        let window = self.window.get_or_insert_default();
        let had_changed = window.has_changed();
        change(window);
        window.has_changed() && !had_changed
    }

    fn recovered(id: SessionId, state: State) -> Self {
        Self { presence: state.presence, head: state.head, newest: None, ..Self::new(id) }
    }
}
