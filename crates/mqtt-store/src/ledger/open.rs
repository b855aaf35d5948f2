//! What the ledger reads when a store is opened: sessions, and messages inflight.

use std::{collections::VecDeque, panic::resume_unwind, sync::Arc, thread};

use mqtt_broker::store::{MessageKey, SessionKey, StoreError};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{Draft, Ledger, Leftovers, Live, Runs};
use crate::{
    encoding::{
        EPOCH_KEY, MARK_KEY, Presence, SessionId, State, Table, Value, block_of, damaged, decode, id_key,
        session_of,
    },
    engine::{Engine, Reads},
    inbox::size,
    options::Durability,
    wal::{FILES, Medium, Replayed, replay},
    writer,
};

/// What is taken in from the log at a time, as it is in memory.
const CATCH_UP_BYTES: usize = 2 * 1024 * 1024;

impl<E: Engine> Ledger<E> {
    /// Reads what there is, and begins a new epoch in the engine. At least the batches up to `expected` must be there.
    pub(crate) fn open(engine: Arc<E>, seed: u64, expected: u64, bulk: usize) -> Result<Self, StoreError> {
        let (number, groups) = match read(&*engine, Table::Meta, MARK_KEY)? {
            Some(Value::Mark { number, groups, .. }) => (number, groups),
            _ => (0, 0),
        };
        if number < expected {
            return Err(StoreError::new(format!(
                "the store is damaged: it ends with batch {number}, but had batch {expected}; restore the data \
                 directory from a backup"
            )));
        }
        let epoch = match read(&*engine, Table::Meta, EPOCH_KEY)? {
            Some(Value::Epoch(epoch)) => epoch.wrapping_add(1),
            _ => 0,
        };
        // Of which keys those of earlier processes are, nobody has to know.
        let any_shared = engine.rows(Table::Shares, &[], None).next().transpose()?.is_some();
        let shared_keys = any_shared.then_some((MessageKey::MIN, MessageKey::MAX));
        let mut ledger = Self {
            engine,
            seed,
            bulk,
            number,
            is_synced: false, // The last process may have been killed before.
            groups,
            epoch,
            next_id: 1,
            sessions: FxHashMap::default(),
            leftovers: VecDeque::new(),
            stale_heads: Vec::new(),
            runs: Runs::default(),
            homes: FxHashMap::default(),
            singles: FxHashSet::default(),
            newest_shared: 0,
            shared_keys,
            draft: Draft::default(),
        };
        ledger.read_sessions()?;
        ledger.find_strays()?;
        if ledger.engine.rows(Table::Runs, &[], None).next().transpose()?.is_some() {
            ledger.runs = Runs::others_before(ledger.next_id);
        }
        ledger.begin_epoch(epoch)?;
        Ok(ledger)
    }

    /// Message keys from here on have nothing to do with those of before.
    fn begin_epoch(&mut self, epoch: u32) -> Result<(), StoreError> {
        self.epoch = epoch;
        self.draft.put(Table::Meta, EPOCH_KEY.into(), &Value::Epoch(epoch));
        self.commit(self.groups, Durability::Sync, false)
    }

    /// Runs that went ahead of their batch, for sessions that began with it. Nobody is to take them for his own.
    fn find_strays(&mut self) -> Result<(), StoreError> {
        let engine = Arc::clone(&self.engine);
        while let Some(row) = engine.rows(Table::Runs, &id_key(self.next_id), None).next() {
            let id = session_of(&row?.0).ok_or_else(|| damaged(Table::Runs, "has no session"))?;
            let over = State { presence: Presence::Ended, head: 0 };
            self.draft.put(Table::States, id_key(id), &Value::State(over));
            self.leftovers.push_back(Leftovers::new(id, 0));
            self.next_id =
                id.checked_add(1).ok_or_else(|| damaged(Table::Runs, "has a session that cannot be"))?;
        }
        Ok(())
    }

    /// Takes in what the log has and the engine does not.
    pub(crate) fn catch_up<M: Medium>(&mut self, log: &M, durability: Durability) -> Result<(), StoreError> {
        if durability == Durability::Sync {
            // What goes ahead of its batch relies on the log, of which the last process may not have synced the end; or tried to, and
            // failed: then only what is written again is synced.
            (0..FILES).try_for_each(|file| {
                let content = log.read(file)?;
                if !content.is_empty() {
                    log.write(file, 0, &content)?;
                }
                log.sync(file)
            })?;
        }
        let (mut records, mut bytes) = (Vec::new(), 0);
        let known = self.groups;
        let Replayed { groups, has_hole } = replay(log, known, |groups, group| {
            bytes += group.iter().map(size).sum::<usize>();
            records.extend(group);
            if bytes < CATCH_UP_BYTES {
                return Ok(());
            }
            bytes = 0;
            self.write(records.drain(..), groups, durability, true)
        })?;
        if groups > known {
            self.write(records, groups, durability, true)?;
            self.homes.clear();
            self.singles.clear();
            self.newest_shared = 0;
            self.begin_epoch(self.epoch.wrapping_add(1))?;
        }
        if has_hole { log.clear() } else { Ok(()) }
    }

    fn read_sessions(&mut self) -> Result<(), StoreError> {
        let engine = Arc::clone(&self.engine);
        let (states, keys) = read_both(&*engine)?;
        self.next_id = states.last().map_or(1, |(id, _)| id.saturating_add(1));
        self.sessions.reserve(keys.len());
        let mut begun = keys.iter();
        for (id, state) in states {
            if state.presence == Presence::Ended {
                self.leftovers.push_back(Leftovers::new(id, state.head));
                continue;
            }
            match begun.next() {
                Some(&(of, session)) if of == id => self.sessions.insert(session, Live::recovered(id, state)),
                Some(&(of, _)) if of < id => return Err(damaged(Table::Sessions, "has no state")),
                _ => return Err(damaged(Table::States, "has no session")),
            };
        }
        if begun.next().is_some() {
            return Err(damaged(Table::Sessions, "has no state"));
        }
        let key_of = |row: &[u8]| {
            let id = session_of(row)?;
            let found = keys.binary_search_by_key(&id, |(id, _)| *id).ok()?;
            keys.get(found).map(|(_, session)| *session)
        };
        for row in engine.rows(Table::Inflight, &[], None) {
            let (key, value) = row?;
            let session = key_of(&key).and_then(|session| self.sessions.get_mut(&session));
            if let (Some(session), Some(block)) = (session, block_of(&key))
                && let Value::Inflight(steps) = decode(Table::Inflight, &key, &value)?
            {
                session.window.get_or_insert_default().restore_sent(block, steps);
            }
        }
        for row in engine.rows(Table::Received, &[], None) {
            let (key, value) = row?;
            let session = key_of(&key).and_then(|session| self.sessions.get_mut(&session));
            if let (Some(session), Some(block)) = (session, block_of(&key))
                && let Value::Received(ids) = decode(Table::Received, &key, &value)?
            {
                session.window.get_or_insert_default().restore_received(block, ids);
            }
        }
        Ok(())
    }
}

type ById<T> = Vec<(SessionId, T)>;

/// The states of all sessions and the keys of those that are not over, in the order of their numbers. Read at the same time.
fn read_both(engine: &impl Engine) -> Result<(ById<State>, ById<SessionKey>), StoreError> {
    thread::scope(|scope| {
        let states = || read_all(engine, Table::States, state_in);
        let states = thread::Builder::new().name("store-states".into()).spawn_scoped(scope, states);
        let states = states.map_err(|error| writer::no_thread(&error))?;
        let keys = read_all(engine, Table::Sessions, key_in);
        let states = states.join().unwrap_or_else(|panic| resume_unwind(panic));
        Ok((states?, keys?))
    })
}

/// What the rows of a table by sessions say.
fn read_all<T>(
    engine: &impl Engine,
    table: Table,
    what: impl Fn(Value) -> Option<T>,
) -> Result<ById<T>, StoreError> {
    let mut all = Vec::new();
    for row in engine.rows(table, &[], None) {
        let (key, value) = row?;
        let id = session_of(&key).ok_or_else(|| damaged(table, "has no session"))?;
        all.extend(what(decode(table, &key, &value)?).map(|said| (id, said)));
    }
    Ok(all)
}

fn state_in(value: Value) -> Option<State> {
    match value {
        Value::State(state) => Some(state),
        _ => None,
    }
}

fn key_in(value: Value) -> Option<SessionKey> {
    match value {
        Value::Session { session, .. } => Some(session),
        _ => None,
    }
}

/// A row, checked; `None` if there is none.
pub(super) fn read(engine: &impl Reads, table: Table, key: &[u8]) -> Result<Option<Value>, StoreError> {
    match engine.get(table, key)? {
        Some(value) => decode(table, key, &value).map(Some),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        encoding::Encoder,
        engine::{Change, double::Disk},
    };

    /// The outcome of opening an engine with these rows.
    fn opened(sessions: &[SessionId], states: &[(SessionId, Presence)]) -> Result<Ledger<Disk>, StoreError> {
        let row = |table, id, value: &Value| {
            let key = id_key(id);
            let value = Encoder::default().encode(table, &key, value);
            Change { table, key, value: Some(value) }
        };
        let session = |&id: &SessionId| {
            row(Table::Sessions, id, &Value::Session { session: id + 100, client_id: "a".into() })
        };
        let state = |&(id, presence): &(SessionId, Presence)| {
            row(Table::States, id, &Value::State(State { presence, head: 0 }))
        };
        let rows = sessions.iter().map(session).chain(states.iter().map(state)).collect();
        let disk = Disk::default();
        disk.commit(std::iter::empty(), rows, Durability::Sync).unwrap();
        Ledger::open(Arc::new(disk), 0, 0, 1)
    }

    #[test]
    fn a_session_and_its_state_are_not_without_each_other() {
        const ATTACHED: Presence = Presence::Attached;
        const ENDED: Presence = Presence::Ended;
        let good =
            opened(&[2, 5], &[(1, ENDED), (2, ATTACHED), (4, ENDED), (5, ATTACHED), (6, ENDED)]).unwrap();
        assert_eq!((good.sessions.len(), good.leftovers.len(), good.next_id), (2, 3, 7));
        assert_eq!(good.sessions.get(&105).map(|live| live.id), Some(5));
        let refused =
            |sessions, states| opened(sessions, states).err().map_or_else(String::new, |error| error.message);
        for states in [&[(2, ATTACHED)][..], &[(5, ATTACHED)], &[(2, ATTACHED), (5, ENDED)], &[]] {
            let why = refused(&[2, 5], states);
            assert!(why.contains("\"sessions\" has no state"), "{why}");
        }
        for sessions in [&[2][..], &[5], &[]] {
            let why = refused(sessions, &[(2, ATTACHED), (5, ATTACHED)]);
            assert!(why.contains("\"states\" has no session"), "{why}");
        }
    }
}
