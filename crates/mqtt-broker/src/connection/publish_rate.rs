//! [`PublishRate`]: how fast one client publishes, and what is done if it is too fast.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{
    Connection,
    phase::{Open, Phase},
};
use crate::{
    admission::{AdmissionControl, Spent},
    burst::Burst,
    close_reason::CloseReason,
    limits::{Limits, PublishRatePolicy},
};

/// What a client has published of late. Only clients whose rate is limited own one.
pub(crate) struct PublishRate {
    spent: Arc<Mutex<Spent>>,
    /// It was too fast: nothing more is read from it until then.
    pub(super) paused_until: Option<Instant>,
}

impl PublishRate {
    /// Of a client that has just connected; `None` if no limit is set. What it owes from an earlier connection it pays first:
    /// else it would be one message ahead each time.
    pub(super) fn of(
        client_id: &Arc<str>,
        admission: &AdmissionControl,
        limits: &Limits,
        now: Instant,
    ) -> Option<Box<Self>> {
        if limits.max_publish_rate.is_none() && limits.max_publish_byte_rate.is_none() {
            return None;
        }
        let spent = admission.spent_by(now, client_id, limits);
        let owed = spent.lock().owed(now);
        let paused_until = (owed > Duration::ZERO).then(|| now.checked_add(owed)).flatten();
        Some(Box::new(Self { spent, paused_until }))
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
        let rest = rate.spent.lock().spend(now, packet_len, limits);
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
