//! Reads a whole store as the shortest series of records that leads to it.

use std::{
    collections::{BTreeMap, HashMap},
    iter::{self, Peekable},
    sync::Arc,
};

use fjall::Slice;
use mqtt_broker::{
    Message,
    store::{MessageKey, Record, SessionKey, StoreError},
};

use crate::{
    encoding::{
        Home, Presence, SessionId, State, Step, Table, Value, block_of, damaged, decode, entry_key,
        filter_of, id_key, message_key, session_of,
    },
    engine::{Reads, Row, Rows},
    in_order::{InOrder, Waiting},
    ledger::received_ids,
};

/// So many sessions are read together: many enough that it costs little to begin with their tables, few enough for memory, and
/// for whoever waits for the first. Tests have several lots of them.
const TOGETHER: usize = if cfg!(test) { 2 } else { 4096 };

pub(crate) fn recover<R: Reads>(engine: &R, visit: &mut dyn FnMut(Record)) -> Result<(), StoreError> {
    recover_sessions(engine, visit)?;
    recover_the_rest(engine, visit)
}

/// All sessions that are not over, in the order of their numbers.
pub(crate) fn recover_sessions<R: Reads>(
    engine: &R,
    visit: &mut dyn FnMut(Record),
) -> Result<(), StoreError> {
    let mut shared = Shared { engine, messages: HashMap::new(), bytes: 0 };
    let mut sessions = Sessions::new(engine);
    loop {
        let some: Vec<Session> = sessions.by_ref().take(TOGETHER).collect::<Result<_, _>>()?;
        if some.is_empty() {
            return Ok(());
        }
        recover_some(engine, some, &mut shared, visit)?;
    }
}

fn recover_some<R: Reads>(
    engine: &R,
    sessions: Vec<Session>,
    shared: &mut Shared<'_, R>,
    visit: &mut dyn FnMut(Record),
) -> Result<(), StoreError> {
    let mut queue = Cursor::new(engine, Table::Queue, &sessions, true);
    let mut runs = Cursor::new(engine, Table::Runs, &sessions, true);
    let mut inflight = Cursor::new(engine, Table::Inflight, &sessions, false);
    let mut subscriptions = Cursor::new(engine, Table::Subscriptions, &sessions, false);
    let mut received = Cursor::new(engine, Table::Received, &sessions, false);
    for Session { id, state, key: session, client_id } in sessions {
        visit(Record::SessionStarted { session, client_id });
        subscriptions.visit(id, |key, value| {
            if let Value::Subscription { qos, filter } = value {
                visit(Record::Subscribed { session, filter: filter_of(key, filter)?, qos });
            }
            Ok(())
        })?;
        let mut steps = BTreeMap::new();
        inflight.visit(id, |_, value| {
            if let Value::Inflight(block) = value {
                steps.extend(block);
            }
            Ok(())
        })?;
        let mut waiting = InOrder::new(engine, || queue.next(id), || runs.next(id))?;
        while let Some(Waiting { key, qos, retain, home }) = waiting.next()? {
            let message = shared.message(home, key)?;
            visit(Record::Queued { session, key, qos, retain, message });
            visit_steps(session, key, steps.get(&key), visit);
        }
        received.visit(id, |key, value| {
            let block = block_of(key).ok_or_else(|| damaged(Table::Received, "has no block"))?;
            if let Value::Received(ids) = value {
                received_ids(block, ids).for_each(|packet_id| visit(Record::Received { session, packet_id }));
            }
            Ok(())
        })?;
        if let Presence::Detached(at) = state.presence {
            visit(Record::SessionDetached { session, at });
        }
    }
    Ok(())
}

fn visit_steps(session: SessionKey, key: MessageKey, step: Option<&Step>, visit: &mut dyn FnMut(Record)) {
    let Some(&Step { packet_id, released }) = step else { return };
    if let Some(packet_id) = packet_id {
        visit(Record::Sent { session, key, packet_id });
    }
    if released {
        visit(Record::Released { session, key });
    }
}

/// What belongs to no session: Wills and retained messages.
pub(crate) fn recover_the_rest<R: Reads>(
    engine: &R,
    visit: &mut dyn FnMut(Record),
) -> Result<(), StoreError> {
    for row in engine.rows(Table::Wills, &[], None) {
        let (key, value) = row?;
        // As long as a session's number, and in its place.
        let will_key = session_of(&key).ok_or_else(|| damaged(Table::Wills, "has no key"))?;
        if let Value::Will { client_id, will } = decode(Table::Wills, &key, &value)? {
            visit(Record::WillSet { key: will_key, client_id: client_id.into(), will });
        }
    }
    for row in engine.rows(Table::Retained, &[], None) {
        let (key, value) = row?;
        if let Value::Retained { message, expires_at } = decode(Table::Retained, &key, &value)? {
            visit(Record::Retained { message, expires_at });
        }
    }
    Ok(())
}

struct Session {
    id: SessionId,
    key: SessionKey,
    client_id: Arc<str>,
    state: State,
}

/// Reads sessions that are not over, in the order of their numbers.
struct Sessions<'a> {
    rows: Rows<'a>,
    states: Rows<'a>,
}

impl<'a> Sessions<'a> {
    fn new<R: Reads>(engine: &'a R) -> Self {
        Self { rows: engine.rows(Table::Sessions, &[], None), states: engine.rows(Table::States, &[], None) }
    }

    fn read(&mut self, (key, value): Row) -> Result<Session, StoreError> {
        let id = session_of(&key).ok_or_else(|| damaged(Table::Sessions, "has no session"))?;
        match decode(Table::Sessions, &key, &value)? {
            Value::Session { session, client_id } => {
                Ok(Session { id, key: session, client_id: client_id.into(), state: self.state_of(&key)? })
            }
            _ => Err(damaged(Table::Sessions, "is something else")),
        }
    }

    fn state_of(&mut self, key: &Slice) -> Result<State, StoreError> {
        // In between are those of sessions that are over.
        loop {
            let row = self.states.next().ok_or_else(|| damaged(Table::Sessions, "has no state"))?;
            let (of, state) = row?;
            if of == *key
                && let Value::State(state) = decode(Table::States, &of, &state)?
            {
                return Ok(state);
            }
        }
    }
}

impl Iterator for Sessions<'_> {
    type Item = Result<Session, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.rows.next()?;
        Some(row.and_then(|row| self.read(row)))
    }
}

/// Goes through a table of some sessions that follow each other, one session after the other.
///
/// What lies before a session's head has been deleted, but the engine still has to step over it: a session with a head
/// has its reading begun there, and none before it reads on into its rows.
struct Cursor<'a, R> {
    engine: &'a R,
    table: Table,
    /// The sessions to begin anew at, latest first, and where.
    beginnings: Vec<(SessionId, MessageKey)>,
    /// Before this key it ends.
    end: Option<Slice>,
    rows: Peekable<Rows<'a>>,
}

impl<'a, R: Reads> Cursor<'a, R> {
    fn new(engine: &'a R, table: Table, sessions: &[Session], has_heads: bool) -> Self {
        let headed = |session: &&Session| has_heads && session.state.head > 0;
        let mut beginnings: Vec<_> =
            sessions.iter().filter(headed).map(|session| (session.id, session.state.head)).collect();
        beginnings.reverse();
        let from = sessions.first().map_or_else(|| Slice::from([]), |first| id_key(first.id));
        let end = sessions.last().and_then(|last| last.id.checked_add(1)).map(id_key);
        let mut cursor =
            Self { engine, table, beginnings, end, rows: Rows::from(Box::new(iter::empty())).peekable() };
        cursor.begin_at(&from);
        cursor
    }

    /// Reads on from here, up to the next session to begin anew at.
    fn begin_at(&mut self, from: &[u8]) {
        let next = self.beginnings.last().map(|(id, _)| id_key(*id));
        self.rows = self.engine.rows(self.table, from, next.as_deref().or(self.end.as_deref())).peekable();
    }

    /// The rows of a session. Sessions are asked for in their order.
    fn visit(
        &mut self,
        id: SessionId,
        mut visit: impl FnMut(&Slice, Value) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        while let Some((key, value)) = self.next(id)? {
            visit(&key, value)?;
        }
        Ok(())
    }

    /// The next row of a session.
    fn next(&mut self, id: SessionId) -> Result<Option<(Slice, Value)>, StoreError> {
        if let Some((_, head)) = self.beginnings.pop_if(|(of, _)| *of == id) {
            self.begin_at(&entry_key(id, head));
        }
        loop {
            match self.rows.peek() {
                // Of a session that is over.
                Some(Ok((key, _))) if session_of(key) < Some(id) => {}
                Some(Ok((key, _))) if session_of(key) == Some(id) => {}
                Some(Err(_)) => {}
                _ => return Ok(None),
            }
            let Some((key, value)) = self.rows.next().transpose()? else { return Ok(None) };
            if session_of(&key) == Some(id) {
                let value = decode(self.table, &key, &value)?;
                return Ok(Some((key, value)));
            }
        }
    }
}

/// Messages that are kept apart, each read once however many entries refer to it, as long as there is room in memory, and
/// kept no longer than until the last of them.
struct Shared<'a, R> {
    engine: &'a R,
    messages: HashMap<(u32, MessageKey), (Message, u32)>,
    bytes: usize,
}

/// Beyond these a shared message is read again for each entry: memory must not depend on how much waits.
const MOST_SHARED_BYTES: usize = 16 * 1024 * 1024;
/// What a message in the table takes besides its bytes, roughly.
const SHARED_COST: usize = 96;

impl<R: Reads> Shared<'_, R> {
    fn message(&mut self, home: Home, key: MessageKey) -> Result<Message, StoreError> {
        let epoch = match home {
            Home::Here(message) => return Ok(message),
            Home::Shared(epoch) => epoch,
        };
        if let Some((message, left)) = self.messages.get_mut(&(epoch, key)) {
            let message = message.clone();
            *left -= 1;
            if *left == 0 {
                self.bytes -= message.size() + SHARED_COST;
                self.messages.remove(&(epoch, key));
            }
            return Ok(message);
        }
        let row = message_key(epoch, key);
        let (Value::Message(message), Value::Shares(shares)) =
            (self.read(Table::Messages, &row)?, self.read(Table::Shares, &row)?)
        else {
            return Err(damaged(Table::Messages, "is something else"));
        };
        let cost = message.size() + SHARED_COST;
        if shares > 1 && self.bytes + cost <= MOST_SHARED_BYTES {
            self.bytes += cost;
            self.messages.insert((epoch, key), (message.clone(), shares - 1));
        }
        Ok(message)
    }

    fn read(&self, table: Table, row: &[u8]) -> Result<Value, StoreError> {
        let value = self.engine.get(table, row)?.ok_or_else(|| damaged(table, "is missing"))?;
        decode(table, row, &value)
    }
}
