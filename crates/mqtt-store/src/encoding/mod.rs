//! How keys and values look on disk: explicit, versioned as a whole, and each value with a checksum of its own.
//!
//! `docs/durability.md` has the same as a table. Whatever changes here changes [`FORMAT_VERSION`].

mod body;
mod keys;

use std::time::SystemTime;

use fjall::Slice;
use mqtt_broker::{
    Message,
    store::{MessageKey, QueuedMessage, SessionKey, StoreError},
};
use mqtt_codec::{PacketId, QoS, TopicFilter};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use self::body::write_queued;
pub(crate) use self::{
    body::{Body, moment, nanos, text, write_message},
    keys::{
        block_key, block_of, entry_key, filter_of, id_key, message_key, message_of, session_of, subscription,
        subscription_key,
    },
};

/// The version of everything in this folder. A store of another version is refused.
pub(crate) const FORMAT_VERSION: u32 = 5;

/// The store's own number of a session. The broker's numbers may come again after a restart; these do not while a trace
/// of the session is left.
pub(crate) type SessionId = u64;

/// Where a row lives. The numbers are part of the checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Table {
    Meta = 0,
    Sessions = 1,
    States = 2,
    Subscriptions = 3,
    Queue = 4,
    Inflight = 5,
    Messages = 6,
    Shares = 7,
    Received = 8,
    Retained = 9,
    Wills = 10,
    Runs = 11,
    Gaps = 12,
}

impl Table {
    pub(crate) const ALL: [Self; 13] = [
        Self::Meta,
        Self::Sessions,
        Self::States,
        Self::Subscriptions,
        Self::Queue,
        Self::Inflight,
        Self::Messages,
        Self::Shares,
        Self::Received,
        Self::Retained,
        Self::Wills,
        Self::Runs,
        Self::Gaps,
    ];

    /// The name of its keyspace.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Sessions => "sessions",
            Self::States => "states",
            Self::Subscriptions => "subscriptions",
            Self::Queue => "queue",
            Self::Inflight => "inflight",
            Self::Messages => "messages",
            Self::Shares => "shares",
            Self::Received => "received",
            Self::Retained => "retained",
            Self::Wills => "wills",
            Self::Runs => "runs",
            Self::Gaps => "gaps",
        }
    }
}

/// The key of the row that numbers the batches: the last row of every batch.
pub(crate) const MARK_KEY: &[u8] = b"gmqtt/batch-number";
/// The key of the row that counts how often the store was opened.
pub(crate) const EPOCH_KEY: &[u8] = b"gmqtt/epoch";

/// Messages of a run: a bit each in its gaps.
pub(crate) const MOST_IN_A_RUN: usize = 64;
const CHECKSUM_LEN: usize = 4;
/// Of what a mark says, without its seal.
const MARK_LEN: usize = 8 + 1 + 8;
const SEAL_LEN: usize = 8;

/// Builds values one after the other in one buffer.
#[derive(Default)]
pub(crate) struct Encoder(Vec<u8>);

impl Encoder {
    pub(crate) fn encode(&mut self, table: Table, key: &[u8], value: &Value) -> Slice {
        self.0.clear();
        value.write(&mut self.0);
        let checksum = checksum(table, key, &self.0);
        self.0.extend_from_slice(&checksum.to_be_bytes());
        Slice::from(&self.0[..])
    }
}

fn checksum(table: Table, key: &[u8], body: &[u8]) -> u32 {
    xxh3_64_with_seed(body, xxh3_64(key) ^ (table as u64)) as u32
}

/// A value, checked: its body.
pub(crate) fn verify<'a>(table: Table, key: &[u8], value: &'a [u8]) -> Result<&'a [u8], StoreError> {
    let (body, stored) =
        value.split_last_chunk::<CHECKSUM_LEN>().ok_or_else(|| damaged(table, "is cut short"))?;
    if checksum(table, key, body) == u32::from_be_bytes(*stored) {
        Ok(body)
    } else {
        Err(damaged(table, "does not match its checksum"))
    }
}

pub(crate) fn damaged(table: Table, what: &str) -> StoreError {
    StoreError::new(format!(
        "the store is damaged: a row of the table {:?} {what}; restore the data directory from a backup",
        table.name()
    ))
}

/// What a value says. One variant a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// The number of a batch, and how many groups of records it and those before it have taken in. See [`Value::mark`].
    Mark {
        number: u64,
        after_synced: bool,
        groups: u64,
        seal: u64,
    },
    Epoch(u32),
    Session {
        session: SessionKey,
        client_id: Box<str>,
    },
    State(State),
    /// The filter is here only if the key has its digest.
    Subscription {
        qos: QoS,
        filter: Option<TopicFilter>,
    },
    Queued {
        qos: QoS,
        retain: bool,
        home: Home,
    },
    /// Messages of one queue, in the order of their keys.
    Run(Vec<QueuedMessage>),
    /// Which messages of a run are done with: a bit each, the first the lowest.
    Gaps(u64),
    /// Messages of a session whose identifiers are in one block.
    Inflight(Vec<(MessageKey, Step)>),
    Message(Message),
    Shares(u32),
    /// Of a block of identifiers those that have come in, a bit each.
    Received(u64),
    Retained {
        message: Message,
        expires_at: Option<SystemTime>,
    },
    Will {
        client_id: Box<str>,
        will: Message,
    },
}

/// How far the delivery of a message has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) packet_id: Option<PacketId>,
    pub(crate) released: bool,
}

/// What is known of a session besides its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) presence: Presence,
    /// No message of its queue has a smaller key.
    pub(crate) head: MessageKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Attached,
    Detached(SystemTime),
    /// It is over; its rows are being deleted.
    Ended,
}

/// Where the message of a queue entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// In the entry itself.
    Here(Message),
    /// In `Messages`, under this epoch and the entry's key.
    Shared(u32),
}

impl Value {
    /// The last row of a batch. Payloads stand in the engine's journal as they are, and may be made to look like one: but for its
    /// seal, for which a client would have to know the store's seed. `after_synced`: the batch before it, and all before that, were
    /// on the disk when it was begun.
    pub(crate) fn mark(number: u64, after_synced: bool, groups: u64, seed: u64) -> Self {
        let mut said = Vec::with_capacity(MARK_LEN);
        write_mark(number, after_synced, groups, &mut said);
        Self::Mark { number, after_synced, groups, seal: xxh3_64_with_seed(&said, seed) }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Mark { number, after_synced, groups, seal } => {
                write_mark(*number, *after_synced, *groups, out);
                out.extend_from_slice(&seal.to_be_bytes());
            }
            Self::Epoch(number) | Self::Shares(number) => out.extend_from_slice(&number.to_be_bytes()),
            Self::Session { session, client_id } => {
                out.extend_from_slice(&session.to_be_bytes());
                out.extend_from_slice(client_id.as_bytes());
            }
            Self::State(state) => state.write(out),
            Self::Subscription { qos, filter } => {
                out.push(qos.as_u8());
                out.extend_from_slice(filter.as_ref().map_or(&[], TopicFilter::as_bytes));
            }
            Self::Queued { qos, retain, home } => {
                let shared = matches!(home, Home::Shared(_));
                out.push(qos.as_u8() | u8::from(*retain) << 2 | u8::from(shared) << 3);
                match home {
                    Home::Here(message) => write_message(message, out),
                    Home::Shared(epoch) => out.extend_from_slice(&epoch.to_be_bytes()),
                }
            }
            Self::Run(run) => run.iter().for_each(|queued| write_queued(queued, out)),
            Self::Inflight(steps) => {
                for (key, Step { packet_id, released }) in steps {
                    out.extend_from_slice(&key.to_be_bytes());
                    out.extend_from_slice(&packet_id.map_or(0, PacketId::get).to_be_bytes());
                    out.push(u8::from(*released));
                }
            }
            Self::Message(message) => write_message(message, out),
            Self::Received(bits) | Self::Gaps(bits) => out.extend_from_slice(&bits.to_be_bytes()),
            Self::Retained { message, expires_at } => {
                out.push(u8::from(expires_at.is_some()));
                out.extend_from_slice(&expires_at.map_or(0, nanos).to_be_bytes());
                write_message(message, out);
            }
            Self::Will { client_id, will } => {
                out.extend_from_slice(&(client_id.len() as u32).to_be_bytes());
                out.extend_from_slice(client_id.as_bytes());
                write_message(will, out);
            }
        }
    }

    /// Reads a value of this table; `None` if the body is not one.
    fn read(table: Table, key: &[u8], body: &[u8]) -> Option<Self> {
        let mut body = Body::new(body);
        let value = match table {
            Table::Meta if key == EPOCH_KEY => Self::Epoch(body.u32()?),
            Table::Meta => {
                let (number, after_synced, groups) = (body.u64()?, body.flag()?, body.u64()?);
                Self::Mark { number, after_synced, groups, seal: body.u64()? }
            }
            Table::Sessions => Self::Session { session: body.u64()?, client_id: text(body.rest())? },
            Table::States => Self::State(State::read(&mut body)?),
            Table::Subscriptions => {
                let qos = QoS::from_u8(body.u8()?)?;
                let filter = match body.rest() {
                    [] => None,
                    filter => Some(TopicFilter::new(filter.to_vec()).ok()?),
                };
                Self::Subscription { qos, filter }
            }
            Table::Queue => {
                let flags = body.u8()?;
                let home =
                    if flags & 8 == 0 { Home::Here(body.message()?) } else { Home::Shared(body.u32()?) };
                Self::Queued { qos: QoS::from_u8(flags & 3)?, retain: flags & 4 != 0, home }
            }
            Table::Runs => {
                let mut run = Vec::new();
                while !body.is_empty() {
                    run.push(body.queued()?);
                }
                (1..=MOST_IN_A_RUN).contains(&run.len()).then_some(Self::Run(run))?
            }
            Table::Gaps => Self::Gaps(body.u64()?),
            Table::Inflight => {
                let mut steps = Vec::new();
                while !body.is_empty() {
                    let (key, packet_id) = (body.u64()?, PacketId::new(body.u16()?));
                    steps.push((key, Step { packet_id, released: body.flag()? }));
                }
                Self::Inflight(steps)
            }
            Table::Messages => Self::Message(body.message()?),
            Table::Shares => Self::Shares(body.u32()?),
            Table::Received => Self::Received(body.u64()?),
            Table::Retained => {
                let (expires, at) = (body.flag()?, body.u64()?);
                Self::Retained { expires_at: expires.then(|| moment(at)), message: body.message()? }
            }
            Table::Wills => {
                let len = body.u32()?;
                Self::Will { client_id: text(body.take(len as usize)?)?, will: body.message()? }
            }
        };
        body.is_empty().then_some(value)
    }
}

/// Checks and reads a row.
pub(crate) fn decode(table: Table, key: &[u8], value: &[u8]) -> Result<Value, StoreError> {
    let body = verify(table, key, value)?;
    Value::read(table, key, body)
        .ok_or_else(|| damaged(table, "cannot be read, though its checksum is right"))
}

/// Where the message of a queue entry is, without reading the message: the epoch if it is kept apart.
pub(crate) fn home_of(key: &[u8], value: &[u8]) -> Result<Option<u32>, StoreError> {
    let mut body = Body::new(verify(Table::Queue, key, value)?);
    match body.u8() {
        Some(flags) if flags & 8 == 0 => Ok(None),
        Some(_) => body.u32().map(Some).ok_or_else(|| damaged(Table::Queue, "is cut short")),
        None => Err(damaged(Table::Queue, "is empty")),
    }
}

/// The keys of the messages of a run, which are not read.
pub(crate) fn keys_of_run(key: &[u8], value: &[u8]) -> Result<Vec<MessageKey>, StoreError> {
    let mut body = Body::new(verify(Table::Runs, key, value)?);
    let mut keys = Vec::new();
    while !body.is_empty() {
        let read = body.head_of_queued().and_then(|(key, _, len)| body.take(len).map(|_| key));
        keys.push(read.ok_or_else(|| damaged(Table::Runs, "is cut short"))?);
    }
    if (1..=MOST_IN_A_RUN).contains(&keys.len()) {
        Ok(keys)
    } else {
        Err(damaged(Table::Runs, "has no messages, or too many"))
    }
}

fn write_mark(number: u64, after_synced: bool, groups: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&number.to_be_bytes());
    out.push(u8::from(after_synced));
    out.extend_from_slice(&groups.to_be_bytes());
}

/// What looks like the last row of a batch.
pub(crate) struct MarkFound {
    pub(crate) number: u64,
    pub(crate) after_synced: bool,
    /// Whether this store has written it.
    pub(crate) is_sealed: bool,
}

/// A key and a value of the batch number as they follow each other in the engine's journal, if these bytes begin so.
pub(crate) fn mark_at(bytes: &[u8], seed: u64) -> Option<MarkFound> {
    let value = bytes.strip_prefix(MARK_KEY)?.get(..MARK_LEN + SEAL_LEN + CHECKSUM_LEN)?;
    match decode(Table::Meta, MARK_KEY, value) {
        Ok(found @ Value::Mark { number, after_synced, groups, .. }) => {
            let is_sealed = found == Value::mark(number, after_synced, groups, seed);
            Some(MarkFound { number, after_synced, is_sealed })
        }
        _ => None,
    }
}

impl State {
    fn write(self, out: &mut Vec<u8>) {
        let (tag, at) = match self.presence {
            Presence::Attached => (0, 0),
            Presence::Detached(at) => (1, nanos(at)),
            Presence::Ended => (2, 0),
        };
        out.push(tag);
        out.extend_from_slice(&at.to_be_bytes());
        out.extend_from_slice(&self.head.to_be_bytes());
    }

    fn read(body: &mut Body<'_>) -> Option<Self> {
        let (tag, at, head) = (body.u8()?, body.u64()?, body.u64()?);
        let presence = match tag {
            0 => Presence::Attached,
            1 => Presence::Detached(moment(at)),
            2 => Presence::Ended,
            _ => return None,
        };
        Some(Self { presence, head })
    }
}
