//! [`Inbox`]: records that came in and the engine has not been told of, in the order in which they came. Knows nothing of
//! threads.
//!
//! A message that was queued, sent and done with before the engine was told leaves nothing behind: what becomes of it goes
//! into the place of its [`Record::Queued`], and its end empties the place. Empty places go at once where nothing stands before
//! them, and else, unless there are very many, when they are more than the others: what is at work is to stay in the processor's cache.

mod slot;

use std::{collections::VecDeque, mem};

use mqtt_broker::{
    Message,
    store::{MessageKey, Record, SessionKey},
};
use rustc_hash::FxHashMap;

use self::slot::RECORD_BYTES;
pub(crate) use self::slot::{Later, Slot, size};

/// What becomes of a message for more sessions than this is left to the ledger: here each of them would be looked at.
const MOST_RECEIVERS: u64 = 8;
/// So many empty places may stand between others, however few those are.
const EMPTY_PLACES: usize = 256;
/// Among more than so many places gaps are not closed: it would take long while others wait, and so many leave the cache in any case.
const MOST_CLOSED: usize = 16 * 1024;

#[derive(Default)]
pub(crate) struct Inbox {
    /// In the order of their numbers.
    slots: VecDeque<Slot>,
    /// How many of them are empty.
    empty: usize,
    /// The number of the next slot.
    next: u64,
    /// Where new messages are, in the order of their keys.
    places: VecDeque<Place>,
    /// No message with a greater key has come in, or is in the engine; `None` as long as nobody has looked.
    newest: Option<MessageKey>,
    /// What is said here of each session's messages. Of some who are spoken of no more it is still here.
    spoken: FxHashMap<SessionKey, Spoken>,
    bytes: usize,
}

/// Where the records of a new message are: side by side, one for each receiver.
#[derive(Clone, Copy)]
struct Place {
    key: MessageKey,
    /// The first slot's number.
    first: u64,
    receivers: u64,
}

/// What is said of a session's messages.
#[derive(Clone, Copy)]
struct Spoken {
    /// The keys of new ones lie from here to here.
    queued: (MessageKey, MessageKey),
    /// The greatest key of those of which is said what became of them, but in the place of a new one.
    acted: MessageKey,
    /// The number of this session's last slot. Once all up to it are gone, nothing is said any more.
    last: u64,
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

    /// How many places there are, the empty ones included.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// What is here takes so much memory, roughly.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Of this session's messages with keys after `after`, nothing here is about those before this key; `MessageKey::MAX`: about
    /// none at all.
    pub(crate) fn silent_until(&self, session: SessionKey, after: MessageKey) -> MessageKey {
        let next = after.saturating_add(1);
        match self.spoken.get(&session).filter(|spoken| spoken.last >= self.gone()) {
            // Which keys after it, nobody has noted.
            Some(spoken) if spoken.acted > after => next,
            Some(spoken) if spoken.queued.1 > after => spoken.queued.0.max(next),
            _ => MessageKey::MAX,
        }
    }

    /// Takes a record of the group with this mark. A message that it is the end of is to be dropped: elsewhere, as others wait for this inbox.
    pub(crate) fn push(&mut self, mark: u64, record: Record) -> Option<Message> {
        let place = match record {
            Record::Sent { session, key, .. }
            | Record::Released { session, key }
            | Record::Done { session, key } => self.find(session, key),
            Record::Queued { session, key, .. } => {
                self.add_place(session, key);
                None
            }
            _ => None,
        };
        let Some((at, slot)) = place.and_then(|at| Some((at, self.slots.get_mut(at)?))) else {
            self.add(mark, record);
            return None;
        };
        match record {
            Record::Sent { packet_id, .. } => slot.sent = Some((mark, packet_id)),
            Record::Released { .. } => slot.released = Some(mark),
            _ => {
                let done = match slot.record.take() {
                    Some(Record::Queued { message, .. }) => Some(message),
                    _ => None,
                };
                self.bytes -= slot.counted() - RECORD_BYTES;
                slot.bytes = RECORD_BYTES;
                if !slot.is_counted_before {
                    self.count_after(at);
                }
                self.empty += 1;
                self.shrink();
                return done;
            }
        }
        None
    }

    fn add(&mut self, mark: u64, record: Record) {
        self.note(&record);
        let is_counted_before = self.slots.back().is_some_and(|before| before.has_message_of(&record));
        let (number, bytes) = (self.next, size(&record));
        let slot =
            Slot { number, mark, record: Some(record), bytes, is_counted_before, sent: None, released: None };
        self.bytes += slot.counted();
        self.slots.push_back(slot);
        self.next += 1;
    }

    /// The message that was counted here is counted in the next slot that still has it.
    fn count_after(&mut self, at: usize) {
        let mut others = self.slots.range_mut(at + 1..).take_while(|slot| slot.is_counted_before);
        if let Some(other) = others.find(|slot| slot.record.is_some()) {
            self.bytes += other.bytes - RECORD_BYTES;
            other.is_counted_before = false;
        }
    }

    /// The mark up to which half of the places are taken.
    pub(crate) fn middle(&self) -> u64 {
        self.slots.get(self.slots.len() / 2).map_or(0, |slot| slot.mark)
    }

    /// Takes the groups up to this mark, but no more than so many places at a time. Whether that was all of them.
    pub(crate) fn take_until(&mut self, mark: u64, most: usize, slots: &mut VecDeque<Slot>) -> bool {
        for _ in 0..most {
            let Some(slot) = self.slots.pop_front_if(|slot| slot.mark <= mark) else { return true };
            self.uncount(&slot);
            slots.push_back(slot);
        }
        false
    }

    /// Takes all there is, and leaves an empty buffer.
    pub(crate) fn take(&mut self, slots: &mut VecDeque<Slot>) {
        mem::swap(&mut self.slots, slots);
        self.places.clear();
        self.spoken.clear();
        (self.empty, self.bytes) = (0, 0);
    }

    /// Gives back what memory it has for more places than this.
    pub(crate) fn shrink_to(&mut self, places: usize) {
        self.slots.shrink_to(places);
        self.places.shrink_to(places);
        self.spoken.shrink_to(places);
    }

    fn note(&mut self, record: &Record) {
        let (session, queued, acted) = match *record {
            Record::Queued { session, key, .. } => (session, Some(key), 0),
            Record::Sent { session, key, .. }
            | Record::Released { session, key }
            | Record::Done { session, key } => (session, None, key),
            // All of them.
            Record::SessionStarted { session, .. } | Record::SessionEnded { session } => {
                (session, None, MessageKey::MAX)
            }
            _ => return,
        };
        self.forget_gone();
        let (gone, last) = (self.gone(), self.next);
        let nothing = Spoken { queued: (MessageKey::MAX, 0), acted: 0, last };
        let spoken = self.spoken.entry(session).or_insert(nothing);
        if spoken.last < gone {
            *spoken = nothing;
        }
        if let Some(key) = queued {
            spoken.queued = (key.min(spoken.queued.0), key.max(spoken.queued.1));
        }
        spoken.acted = acted.max(spoken.acted);
        spoken.last = last;
    }

    /// Makes room, if there is none, by forgetting those of whom nothing is here any more. That is seldom: afterwards half of it
    /// is free. To look after each slot that goes would cost each message.
    fn forget_gone(&mut self) {
        let room = self.spoken.capacity();
        if self.spoken.len() < room {
            return;
        }
        let gone = self.gone();
        self.spoken.retain(|_, spoken| spoken.last >= gone);
        if self.spoken.len() > room / 2 {
            self.spoken.reserve(room);
        }
    }

    /// Lets go of empty places: of those at the front, and of all when they are more than the others.
    fn shrink(&mut self) {
        while let Some(slot) = self.slots.pop_front_if(|slot| slot.record.is_none()) {
            self.uncount(&slot);
        }
        let enough = EMPTY_PLACES.max(self.slots.len() / 2);
        if self.empty > enough && self.slots.len() <= MOST_CLOSED {
            self.close_gaps();
        }
    }

    fn close_gaps(&mut self) {
        self.bytes -= self.empty * RECORD_BYTES;
        self.empty = 0;
        self.slots.retain(|slot| slot.record.is_some());
        let mut slots = self.slots.iter().peekable();
        self.places.retain(|place| {
            while slots.next_if(|slot| slot.number < place.first).is_some() {}
            slots.peek().is_some_and(|slot| slot.number < place.end())
        });
    }

    /// This slot is gone from the front.
    fn uncount(&mut self, slot: &Slot) {
        self.bytes -= slot.counted();
        self.empty -= usize::from(slot.record.is_none());
        let gone = self.gone();
        while self.places.pop_front_if(|place| place.end() <= gone).is_some() {}
    }

    /// Slots with smaller numbers are gone.
    fn gone(&self) -> u64 {
        self.slots.front().map_or(self.next, |slot| slot.number)
    }

    /// Notes where a message will be, if what becomes of it need not be left to the ledger.
    fn add_place(&mut self, session: SessionKey, key: MessageKey) {
        let first = self.next;
        let Some(newest) = self.newest else { return };
        if key > newest {
            self.newest = Some(key);
            self.places.push_back(Place { key, first, receivers: 1 });
            return;
        }
        let is_known = self.find(session, key).is_some();
        match self.places.back_mut() {
            Some(place) if place.key == key && place.end() == first && !is_known => {
                place.receivers += 1;
            }
            // An earlier one of that key may be anywhere.
            _ => self.places.clear(),
        }
    }

    /// Which slot has this message for this session.
    fn find(&self, session: SessionKey, key: MessageKey) -> Option<usize> {
        let place = self.places.get(find_by(&self.places, key, |place| place.key).ok()?)?;
        if place.receivers > MOST_RECEIVERS {
            return None;
        }
        let (Ok(at) | Err(at)) = find_by(&self.slots, place.first, |slot| slot.number);
        let receivers = self.slots.range(at..).take_while(|slot| slot.number < place.end());
        let mut numbered = (at..).zip(receivers);
        numbered.find_map(|(at, slot)| slot.is_message_for(session).then_some(at))
    }
}

/// Where what has this number is, or would be. Numbers grow; among the latest they do so without gaps as a rule.
fn find_by<T>(all: &VecDeque<T>, number: u64, number_of: impl Fn(&T) -> u64) -> Result<usize, usize> {
    let Some(last) = all.len().checked_sub(1) else { return Err(0) };
    let before_last = all.get(last).and_then(|last| number_of(last).checked_sub(number));
    let guess = before_last.and_then(|before| last.checked_sub(usize::try_from(before).ok()?));
    match guess {
        Some(guess) if all.get(guess).is_some_and(|found| number_of(found) == number) => Ok(guess),
        _ => all.binary_search_by_key(&number, number_of),
    }
}

impl Place {
    /// The number of the slot behind its last.
    fn end(&self) -> u64 {
        self.first + self.receivers
    }
}

#[cfg(test)]
mod tests;
