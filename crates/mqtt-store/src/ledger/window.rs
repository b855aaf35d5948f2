//! [`Window`]: what of a session is under way, sent and received, in blocks: a row of the engine has a block of packet
//! identifiers. Identifiers are given out one after the other, and so a batch changes few rows however many messages it
//! brings further.

use std::{collections::BTreeMap, mem};

use mqtt_broker::store::MessageKey;
use mqtt_codec::PacketId;
use rustc_hash::FxHashMap;

use crate::encoding::{Step, Value};

/// Identifiers of a row of the table `inflight`.
const SENT_IN_A_BLOCK: u16 = 32;
/// Identifiers of a row of the table `received`: one bit each.
const RECEIVED_IN_A_BLOCK: u16 = 64;

/// The row of a session that a packet identifier is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    Sent(u16),
    Received(u16),
}

/// What becomes of a row.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    Write(Value),
    Delete,
}

#[derive(Default)]
pub(super) struct Window {
    sent: BTreeMap<MessageKey, Step>,
    sent_rows: FxHashMap<u16, Row<Vec<MessageKey>>>,
    received_rows: FxHashMap<u16, Row<u64>>,
    /// Rows that may differ from what the engine has, each once.
    changed: Vec<Block>,
}

/// What is to be in a row.
#[derive(Default)]
struct Row<T> {
    content: T,
    /// Whether the engine has it.
    is_written: bool,
    has_changed: bool,
}

impl Window {
    /// What the engine has in a row of the table `inflight`.
    pub(super) fn restore_sent(&mut self, block: u16, steps: Vec<(MessageKey, Step)>) {
        let content = steps.iter().map(|(key, _)| *key).collect();
        self.sent_rows.insert(block, Row { content, is_written: true, has_changed: false });
        self.sent.extend(steps);
    }

    /// What the engine has in a row of the table `received`.
    pub(super) fn restore_received(&mut self, block: u16, ids: u64) {
        self.received_rows.insert(block, Row { content: ids, is_written: true, has_changed: false });
    }

    pub(super) fn is_sent(&self, key: MessageKey) -> bool {
        self.sent.contains_key(&key)
    }

    /// Messages from this one on that have an identifier.
    pub(super) fn sent_from(&self, from: MessageKey) -> impl Iterator<Item = MessageKey> {
        self.sent.range(from..).filter(|(_, step)| step.packet_id.is_some()).map(|(&key, _)| key)
    }

    /// A message has come further.
    pub(super) fn advance(&mut self, key: MessageKey, advance: impl FnOnce(&mut Step)) {
        let before = self.sent.get(&key).copied();
        let mut step = before.unwrap_or_default();
        advance(&mut step);
        self.sent.insert(key, step);
        let (before, now) = (before.map(sent_block), sent_block(step));
        if let Some(before) = before.filter(|before| *before != now) {
            self.change_sent(before, |keys| keys.retain(|of| *of != key));
        }
        self.change_sent(now, |keys| {
            if before != Some(now) {
                keys.push(key);
            }
        });
    }

    /// A message is done with.
    pub(super) fn finish(&mut self, key: MessageKey) {
        if let Some(step) = self.sent.remove(&key) {
            self.change_sent(sent_block(step), |keys| keys.retain(|of| *of != key));
        }
    }

    /// An identifier was received, or is free again.
    pub(super) fn set_received(&mut self, id: PacketId, is_known: bool) {
        let (number, bit) = (id.get() / RECEIVED_IN_A_BLOCK, 1 << (id.get() % RECEIVED_IN_A_BLOCK));
        let was_known = self.received_rows.get(&number).is_some_and(|row| row.content & bit != 0);
        if was_known != is_known {
            let row = self.received_rows.entry(number).or_default();
            row.content ^= bit;
            note(&mut row.has_changed, &mut self.changed, Block::Received(number));
        }
    }

    pub(super) fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The rows that have changed since the last call, where the engine has something else.
    pub(super) fn take_changes(&mut self) -> Vec<(Block, Change)> {
        let Self { sent, sent_rows, received_rows, changed } = self;
        let steps = |keys: &Vec<MessageKey>| {
            Value::Inflight(keys.iter().filter_map(|key| Some((*key, *sent.get(key)?))).collect())
        };
        let change = |block| {
            let change = match block {
                Block::Sent(number) => to_write(sent_rows, number, steps),
                Block::Received(number) => to_write(received_rows, number, |ids| Value::Received(*ids)),
            };
            Some((block, change?))
        };
        changed.drain(..).filter_map(change).collect()
    }

    fn change_sent(&mut self, number: u16, change: impl FnOnce(&mut Vec<MessageKey>)) {
        let row = self.sent_rows.entry(number).or_default();
        change(&mut row.content);
        note(&mut row.has_changed, &mut self.changed, Block::Sent(number));
    }
}

fn note(has_changed: &mut bool, changed: &mut Vec<Block>, block: Block) {
    if !mem::replace(has_changed, true) {
        changed.push(block);
    }
}

fn to_write<T: Default + PartialEq>(
    rows: &mut FxHashMap<u16, Row<T>>,
    number: u16,
    value: impl FnOnce(&T) -> Value,
) -> Option<Change> {
    let row = rows.get_mut(&number)?;
    row.has_changed = false;
    if row.content == T::default() {
        let row = rows.remove(&number)?;
        return row.is_written.then_some(Change::Delete);
    }
    row.is_written = true;
    Some(Change::Write(value(&row.content)))
}

fn sent_block(step: Step) -> u16 {
    step.packet_id.map_or(0, PacketId::get) / SENT_IN_A_BLOCK
}

/// The identifiers that a row of the table `received` has.
pub(crate) fn received_ids(block: u16, ids: u64) -> impl Iterator<Item = PacketId> {
    let first = u32::from(block) * u32::from(RECEIVED_IN_A_BLOCK);
    let known = (0..u32::from(RECEIVED_IN_A_BLOCK)).filter(move |bit| ids >> bit & 1 == 1);
    known.filter_map(move |bit| PacketId::new(u16::try_from(first + bit).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> Option<PacketId> {
        PacketId::new(number as u16)
    }

    fn sent(steps: Vec<(MessageKey, Step)>) -> Change {
        Change::Write(Value::Inflight(steps))
    }

    fn send(window: &mut Window, key: MessageKey) {
        window.advance(key, |step| step.packet_id = id(key));
    }

    #[test]
    fn identifiers_that_follow_each_other_share_a_row() {
        let mut window = Window::default();
        for key in 1..=31 {
            send(&mut window, key);
        }
        let step = |key| (key, Step { packet_id: id(key), released: false });
        let row = (1..=31).map(step).collect();
        assert_eq!(window.take_changes(), [(Block::Sent(0), sent(row))]);
        send(&mut window, 32);
        window.advance(32, |step| step.released = true);
        let step = Step { packet_id: id(32), released: true };
        assert_eq!(window.take_changes(), [(Block::Sent(1), sent(vec![(32, step)]))]);
    }

    #[test]
    fn what_came_and_went_is_not_written() {
        let mut window = Window::default();
        send(&mut window, 1);
        window.finish(1);
        window.set_received(PacketId::FIRST, true);
        window.set_received(PacketId::FIRST, false);
        window.set_received(PacketId::FIRST.next(), false);
        assert!(window.take_changes().is_empty());
        assert!(window.sent_rows.is_empty() && window.received_rows.is_empty(), "and takes no memory");
    }

    #[test]
    fn a_row_that_has_become_empty_is_deleted() {
        let mut window = Window::default();
        send(&mut window, 1);
        send(&mut window, 2);
        window.set_received(PacketId::FIRST, true);
        window.take_changes();
        window.finish(1);
        let left = vec![(2, Step { packet_id: id(2), released: false })];
        assert_eq!(window.take_changes(), [(Block::Sent(0), sent(left))]);
        window.finish(2);
        window.set_received(PacketId::FIRST, false);
        let deleted = [(Block::Sent(0), Change::Delete), (Block::Received(0), Change::Delete)];
        assert_eq!(window.take_changes(), deleted);
    }

    /// The identifier of a message may change: in the broker it does not.
    #[test]
    fn a_message_moves_to_the_row_of_its_identifier() {
        let mut window = Window::default();
        send(&mut window, 7);
        window.advance(7, |step| step.packet_id = id(70));
        let step = Step { packet_id: id(70), released: false };
        assert_eq!(window.take_changes(), [(Block::Sent(2), sent(vec![(7, step)]))]);
    }

    #[test]
    fn received_identifiers_are_found_in_their_block() {
        for number in [1, 63, 64, 65, 4_000, u16::MAX] {
            let mut window = Window::default();
            let packet_id = PacketId::new(number).unwrap();
            window.set_received(packet_id, true);
            let changes = window.take_changes();
            let [(Block::Received(block), Change::Write(Value::Received(ids)))] = changes[..] else {
                panic!("{number}")
            };
            assert_eq!(received_ids(block, ids).collect::<Vec<_>>(), [packet_id]);
        }
        assert_eq!(received_ids(0, u64::MAX).count(), 63, "there is no identifier 0");
    }
}
