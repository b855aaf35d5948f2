//! [`Store`]: where persistent sessions and retained messages outlive the process, and [`MemoryStore`] for tests.
//!
//! The broker hands a store what changes, as [`Record`]s in groups; a group survives whole, or not at all. Acknowledgements
//! that promise something wait until the store says that their group is durable. Nothing here knows of files.

mod batches;
pub mod contract;
mod journal;
mod memory;

use std::{error::Error, fmt, sync::Arc, task::Waker, time::SystemTime};

use mqtt_codec::{PacketId, QoS, TopicFilter, TopicName};

pub use self::batches::{BatchCounter, BatchCounts};
pub(crate) use self::journal::Journal;
pub use self::memory::MemoryStore;
use crate::message::Message;

/// Names a persistent session in a store. Used once by each process, and never for two of which a start is told; but one that has ended, and
/// that a start is not told of, may have its number used again. What a store still has of it must be gone by [`Record::SessionStarted`].
pub type SessionKey = u64;

/// Names a Will in a store. As with sessions, whose numbers are of the same row, that of one that is over may come again after a restart.
pub type WillKey = u64;

/// Names a message in a store. Later messages have greater keys. Never 0, and never used twice, from a start to the next as far as the store
/// says by [`Expected::newest`] which were: without that, they go on behind those of which it is told.
pub type MessageKey = u64;

/// A place in the order of a store's groups. [`Mark::NOTHING`] is durable from the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark(pub u64);

impl Mark {
    /// The mark of a change that needs no store.
    pub const NOTHING: Self = Self(0);
}

/// One change of durable state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A persistent session began.
    SessionStarted {
        /// Its key.
        session: SessionKey,
        /// Whose it is.
        client_id: Arc<str>,
    },
    /// Its client is connected: the session does not age.
    SessionAttached {
        /// Whose.
        session: SessionKey,
    },
    /// Its client is gone since then: the session ages from here on.
    SessionDetached {
        /// Whose.
        session: SessionKey,
        /// When.
        at: SystemTime,
    },
    /// The session is over: nothing of it is kept.
    SessionEnded {
        /// Whose.
        session: SessionKey,
    },
    /// A filter was granted, or its QoS changed.
    Subscribed {
        /// To whom.
        session: SessionKey,
        /// The filter as it was asked for.
        filter: TopicFilter,
        /// The granted QoS.
        qos: QoS,
    },
    /// A filter was removed.
    Unsubscribed {
        /// Whose.
        session: SessionKey,
        /// Which.
        filter: TopicFilter,
    },
    /// A message waits for a session.
    Queued {
        /// For whom.
        session: SessionKey,
        /// Its key: the same for all sessions that the message waits for.
        key: MessageKey,
        /// The QoS of this delivery: 1 or 2.
        qos: QoS,
        /// The RETAIN flag of this delivery.
        retain: bool,
        /// The message itself; shared by all records of one key.
        message: Message,
    },
    /// It is being sent under this identifier.
    Sent {
        /// To whom.
        session: SessionKey,
        /// Which.
        key: MessageKey,
        /// The identifier.
        packet_id: PacketId,
    },
    /// The receiver of a QoS 2 message owns it: only PUBREL is repeated from here on.
    Released {
        /// To whom.
        session: SessionKey,
        /// Which.
        key: MessageKey,
    },
    /// The delivery is complete, or was given up: the message waits for this session no more.
    Done {
        /// For whom.
        session: SessionKey,
        /// Which.
        key: MessageKey,
    },
    /// A QoS 2 message with this identifier came in and was passed on.
    Received {
        /// From whom.
        session: SessionKey,
        /// The identifier.
        packet_id: PacketId,
    },
    /// The identifier is free again.
    Forgotten {
        /// From whom.
        session: SessionKey,
        /// The identifier.
        packet_id: PacketId,
    },
    /// A message is retained for its topic, in place of an earlier one.
    Retained {
        /// The message.
        message: Message,
        /// Until when, if there is an end.
        expires_at: Option<SystemTime>,
    },
    /// Nothing is retained for a topic any more.
    RetainedCleared {
        /// Which.
        topic: TopicName,
    },
    /// A connection has left a Will; it is published at the next start if nothing clears it.
    WillSet {
        /// Its key. It is the connection's, not the session's: the next connection may be there before this one's Will is
        /// published.
        key: WillKey,
        /// The client.
        client_id: Arc<str>,
        /// The Will.
        will: Message,
    },
    /// The Will was published, or discarded.
    WillCleared {
        /// Which.
        key: WillKey,
    },
}

/// Keeps records. [`contract::check`] says, as a test, what every store has to do.
pub trait Store: Send + Sync + 'static {
    /// Takes a group of records: all of them will survive, or none. Returns at once; the groups' order is kept.
    ///
    /// After a failure it takes nothing, and no mark becomes durable any more.
    fn append(&self, group: Vec<Record>) -> Mark;

    /// Takes a group of one record.
    fn append_one(&self, record: Record) -> Mark {
        self.append(vec![record])
    }

    /// Everything up to this mark survives.
    fn durable(&self) -> Mark;

    /// A mark until which no more should be begun, because too much waits to be written; [`Mark::NOTHING`] if there is none.
    fn congested_until(&self) -> Mark {
        Mark::NOTHING
    }

    /// Wakes `waker` once `mark` is durable, or the store has failed. May wake it earlier. If [`Store::durable`] says right after
    /// that it is, nobody needs to be woken: a store may make it durable here.
    fn wake_at(&self, mark: Mark, waker: &Waker);

    /// How it writes, in numbers; `None` if it does not count.
    fn batches(&self) -> Option<BatchCounts> {
        None
    }

    /// Why the store no longer keeps anything, if so.
    fn failure(&self) -> Option<StoreError>;

    /// Tells what survived, as the shortest series of records that leads to it: for each session `SessionStarted`, its
    /// subscriptions, its messages in the order of their keys each followed by its `Sent` and `Released`, its identifiers,
    /// and `SessionDetached` unless it was attached. Wills and retained messages come after these or in between. Called once,
    /// before any `append`.
    fn recover(&self, visit: &mut dyn FnMut(Record)) -> Result<(), StoreError>;

    /// How much [`Store::recover`] will tell of, or more; 0 if nobody knows without looking. Room is made for it.
    fn expected(&self) -> Expected {
        Expected::default()
    }

    /// Reads a part of a session's queue: messages that wait and have no [`Record::Sent`], in the order of their keys. Takes
    /// account of everything that was appended before. Returns at once; `deliver` is called once, by any thread and perhaps
    /// before this returns, or never if the store fails.
    fn read_queue(&self, read: QueueRead, deliver: DeliverPage);
}

/// How much there is to recover, and from where to go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Subscriptions.
    pub subscriptions: usize,
    /// Retained messages.
    pub retained: usize,
    /// The greatest key that the store knows of, of messages that are gone too. New ones are greater. A store that keeps 0 here has keys again
    /// that messages had which are gone.
    pub newest: MessageKey,
}

/// Which part of a queue [`Store::read_queue`] is to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueRead {
    /// Whose.
    pub session: SessionKey,
    /// Only messages with greater keys.
    pub after: MessageKey,
    /// Enough is what reaches so many bytes, reckoned as [`QueuedMessage::cost`] does; at least one message.
    pub most_bytes: usize,
}

/// A part of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueuePage {
    /// In the order of their keys.
    pub messages: Vec<QueuedMessage>,
    /// Nothing more waits, of what had been appended when it was asked for.
    pub is_last: bool,
}

/// A message that waits, and how it is to be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedMessage {
    /// Its key.
    pub key: MessageKey,
    /// The QoS of the delivery: 1 or 2.
    pub qos: QoS,
    /// The RETAIN flag of the delivery.
    pub retain: bool,
    /// The message.
    pub message: Message,
}

impl QueuedMessage {
    /// What it takes in memory, roughly, in bytes.
    pub fn cost(&self) -> usize {
        self.message.size() + QUEUED_COST
    }
}

/// What a message that waits takes in memory besides topic and payload, roughly, in bytes.
pub(crate) const QUEUED_COST: usize = 64;

/// Takes what was read.
pub type DeliverPage = Box<dyn FnOnce(QueuePage) + Send>;

/// A store cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError {
    /// What failed, where, and what to do, in plain words.
    pub message: String,
}

impl StoreError {
    /// An error with these words.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for StoreError {}
