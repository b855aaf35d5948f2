//! [`Inbox`]: records that came in and are not written yet, in the order in which they came. Knows nothing of threads.
//!
//! A message that was queued, sent and done with before the writer took it leaves nothing behind: what becomes of it, told
//! in groups of one record, goes into the place of its [`Record::Queued`], and its end empties the place. Empty places need
//! no writing to be durable.

use std::{collections::VecDeque, mem};

use mqtt_broker::store::{MessageKey, Record, SessionKey};
use mqtt_codec::PacketId;

/// What a record costs in memory besides its message.
const RECORD_BYTES: usize = mem::size_of::<Record>();
/// What becomes of a message for more sessions than this is left to the ledger: here each of them would be looked at.
const MOST_RECEIVERS: u64 = 8;

#[derive(Default)]
pub(crate) struct Inbox {
    slots: VecDeque<Slot>,
    /// How many slots went before these.
    gone: u64,
    /// Where new messages are, in the order of their keys.
    places: VecDeque<Place>,
    /// No message with a greater key has come in, or is in the engine; `None` as long as nobody has looked.
    newest: Option<MessageKey>,
    /// Up to this mark there may be what only writing makes durable, and somebody waits for.
    urgent_until: u64,
    bytes: usize,
    /// Groups that have come in: the mark of the latest.
    appended: u64,
    /// Messages in `slots`, those that were done with included.
    queued: usize,
    /// Those that were done with, and the ends in `slots` of others.
    done: usize,
    /// Messages that were done with here since somebody asked.
    spared: usize,
}

/// The place of one record.
pub(crate) struct Slot {
    /// Its group's.
    mark: u64,
    /// `None` if it is a message that was done with.
    record: Option<Record>,
    /// What became of the message.
    sent: Option<PacketId>,
    released: bool,
}

/// Where the records of a new message are: side by side, one for each receiver.
#[derive(Clone, Copy)]
struct Place {
    key: MessageKey,
    /// Counted from the first slot that ever was.
    first: u64,
    receivers: u64,
}

impl Inbox {
    /// An inbox of an engine in which no message has a greater key; `None` if nobody has looked.
    pub(crate) fn new(newest: Option<MessageKey>) -> Self {
        Self { newest, ..Self::default() }
    }

    /// No message in the engine has a greater key.
    pub(crate) fn set_newest(&mut self, key: MessageKey) {
        self.newest = self.newest.max(Some(key));
    }

    /// The mark of the latest group.
    pub(crate) fn appended(&self) -> u64 {
        self.appended
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// What is here takes so much memory, roughly.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Messages that were done with here since the last call.
    pub(crate) fn take_spared(&mut self) -> usize {
        mem::take(&mut self.spared)
    }

    /// Gives a group a mark, and drops it.
    pub(crate) fn refuse(&mut self) {
        self.appended += 1;
    }

    /// Takes a group of several records.
    pub(crate) fn push_group(&mut self, group: Vec<Record>) {
        self.appended += 1;
        for record in group {
            self.push(record);
        }
    }

    /// Takes a group of one record. What it returns is to be dropped: elsewhere, as others wait for this inbox.
    pub(crate) fn push_one(&mut self, record: Record) -> Option<Record> {
        self.appended += 1;
        let place = match record {
            Record::Sent { session, key, .. }
            | Record::Released { session, key }
            | Record::Done { session, key } => self.find(session, key),
            _ => None,
        };
        let Some(slot) = place.and_then(|place| self.slots.get_mut(place)) else {
            self.push(record);
            return None;
        };
        match record {
            Record::Sent { packet_id, .. } => slot.sent = Some(packet_id),
            Record::Released { .. } => slot.released = true,
            _ => {
                let done = slot.record.take();
                self.bytes -= done.as_ref().map_or(0, size);
                self.done += 1;
                self.spared += 1;
                return done;
            }
        }
        None
    }

    /// Whether what is here may wait to be done with: most of it is not, or not what the rest stands behind.
    pub(crate) fn has_time(&self) -> bool {
        self.slots.front().is_none_or(|front| front.may_go_yet() && front.mark > self.urgent_until)
            || !self.is_mostly_done()
    }

    /// Whether there is nothing to write at the front.
    pub(crate) fn can_settle(&self) -> bool {
        self.slots.front().is_some_and(|front| front.record.is_none())
    }

    /// Lets go of the empty places at the front. The mark up to which nothing is left to write.
    pub(crate) fn settle(&mut self) -> u64 {
        while let Some(slot) = self.slots.pop_front_if(|slot| slot.record.is_none()) {
            self.uncount(&slot);
        }
        self.settled()
    }

    /// Takes all there is, and leaves an empty buffer. The mark of the last group.
    pub(crate) fn take_all(&mut self, slots: &mut VecDeque<Slot>) -> u64 {
        mem::swap(&mut self.slots, slots);
        self.gone += slots.len() as u64;
        self.places.clear();
        (self.bytes, self.queued, self.done) = (0, 0, 0);
        self.appended
    }

    /// Takes what is to be written of what may have to wait no longer: the groups up to this mark; if most is done with, those
    /// that somebody waits for; and what follows and cannot go by itself. The mark up to which nothing is left to write.
    pub(crate) fn take_until(&mut self, mark: u64, slots: &mut VecDeque<Slot>) -> u64 {
        let mut last = if self.is_mostly_done() { mark.max(self.urgent_until) } else { mark };
        // A group that was begun is taken to its end.
        while let Some(front) = self.slots.front()
            && (front.mark <= last || !front.may_go_yet())
            && let Some(slot) = self.slots.pop_front()
        {
            last = last.max(slot.mark);
            self.bytes -= slot.record.as_ref().map_or(0, size);
            self.uncount(&slot);
            slots.push_back(slot);
        }
        self.settled()
    }

    fn is_mostly_done(&self) -> bool {
        // Seven in eight, not all: while messages keep coming, some are always on their way.
        self.done >= self.queued - self.queued / 8
    }

    fn push(&mut self, record: Record) {
        let is_urgent = match record {
            Record::Queued { session, key, .. } => {
                self.queued += 1;
                !self.add_place(session, key)
            }
            Record::Done { .. } => {
                self.done += 1;
                false // Nobody waits to hear of it.
            }
            _ => true,
        };
        if is_urgent {
            self.urgent_until = self.appended;
        }
        self.bytes += size(&record);
        self.slots.push_back(Slot { mark: self.appended, record: Some(record), sent: None, released: false });
    }

    /// Notes where a message will be. `false` if what becomes of it has to be left to the ledger.
    fn add_place(&mut self, session: SessionKey, key: MessageKey) -> bool {
        let first = self.gone + self.slots.len() as u64;
        let Some(newest) = self.newest else { return false };
        if key > newest {
            self.newest = Some(key);
            self.places.push_back(Place { key, first, receivers: 1 });
            return true;
        }
        let is_known = self.find(session, key).is_some();
        match self.places.back_mut() {
            Some(place) if place.key == key && place.first + place.receivers == first && !is_known => {
                place.receivers += 1;
                place.receivers <= MOST_RECEIVERS
            }
            _ => {
                // An earlier one of that key may be anywhere.
                self.places.clear();
                false
            }
        }
    }

    /// Which slot has this message for this session.
    fn find(&self, session: SessionKey, key: MessageKey) -> Option<usize> {
        // Keys without gaps are the rule.
        let guess = key.checked_sub(self.places.front()?.key)?;
        let guessed = self.places.get(usize::try_from(guess).ok()?).filter(|place| place.key == key);
        let place = match guessed {
            Some(place) => place,
            None => self.places.get(self.places.binary_search_by_key(&key, |place| place.key).ok()?)?,
        };
        if place.receivers > MOST_RECEIVERS {
            return None;
        }
        let mut slots = place.first.max(self.gone)..place.first + place.receivers;
        let is_it =
            |slot: &Slot| matches!(slot.record, Some(Record::Queued { session: of, .. }) if of == session);
        slots.find_map(|slot| {
            let at = usize::try_from(slot - self.gone).ok()?;
            self.slots.get(at).is_some_and(is_it).then_some(at)
        })
    }

    /// A slot is gone from the front.
    fn uncount(&mut self, slot: &Slot) {
        match slot.record {
            None => {
                self.queued -= 1;
                self.done -= 1;
            }
            Some(Record::Queued { .. }) => self.queued -= 1,
            Some(Record::Done { .. }) => self.done -= 1,
            Some(_) => {}
        }
        self.gone += 1;
        let gone = self.gone;
        self.places.pop_front_if(|place| place.first + place.receivers <= gone);
    }

    fn settled(&self) -> u64 {
        self.slots.front().map_or(self.appended, |front| front.mark - 1)
    }
}

impl Slot {
    /// Whether it is a message that is not done with.
    fn may_go_yet(&self) -> bool {
        matches!(self.record, Some(Record::Queued { .. }))
    }

    /// What is to be written.
    pub(crate) fn unpack(self, records: &mut Vec<Record>) {
        let Some(record) = self.record else { return };
        let about = match record {
            Record::Queued { session, key, .. } => Some((session, key)),
            _ => None,
        };
        records.push(record);
        let Some((session, key)) = about else { return };
        records.extend(self.sent.map(|packet_id| Record::Sent { session, key, packet_id }));
        records.extend(self.released.then_some(Record::Released { session, key }));
    }
}

/// What a record takes in memory, roughly.
pub(crate) fn size(record: &Record) -> usize {
    RECORD_BYTES
        + match record {
            Record::Queued { message, .. } | Record::Retained { message, .. } => message.size(),
            Record::WillSet { will, .. } => will.size(),
            _ => 0,
        }
}

#[cfg(test)]
mod tests {
    use mqtt_broker::{Message, QoS};

    use super::*;

    fn queued(session: SessionKey, key: MessageKey) -> Record {
        let message = Message::new(&"t".try_into().unwrap(), b"a payload", QoS::AtLeastOnce);
        Record::Queued { session, key, qos: QoS::AtLeastOnce, retain: false, message }
    }

    fn sent(session: SessionKey, key: MessageKey) -> Record {
        Record::Sent { session, key, packet_id: PacketId::FIRST }
    }

    fn done(session: SessionKey, key: MessageKey) -> Record {
        Record::Done { session, key }
    }

    const URGENT: Record = Record::Received { session: 1, packet_id: PacketId::FIRST };

    /// An inbox of an empty engine, with these groups of one record.
    fn inbox(records: impl IntoIterator<Item = Record>) -> Inbox {
        let mut inbox = Inbox::new(Some(0));
        for record in records {
            inbox.push_one(record);
        }
        inbox
    }

    fn unpacked(slots: VecDeque<Slot>) -> Vec<Record> {
        let mut records = Vec::new();
        for slot in slots {
            slot.unpack(&mut records);
        }
        records
    }

    fn all(mut inbox: Inbox) -> Vec<Record> {
        let mut slots = VecDeque::new();
        inbox.take_all(&mut slots);
        assert_eq!((inbox.bytes(), inbox.is_empty()), (0, true));
        unpacked(slots)
    }

    #[test]
    fn a_message_that_was_done_with_leaves_nothing() {
        let mut inbox = inbox([queued(1, 5), sent(1, 5), queued(1, 6), done(1, 5)]);
        assert!(inbox.push_one(done(1, 6)).is_some(), "to be dropped elsewhere");
        assert_eq!((inbox.bytes(), inbox.take_spared(), inbox.take_spared()), (0, 2, 0));
        assert_eq!(inbox.settle(), 5);
        assert!(inbox.is_empty());
    }

    #[test]
    fn what_became_of_a_message_follows_it() {
        let other = queued(2, 6);
        let left =
            all(inbox([queued(1, 5), other.clone(), sent(1, 5), Record::Released { session: 1, key: 5 }]));
        let released = Record::Released { session: 1, key: 5 };
        assert_eq!(left, [queued(1, 5), sent(1, 5), released, other]);
    }

    #[test]
    fn each_receiver_is_done_for_itself() {
        let mut inbox = Inbox::new(Some(0));
        inbox.push_group((1..=8).map(|session| queued(session, 5)).collect());
        inbox.push_one(done(2, 5));
        inbox.push_one(done(9, 5));
        let rest = [1, 3, 4, 5, 6, 7, 8].map(|session| queued(session, 5));
        assert_eq!(all(inbox), [&rest[..], &[done(9, 5)]].concat());
    }

    #[test]
    fn a_message_for_many_is_left_to_the_ledger() {
        let mut inbox = Inbox::new(Some(0));
        let group: Vec<_> = (1..=9).map(|session| queued(session, 5)).collect();
        inbox.push_group(group.clone());
        inbox.push_one(done(2, 5));
        assert_eq!(all(inbox), [&group[..], &[done(2, 5)]].concat());
    }

    /// A key that comes again, or came in an earlier process, may have a row that has to go.
    #[test]
    fn the_end_of_a_message_that_may_have_been_written_is_kept() {
        let again = [queued(1, 5), queued(1, 6), queued(1, 5), done(1, 5), done(1, 6)];
        assert_eq!(all(inbox(again.clone())), again);
        for newest in [None, Some(5)] {
            let mut inbox = Inbox::new(newest);
            inbox.push_one(queued(1, 5));
            inbox.push_one(done(1, 5));
            assert_eq!(all(inbox), [queued(1, 5), done(1, 5)]);
        }
        let mut inbox = inbox([queued(1, 5)]);
        inbox.take_all(&mut VecDeque::new());
        inbox.push_one(queued(1, 5));
        inbox.push_one(done(1, 5));
        assert_eq!(all(inbox), [queued(1, 5), done(1, 5)]);
    }

    /// All of a group, or nothing: its other records are not written yet.
    #[test]
    fn an_end_among_other_records_stays_with_them() {
        let mut inbox = inbox([queued(1, 5)]);
        inbox.push_group(vec![done(1, 5), URGENT]);
        assert_eq!(all(inbox), [queued(1, 5), done(1, 5), URGENT]);
    }

    #[test]
    fn has_time_until_most_is_done_with_and_nothing_stands_in_front() {
        let messages = || inbox((1..=16).map(|key| queued(1, key)));
        let done_with = |keys: std::ops::RangeInclusive<u64>| {
            let mut inbox = messages();
            keys.for_each(|key| drop(inbox.push_one(done(1, key))));
            inbox
        };
        assert!(inbox([]).has_time() && messages().has_time() && done_with(1..=13).has_time());
        assert!(!done_with(1..=14).has_time(), "seven in eight");
        assert!(done_with(2..=16).has_time(), "the first keeps the others back");
        assert!(!inbox([URGENT]).has_time(), "nothing to wait for");
        let mut urgent = done_with(2..=16);
        urgent.push_one(URGENT);
        assert!(!urgent.has_time(), "only writing helps");
    }

    #[test]
    fn settles_up_to_the_first_that_is_not_done_with() {
        let mut inbox = inbox((1..=4).map(|key| queued(1, key)));
        for key in [1, 2, 4] {
            inbox.push_one(done(1, key));
        }
        assert!(inbox.can_settle());
        assert_eq!((inbox.settle(), inbox.can_settle()), (2, false));
        inbox.push_one(done(1, 3));
        assert_eq!(inbox.settle(), 8);
    }

    #[test]
    fn takes_what_has_waited_and_what_cannot_go_by_itself() {
        let mut slots = VecDeque::new();
        let mut inbox = inbox([queued(1, 1), queued(1, 2), queued(1, 3), done(1, 77), queued(1, 4)]);
        assert_eq!(inbox.take_until(0, &mut slots), 0, "all may go by themselves");
        assert_eq!(inbox.take_until(2, &mut slots), 2);
        inbox.push_one(done(1, 3));
        assert_eq!(inbox.take_until(0, &mut slots), 4);
        assert_eq!(unpacked(mem::take(&mut slots)), [queued(1, 1), queued(1, 2), done(1, 77)]);
        inbox.push_group(vec![queued(1, 5), URGENT, queued(1, 6)]);
        inbox.push_one(queued(1, 7));
        for key in [4, 5, 6] {
            inbox.push_one(done(1, key));
        }
        inbox.push_one(done(1, 99));
        inbox.push_one(done(1, 98));
        assert_eq!(inbox.take_until(0, &mut slots), 7, "up to the group that somebody waits for");
        assert_eq!(unpacked(slots), [URGENT]);
        assert_eq!(all(inbox), [queued(1, 7), done(1, 99), done(1, 98)]);
    }
}
