//! [`Memory`]: answers, for as long as they are good, and no more of them than there is room for.

use std::{
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use lru::LruCache;
use parking_lot::Mutex;

/// Answers by what was asked. Of a question no more than a hash is kept: it may be long, and may hold a password.
pub(super) struct Memory<T> {
    answers: Mutex<LruCache<u128, (T, Instant)>>,
    time_to_live: Duration,
}

impl<T: Clone> Memory<T> {
    pub(super) fn new(entries: NonZeroUsize, time_to_live: Duration) -> Self {
        // Not made for so many at once: most brokers remember few.
        Self { answers: Mutex::new(LruCache::new(entries)), time_to_live }
    }

    pub(super) fn get(&self, question: u128, now: Instant) -> Option<T> {
        let mut answers = self.answers.lock();
        let (answer, until) = answers.get(&question)?;
        if now < *until {
            return Some(answer.clone());
        }
        answers.pop(&question);
        None
    }

    pub(super) fn put(&self, question: u128, answer: T, now: Instant) {
        if let Some(until) = now.checked_add(self.time_to_live)
            && until > now
        {
            self.answers.lock().put(question, (answer, until));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_forgotten_in_time_and_beyond_their_number() {
        let (three, minute) = (NonZeroUsize::new(3).unwrap(), Duration::from_mins(1));
        let (memory, now) = (Memory::new(three, minute), Instant::now());
        memory.put(1, 'a', now);
        assert_eq!(memory.get(1, now + minute / 2), Some('a'));
        assert_eq!(memory.get(1, now + minute), None);
        (1..=3).for_each(|question| memory.put(question, 'b', now));
        assert_eq!(memory.get(1, now), Some('b'), "asked for, and so the youngest");
        memory.put(4, 'b', now);
        assert_eq!(
            [1, 2, 3, 4].map(|question| memory.get(question, now).is_some()),
            [true, false, true, true]
        );
        let none = Memory::new(three, Duration::ZERO);
        none.put(1, 'a', now);
        assert_eq!(none.get(1, now), None);
    }
}
