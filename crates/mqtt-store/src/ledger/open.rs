//! What the ledger reads when a store is opened: sessions, and messages inflight.

use std::{collections::VecDeque, sync::Arc};

use mqtt_broker::store::{MessageKey, StoreError};
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
    wal::{Medium, Replayed, replay},
};

/// What is taken in from the log at a time, as it is in memory.
const CATCH_UP_BYTES: usize = 2 * 1024 * 1024;

impl<E: Engine> Ledger<E> {
    /// Reads what there is, and begins a new epoch in the engine. At least the batches up to `expected` must be there.
    pub(crate) fn open(engine: Arc<E>, expected: u64, bulk: usize) -> Result<Self, StoreError> {
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
            bulk,
            number,
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
            self.next_id = id.saturating_add(1);
        }
        Ok(())
    }

    /// Takes in what the log has and the engine does not.
    pub(crate) fn catch_up<M: Medium>(&mut self, log: &M, durability: Durability) -> Result<(), StoreError> {
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
        let mut states = self.read_states()?;
        let mut keys = FxHashMap::default();
        for row in engine.rows(Table::Sessions, &[], None) {
            let (key, value) = row?;
            let id = session_of(&key).ok_or_else(|| damaged(Table::Sessions, "has no session"))?;
            let Value::Session { session, .. } = decode(Table::Sessions, &key, &value)? else { continue };
            let state = states.remove(&id).ok_or_else(|| damaged(Table::Sessions, "has no state"))?;
            self.sessions.insert(session, Live::recovered(id, state));
            keys.insert(id, session);
        }
        if !states.is_empty() {
            return Err(damaged(Table::States, "has no session"));
        }
        for row in engine.rows(Table::Inflight, &[], None) {
            let (key, value) = row?;
            let session = session_of(&key).and_then(|id| self.sessions.get_mut(keys.get(&id)?));
            if let (Some(session), Some(block)) = (session, block_of(&key))
                && let Value::Inflight(steps) = decode(Table::Inflight, &key, &value)?
            {
                session.window.restore_sent(block, steps);
            }
        }
        for row in engine.rows(Table::Received, &[], None) {
            let (key, value) = row?;
            let session = session_of(&key).and_then(|id| self.sessions.get_mut(keys.get(&id)?));
            if let (Some(session), Some(block)) = (session, block_of(&key))
                && let Value::Received(ids) = decode(Table::Received, &key, &value)?
            {
                session.window.restore_received(block, ids);
            }
        }
        Ok(())
    }

    fn read_states(&mut self) -> Result<FxHashMap<SessionId, State>, StoreError> {
        let engine = Arc::clone(&self.engine);
        let mut states = FxHashMap::default();
        for row in engine.rows(Table::States, &[], None) {
            let (key, value) = row?;
            let id = session_of(&key).ok_or_else(|| damaged(Table::States, "has no session"))?;
            let Value::State(state) = decode(Table::States, &key, &value)? else { continue };
            self.next_id = self.next_id.max(id.saturating_add(1));
            if state.presence == Presence::Ended {
                self.leftovers.push_back(Leftovers::new(id, state.head));
            } else {
                states.insert(id, state);
            }
        }
        Ok(states)
    }
}

/// A row, checked; `None` if there is none.
pub(super) fn read(engine: &impl Reads, table: Table, key: &[u8]) -> Result<Option<Value>, StoreError> {
    match engine.get(table, key)? {
        Some(value) => decode(table, key, &value).map(Some),
        None => Ok(None),
    }
}
