//! [`Queue`]: messages that wait for room before the socket, for the window, or for their client to come back.

use std::collections::VecDeque;

use mqtt_codec::QoS;

use crate::{
    limits::{Limits, QueueFullPolicy},
    message::Message,
    store::MessageKey,
};

/// What waits, in two rows: QoS 0 need not wait for the window, and the drop policy finds its victim in one step.
///
/// Owns memory only while something waits.
#[derive(Default)]
pub(super) struct Queue(Option<Box<Rows>>);

#[derive(Default)]
struct Rows {
    qos0: VecDeque<Queued>,
    acknowledged: VecDeque<Queued>,
    bytes: usize,
    next_order: u32,
}

/// A message that waits. `order` keeps the two rows in one order where messages of both may go.
pub(super) struct Queued {
    pub(super) message: Message,
    /// Its key in the store, or 0.
    pub(super) key: MessageKey,
    order: u32,
    pub(super) qos: QoS,
    pub(super) retain: bool,
}

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
        self.0.as_ref().map_or(0, |rows| rows.qos0.len() + rows.acknowledged.len())
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |rows| rows.bytes)
    }

    pub(super) fn is_empty(&self, row: Row) -> bool {
        self.0.as_ref().is_none_or(|rows| rows.row(row).is_empty())
    }

    pub(super) fn is_full_for(&self, size: usize, limits: &Limits) -> bool {
        self.messages() >= limits.max_queued_messages || self.bytes() + size > limits.max_queued_bytes
    }

    pub(super) fn push(&mut self, message: Message, key: MessageKey, qos: QoS, retain: bool) {
        let rows = self.0.get_or_insert_default();
        let order = rows.next_order;
        rows.next_order = order.wrapping_add(1);
        rows.bytes += message.size();
        rows.row_mut(Row::of(qos)).push_back(Queued { message, key, order, qos, retain });
    }

    /// The oldest message of those rows that may go.
    pub(super) fn pop(&mut self, may_go: impl Fn(Row) -> bool) -> Option<Queued> {
        let rows = self.0.as_mut()?;
        let head = |row: Row| rows.row(row).front().filter(|_| may_go(row)).map(|queued| queued.order);
        let row = match (head(Row::Qos0), head(Row::Acknowledged)) {
            (Some(qos0), Some(acknowledged)) if is_before(qos0, acknowledged) => Row::Qos0,
            (_, Some(_)) => Row::Acknowledged,
            (Some(_), None) => Row::Qos0,
            (None, None) => return None,
        };
        self.pop_front(row)
    }

    /// Drops one waiting message for the sake of an incoming one with `qos`; `None` says that the incoming one must go.
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

    /// Forgets all QoS 0 messages; says how many they were.
    pub(super) fn clear_qos0(&mut self) -> usize {
        std::iter::from_fn(|| self.pop_front(Row::Qos0)).count()
    }

    fn pop_front(&mut self, row: Row) -> Option<Queued> {
        let rows = self.0.as_mut()?;
        let popped = rows.row_mut(row).pop_front()?;
        rows.bytes -= popped.message.size();
        if self.messages() == 0 {
            self.0 = None; // After a backlog the memory is given back.
        }
        Some(popped)
    }
}

impl Rows {
    fn row(&self, row: Row) -> &VecDeque<Queued> {
        match row {
            Row::Qos0 => &self.qos0,
            Row::Acknowledged => &self.acknowledged,
        }
    }

    fn row_mut(&mut self, row: Row) -> &mut VecDeque<Queued> {
        match row {
            Row::Qos0 => &mut self.qos0,
            Row::Acknowledged => &mut self.acknowledged,
        }
    }
}

/// Whether one place in the order is before another: by their distance, because the counter wraps.
fn is_before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) > u32::MAX / 2
}
