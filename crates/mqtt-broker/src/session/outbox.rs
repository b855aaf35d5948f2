//! [`Outbox`]: the only place where a message waits for a client, connected or not.
//!
//! A message moves one way: from its publisher straight into `pending` (encoded, ready for the socket) while the client
//! is connected, keeps up and has its window open; else into the queue, and from there into `pending` when there is room.
//! Whoever pushes does so on the publisher's task; the owner's task takes `pending` away in one piece.

mod delivery;

use std::{mem, task::Waker, time::Instant};

use mqtt_codec::{Delivery as Wire, QoS};

use super::{
    gate::Gate,
    inflight::{Inflight, Stage},
    queue::{PendingRead, Queue, Queued, Row},
};
use crate::{
    event::DropReason,
    inspection::QueuedMessage,
    limits::{Limits, QueueFullPolicy},
    message::{Message, Outgoing},
    store::{Journal, Mark, MessageKey, QueuePage},
};

/// What waits for one client, and what it has been sent and not yet acknowledged.
#[derive(Default)]
pub(crate) struct Outbox {
    /// Whole encoded packets for the socket of the connected client; empty while there is none.
    pending: Vec<u8>,
    queue: Queue,
    /// Behind a pointer, because a client that is sent only QoS 0 never has any.
    inflight: Option<Box<Inflight>>,
    owner: Owner,
    /// The owner's task.
    waker: Option<Waker>,
    /// The owner's task found nothing to do and waits: the first push must see to it that it is woken.
    asleep: bool,
    sent: Sent,
    /// Nothing of `pending` may leave before what it says to wait for is durable: a QoS 2 identifier, once used, must survive;
    /// and CONNACK, which waits too, is first.
    journal: Journal,
}

/// More messages than this are not withheld at a time: whoever publishes to this client waits meanwhile.
pub(crate) const MOST_WITHHELD: usize = 64;

/// Who takes messages out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Nobody: the client is absent.
    #[default]
    Nobody,
    /// A client's connection, as encoded packets.
    Connection,
    /// A subscriber in this process, as messages.
    InProcess,
}

/// What a push did.
#[derive(Default)]
#[must_use]
pub(crate) struct Pushed {
    /// To be woken by the publisher at the end of its burst.
    pub(crate) waker: Option<Waker>,
    /// Messages that were dropped: the incoming one, or older ones.
    pub(crate) dropped: Vec<(DropReason, Dropped)>,
    /// To be asked of the store, once the session's lock is let go.
    pub(crate) read: Option<PendingRead>,
}

/// Which message a full queue cost.
pub(crate) enum Dropped {
    /// The one that was pushed.
    Incoming,
    /// One that waited.
    Waiting(Message),
}

/// What is in `pending`, for the counters.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sent {
    /// PUBLISH packets by QoS.
    pub(crate) publishes: [u32; 3],
    pub(crate) pubrels: u32,
    /// How many of the PUBLISH packets came straight from their publishers.
    pub(crate) direct: u32,
    /// When the oldest of those was read.
    pub(crate) since: Option<Instant>,
}

impl Outbox {
    /// Takes a message for this client, to be sent with `qos` (published and granted are in it already). What is pushed
    /// first leaves first, whatever its topic [MQTT-4.6.0-5] [MQTT-4.6.0-6]. `now` is when the message was read, if that
    /// matters to anybody.
    pub(crate) fn push(
        &mut self,
        outgoing: &Outgoing<'_>,
        qos: QoS,
        retain: bool,
        now: Option<Instant>,
        limits: &Limits,
        gate: Gate<'_>,
    ) -> Pushed {
        if self.owner == Owner::Nobody && qos == QoS::AtMostOnce && !limits.queue_qos0_messages {
            return Pushed::dropped(DropReason::Qos0WhileAbsent, Dropped::Incoming);
        }
        let key = self.key_of(outgoing, qos);
        if self.queue.has_read(key) {
            self.queue.count_read(outgoing.size());
            return Pushed::default();
        }
        if self.lets_go_at_once(qos, limits) {
            if !gate.lets_outgoing_pass(outgoing, qos, retain) {
                return self.refuse(DropReason::Withheld, key, Vec::new());
            }
            if qos == QoS::AtMostOnce {
                self.encode(Wire::AtMostOnce, retain, outgoing.topic, outgoing.payload);
            } else {
                self.begin(outgoing.message().clone(), key, qos, retain);
            }
            if now.is_some() {
                self.sent.direct += 1;
                self.sent.since = self.sent.since.or(now);
            }
            return Pushed { waker: self.take_wake(), ..Pushed::default() };
        }
        self.enqueue(outgoing, key, qos, retain, limits)
    }

    /// What to ask of the store next: called by the owner after [`Outbox::refill`], and where something is queued.
    pub(crate) fn next_read(&mut self, limits: &Limits) -> Option<PendingRead> {
        let session = self.journal.session()?;
        self.queue.next_read(session, self.owner == Owner::Connection, limits)
    }

    /// Takes what the store has read. What the client can take goes to it; of the rest the oldest that are too much are dropped.
    pub(crate) fn add_page(
        &mut self,
        number: u64,
        page: QueuePage,
        limits: &Limits,
        gate: Gate<'_>,
    ) -> Pushed {
        if !self.queue.add_page(number, page) {
            return Pushed::default();
        }
        let withheld = self.refill(limits, gate).into_iter();
        let mut dropped: Vec<_> =
            withheld.map(|message| (DropReason::Withheld, Dropped::Waiting(message))).collect();
        while let Some(victim) = self.queue.trim(limits) {
            self.journal.done(victim.key());
            dropped.push((DropReason::QueueFull, Dropped::Waiting(victim.message)));
        }
        if self.owner == Owner::Nobody && !self.queue.is_full_for(0, limits) {
            self.queue.leave_to_the_store(); // Its client has left meanwhile, and no victims will be needed.
        }
        Pushed { waker: self.take_wake(), dropped, read: self.next_read(limits) }
    }

    /// Moves what waits towards the socket, as far as the window and the socket's buffer go. Called by the owner.
    ///
    /// Hands out what the client may not have. If that is [`MOST_WITHHELD`], there may be more to move.
    pub(crate) fn refill(&mut self, limits: &Limits, gate: Gate<'_>) -> Vec<Message> {
        let mut withheld = Vec::new();
        while withheld.len() < MOST_WITHHELD
            && let Some(queued) = self.next_sendable(limits)
        {
            let key = queued.key();
            let Queued { message, qos, retain, .. } = queued;
            if !gate.lets_pass(&message, qos, retain) {
                self.journal.done(key);
                withheld.push(message);
            } else if qos == QoS::AtMostOnce {
                self.encode(Wire::AtMostOnce, retain, message.topic_bytes(), message.payload());
            } else {
                self.begin(message, key, qos, retain);
            }
        }
        withheld
    }

    /// How many more retained messages may be handed over right now without crowding out others. In the process, where the queue is the
    /// only way, they leave half of it to what is published meanwhile.
    pub(crate) fn room(&self, limits: &Limits) -> usize {
        if self.owner == Owner::InProcess {
            return limits.max_queued_messages.div_ceil(2).saturating_sub(self.queued_messages());
        }
        if !self.may_send(QoS::AtLeastOnce, limits) || self.queued_messages() > 0 {
            return 0;
        }
        (usize::from(limits.max_inflight) - self.inflight_messages()).min(limits.max_queued_messages.max(1))
    }

    /// Whether there is room for a retained message of this size, so that neither it nor another is dropped for it: the queue is for what
    /// is published. In the process there is no other way, and where nothing waits there is room for one.
    pub(crate) fn has_room_for_retained(&self, size: usize, qos: QoS, limits: &Limits) -> bool {
        if self.owner != Owner::InProcess {
            return self.lets_go_at_once(qos, limits);
        }
        let leaves_half = self.queued_bytes() + size <= limits.max_queued_bytes / 2;
        self.queued_messages() == 0 || leaves_half && self.room(limits) > 0
    }

    /// Hands all packets to the owner's task: by swapping buffers if `out` is empty. None of them may leave before
    /// [`Outbox::hold`] is durable. If there are none, `None` says that the task may sleep: it will be woken.
    pub(crate) fn take_pending(&mut self, waker: &Waker, out: &mut Vec<u8>) -> Option<Sent> {
        self.keep_waker(waker);
        self.asleep = self.pending.is_empty();
        if self.asleep {
            return None;
        }
        if out.is_empty() {
            mem::swap(&mut self.pending, out);
        } else {
            out.append(&mut self.pending);
        }
        Some(mem::take(&mut self.sent))
    }

    /// What the packets have to wait for.
    pub(crate) fn hold(&self) -> Mark {
        self.journal.hold()
    }

    /// Nothing leaves before `mark` is durable.
    pub(crate) fn hold_until(&mut self, mark: Mark) {
        self.journal.hold_until(mark);
    }

    /// The oldest message that waits for a subscriber in this process; `None` says that `waker` is woken when one comes.
    pub(crate) fn take_message(&mut self, waker: &Waker) -> Option<(Message, bool)> {
        let next = self.queue.pop(|_| true);
        self.keep_waker(waker);
        self.asleep = next.is_none();
        next.map(|queued| (queued.message, queued.retain))
    }

    /// A client connects: what it has not acknowledged is sent again, in order, with its identifiers [MQTT-4.4.0-1].
    ///
    /// But for what it may not have: the session may be another user's than it was, or the rights others.
    pub(crate) fn connect(&mut self, owner: Owner, limits: &Limits, gate: Gate<'_>) -> Vec<Message> {
        self.owner = owner;
        let mut withheld = self.withhold_unacknowledged(gate);
        let unacknowledged = self.inflight.as_ref().map(|inflight| inflight.in_order());
        self.resend(unacknowledged.unwrap_or_default());
        withheld.append(&mut self.refill(limits, gate));
        withheld
    }

    /// The connection is gone: what was encoded for its socket is void. QoS 1 and 2 are inflight, and stay. Hands out the QoS 0 messages
    /// that waited, if they wait for nobody who is absent.
    pub(crate) fn disconnect(&mut self, limits: &Limits) -> Vec<Message> {
        self.owner = Owner::Nobody;
        self.pending = Vec::new();
        self.sent = Sent::default();
        self.waker = None;
        self.asleep = false;
        let lost = if limits.queue_qos0_messages { Vec::new() } else { self.queue.clear_qos0() };
        if self.journal.session().is_some() {
            self.queue.leave_to_the_store();
        }
        lost
    }

    /// Drops everything, and hands out the messages that waited or were not acknowledged; of others, which the store alone
    /// has, it says how many they were.
    pub(crate) fn clear(&mut self) -> (Vec<Message>, usize) {
        let Self { queue, inflight, .. } = mem::take(self);
        let unacknowledged = inflight.map(|inflight| inflight.in_order()).unwrap_or_default();
        let sent = unacknowledged.into_iter().filter_map(|delivery| match delivery.stage {
            Stage::Published1 { message, .. } | Stage::Published2 { message, .. } => Some(message),
            Stage::Released => None, // It is the receiver's already.
        });
        let (waiting, unread) = queue.into_parts();
        (sent.chain(waiting).collect(), unread)
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    pub(crate) fn set_journal(&mut self, journal: Journal) {
        self.journal = journal;
    }

    /// A message of this size waited in an earlier process, and waits in the store.
    pub(crate) fn restore_queued(&mut self, size: usize) {
        self.queue.restore(size);
    }

    /// The owner's task, to be woken for another reason than a message.
    pub(crate) fn waker(&self) -> Option<Waker> {
        self.waker.clone()
    }

    pub(crate) fn inflight_messages(&self) -> usize {
        self.inflight.as_ref().map_or(0, |inflight| inflight.len())
    }

    pub(crate) fn queued_messages(&self) -> usize {
        self.queue.messages()
    }

    /// The oldest messages that wait, and behind which key the store alone has more.
    pub(crate) fn peek(&self, limit: usize) -> (Vec<QueuedMessage>, Option<MessageKey>) {
        self.queue.peek(limit)
    }

    pub(crate) fn queued_bytes(&self) -> usize {
        self.queue.bytes()
    }

    /// Whether something is ready for the owner's task, or would be if it looked.
    #[cfg(test)]
    pub(crate) fn can_move(&self, limits: &Limits, durability: &crate::durability::Durability) -> bool {
        let can_go = |qos| !self.queue.is_empty(Row::of(qos)) && self.may_send(qos, limits);
        if !self.pending.is_empty() {
            return durability.has(self.hold()); // If not, the owner looks again when it may.
        }
        let must_wait = self.queue.waits_for_a_read() && self.may_send(QoS::AtLeastOnce, limits);
        !must_wait && (can_go(QoS::AtMostOnce) || can_go(QoS::AtLeastOnce))
    }

    #[cfg(test)]
    pub(crate) fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    #[cfg(test)]
    pub(crate) fn waits_for_a_read(&self) -> bool {
        self.queue.waits_for_a_read()
    }

    /// Of messages that wait, those that the store has too.
    #[cfg(test)]
    pub(crate) fn stored_bytes_in_memory(&self) -> usize {
        self.journal.session().map_or(0, |_| self.queue.stored_bytes_in_memory())
    }

    /// Whom to wake from here on.
    pub(crate) fn keep_waker(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(kept) => kept.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    fn take_wake(&mut self) -> Option<Waker> {
        if mem::take(&mut self.asleep) { self.waker.clone() } else { None }
    }

    /// Whether a message that comes now need not wait, nor overtakes any that does.
    fn lets_go_at_once(&self, qos: QoS, limits: &Limits) -> bool {
        self.may_send(qos, limits) && self.queue.is_empty(Row::of(qos))
    }

    fn may_send(&self, qos: QoS, limits: &Limits) -> bool {
        self.owner == Owner::Connection
            && self.pending.len() < limits.max_pending_bytes
            && (qos == QoS::AtMostOnce || self.is_window_open(limits))
    }

    /// The last message through may be larger than what was left: else a large one could never pass.
    fn is_window_open(&self, limits: &Limits) -> bool {
        self.inflight.as_ref().is_none_or(|inflight| {
            inflight.len() < usize::from(limits.max_inflight) && inflight.bytes() < limits.max_inflight_bytes
        })
    }

    /// The oldest waiting message that may go now.
    fn next_sendable(&mut self, limits: &Limits) -> Option<Queued> {
        let qos0_may = self.may_send(QoS::AtMostOnce, limits);
        let acknowledged_may = self.may_send(QoS::AtLeastOnce, limits);
        self.queue.pop(|row| if row == Row::Qos0 { qos0_may } else { acknowledged_may })
    }

    /// A copy with QoS 0 is in no store, even if another one for this client is; and nothing of a session that is not
    /// persistent.
    fn key_of(&self, outgoing: &Outgoing<'_>, qos: QoS) -> MessageKey {
        if qos == QoS::AtMostOnce || self.journal.session().is_none() { 0 } else { outgoing.key.get() }
    }

    fn enqueue(
        &mut self,
        outgoing: &Outgoing<'_>,
        key: MessageKey,
        qos: QoS,
        retain: bool,
        limits: &Limits,
    ) -> Pushed {
        if outgoing.size() > limits.max_queued_bytes {
            return self.refuse(DropReason::QueueFull, key, Vec::new()); // No room that others make would do.
        }
        let mut dropped = Vec::new();
        while self.queue.is_full_for(outgoing.size(), limits) {
            let Some(victim) = self.queue.make_room(qos, limits.queue_full) else {
                let may_exceed = key != 0 && limits.queue_full == QueueFullPolicy::DropOldest;
                if may_exceed && self.queue.must_read() && self.queue.may_exceed(limits) {
                    break; // The oldest will go as soon as it has been read.
                }
                return self.refuse(DropReason::QueueFull, key, dropped);
            };
            self.journal.done(victim.key());
            dropped.push((DropReason::QueueFull, Dropped::Waiting(victim.message)));
        }
        let window_bytes = if self.owner == Owner::Connection { limits.queue_window_bytes } else { 0 };
        // [MQTT-3.1.2-5]
        self.queue.push(outgoing.message().clone(), key, qos, retain, window_bytes);
        // A connection that cannot send now would be woken in vain: it looks again when it has room.
        let waker = if self.owner == Owner::InProcess { self.take_wake() } else { None };
        Pushed { waker, dropped, read: self.next_read(limits) }
    }

    /// The incoming message is dropped, after these.
    fn refuse(
        &mut self,
        reason: DropReason,
        key: MessageKey,
        mut dropped: Vec<(DropReason, Dropped)>,
    ) -> Pushed {
        if key != 0 {
            self.queue.refuse(key);
            self.journal.done(key);
        }
        dropped.push((reason, Dropped::Incoming));
        Pushed { dropped, ..Pushed::default() }
    }
}

impl Pushed {
    fn dropped(reason: DropReason, what: Dropped) -> Self {
        Self { dropped: vec![(reason, what)], ..Self::default() }
    }
}

#[cfg(test)]
mod backlog_tests;
#[cfg(test)]
mod tests;
