//! [`PublishRate`]: how fast one client publishes, and what is done if it is too fast.

use std::time::{Duration, Instant};

use super::{
    Connection,
    phase::{Open, Phase},
};
use crate::{
    burst::Burst,
    close_reason::CloseReason,
    limits::{Limits, PublishRatePolicy},
    token_bucket::TokenBucket,
};

/// What a client has published of late. Only clients whose rate is limited own one.
pub(crate) struct PublishRate {
    messages: TokenBucket,
    bytes: TokenBucket,
    /// It was too fast: nothing more is read from it until then.
    pub(super) paused_until: Option<Instant>,
}

impl PublishRate {
    /// `None` if no limit is set.
    pub(super) fn limited_by(limits: &Limits, now: Instant) -> Option<Box<Self>> {
        let is_limited = limits.max_publish_rate.is_some() || limits.max_publish_byte_rate.is_some();
        let (messages, bytes) = (TokenBucket::full(now), TokenBucket::full(now));
        is_limited.then(|| Box::new(Self { messages, bytes, paused_until: None }))
    }

    /// One more PUBLISH of so many bytes; returns how long the client has to rest for it.
    fn spend(&mut self, now: Instant, packet_len: usize, limits: &Limits) -> Duration {
        let for_one = limits.max_publish_rate.map(|rate| self.messages.spend(now, 1, rate.get().into()));
        let for_bytes =
            limits.max_publish_byte_rate.map(|rate| self.bytes.spend(now, packet_len as u64, rate.get()));
        for_one.max(for_bytes).unwrap_or_default()
    }
}

impl Connection {
    /// Takes a PUBLISH into account. It is passed on in any case, unless its client is disconnected for it: the next one waits.
    pub(super) fn meter(
        &mut self,
        now: Instant,
        packet_len: usize,
        burst: &mut Burst<'_>,
    ) -> Result<(), CloseReason> {
        let Phase::Open(Open { terms: Some(terms), .. }) = &mut self.phase else { return Ok(()) };
        let Some(rate) = &mut terms.publish_rate else { return Ok(()) };
        let limits = &self.place.entrance.limits;
        let rest = rate.spend(now, packet_len, limits);
        if rest == Duration::ZERO {
            return Ok(());
        }
        match limits.publish_rate_policy {
            PublishRatePolicy::Disconnect => Err(CloseReason::PublishRate),
            PublishRatePolicy::Delay => {
                rate.paused_until = now.checked_add(rest);
                burst.totals.publishers_delayed.one();
                Ok(())
            }
        }
    }

    /// Goes on with a client that was held back, if it is time.
    pub(super) fn resume(&mut self, now: Instant, burst: &mut Burst<'_>) {
        let Ok(open) = self.open() else { return };
        let rate = open.terms.as_mut().and_then(|terms| terms.publish_rate.as_mut());
        let Some(rate) = rate else { return };
        if rate.paused_until.take_if(|until| now >= *until).is_some() {
            self.hear(now); // Nobody listened: its keep alive starts again.
            self.handle_held(now, burst);
        }
    }
}
