//! [`Slot`]: the place of a record in the inbox, and what the engine is told of it.

use std::mem;

use mqtt_broker::store::{MessageKey, Record, SessionKey};
use mqtt_codec::PacketId;

/// What a record costs in memory besides its message.
pub(super) const RECORD_BYTES: usize = mem::size_of::<Record>();

/// The place of one record.
pub(crate) struct Slot {
    /// How many were there before it, ever.
    pub(super) number: u64,
    /// Its group's.
    pub(super) mark: u64,
    /// `None` if it is a message that was done with.
    pub(super) record: Option<Record>,
    /// What it takes in memory, roughly, empty or not. Here, because to ask a message means to fetch it from where another
    /// processor has left it.
    pub(super) bytes: usize,
    /// Its message is one that a slot before this has, too, and that is counted there.
    pub(super) is_counted_before: bool,
    /// What became of the message.
    pub(super) sent: Option<PacketId>,
    pub(super) released: bool,
}

impl Slot {
    pub(crate) fn mark(&self) -> u64 {
        self.mark
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What of it is counted here.
    pub(super) fn counted(&self) -> usize {
        if self.is_counted_before { RECORD_BYTES } else { self.bytes }
    }

    pub(super) fn is_message_for(&self, session: SessionKey) -> bool {
        matches!(self.record, Some(Record::Queued { session: of, .. }) if of == session)
    }

    /// Whether this is the same message, for another session.
    pub(super) fn has_message_of(&self, record: &Record) -> bool {
        matches!((&self.record, record), (Some(Record::Queued { key: own, .. }), Record::Queued { key, .. }) if own == key)
    }
}

/// What the engine is to be told of these: of each message also what became of it.
pub(crate) fn unpacked(slots: impl Iterator<Item = Slot>) -> impl Iterator<Item = Record> {
    Unpacked { slots, became: None }
}

/// One record after the other, and not the records of one slot after those of another: these are moved three times less.
struct Unpacked<I> {
    slots: I,
    became: Option<Became>,
}

/// What is still to be told of a message.
struct Became {
    session: SessionKey,
    key: MessageKey,
    sent: Option<PacketId>,
    released: bool,
}

impl<I: Iterator<Item = Slot>> Iterator for Unpacked<I> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        if let Some(became) = &mut self.became {
            let Became { session, key, .. } = *became;
            if let Some(packet_id) = became.sent.take() {
                return Some(Record::Sent { session, key, packet_id });
            }
            if mem::take(&mut became.released) {
                return Some(Record::Released { session, key });
            }
            self.became = None;
        }
        loop {
            let Slot { record, sent, released, .. } = self.slots.next()?;
            if let Some(Record::Queued { session, key, .. }) = record
                && (sent.is_some() || released)
            {
                self.became = Some(Became { session, key, sent, released });
            }
            if record.is_some() {
                return record;
            }
        }
    }
}

/// What a record takes in memory, roughly.
pub(crate) fn size(record: &Record) -> usize {
    RECORD_BYTES
        + match record {
            Record::Queued { message, .. } | Record::Retained { message, .. } => message.size(),
            Record::WillSet { will, client_id, .. } => will.size() + client_id.len(),
            Record::Subscribed { filter, .. } | Record::Unsubscribed { filter, .. } => {
                filter.as_bytes().len()
            }
            Record::RetainedCleared { topic } => topic.as_bytes().len(),
            Record::SessionStarted { client_id, .. } => client_id.len(),
            _ => 0,
        }
}
