//! [`Slot`]: the place of a record in the inbox, and what the engine is told of it.

use std::mem;

use mqtt_broker::store::{MessageKey, Record, SessionKey};
use mqtt_codec::PacketId;
use rustc_hash::FxHashMap;

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
    /// What became of the message, each with the mark of the group that says so.
    pub(super) sent: Option<(u64, PacketId)>,
    pub(super) released: Option<u64>,
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

/// What became of messages in groups that the engine is told of later than of the messages.
///
/// It may not know more than it says it does: if the process ended before the log had the rest, some messages would be under way that
/// stand behind others that are not.
#[derive(Default)]
pub(crate) struct Later(Vec<(u64, Record)>);

impl Later {
    /// What the engine is to be told of these slots, after which it has the groups up to this mark: of each message also what had become
    /// of it by then.
    pub(crate) fn unpack<'a>(
        &'a mut self,
        slots: impl Iterator<Item = Slot> + 'a,
        mark: u64,
    ) -> impl Iterator<Item = Record> + 'a {
        let due: Vec<_> = self.0.extract_if(.., |(of, _)| *of <= mark).map(|(_, record)| record).collect();
        due.into_iter().chain(Unpacked { slots, became: None, mark, later: self })
    }

    /// Which messages are under way by what the engine has not been told of. Of all sessions at once: there may be many of both.
    pub(crate) fn sent(&self) -> FxHashMap<SessionKey, Vec<MessageKey>> {
        let mut sent: FxHashMap<_, Vec<_>> = FxHashMap::default();
        for (_, record) in &self.0 {
            if let Record::Sent { session, key, .. } = record {
                sent.entry(*session).or_default().push(*key);
            }
        }
        sent
    }
}

/// One record after the other, and not the records of one slot after those of another: these are moved three times less.
struct Unpacked<'a, I> {
    slots: I,
    became: Option<Became>,
    mark: u64,
    later: &'a mut Later,
}

/// What is still to be told of a message.
struct Became {
    session: SessionKey,
    key: MessageKey,
    sent: Option<(u64, PacketId)>,
    released: Option<u64>,
}

impl Became {
    /// What is next, with its mark.
    fn next(&mut self) -> Option<(u64, Record)> {
        let Self { session, key, .. } = *self;
        if let Some((mark, packet_id)) = self.sent.take() {
            return Some((mark, Record::Sent { session, key, packet_id }));
        }
        self.released.take().map(|mark| (mark, Record::Released { session, key }))
    }
}

impl<I: Iterator<Item = Slot>> Iterator for Unpacked<'_, I> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        while let Some(became) = &mut self.became {
            match became.next() {
                Some((mark, record)) if mark <= self.mark => return Some(record),
                Some(later) => self.later.0.push(later),
                None => self.became = None,
            }
        }
        loop {
            let Slot { record, sent, released, .. } = self.slots.next()?;
            if let Some(Record::Queued { session, key, .. }) = record
                && (sent.is_some() || released.is_some())
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
