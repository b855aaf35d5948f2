//! [`RetainedFilling`]: [`Retained`] while very many messages are put into it, and nobody looks anything up.

use std::{sync::Arc, time::Instant};

use super::{Put, Retained, RetainedLimits, hash, key::shared_key_of};

/// So many messages go into the table together: the processor can fetch the places of several at a time if nothing else is done in
/// between.
const TOGETHER: usize = 64;

/// [`Retained`] to be, for who has very many messages for it. The topics are put in order at the end, at once: a tree that is made of
/// what is in order costs a fraction of one that grows, and its nodes are full.
pub struct RetainedFilling<M> {
    /// Its order is not there yet.
    retained: Retained<M>,
    topics: Vec<Arc<[u8]>>,
    waiting: Vec<Waiting<M>>,
}

struct Waiting<M> {
    hash: u64,
    key: Arc<[u8]>,
    message: M,
    size_bytes: usize,
    expires_at: Option<Instant>,
}

impl<M: Clone> RetainedFilling<M> {
    /// With room for about so many messages, as far as the limit allows.
    pub fn new(limits: RetainedLimits, expected: usize) -> Self {
        let expected = expected.min(limits.max_messages);
        let mut retained = Retained::new(limits);
        let keys = &retained.keys;
        retained.messages.reserve(expected, |kept| hash(keys, &kept.key));
        Self { retained, topics: Vec::with_capacity(expected), waiting: Vec::with_capacity(TOGETHER) }
    }

    /// As [`Retained::set`]; `topic` is the bytes of a valid topic name. A message for which there is no room is left out.
    pub fn set(&mut self, topic: &[u8], message: M, size_bytes: usize, expires_at: Option<Instant>) {
        let key = shared_key_of(topic);
        let hash = hash(&self.retained.keys, &key);
        self.waiting.push(Waiting { hash, key, message, size_bytes, expires_at });
        if self.waiting.len() == TOGETHER {
            self.put_waiting();
        }
    }

    /// What has come of it.
    pub fn finish(mut self) -> Retained<M> {
        self.put_waiting();
        Retained { order: self.topics.into_iter().collect(), ..self.retained }
    }

    fn put_waiting(&mut self) {
        for Waiting { hash, key, message, size_bytes, expires_at } in self.waiting.drain(..) {
            if let Ok(Put::First(key)) = self.retained.put(hash, key, message, size_bytes, expires_at) {
                self.topics.push(key);
            }
        }
    }
}
