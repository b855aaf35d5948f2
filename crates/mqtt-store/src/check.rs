//! Reads every row, and compares what has to agree.

use std::collections::{HashMap, hash_map::Entry};

use mqtt_broker::store::{MessageKey, QueuedMessage, StoreError};

use crate::{
    encoding::{
        Home, Presence, SessionId, State, Table, Value, decode, keys_of_run, message_key, message_of,
        session_of,
    },
    engine::Reads,
};

/// After so many rows progress is told.
const ROWS_PER_STEP: u64 = 4096;
/// More problems than this are only counted.
pub(crate) const PROBLEMS_TOLD: usize = 100;

/// How far something has come that goes through all rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The table that is being read.
    pub table: &'static str,
    /// Rows so far, of all tables.
    pub rows: u64,
    /// Rows in the end, roughly.
    pub expected: u64,
}

/// What a check has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckReport {
    /// The rows of each table.
    pub rows: Vec<(&'static str, u64)>,
    /// What is wrong, the first hundred in words.
    pub problems: Vec<String>,
    /// How much is wrong.
    pub problem_count: u64,
}

impl CheckReport {
    /// Whether nothing is wrong.
    pub fn is_ok(&self) -> bool {
        self.problem_count == 0
    }
}

/// What a store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreInfo {
    /// The version of the encoding.
    pub format_version: u32,
    /// What the files take, in bytes. The engine allocates the first 64 MiB of its journal ahead.
    pub disk_bytes: u64,
    /// The rows of each table.
    pub rows: Vec<(&'static str, u64)>,
    /// Messages that wait in queues.
    pub waiting: u64,
}

/// Goes through all rows, and says where one is.
pub(crate) struct Walk<'a> {
    pub(crate) expected: u64,
    rows: u64,
    progress: &'a mut dyn FnMut(Progress),
}

impl<'a> Walk<'a> {
    pub(crate) fn new(expected: u64, progress: &'a mut dyn FnMut(Progress)) -> Self {
        Self { expected, rows: 0, progress }
    }

    pub(crate) fn step(&mut self, table: &'static str) {
        self.rows += 1;
        if self.rows.is_multiple_of(ROWS_PER_STEP) {
            self.tell(table);
        }
    }

    pub(crate) fn tell(&mut self, table: &'static str) {
        (self.progress)(Progress { table, rows: self.rows, expected: self.expected.max(self.rows) });
    }
}

/// What was counted.
#[derive(Default)]
pub(crate) struct Counts {
    /// The rows of each table.
    pub(crate) rows: Vec<(&'static str, u64)>,
    /// Messages that wait.
    pub(crate) waiting: u64,
}

/// Counts rows and what waits.
pub(crate) fn count(tables: &impl Reads, mut walk: Walk<'_>) -> Result<Counts, StoreError> {
    let (mut counts, mut waiting, mut gaps) = (Vec::new(), 0, 0);
    for table in Table::ALL {
        let mut rows = 0;
        for row in tables.rows(table, &[], None) {
            let (key, value) = row?;
            match table {
                Table::Queue => waiting += 1,
                Table::Runs => waiting += keys_of_run(&key, &value)?.len() as u64,
                Table::Gaps => gaps += gaps_in(&key, &value)?,
                _ => {}
            }
            rows += 1;
            walk.step(table.name());
        }
        walk.tell(table.name());
        counts.push((table.name(), rows));
    }
    Ok(Counts { rows: counts, waiting: waiting.saturating_sub(gaps) })
}

/// How many messages of a run are done with.
fn gaps_in(key: &[u8], value: &[u8]) -> Result<u64, StoreError> {
    match decode(Table::Gaps, key, value)? {
        Value::Gaps(gaps) => Ok(u64::from(gaps.count_ones())),
        _ => Ok(0),
    }
}

/// # Errors
/// If the files cannot be read. What is wrong with what they say stands in the report.
pub(crate) fn check(tables: &impl Reads, mut walk: Walk<'_>) -> Result<CheckReport, StoreError> {
    let mut check = Check::default();
    // In this order: a table comes after those that it refers to.
    let order = [
        Table::Meta,
        Table::States,
        Table::Sessions,
        Table::Shares,
        Table::Messages,
        Table::Queue,
        Table::Gaps,
        Table::Runs,
        Table::Inflight,
        Table::Subscriptions,
        Table::Received,
        Table::Retained,
        Table::Wills,
    ];
    for table in order {
        let mut rows = 0;
        for row in tables.rows(table, &[], None) {
            let (key, value) = row?;
            match decode(table, &key, &value) {
                Ok(value) => check.row(table, &key, value),
                Err(error) => check.problem(row_problem(&error, &key)),
            }
            rows += 1;
            walk.step(table.name());
        }
        walk.tell(table.name());
        check.report.rows.push((table.name(), rows));
    }
    check.finish(tables)
}

#[derive(Default)]
struct Check {
    report: CheckReport,
    states: HashMap<SessionId, State>,
    named: u64,
    /// For each message that is kept apart: how many entries refer to it by its count, less those that were seen to.
    shares: HashMap<(u32, MessageKey), i64>,
    /// Of runs that have not been seen yet: their keys, and which of their messages are done with.
    gaps: HashMap<Vec<u8>, u64>,
}

impl Check {
    fn problem(&mut self, problem: String) {
        self.report.problem_count += 1;
        if self.report.problems.len() < PROBLEMS_TOLD {
            self.report.problems.push(problem);
        }
    }

    fn row(&mut self, table: Table, key: &[u8], value: Value) {
        match value {
            Value::State(state) => {
                self.states.extend(session_of(key).map(|id| (id, state)));
            }
            Value::Session { .. } => {
                self.named += 1;
                self.session_row(table, key);
            }
            Value::Shares(count) => {
                let (epoch, message) = epoch_and_message(key);
                self.shares.insert((epoch, message), i64::from(count));
            }
            Value::Message(_) => {
                let of = epoch_and_message(key);
                if !self.shares.contains_key(&of) {
                    self.problem(format!("message {} of epoch {} has no count", of.1, of.0));
                }
            }
            Value::Queued { home, .. } => {
                let state = self.session_row(table, key);
                let message = message_of(key).unwrap_or_default();
                if state.is_some_and(|state| message < state.head) {
                    self.problem(format!("message {message} waits before the head of its queue"));
                }
                if let Home::Shared(epoch) = home {
                    match self.shares.entry((epoch, message)) {
                        Entry::Occupied(mut left) => *left.get_mut() -= 1,
                        Entry::Vacant(_) => self.problem(format!("message {message} is missing")),
                    }
                }
            }
            Value::Gaps(gaps) => {
                let is_over =
                    self.session_row(table, key).is_some_and(|state| state.presence == Presence::Ended);
                if !is_over {
                    self.gaps.insert(key.to_vec(), gaps);
                }
            }
            Value::Run(run) => {
                let state = self.session_row(table, key);
                let gaps = self.gaps.remove(key).unwrap_or_default();
                self.run(key, &run, gaps, state);
            }
            Value::Subscription { .. } | Value::Received(_) | Value::Inflight(_) => {
                self.session_row(table, key);
            }
            Value::Mark { .. } | Value::Epoch(_) | Value::Retained { .. } | Value::Will { .. } => {}
        }
    }

    fn run(&mut self, key: &[u8], run: &[QueuedMessage], gaps: u64, state: Option<State>) {
        let first = message_of(key).unwrap_or_default();
        if run.first().map(|queued| queued.key) != Some(first)
            || !run.is_sorted_by(|one, next| one.key < next.key)
        {
            self.problem(format!("the run of message {first} is not in order"));
        }
        if gaps.trailing_ones() as usize >= run.len() || gaps.checked_shr(run.len() as u32).unwrap_or(0) != 0
        {
            self.problem(format!("the run of message {first} has gaps that do not fit it"));
        }
        if state.is_some_and(|state| first < state.head) {
            self.problem(format!("message {first} waits before the head of its queue"));
        }
    }

    /// The state of the session that a row belongs to.
    fn session_row(&mut self, table: Table, key: &[u8]) -> Option<State> {
        let state = session_of(key).and_then(|id| self.states.get(&id).copied());
        if state.is_none() {
            self.problem(format!("a row of {} belongs to no session", table.name()));
        }
        state
    }

    fn finish(mut self, tables: &impl Reads) -> Result<CheckReport, StoreError> {
        let living = self.states.values().filter(|state| state.presence != Presence::Ended).count() as u64;
        if living != self.named {
            self.problem(format!("{living} sessions have a state, {} a name", self.named));
        }
        for ((epoch, message), left) in std::mem::take(&mut self.shares) {
            if left != 0 {
                self.problem(format!("the count of message {message} of epoch {epoch} is off by {left}"));
            }
            if tables.get(Table::Messages, &message_key(epoch, message))?.is_none() {
                self.problem(format!("message {message} of epoch {epoch} has a count but no content"));
            }
        }
        for row in std::mem::take(&mut self.gaps).into_keys() {
            self.problem(format!("there are gaps of a run that is not there (key {row:02x?})"));
        }
        Ok(self.report)
    }
}

/// What is wrong with a row, and which one it is.
pub(crate) fn row_problem(error: &StoreError, key: &[u8]) -> String {
    format!("{error} (key {:02x?})", key.get(..24).unwrap_or(key))
}

fn epoch_and_message(key: &[u8]) -> (u32, MessageKey) {
    let epoch = key.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
    (epoch, message_of(key).unwrap_or_default())
}
