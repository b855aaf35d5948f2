//! Runs: many messages of one queue in one row, which is written once and deleted when all of them are done with.
//!
//! In between, a row of the table `gaps` says which of them are, changed once a batch. To tell in which run a message is, and whether
//! it is in any, the ledger looks into the engine, and remembers what it found for as long as there is room.

use std::{collections::BTreeMap, mem};

use mqtt_broker::store::{MessageKey, StoreError};
use rustc_hash::FxHashMap;

use super::{Ledger, draft::Entry, open::read};
use crate::{
    encoding::{SessionId, Table, Value, entry_key, id_key, keys_of_run, message_of},
    engine::Engine,
};

/// What was found is forgotten when it is more than this, but for what has just changed. Tests forget all the time.
const MOST_KNOWN: usize = if cfg!(test) { 2 } else { 4096 };

#[derive(Default)]
pub(super) struct Runs {
    /// Sessions before this one may have runs that earlier processes wrote.
    others_before: SessionId,
    /// The last message of the runs that this process wrote, for each session.
    written: FxHashMap<SessionId, MessageKey>,
    /// What is known of the keys from this one on.
    known: BTreeMap<Entry, Known>,
    /// Runs in which something was done with in this batch. They stay known: the engine does not know of it yet.
    changed: Vec<Entry>,
}

/// What there is in a range of keys.
struct Known {
    /// The key before which it ends.
    to: MessageKey,
    /// `None`: no run.
    run: Option<Run>,
}

struct Run {
    keys: Vec<MessageKey>,
    /// A bit for each that is done with.
    gaps: u64,
    /// Whether the engine has a row of gaps.
    is_written: bool,
    has_changed: bool,
}

impl Runs {
    /// Those of a store in which sessions before this one may have some.
    pub(super) fn others_before(id: SessionId) -> Self {
        Self { others_before: id, ..Self::default() }
    }

    /// A run was written, behind all others of its session.
    pub(super) fn note(&mut self, id: SessionId, last: MessageKey) {
        self.written.insert(id, last);
        // That there is nothing behind the others is no longer true.
        self.known.extract_if((id, 0)..=(id, last), |_, known| known.run.is_none()).for_each(drop);
    }

    /// A session is over.
    pub(super) fn end(&mut self, id: SessionId) {
        self.written.remove(&id);
    }

    fn may_have(&self, (id, key): Entry) -> bool {
        id < self.others_before || self.written.get(&id).is_some_and(|last| key <= *last)
    }

    /// Where what is known of a message is.
    fn find(&self, entry: Entry) -> Option<Entry> {
        let (from, known) = self.known.range(..=entry).next_back()?;
        (from.0 == entry.0 && entry.1 < known.to).then_some(*from)
    }
}

impl<E: Engine> Ledger<E> {
    /// Notes that a message is done with if it is in a run. Whether it was.
    pub(super) fn finish_in_run(&mut self, entry: Entry) -> Result<bool, StoreError> {
        if !self.runs.may_have(entry) {
            return Ok(false);
        }
        let place = match self.runs.find(entry) {
            Some(place) => place,
            None => self.look_for_run(entry)?,
        };
        let run = self.runs.known.get_mut(&place).and_then(|known| known.run.as_mut());
        let Some(run) = run else { return Ok(false) };
        let Ok(at) = run.keys.binary_search(&entry.1) else { return Ok(false) };
        let is_new = run.gaps & 1 << at == 0;
        run.gaps |= 1 << at;
        if is_new && !mem::replace(&mut run.has_changed, true) {
            self.runs.changed.push(place);
        }
        Ok(is_new)
    }

    /// Finds out in which run a message is, or between which.
    fn look_for_run(&mut self, (id, key): Entry) -> Result<Entry, StoreError> {
        let after = entry_key(id, key.saturating_add(1));
        let before = self.engine.last(Table::Runs, &entry_key(id, 0), &after)?;
        let mut from = 0;
        if let Some((row, value)) = before {
            let keys = keys_of_run(&row, &value)?;
            let (first, last) =
                (message_of(&row).unwrap_or_default(), keys.last().copied().unwrap_or_default());
            from = last.saturating_add(1);
            if key <= last {
                let gaps = match read(&*self.engine, Table::Gaps, &row)? {
                    Some(Value::Gaps(gaps)) => Some(gaps),
                    _ => None,
                };
                let (is_written, gaps) = (gaps.is_some(), gaps.unwrap_or_default());
                let run = Run { keys, gaps, is_written, has_changed: false };
                self.runs.known.insert((id, first), Known { to: from, run: Some(run) });
                return Ok((id, first));
            }
        }
        let next = self.engine.rows(Table::Runs, &after, Some(&id_key(id + 1))).next().transpose()?;
        let to = next.and_then(|(row, _)| message_of(&row)).unwrap_or(MessageKey::MAX);
        self.runs.known.insert((id, from), Known { to, run: None });
        Ok((id, from))
    }

    /// Writes what has changed in runs: of one that is over nothing is left.
    pub(super) fn write_gaps(&mut self) {
        let changed = mem::take(&mut self.runs.changed);
        for &place in &changed {
            let Some(run) = self.runs.known.get_mut(&place).and_then(|known| known.run.as_mut()) else {
                continue;
            };
            let row = entry_key(place.0, place.1);
            run.has_changed = false;
            if run.gaps.count_ones() as usize == run.keys.len() {
                if run.is_written {
                    self.draft.delete(Table::Gaps, row.clone());
                }
                self.draft.delete(Table::Runs, row);
                self.runs.known.remove(&place);
            } else {
                run.is_written = true;
                self.draft.put(Table::Gaps, row, &Value::Gaps(run.gaps));
            }
        }
        if self.runs.known.len() > MOST_KNOWN {
            let mut known = mem::take(&mut self.runs.known);
            self.runs.known = changed.iter().filter_map(|place| known.remove_entry(place)).collect();
        }
    }
}

/// The first message of a session's runs from this one on, or one before it.
pub(super) fn first_in_runs(
    engine: &impl Engine,
    id: SessionId,
    from: MessageKey,
) -> Result<Option<MessageKey>, StoreError> {
    let mut rows = engine.rows(Table::Runs, &entry_key(id, from), Some(&id_key(id + 1)));
    Ok(rows.next().transpose()?.and_then(|(row, _)| message_of(&row)))
}

/// The greatest key in a session's runs.
pub(super) fn newest_in_runs(engine: &impl Engine, id: SessionId) -> Result<MessageKey, StoreError> {
    match engine.last(Table::Runs, &id_key(id), &id_key(id + 1))? {
        Some((row, value)) => Ok(keys_of_run(&row, &value)?.last().copied().unwrap_or_default()),
        None => Ok(0),
    }
}
