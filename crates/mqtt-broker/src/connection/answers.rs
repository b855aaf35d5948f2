//! [`Answers`]: what a client is told about its own packets, in their order, and not before it is true.

use std::{collections::VecDeque, task::Waker};

use mqtt_codec::EncodeError;

use crate::{durability::Durability, store::Mark};

/// Encoded answers, some of which may have to wait for the store. An answer behind one that waits, waits too.
#[derive(Default)]
pub(super) struct Answers {
    bytes: Vec<u8>,
    /// Behind a pointer, because without a store nothing ever waits.
    holds: Option<Box<Holds>>,
}

#[derive(Default)]
struct Holds {
    queue: VecDeque<Hold>,
    /// The sum of theirs.
    written: usize,
}

/// From this byte on, answers wait for this mark.
struct Hold {
    from: usize,
    mark: Mark,
    /// Bytes of messages that the store is to keep by then.
    written: usize,
}

impl Answers {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether nothing waits, here or in the store.
    pub(super) fn is_settled(&self) -> bool {
        self.bytes.is_empty() && self.holds.is_none()
    }

    /// Appends an answer.
    pub(super) fn push(
        &mut self,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        encode(&mut self.bytes)
    }

    /// The answers from here on promise what is durable only at `mark`: a message of so many bytes, or something else, of 0.
    pub(super) fn hold_until(&mut self, mark: Mark, size: usize) {
        let Holds { queue, written } = &mut **self.holds.get_or_insert_default();
        *written += size;
        let from = self.bytes.len();
        match queue.back_mut() {
            Some(last) if last.mark >= mark => last.written += size,
            Some(last) if last.from == from => {
                last.mark = mark;
                last.written += size;
            }
            _ => queue.push_back(Hold { from, mark, written: size }),
        }
    }

    /// How many bytes of this client's messages the store has not made durable yet.
    pub(super) fn unsettled_bytes(&self) -> usize {
        self.holds.as_ref().map_or(0, |holds| holds.written)
    }

    /// Moves the answers that may go to the end of `out`; an empty `out` takes over the buffer itself.
    pub(super) fn take_ready(&mut self, durability: &Durability, waker: &Waker, out: &mut Vec<u8>) {
        let ready = self.release(durability, waker);
        if self.bytes.is_empty() {
            // Nothing to move: an exchange would leave `out`'s memory here.
        } else if ready < self.bytes.len() {
            out.extend(self.bytes.drain(..ready));
        } else if out.is_empty() {
            std::mem::swap(out, &mut self.bytes);
        } else {
            out.append(&mut self.bytes);
        }
        // Also those that no answer stands behind yet.
        for hold in self.holds.iter_mut().flat_map(|holds| holds.queue.iter_mut()) {
            hold.from -= ready;
        }
    }

    /// Lifts the holds whose mark is durable; returns how many bytes none of the others keeps back.
    fn release(&mut self, durability: &Durability, waker: &Waker) -> usize {
        let Some(Holds { queue, written }) = self.holds.as_deref_mut() else { return self.bytes.len() };
        while let Some(hold) = queue.pop_front_if(|hold| durability.is_durable(hold.mark, waker)) {
            *written -= hold.written;
            // Later ones have later marks. The store mostly writes for all of them at once.
            if queue.back().is_some_and(|last| durability.has(last.mark)) {
                queue.clear();
                *written = 0;
            }
        }
        let kept_from = queue.front().map(|hold| hold.from);
        if kept_from.is_none() {
            self.holds = None;
        }
        kept_from.unwrap_or(self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;
    use crate::store::{DeliverPage, QueueRead, Record, Store, StoreError};

    /// A store that is as durable as the test says.
    #[derive(Clone, Default)]
    struct Slow(Arc<Mutex<u64>>);

    impl Store for Slow {
        fn append(&self, _: Vec<Record>) -> Mark {
            Mark::NOTHING
        }

        fn durable(&self) -> Mark {
            Mark(*self.0.lock())
        }

        fn wake_at(&self, _: Mark, _: &Waker) {}

        fn failure(&self) -> Option<StoreError> {
            None
        }

        fn recover(&self, _: &mut dyn FnMut(Record)) -> Result<(), StoreError> {
            Ok(())
        }

        fn read_queue(&self, _: QueueRead, _: DeliverPage) {}
    }

    /// Answers of one byte each, and what of them leaves at a mark.
    struct Bench {
        slow: Slow,
        durability: Durability,
        answers: Answers,
    }

    impl Bench {
        fn new() -> Self {
            let slow = Slow::default();
            let epoch = (std::time::Instant::now(), std::time::SystemTime::now());
            let durability = Durability::on(Arc::new(slow.clone()), epoch);
            Self { slow, durability, answers: Answers::default() }
        }

        fn push(&mut self, byte: u8) {
            let pushed = self.answers.push(|out| {
                out.push(byte);
                Ok(())
            });
            pushed.unwrap();
        }

        fn ready(&mut self, durable: u64) -> Vec<u8> {
            *self.slow.0.lock() = durable;
            let mut out = Vec::new();
            self.answers.take_ready(&self.durability, Waker::noop(), &mut out);
            out
        }
    }

    #[test]
    fn an_answer_waits_for_its_mark_and_for_those_before_it() {
        let mut bench = Bench::new();
        bench.push(1);
        bench.answers.hold_until(Mark(5), 0);
        bench.push(2);
        bench.answers.hold_until(Mark(3), 0); // Durable earlier, but its answer is behind the other.
        bench.push(3);
        bench.answers.hold_until(Mark(7), 0);
        bench.push(4);
        assert_eq!(bench.ready(4), [1]);
        assert_eq!(bench.ready(4), [0; 0]);
        assert_eq!(bench.ready(6), [2, 3]);
        assert_eq!(bench.ready(7), [4]);
    }

    /// A QoS 0 message that is retained has a mark and no answer.
    #[test]
    fn a_hold_without_an_answer_keeps_the_next_ones_back() {
        let mut bench = Bench::new();
        bench.push(1);
        bench.answers.hold_until(Mark(5), 0);
        assert_eq!(bench.ready(4), [1]);
        bench.answers.hold_until(Mark(6), 0);
        bench.push(2);
        assert_eq!(bench.ready(4), [0; 0]);
        assert_eq!(bench.ready(6), [2]);
    }

    /// A client is read from again when the store has caught up with it.
    #[test]
    fn what_the_store_has_still_to_write_is_counted_until_it_has() {
        let mut bench = Bench::new();
        for (mark, size) in [(5, 100), (5, 20), (6, 3)] {
            bench.answers.hold_until(Mark(mark), size); // No answer comes between: they wait as one.
        }
        bench.push(1);
        bench.answers.hold_until(Mark(7), 40);
        bench.push(2);
        assert_eq!((bench.ready(5), bench.answers.unsettled_bytes()), (vec![], 163));
        assert_eq!((bench.ready(6), bench.answers.unsettled_bytes()), (vec![1], 40));
        assert_eq!((bench.ready(7), bench.answers.unsettled_bytes()), (vec![2], 0));
    }

    /// Retained QoS 0 messages without end, and a store that has failed: their marks were all kept.
    #[test]
    fn marks_without_answers_do_not_pile_up() {
        let mut bench = Bench::new();
        bench.push(1);
        for mark in 1..1_000 {
            bench.answers.hold_until(Mark(mark), 0);
        }
        bench.push(2);
        assert_eq!(bench.answers.holds.as_ref().map(|holds| holds.queue.len()), Some(1));
        assert_eq!(bench.ready(998), [1]);
        assert_eq!(bench.ready(999), [2]);
    }
}
