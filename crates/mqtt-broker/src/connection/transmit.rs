//! What leaves a connection: answers to the client's own packets, and the messages for it, none before what it promises is durable.
//!
//! Whoever asks whether something is durable may write it to the disk himself. Others wait for the session, and so it is not
//! locked meanwhile: what has to wait is taken out of it before.

use std::{task::Waker, time::Instant};

use mqtt_codec::PacketType;

use super::{
    Connection,
    inbound::Inbound,
    phase::{Open, Phase},
    subscribe::deliver_retained,
};
use crate::{
    burst::Burst,
    close_reason::CloseReason,
    core::Core,
    session::{MOST_WITHHELD, Sent, SessionRef},
    store::Mark,
};

/// Every PUBREL has so many bytes.
const PUBREL_LEN: usize = 4;

/// Messages that were taken out of the session, and wait for the store.
pub(super) struct Held {
    packets: Vec<u8>,
    sent: Sent,
    until: Mark,
}

impl Connection {
    /// Appends to `out` what is ready for the client. `false` says that nothing is: `waker` is woken when that changes.
    pub(crate) fn poll_transmit(
        &mut self,
        now: Instant,
        waker: &Waker,
        out: &mut Vec<u8>,
        burst: &mut Burst<'_>,
    ) -> bool {
        let before = out.len();
        if let Phase::Open(open) = &mut self.phase
            && let Err(reason) = collect(&self.place.core, open, &mut self.inbound, now, waker, out, burst)
        {
            self.end(now, reason, burst);
        }
        if let Some(inbound) = &mut self.inbound {
            inbound.answers.take_ready(&self.place.core.durability, waker, out);
            if inbound.is_empty() {
                self.inbound = None;
            }
        }
        let sent = out.len() - before;
        burst.tally.bytes_sent += sent as u64;
        sent > 0
    }
}

/// Answers first, then what the outbox has.
fn collect(
    core: &Core,
    open: &mut Open,
    inbound: &mut Option<Box<Inbound>>,
    now: Instant,
    waker: &Waker,
    out: &mut Vec<u8>,
    burst: &mut Burst<'_>,
) -> Result<(), CloseReason> {
    deliver_retained(core, &open.attachment, now, waker, burst)?;
    let nothing_waits = inbound
        .as_mut()
        .is_none_or(|inbound| inbound.let_go(core, &open.attachment.session, now, waker, out, burst));
    let mut state = open.attachment.lock()?;
    let refused = state.refill(&core.limits, &core.hooks);
    let until = state.outbox.hold();
    let is_free = nothing_waits && core.durability.has(until);
    let retry = open.terms.as_mut().and_then(|terms| terms.retry.as_mut());
    let due = retry.filter(|retry| retry.is_due);
    let is_overdue = due.is_some() && !is_free;
    if let Some(retry) = due.filter(|_| is_free) {
        retry.is_due = false;
        state.outbox.retry();
    }
    if is_free {
        let before = out.len();
        if let Some(sent) = state.outbox.take_pending(waker, out) {
            let bytes = out.len() - before;
            state.traffic.sent(&sent, bytes);
            count_sent(&sent, bytes, now, burst);
        }
    } else if inbound.as_ref().is_some_and(|inbound| inbound.held.is_some()) {
        state.outbox.keep_waker(waker); // It looks again when those that are held may leave.
    } else {
        let mut packets = Vec::new();
        if let Some(sent) = state.outbox.take_pending(waker, &mut packets) {
            inbound.get_or_insert_default().held = Some(Box::new(Held { packets, sent, until }));
        }
    }
    let read = state.outbox.next_read(&core.limits);
    drop(state);
    if refused.len() == MOST_WITHHELD {
        waker.wake_by_ref(); // There may be more, also of what may leave.
    }
    core.read_queue(&open.attachment.session, read);
    core.withheld(&open.attachment.session.client_id, &refused, burst);
    if !is_free && let Some(inbound) = inbound {
        inbound.let_go(core, &open.attachment.session, now, waker, out, burst);
    }
    // Else it looks again when what waits may leave.
    if is_overdue && nothing_waits && core.durability.is_durable(until, waker) {
        waker.wake_by_ref();
    }
    Ok(())
}

impl Inbound {
    /// Lets leave what may by now: answers, and then held messages. Whether nothing waits any more; if something does, `waker` is woken
    /// when it may leave.
    fn let_go(
        &mut self,
        core: &Core,
        session: &SessionRef,
        now: Instant,
        waker: &Waker,
        out: &mut Vec<u8>,
        burst: &mut Burst<'_>,
    ) -> bool {
        // Asked before the answers are: the store goes on meanwhile, and no message may overtake CONNACK [MQTT-3.2.0-1].
        let held = self.held.take_if(|held| core.durability.is_durable(held.until, waker));
        self.answers.take_ready(&core.durability, waker, out);
        if let Some(held) = held {
            let Held { mut packets, sent, .. } = *held;
            session.lock().traffic.sent(&sent, packets.len());
            count_sent(&sent, packets.len(), now, burst);
            if out.is_empty() {
                *out = packets;
            } else {
                out.append(&mut packets);
            }
        }
        self.answers.is_empty() && self.held.is_none()
    }
}

/// Counts what left an outbox together.
fn count_sent(sent: &Sent, bytes: usize, now: Instant, burst: &mut Burst<'_>) {
    let publishes = sent.publishes.iter().sum();
    let pubrel_bytes = sent.pubrels as usize * PUBREL_LEN;
    burst.tally.publishes_sent(sent.publishes);
    if publishes > 0 {
        burst.tally.sent(PacketType::Publish, publishes, bytes - pubrel_bytes);
    }
    if sent.pubrels > 0 {
        burst.tally.sent(PacketType::Pubrel, sent.pubrels, pubrel_bytes);
    }
    if let Some(since) = sent.since {
        burst.tally.resided(sent.direct, now.saturating_duration_since(since), burst.totals);
    }
}
