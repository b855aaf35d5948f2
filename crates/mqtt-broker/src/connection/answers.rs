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
struct Holds(VecDeque<Hold>);

/// From this byte on, answers wait for this mark.
struct Hold {
    from: usize,
    mark: Mark,
}

impl Answers {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends an answer.
    pub(super) fn push(
        &mut self,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        encode(&mut self.bytes)
    }

    /// The answers from here on promise what is durable only at `mark`.
    pub(super) fn hold_until(&mut self, mark: Mark) {
        if mark == Mark::NOTHING {
            return;
        }
        let Holds(holds) = &mut **self.holds.get_or_insert_default();
        if holds.back().is_none_or(|last| last.mark < mark) {
            holds.push_back(Hold { from: self.bytes.len(), mark });
        }
    }

    /// Moves the answers that may go to the end of `out`; an empty `out` takes over the buffer itself.
    pub(super) fn take_ready(&mut self, durability: &Durability, waker: &Waker, out: &mut Vec<u8>) {
        let ready = self.release(durability, waker);
        if ready < self.bytes.len() {
            out.extend(self.bytes.drain(..ready));
            for hold in self.holds.iter_mut().flat_map(|holds| holds.0.iter_mut()) {
                hold.from -= ready;
            }
        } else if out.is_empty() {
            std::mem::swap(out, &mut self.bytes);
        } else {
            out.append(&mut self.bytes);
        }
    }

    /// Lifts the holds whose mark is durable; returns how many bytes none of the others keeps back.
    fn release(&mut self, durability: &Durability, waker: &Waker) -> usize {
        let Some(Holds(holds)) = self.holds.as_deref_mut() else { return self.bytes.len() };
        while holds.front().is_some_and(|hold| durability.is_durable(hold.mark, waker)) {
            holds.pop_front();
        }
        let kept_from = holds.front().map(|hold| hold.from);
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
    use crate::store::{Record, Store, StoreError};

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
    }

    #[test]
    fn an_answer_waits_for_its_mark_and_for_those_before_it() {
        let slow = Slow::default();
        let epoch = (std::time::Instant::now(), std::time::SystemTime::now());
        let durability = Durability::on(Arc::new(slow.clone()), epoch);
        let mut answers = Answers::default();
        let push = |answers: &mut Answers, byte: u8| {
            answers.push(|out| {
                out.push(byte);
                Ok(())
            })
        };
        push(&mut answers, 1).unwrap();
        answers.hold_until(Mark(5));
        push(&mut answers, 2).unwrap();
        answers.hold_until(Mark(3)); // Durable earlier, but its answer is behind the other.
        push(&mut answers, 3).unwrap();
        answers.hold_until(Mark(7));
        push(&mut answers, 4).unwrap();
        let mut ready = |durable: u64| {
            *slow.0.lock() = durable;
            let mut out = Vec::new();
            answers.take_ready(&durability, Waker::noop(), &mut out);
            out
        };
        assert_eq!(ready(4), [1]);
        assert_eq!(ready(4), Vec::<u8>::new());
        assert_eq!(ready(6), [2, 3]);
        assert_eq!(ready(7), [4]);
    }
}
