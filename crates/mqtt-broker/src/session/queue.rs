//! [`Queue`]: messages that wait for room before the socket, for the window, or for their client to come back.
//!
//! What the store has need not be here too: of a connected client's messages the first are, so that they can go at once,
//! and of an absent one's none. What the store has not, is here: QoS 0, and all of a session that is not persistent.

mod backlog;

use std::{collections::VecDeque, iter};

use mqtt_codec::QoS;

use self::backlog::Backlog;
pub(crate) use self::backlog::PendingRead;
use crate::{
    inspection::QueuedMessage,
    limits::{Limits, QueueFullPolicy},
    message::Message,
    store::{MessageKey, QUEUED_COST, QueuePage, SessionKey},
};

/// What waits, in two rows: QoS 0 need not wait for the window, and the drop policy finds its victim in one step.
///
/// Owns memory only while something waits, or has waited in the store.
#[derive(Default)]
pub(super) struct Queue(Option<Box<Rows>>);

#[derive(Default)]
struct Rows {
    qos0: VecDeque<Queued>,
    qos0_bytes: usize,
    /// With QoS 1 and 2. Those with keys in the order of their keys.
    acknowledged: VecDeque<Queued>,
    acknowledged_bytes: usize,
    /// Behind them: what the store alone has.
    backlog: Backlog,
    /// The greatest place among the acknowledged.
    last_place: u64,
}

/// A message that waits.
pub(super) struct Queued {
    pub(super) message: Message,
    /// Its place among the acknowledged: its key if it is in the store. With QoS 0 that of the one that it came after.
    place: u64,
    is_stored: bool,
    pub(super) qos: QoS,
    pub(super) retain: bool,
}

impl Queued {
    /// Its key in the store, or 0.
    pub(super) fn key(&self) -> MessageKey {
        if self.is_stored { self.place } else { 0 }
    }

    fn cost(&self) -> usize {
        self.message.size() + QUEUED_COST
    }
}

/// This part of its limits a queue may exceed them by.
const EXCESS_SHARE: usize = 8;
/// A read for the sake of what is too much takes so many bytes more.
const LEAST_READ: usize = 4 * 1024;

/// One of the two rows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Row {
    Qos0,
    Acknowledged,
}

impl Row {
    pub(super) fn of(qos: QoS) -> Self {
        if qos == QoS::AtMostOnce { Self::Qos0 } else { Self::Acknowledged }
    }
}

impl Queue {
    pub(super) fn messages(&self) -> usize {
        let count = |rows: &Rows| rows.qos0.len() + rows.acknowledged.len() + rows.backlog.messages();
        self.0.as_deref().map_or(0, count)
    }

    pub(super) fn bytes(&self) -> usize {
        let sum = |rows: &Rows| rows.qos0_bytes + rows.acknowledged_bytes + rows.backlog.bytes();
        self.0.as_deref().map_or(0, sum)
    }

    pub(super) fn is_empty(&self, row: Row) -> bool {
        self.0.as_ref().is_none_or(|rows| match row {
            Row::Qos0 => rows.qos0.is_empty(),
            Row::Acknowledged => rows.acknowledged.is_empty() && !rows.backlog.is_in_use(),
        })
    }

    pub(super) fn is_full_for(&self, size: usize, limits: &Limits) -> bool {
        self.messages() >= limits.max_queued_messages || self.bytes() + size > limits.max_queued_bytes
    }

    /// Whether it may exceed its limits by one more until the oldest have been read, and can go: by a part of them, and by less than a
    /// read brings. If more comes meanwhile than goes, it is what comes that has to go.
    pub(super) fn may_exceed(&self, limits: &Limits) -> bool {
        let (messages, bytes) = self.excess(limits);
        let most_bytes = (limits.max_queued_bytes / EXCESS_SHARE).min(limits.queue_window_bytes / 2);
        messages < (limits.max_queued_messages / EXCESS_SHARE).max(1) && bytes <= most_bytes
    }

    /// By how many messages, and by how many bytes, it exceeds its limits.
    fn excess(&self, limits: &Limits) -> (usize, usize) {
        let messages = self.messages().saturating_sub(limits.max_queued_messages);
        (messages, self.bytes().saturating_sub(limits.max_queued_bytes))
    }

    /// What to read so that as much can go as is too much, and some more, as more has come by then.
    fn excess_to_read(&self, limits: &Limits) -> usize {
        let (messages, bytes) = self.excess(limits);
        let usual = self.bytes() / self.messages().max(1) + QUEUED_COST;
        (2 * bytes.max(messages * usual) + LEAST_READ).min(limits.queue_window_bytes)
    }

    /// Appends a message. Of those with a key so many bytes are kept in memory, and beyond them none.
    pub(super) fn push(
        &mut self,
        message: Message,
        key: MessageKey,
        qos: QoS,
        retain: bool,
        window_bytes: usize,
    ) {
        let rows = self.0.get_or_insert_default();
        if qos == QoS::AtMostOnce {
            rows.qos0_bytes += message.size();
            rows.qos0.push_back(Queued { message, place: rows.last_place, is_stored: false, qos, retain });
            return;
        }
        let place = if key == 0 { rows.last_place + 1 } else { key };
        let queued = Queued { message, place, is_stored: key != 0, qos, retain };
        let has_room = !rows.backlog.is_in_use() && rows.cost() + queued.cost() <= window_bytes;
        if key == 0 || has_room {
            rows.insert(queued);
        } else {
            if !rows.backlog.is_in_use() {
                rows.leave_to_the_store();
            }
            rows.last_place = rows.last_place.max(place);
            rows.backlog.push(queued, window_bytes);
        }
    }

    /// Counts a message that an earlier process left in the store.
    pub(super) fn restore(&mut self, size: usize) {
        let backlog = &mut self.0.get_or_insert_default().backlog;
        backlog.begin(None, 0, 0);
        backlog.count(size);
    }

    /// Whether a message has been read from the store before its publisher came with it. It waits already, or has gone.
    pub(super) fn has_read(&self, key: MessageKey) -> bool {
        key != 0 && self.0.as_ref().is_some_and(|rows| rows.backlog.has_read(key))
    }

    /// A message came that has been read before.
    pub(super) fn count_read(&mut self, size: usize) {
        let Some(rows) = &mut self.0 else { return };
        if rows.backlog.is_in_use() {
            rows.backlog.count(size); // The read has taken it off already.
        }
    }

    /// A message that the store had got will not wait after all.
    pub(super) fn refuse(&mut self, key: MessageKey) {
        if let Some(rows) = &mut self.0 {
            rows.backlog.refuse(key);
        }
    }

    /// Keeps nothing in memory that the store has. A read under way goes on, unless it would then come too early.
    pub(super) fn leave_to_the_store(&mut self) {
        if let Some(rows) = self.0.as_mut().filter(|rows| !rows.acknowledged.is_empty()) {
            rows.leave_to_the_store();
        }
    }

    /// Whether the oldest message that has to be acknowledged is in the store alone.
    pub(super) fn must_read(&self) -> bool {
        self.0.as_ref().is_some_and(|rows| rows.acknowledged.is_empty() && rows.backlog.is_in_use())
    }

    #[cfg(test)]
    pub(super) fn stored_bytes_in_memory(&self) -> usize {
        self.0.as_ref().map_or(0, |rows| rows.acknowledged_bytes)
    }

    #[cfg(test)]
    pub(super) fn waits_for_a_read(&self) -> bool {
        self.must_read() && self.0.as_ref().is_some_and(|rows| rows.backlog.is_reading())
    }

    /// The read to ask of the store: if the client is there and less than half of the window is in memory, or if room can
    /// be made only so.
    pub(super) fn next_read(
        &mut self,
        session: SessionKey,
        is_connected: bool,
        limits: &Limits,
    ) -> Option<PendingRead> {
        let rows = self.0.as_ref()?;
        if !rows.backlog.is_in_use() || rows.backlog.is_reading() {
            return None;
        }
        let is_empty = rows.acknowledged.is_empty();
        let is_low = is_empty || rows.cost() < limits.queue_window_bytes / 2;
        let is_wanted = if is_connected { is_low } else { is_empty && self.is_over(limits) };
        // Of an absent client's nothing is to be in memory but what goes.
        let excess = self.excess_to_read(limits);
        let rows = self.0.as_mut().filter(|_| is_wanted)?;
        let room = limits.queue_window_bytes.saturating_sub(rows.cost());
        let most_bytes = if is_connected { room } else { excess };
        Some(rows.backlog.ask(session, most_bytes))
    }

    /// Takes what was read. `false` if nobody waits for it any more.
    pub(super) fn add_page(&mut self, number: u64, page: QueuePage) -> bool {
        let Some(rows) = &mut self.0 else { return false };
        let Some((read, since)) = rows.backlog.answer(number, page) else { return false };
        for next in read {
            let (place, message) = (next.key, next.message);
            rows.insert(Queued { message, place, is_stored: true, qos: next.qos, retain: next.retain });
        }
        for queued in since {
            rows.insert(queued);
        }
        self.give_back();
        true
    }

    /// The oldest message of those rows that may go. Nothing overtakes what has to be read first.
    pub(super) fn pop(&mut self, may_go: impl Fn(Row) -> bool) -> Option<Queued> {
        if self.must_read() && may_go(Row::Acknowledged) {
            return None;
        }
        let rows = self.0.as_mut()?;
        let head = |row: Row| rows.row(row).front().filter(|_| may_go(row)).map(|queued| queued.place);
        let row = match (head(Row::Qos0), head(Row::Acknowledged)) {
            (Some(qos0), Some(acknowledged)) if qos0 < acknowledged => Row::Qos0,
            (_, Some(_)) => Row::Acknowledged,
            (Some(_), None) => Row::Qos0,
            (None, None) => return None,
        };
        self.pop_front(row)
    }

    /// The oldest of the messages that are here, of both rows in their order; and behind which key the store alone has more.
    pub(super) fn peek(&self, limit: usize) -> (Vec<QueuedMessage>, Option<MessageKey>) {
        let Some(rows) = &self.0 else { return (Vec::new(), None) };
        let (mut qos0, mut acknowledged) = (rows.qos0.iter().peekable(), rows.acknowledged.iter().peekable());
        let next = iter::from_fn(|| match (qos0.peek(), acknowledged.peek()) {
            (Some(a), Some(b)) if a.place < b.place => qos0.next(),
            (_, Some(_)) => acknowledged.next(),
            _ => qos0.next(),
        });
        let shown = |queued: &Queued| QueuedMessage {
            message: queued.message.clone(),
            qos: queued.qos,
            retain: queued.retain,
        };
        (next.take(limit).map(shown).collect(), rows.backlog.is_in_use().then(|| rows.backlog.read_from()))
    }

    /// Drops one waiting message for the sake of an incoming one with `qos`; `None` says that the incoming one must go, unless
    /// [`Queue::must_read`].
    pub(super) fn make_room(&mut self, qos: QoS, policy: QueueFullPolicy) -> Option<Queued> {
        if policy != QueueFullPolicy::DropOldest {
            return None;
        }
        match self.pop_front(Row::Qos0) {
            Some(oldest_qos0) => Some(oldest_qos0),
            None if qos == QoS::AtMostOnce => None,
            None => self.pop_front(Row::Acknowledged),
        }
    }

    /// Drops one waiting message if there are too many.
    pub(super) fn trim(&mut self, limits: &Limits) -> Option<Queued> {
        if self.is_over(limits) { self.make_room(QoS::AtLeastOnce, limits.queue_full) } else { None }
    }

    /// Takes all QoS 0 messages out.
    pub(super) fn clear_qos0(&mut self) -> Vec<Message> {
        iter::from_fn(|| self.pop_front(Row::Qos0)).map(|queued| queued.message).collect()
    }

    /// Takes everything out, and says how many messages there were besides, in the store alone.
    pub(super) fn into_parts(self) -> (Vec<Message>, usize) {
        let Some(rows) = self.0 else { return (Vec::new(), 0) };
        let unread = rows.backlog.messages();
        let mut all: Vec<Queued> = rows.qos0.into_iter().chain(rows.acknowledged).collect();
        all.sort_by_key(|queued| (queued.place, queued.qos == QoS::AtMostOnce));
        (all.into_iter().map(|queued| queued.message).collect(), unread)
    }

    fn is_over(&self, limits: &Limits) -> bool {
        self.excess(limits) != (0, 0)
    }

    fn pop_front(&mut self, row: Row) -> Option<Queued> {
        let rows = self.0.as_mut()?;
        let popped = match row {
            Row::Qos0 => rows.qos0.pop_front(),
            Row::Acknowledged => rows.acknowledged.pop_front(),
        }?;
        match row {
            Row::Qos0 => rows.qos0_bytes -= popped.message.size(),
            Row::Acknowledged => rows.acknowledged_bytes -= popped.message.size(),
        }
        self.give_back();
        Some(popped)
    }

    /// After a backlog the memory is given back.
    fn give_back(&mut self) {
        let Some(rows) = &mut self.0 else { return };
        if !rows.qos0.is_empty() || !rows.acknowledged.is_empty() {
            return;
        }
        if rows.backlog.is_untouched() {
            self.0 = None;
        } else {
            (rows.qos0, rows.acknowledged) = (VecDeque::new(), VecDeque::new());
        }
    }
}

impl Rows {
    fn row(&self, row: Row) -> &VecDeque<Queued> {
        match row {
            Row::Qos0 => &self.qos0,
            Row::Acknowledged => &self.acknowledged,
        }
    }

    fn cost(&self) -> usize {
        self.acknowledged_bytes + self.acknowledged.len() * QUEUED_COST
    }

    /// Nearly always at the end: a publisher may have been overtaken between the store and here.
    fn insert(&mut self, queued: Queued) {
        self.acknowledged_bytes += queued.message.size();
        self.last_place = self.last_place.max(queued.place);
        let before = self.acknowledged.iter().rev().take_while(|other| other.place > queued.place).count();
        self.acknowledged.insert(self.acknowledged.len() - before, queued);
    }

    fn leave_to_the_store(&mut self) {
        let first = self.acknowledged.front().map(Queued::key);
        self.backlog.begin(first, self.acknowledged.len(), self.acknowledged_bytes);
        (self.acknowledged, self.acknowledged_bytes) = (VecDeque::new(), 0);
    }
}
