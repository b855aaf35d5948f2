//! [`Publishers`]: how fast each client identifier publishes, by whichever connection. Empty where no rate is limited.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{
    limits::{Limits, PublishRatePolicy},
    token_bucket::TokenBucket,
};

/// How many client identifiers without a connection are remembered, each until it has paid what it owes.
const MOST_IDLE: usize = 64 * 1024;

/// What is known of each client that is connected, or has just published.
#[derive(Default)]
pub(super) struct Publishers {
    spent: HashMap<Arc<str>, Arc<Mutex<Spent>>>,
}

/// What a client has published of late. All its connections have the same, one after the other.
#[derive(Clone, Copy)]
pub(crate) struct Spent {
    messages: TokenBucket,
    bytes: TokenBucket,
}

impl Publishers {
    /// What this client has published by earlier connections goes on in this one.
    pub(super) fn spent_by(
        &mut self,
        now: Instant,
        client_id: &Arc<str>,
        limits: &Limits,
    ) -> Arc<Mutex<Spent>> {
        if let Some(spent) = self.spent.get(client_id) {
            return Arc::clone(spent);
        }
        let full = Spent { messages: TokenBucket::full(now), bytes: TokenBucket::full(now) };
        let spent = Arc::new(Mutex::new(full));
        // Who has so many client identifiers is not bounded by the rate of one: one more begins anew each time.
        if self.spent.len() < limits.max_connections.saturating_add(MOST_IDLE) {
            self.spent.insert(Arc::clone(client_id), Arc::clone(&spent));
        }
        spent
    }

    /// Forgets who is not connected and could publish as a stranger could.
    pub(super) fn forget_idle(&mut self, now: Instant) {
        self.spent.retain(|_, spent| Arc::strong_count(spent) > 1 || !spent.lock().is_nothing(now));
        if self.spent.capacity() > 4 * self.spent.len().max(64) {
            self.spent.shrink_to_fit();
        }
    }
}

impl Spent {
    /// One more PUBLISH of so many bytes; returns how long the client has to rest for it.
    pub(crate) fn spend(&mut self, now: Instant, packet_len: usize, limits: &Limits) -> Duration {
        let mut after = *self;
        if let Some(rate) = limits.max_publish_rate {
            after.messages.spend(now, 1, rate.get().into());
        }
        if let Some(rate) = limits.max_publish_byte_rate {
            after.bytes.spend(now, packet_len as u64, rate.get());
        }
        let owed = after.owed(now);
        // What its client is disconnected for is not passed on and costs nothing: else who tries it again and again would owe
        // more each time.
        if owed == Duration::ZERO || limits.publish_rate_policy == PublishRatePolicy::Delay {
            *self = after;
        }
        owed
    }

    /// How long the client has to rest before its next PUBLISH.
    pub(crate) fn owed(&self, now: Instant) -> Duration {
        self.messages.owed(now).max(self.bytes.owed(now))
    }

    fn is_nothing(&self, now: Instant) -> bool {
        self.messages.is_full(now) && self.bytes.is_full(now)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::net;

    #[test]
    fn the_table_is_bounded_and_forgets() {
        let limits =
            Limits { max_connections: 10, max_publish_rate: NonZeroU32::new(1), ..Limits::default() };
        let (mut publishers, start) = (Publishers::default(), net::now());
        let client = |n: usize| Arc::from(n.to_string());
        for n in 0..=10 + MOST_IDLE {
            publishers.spent_by(start, &client(n), &limits).lock().spend(start, 1, &limits);
        }
        assert_eq!(publishers.spent.len(), 10 + MOST_IDLE);
        let connected = publishers.spent_by(start, &client(0), &limits);
        publishers.forget_idle(start);
        assert_eq!(publishers.spent.len(), 10 + MOST_IDLE, "they have not paid yet");
        publishers.forget_idle(start + Duration::from_secs(1));
        assert_eq!(publishers.spent.len(), 1, "who is connected is remembered");
        drop(connected);
        publishers.forget_idle(start + Duration::from_secs(1));
        assert!(publishers.spent.is_empty());
    }
}
