//! A [`Connection`]: the protocol's side of one network connection, without the network and without a clock.
//!
//! After every `handle_*`, call `poll_question`, then `poll_transmit` until it returns `false`, then read `poll_timeout`;
//! once `closed` returns a reason, write what is left and close the socket.
//!
//! One file a kind of packet (`packets.rs` finds them in the bytes, and says which file is for which); what a packet means to
//! others is in [`crate::core`].

mod acknowledge;
mod answers;
mod connect;
mod disconnect;
mod filters;
mod inbound;
mod packets;
mod phase;
mod publish;
mod publish_rate;
mod question;
mod subscribe;
mod transmit;
mod unsubscribe;

use std::{
    sync::Arc,
    task::Waker,
    thread::panicking,
    time::{Duration, Instant},
};

use bytes::Bytes;
use mqtt_codec::{EncodeError, Frame, PacketType};

use self::{
    inbound::Inbound,
    phase::{Deciding, Open, Phase, Stranger},
};
pub(crate) use self::{
    question::{Answer, Question},
    subscribe::deliver_retained,
};
use crate::{
    burst::Burst, client::Peer, close_reason::CloseReason, core::Core, counters::Authentication,
    hooks::survive, limits::Limits, place::Place, session::Attachment, store::Mark,
};

/// One network connection.
pub(crate) struct Connection {
    place: Place,
    phase: Phase,
    /// Behind a pointer, because a client that rests has none.
    inbound: Option<Box<Inbound>>,
    /// When something was last received, in nanoseconds of the broker's life: an [`Instant`] would take twice as much.
    heard_at: u64,
}

/// How long a client for which there is no place may take to send the CONNECT that is answered so.
const PATIENCE_BEYOND_THE_LIMIT: Duration = Duration::from_secs(1);
/// More than this read at once counts as a sign of life, even if no packet was completed: a large one is on its way.
const LARGE_READ: usize = 1024;

/// While more of one client's messages waits for the store, in bytes, it is not read from.
const MOST_UNSETTLED: usize = 1024 * 1024;

impl Connection {
    /// If its place is beyond the limits, its client will be told so, should it send its CONNECT soon.
    pub(crate) fn new(place: Place, peer: Peer, now: Instant) -> Self {
        let patience = if place.is_beyond_the_limit() { PATIENCE_BEYOND_THE_LIMIT } else { Duration::MAX };
        let deadline = now.checked_add(place.entrance.limits.connect_timeout.min(patience));
        let stranger = Stranger { deadline, peer, certificate_user_name: None, bytes_received: 0 };
        let mut new =
            Self { place, phase: Phase::AwaitConnect(Box::new(stranger)), inbound: None, heard_at: 0 };
        new.hear(now);
        new
    }

    /// Its client has proved, before MQTT began, to be this user.
    pub(crate) fn certified_as(mut self, user_name: Option<Arc<str>>) -> Self {
        if let Phase::AwaitConnect(stranger) = &mut self.phase {
            stranger.certificate_user_name = user_name;
        }
        self
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.place.core
    }

    /// What it is held to alone. What it has in common with others is in the core's limits.
    pub(crate) fn limits(&self) -> &Limits {
        &self.place.entrance.limits
    }

    /// Whether bytes may be handed in now. If not, leave them in the socket: that holds the client back.
    pub(crate) fn wants_bytes(&self) -> bool {
        match &self.phase {
            Phase::AwaitConnect(_) => true,
            Phase::Open(open) => !open.is_interrupted && open.listens(),
            Phase::Authenticating(_) | Phase::Closed(_) => false,
        }
    }

    /// Whether the store keeps up with this client, and with all. If not, read nothing: `waker` is woken when it does, after
    /// `poll_transmit`.
    pub(crate) fn store_keeps_up(&mut self, now: Instant, waker: &Waker) -> bool {
        let unsettled = self.inbound.as_ref().map_or(0, |inbound| inbound.answers.unsettled_bytes());
        let keeps_up = unsettled < MOST_UNSETTLED && self.place.core.durability.keeps_up(waker);
        if !keeps_up {
            self.hear(now); // While nobody listens, nobody can tell whether the client is silent.
        }
        keeps_up
    }

    /// Whether messages for the client wait for the store.
    #[cfg(test)]
    pub(crate) fn holds_messages(&self) -> bool {
        self.inbound.as_ref().is_some_and(|inbound| inbound.held.is_some())
    }

    /// Whether the client is connected: its session can be told to close it.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    /// Why the connection has ended, once it has.
    pub(crate) fn closed(&self) -> Option<&CloseReason> {
        match &self.phase {
            Phase::Closed(reason) => Some(reason),
            _ => None,
        }
    }

    /// Bytes came from the client.
    pub(crate) fn handle_bytes(&mut self, now: Instant, bytes: &[u8], burst: &mut Burst<'_>) {
        let is_stranger = matches!(self.phase, Phase::AwaitConnect(_));
        self.in_turn(burst, |this, burst| this.handle_bytes_in_turn(now, bytes, burst));
        if is_stranger && self.is_interrupted() {
            self.handle_held(now, burst); // It has a session now, and its turn to wait for.
        }
    }

    /// Does what the client sent. Nobody else has its session meanwhile; `act` has to look whether somebody had it before.
    fn in_turn(&mut self, burst: &mut Burst<'_>, act: impl FnOnce(&mut Self, &mut Burst<'_>)) {
        let session = match &self.phase {
            Phase::Open(open) => Some(open.attachment.session.clone()),
            _ => None,
        };
        let _turn = session.as_ref().map(|session| session.turn());
        let before = burst.tally.publishes_received();
        act(self, burst);
        let publishes = burst.tally.publishes_received() - before;
        if let Some(session) = session.as_ref().filter(|_| publishes > 0) {
            session.count_received(publishes);
        }
    }

    fn handle_bytes_in_turn(&mut self, now: Instant, mut bytes: &[u8], burst: &mut Burst<'_>) {
        burst.tally.bytes_received += bytes.len() as u64;
        burst.now = Some(now);
        if bytes.len() >= LARGE_READ {
            self.hear(now);
        }
        self.note_read(now, bytes.len(), burst);
        while !bytes.is_empty() && self.has_partial() && self.wants_bytes() {
            bytes = self.complete_partial(now, bytes, burst);
        }
        let used = self.handle_packets(now, bytes, burst);
        let rest = bytes.get(used..).unwrap_or_default();
        if !rest.is_empty() && self.closed().is_none() {
            self.inbound.get_or_insert_default().partial.extend_from_slice(rest);
        }
    }

    /// Others may have ended this connection; if they have not, its session takes note of what came. One without a session keeps it in
    /// mind for the one that it will have.
    fn note_read(&mut self, now: Instant, len: usize, burst: &mut Burst<'_>) {
        let len = len as u64;
        match &mut self.phase {
            Phase::Open(open) => {
                let noted = open.attachment.lock().map(|mut state| state.traffic.bytes_received += len);
                if let Err(reason) = noted {
                    self.end(now, reason, burst);
                }
            }
            Phase::AwaitConnect(stranger) => stranger.bytes_received += len,
            Phase::Authenticating(pending) => pending.bytes_received += len,
            Phase::Closed(_) => {}
        }
    }

    /// Others may have ended this connection (a take-over, a shutdown). `handle_bytes` and `poll_transmit` look by themselves;
    /// call this where a socket that takes nothing keeps you from either. `waker` is woken if they do from here on.
    pub(crate) fn handle_wake(&mut self, now: Instant, waker: &Waker, burst: &mut Burst<'_>) {
        if let Phase::Open(open) = &self.phase
            && let Err(reason) = open.attachment.lock().map(|mut state| state.outbox.keep_waker(waker))
        {
            self.end(now, reason, burst);
        }
    }

    /// Ends if others have ended this connection.
    fn check(&mut self, now: Instant, burst: &mut Burst<'_>) {
        if let Phase::Open(open) = &self.phase
            && let Err(reason) = open.attachment.check()
        {
            self.end(now, reason, burst);
        }
    }

    /// How many bytes of answers `poll_transmit` has not been asked for yet.
    pub(crate) fn unsent_answers(&self) -> usize {
        self.inbound.as_ref().map_or(0, |inbound| inbound.answers.len())
    }

    /// The client's end of the connection is gone, or the broker's network layer gives up on it.
    pub(crate) fn handle_loss(&mut self, now: Instant, reason: CloseReason, burst: &mut Burst<'_>) {
        self.end(now, reason, burst);
    }

    /// It is dropped: whoever drove it forgot it, has panicked, or is gone with his runtime. If it has not ended, its session and its Will
    /// are settled all the same. A second panic, here, must stay here: it would end the process.
    pub(crate) fn abandon(&mut self, now: Instant, reason: CloseReason) {
        if self.closed().is_some() {
            return;
        }
        let (core, now) = (Arc::clone(&self.place.core), now.max(self.last_received()));
        survive("the end of a connection", || {
            // It may have been ended before, by others, and not have noticed.
            let ended = self.attachment().ok().and_then(|attachment| attachment.check().err());
            let reason = if panicking() { CloseReason::Internal } else { ended.unwrap_or(reason) };
            self.end(now, reason, &mut core.burst());
        });
    }

    /// The moment that `poll_timeout` named has come.
    pub(crate) fn handle_timeout(&mut self, now: Instant, burst: &mut Burst<'_>) {
        self.resume(now, burst);
        let last_received = self.last_received();
        match &mut self.phase {
            Phase::AwaitConnect(stranger) if stranger.deadline.is_some_and(|at| now >= at) => {
                self.end(now, CloseReason::ConnectTimeout, burst);
            }
            Phase::Open(open) if open.ends_at().is_some_and(|at| now >= at) => {
                self.end(now, CloseReason::AdmissionEnded, burst);
            }
            // [MQTT-3.1.2-24]
            Phase::Open(open) if open.silence_ends(last_received).is_some_and(|at| now >= at) => {
                self.end(now, CloseReason::KeepAliveTimeout, burst);
            }
            Phase::Open(Open { terms: Some(terms), .. }) => {
                if let Some(retry) =
                    terms.retry.as_mut().filter(|retry| retry.next.is_some_and(|at| now >= at))
                {
                    let interval = self.place.entrance.limits.retry_interval;
                    retry.next = interval.and_then(|interval| now.checked_add(interval));
                    retry.is_due = true;
                }
            }
            _ => {}
        }
    }

    /// A hook has decided.
    pub(crate) fn handle_answer(&mut self, now: Instant, answer: Answer, burst: &mut Burst<'_>) {
        self.in_turn(burst, |this, burst| this.handle_answer_in_turn(now, answer, burst));
        self.handle_held(now, burst);
    }

    fn handle_answer_in_turn(&mut self, now: Instant, answer: Answer, burst: &mut Burst<'_>) {
        self.check(now, burst);
        self.hear(now); // The client was put on hold: its keep alive starts again.
        let outcome = match answer {
            Answer::Connect(decision) => self.connect_decided(now, decision, burst),
            Answer::Subscribe(decision) => self.subscribe_decided(decision, burst),
            Answer::Publish(decision) => self.publish_decided(now, decision, burst),
            Answer::Failed => {
                if let Phase::Authenticating(_) = self.phase {
                    burst.totals.authentication(Authentication::Failed);
                }
                Err(CloseReason::HookFailed)
            }
        };
        if let Err(reason) = outcome {
            self.end(now, reason, burst);
        }
    }

    /// Whether packets wait for `handle_held`, and for nothing else: a burst, whose other packets made enough work.
    pub(crate) fn is_interrupted(&self) -> bool {
        matches!(&self.phase, Phase::Open(open) if open.is_interrupted)
    }

    /// Goes on with the packets that were on hold.
    pub(crate) fn handle_held(&mut self, now: Instant, burst: &mut Burst<'_>) {
        self.in_turn(burst, |this, burst| this.handle_held_in_turn(now, burst));
    }

    fn handle_held_in_turn(&mut self, now: Instant, burst: &mut Burst<'_>) {
        self.check(now, burst);
        if let Phase::Open(open) = &mut self.phase {
            open.is_interrupted = false;
        }
        let held = self.inbound.as_mut().map(|inbound| std::mem::take(&mut inbound.partial));
        let mut held = held.unwrap_or_default();
        let used = self.handle_packets(now, &held, burst);
        held.drain(..used);
        if self.closed().is_none() && !held.is_empty() {
            self.inbound.get_or_insert_default().partial = held;
        }
    }

    /// The next decision that a hook has to take; ask it, and hand the answer to `handle_answer`.
    pub(crate) fn poll_question(&mut self) -> Option<Question> {
        self.recheck_if_due();
        match &mut self.phase {
            Phase::Authenticating(pending) => pending.question.take().map(Question::Connect),
            Phase::Open(Open { deciding: Some(deciding), .. }) => match &mut **deciding {
                Deciding::Filters(filters) => filters.question.take().map(Question::Subscribe),
                Deciding::Publish(held) => held.question.take().map(Question::Publish),
            },
            _ => None,
        }
    }

    /// When `handle_timeout` is due, unless something else is handled before.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::AwaitConnect(stranger) => stranger.deadline,
            Phase::Open(open) => {
                let silence_ends = open.silence_ends(self.last_received());
                let own = open.next_retry().into_iter().chain(open.paused_until()).chain(open.ends_at());
                silence_ends.into_iter().chain(own).min()
            }
            Phase::Authenticating(_) | Phase::Closed(_) => None,
        }
    }

    /// Appends an answer to this client's own packets.
    fn answer(
        &mut self,
        packet_type: PacketType,
        burst: &mut Burst<'_>,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<(), CloseReason> {
        let answers = &mut self.inbound.get_or_insert_default().answers;
        let before = answers.len();
        answers.push(encode).map_err(|_| CloseReason::Internal)?;
        burst.tally.sent(packet_type, 1, answers.len() - before);
        Ok(())
    }

    /// Answers from here on promise what is durable only at `mark`.
    fn hold_until(&mut self, mark: Mark) {
        self.hold_message_until(mark, 0);
    }

    /// The same for a message of so many bytes.
    #[inline]
    fn hold_message_until(&mut self, mark: Mark, size: usize) {
        if mark != Mark::NOTHING {
            self.inbound.get_or_insert_default().answers.hold_until(mark, size);
        }
    }

    fn has_partial(&self) -> bool {
        self.inbound.as_ref().is_some_and(|inbound| !inbound.partial.is_empty())
    }

    /// Takes note of a sign of life.
    fn hear(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.place.core.started_at);
        self.heard_at = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
    }

    /// When the client gave the last sign of life.
    fn last_received(&self) -> Instant {
        self.place.core.started_at + Duration::from_nanos(self.heard_at)
    }

    fn open(&mut self) -> Result<&mut Open, CloseReason> {
        match &mut self.phase {
            Phase::Open(open) => Ok(open),
            _ => Err(CloseReason::Internal),
        }
    }

    fn attachment(&self) -> Result<&Attachment, CloseReason> {
        match &self.phase {
            Phase::Open(open) => Ok(&open.attachment),
            _ => Err(CloseReason::Internal),
        }
    }
}

impl Drop for Connection {
    /// Whoever knows the time has said it before.
    fn drop(&mut self) {
        self.abandon(self.last_received(), CloseReason::Shutdown);
    }
}

/// The bytes of a rare packet's body, owned, as its decoder wants them.
fn owned_body(frame: &Frame<'_>) -> Bytes {
    Bytes::copy_from_slice(frame.body)
}

#[cfg(test)]
mod tests;
