//! [`Backlog`]: what of a queue the store alone has, and how far it has been read.
//!
//! Three facts make it exact without a list of keys. A key is given out when its group is appended, so that keys grow in
//! the order of the groups. A read sees every group appended before it was asked for. And it passes over what is being
//! sent. So a read that has come to a key has missed nothing before it; and a publisher that brings a message with such a
//! key, having been slow between the store and the queue, brings one that has been read.

use std::mem;

use super::Queued;
use crate::store::{MessageKey, QueuePage, QueueRead, QueuedMessage, SessionKey};

/// A backlog that has ended keeps its keys.
#[derive(Default)]
pub(super) struct Backlog {
    /// Whatever comes goes to the store alone, until a read has come to the end.
    in_use: bool,
    messages: usize,
    bytes: usize,
    /// The next read goes on behind this key.
    read_from: MessageKey,
    /// No read has come farther than this key.
    read_up_to: MessageKey,
    /// Counts reads: the answer to an earlier one is void.
    reads: u64,
    reading: Option<Reading>,
}

/// A read under way.
#[derive(Default)]
struct Reading {
    /// What came since it was asked for, as long as there is room.
    since: Vec<Queued>,
    since_cost: usize,
    overflowed: bool,
    /// The smallest key that was refused since: the read may have seen it still.
    refused: Option<MessageKey>,
}

/// A read to be asked of the store, and its number.
pub(crate) struct PendingRead {
    pub(crate) number: u64,
    pub(crate) read: QueueRead,
}

impl Backlog {
    pub(super) fn is_in_use(&self) -> bool {
        self.in_use
    }

    pub(super) fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    pub(super) fn messages(&self) -> usize {
        self.messages
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What the store alone has is behind this key.
    pub(super) fn read_from(&self) -> MessageKey {
        self.read_from
    }

    pub(super) fn has_read(&self, key: MessageKey) -> bool {
        key <= self.read_up_to
    }

    /// Whether nothing has ever been read.
    pub(super) fn is_untouched(&self) -> bool {
        self.read_up_to == 0 && !self.in_use
    }

    /// Begins, with messages that were in memory up to now; the first of them is this one.
    pub(super) fn begin(&mut self, first: Option<MessageKey>, messages: usize, bytes: usize) {
        self.in_use = true;
        self.reading = None;
        self.messages += messages;
        self.bytes += bytes;
        if let Some(first) = first {
            self.read_from = self.read_from.min(first.saturating_sub(1));
        }
    }

    /// One more, which the store has.
    pub(super) fn count(&mut self, size: usize) {
        self.messages += 1;
        self.bytes += size;
    }

    /// The same, kept in memory too while a read is under way that may turn out to be the last.
    pub(super) fn push(&mut self, queued: Queued, room: usize) {
        self.count(queued.message.size());
        let Some(reading) = &mut self.reading else { return };
        reading.since_cost += queued.cost();
        reading.overflowed |= reading.since_cost > room;
        if reading.overflowed {
            reading.since = Vec::new();
        } else {
            reading.since.push(queued);
        }
    }

    /// A message that the store had got will not wait after all.
    pub(super) fn refuse(&mut self, key: MessageKey) {
        if let Some(reading) = &mut self.reading {
            reading.refused = Some(reading.refused.map_or(key, |earlier| earlier.min(key)));
        }
    }

    pub(super) fn ask(&mut self, session: SessionKey, most_bytes: usize) -> PendingRead {
        self.reads += 1;
        self.reading = Some(Reading::default());
        PendingRead { number: self.reads, read: QueueRead { session, after: self.read_from, most_bytes } }
    }

    /// Takes what was read: messages for the end of the row, and behind them, if that was the last read, those that came
    /// meanwhile. `None` if nobody waits for it any more.
    pub(super) fn answer(
        &mut self,
        number: u64,
        mut page: QueuePage,
    ) -> Option<(Vec<QueuedMessage>, Vec<Queued>)> {
        if number != self.reads {
            return None;
        }
        let Reading { mut since, overflowed, refused, .. } = self.reading.take()?;
        if let Some(refused) = refused
            && page.messages.last().is_some_and(|last| last.key >= refused)
        {
            page.messages.retain(|queued| queued.key < refused);
            page.is_last = false;
        }
        for queued in &page.messages {
            self.messages = self.messages.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(queued.message.size());
            self.read_from = queued.key;
        }
        self.read_up_to = self.read_up_to.max(self.read_from);
        self.in_use = !page.is_last || overflowed;
        if self.in_use {
            since.clear();
        } else {
            (self.messages, self.bytes) = (0, 0);
            since.retain(|queued| queued.key() > self.read_up_to);
        }
        Some((mem::take(&mut page.messages), since))
    }
}
