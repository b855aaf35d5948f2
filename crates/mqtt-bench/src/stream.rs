//! What makes a fault visible: the stamp in each payload, and the checks at the receiving end.
//!
//! A payload begins with 16 bytes: publisher (24 bits) and sequence number (40 bits), then the time of sending in
//! nanoseconds since the run began. Whatever a server loses, doubles or reorders shows in those numbers alone.

use std::collections::VecDeque;

/// Bytes of the stamp, and so the smallest payload.
pub(crate) const STAMP_BYTES: usize = 16;
const SEQUENCE_BITS: u32 = 40;
/// Publishers that a stamp tells apart.
pub(crate) const MAX_PUBLISHERS: usize = 1 << (u64::BITS - SEQUENCE_BITS);
/// How far behind the newest a message may come and still be told from a lost one, in words of 64 messages.
const MAX_WORDS: usize = 16 * 1024;

/// The first 16 bytes of every payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) publisher: usize,
    pub(crate) sequence: u64,
    pub(crate) sent_ns: u64,
}

impl Stamp {
    pub(crate) fn write(self, to: &mut [u8]) {
        let name = ((self.publisher as u64) << SEQUENCE_BITS) | self.sequence;
        to[..8].copy_from_slice(&name.to_be_bytes());
        to[8..STAMP_BYTES].copy_from_slice(&self.sent_ns.to_be_bytes());
    }

    /// `None` if the payload is too short to hold one.
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let (name, rest) = payload.split_first_chunk::<8>()?;
        let (sent_ns, _) = rest.split_first_chunk::<8>()?;
        let name = u64::from_be_bytes(*name);
        Some(Self {
            publisher: usize::try_from(name >> SEQUENCE_BITS).ok()?,
            sequence: name & ((1 << SEQUENCE_BITS) - 1),
            sent_ns: u64::from_be_bytes(*sent_ns),
        })
    }
}

/// How one message stands to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Newer than all before it. (Whether it left a gap shows at the end.)
    Newest,
    /// Older than one that came before it.
    Late,
    /// Came before.
    Duplicate,
}

/// Which messages of one publisher have arrived, each exactly once.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// Messages in `words` before the first are all accounted for.
    base: u64,
    words: VecDeque<u64>,
    received: u64,
    /// One more than the newest sequence number seen.
    next: u64,
}

impl Stream {
    pub(crate) fn arrive(&mut self, sequence: u64) -> Arrival {
        let Some(offset) = sequence.checked_sub(self.base) else { return Arrival::Duplicate };
        let (word, bit) = ((offset / 64) as usize, 1_u64 << (offset % 64));
        if word >= self.words.len() {
            self.grow_to(word);
            // Growing may have moved the base.
            return self.arrive(sequence);
        }
        if self.words[word] & bit != 0 {
            return Arrival::Duplicate;
        }
        self.words[word] |= bit;
        self.received += 1;
        let arrival = if sequence >= self.next { Arrival::Newest } else { Arrival::Late };
        self.next = self.next.max(sequence + 1);
        while self.words.front() == Some(&u64::MAX) {
            self.words.pop_front();
            self.base += 64;
        }
        arrival
    }

    /// Makes room for `word`, giving up the oldest gaps when the span grows without bound.
    fn grow_to(&mut self, word: usize) {
        if word >= MAX_WORDS {
            let given_up = word + 1 - MAX_WORDS;
            self.words.drain(..given_up.min(self.words.len()));
            self.base += given_up as u64 * 64;
        }
        self.words.resize((word + 1).min(MAX_WORDS), 0);
    }

    /// Distinct messages that have arrived.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Those of the first `sent` that never arrived.
    pub(crate) fn lost(&self, sent: u64) -> u64 {
        sent.saturating_sub(self.received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(sequence: &[u64]) -> (Stream, Vec<Arrival>) {
        let mut stream = Stream::default();
        let seen = sequence.iter().map(|&number| stream.arrive(number)).collect();
        (stream, seen)
    }

    #[test]
    fn a_stamp_comes_back_as_it_was_written() {
        let stamp = Stamp { publisher: 49_999, sequence: (1 << 40) - 1, sent_ns: 123_456_789_012 };
        let mut payload = [0; 20];
        stamp.write(&mut payload);
        assert_eq!(Stamp::read(&payload), Some(stamp));
        assert_eq!(Stamp::read(&payload[..15]), None);
    }

    #[test]
    fn a_whole_stream_has_no_fault() {
        let (stream, seen) = arrivals(&(0..1000).collect::<Vec<_>>());
        assert!(seen.iter().all(|&arrival| arrival == Arrival::Newest));
        assert_eq!(stream.lost(1000), 0);
        assert!(stream.words.len() <= 1, "what is accounted for is not kept");
    }

    #[test]
    fn loss_is_seen() {
        let (stream, _) = arrivals(&[0, 1, 3, 4]);
        assert_eq!(stream.lost(5), 1);
        assert_eq!(stream.lost(6), 2, "the last one is missed as well");
    }

    #[test]
    fn duplicates_are_seen_near_and_far() {
        let mut sequence: Vec<u64> = (0..200).collect();
        sequence.extend([199, 0]);
        let (stream, seen) = arrivals(&sequence);
        assert_eq!(seen[200..], [Arrival::Duplicate, Arrival::Duplicate]);
        assert_eq!(stream.received(), 200);
    }

    #[test]
    fn disorder_is_seen_and_is_not_loss() {
        let (stream, seen) = arrivals(&[0, 2, 1, 3]);
        assert_eq!(seen, [Arrival::Newest, Arrival::Newest, Arrival::Late, Arrival::Newest]);
        assert_eq!(stream.lost(4), 0);
    }

    #[test]
    fn a_stream_that_loses_without_end_stays_bounded() {
        let mut stream = Stream::default();
        for sequence in (0..10_000_000).step_by(1000) {
            stream.arrive(sequence);
        }
        assert!(stream.words.len() <= MAX_WORDS);
        assert_eq!(stream.received(), 10_000);
        assert_eq!(stream.arrive(9_999_000), Arrival::Duplicate);
    }
}
