//! The hand-over of a message to one receiver: what the store keeps of it, what is dropped for it, who is told.

use std::{cell::Cell, mem, sync::Arc, time::Instant};

use mqtt_codec::{QoS, TopicName};
use parking_lot::Mutex;

use super::Core;
use crate::{
    burst::Burst,
    client::Peer,
    event::{DropReason, Event},
    limits::QueueFullPolicy,
    message::{Message, Outgoing},
    session::{Detached, Dropped, PendingRead, Pushed, SessionRef, SessionState},
    store::{Mark, QueuePage, Record},
};

/// What a store says to who asks it for a part of a queue.
enum Answer {
    /// It is being asked.
    Asking,
    /// It has answered meanwhile.
    Here(QueuePage),
    /// Who has asked it has gone on.
    Awaited,
}

/// Keeps a retained message, if it still is the one of its topic and there is room for it.
type KeepRetained<'a> = dyn Fn(&SessionState, &Outgoing<'_>) -> bool + 'a;

impl Core {
    /// Writes a message to the store for those receivers that are to have it after a crash too. Before anybody gets it: what
    /// they do with it can only be written later.
    pub(super) fn keep<'s>(
        &self,
        receivers: impl Iterator<Item = (&'s SessionRef, QoS)>,
        outgoing: &Outgoing<'_>,
        retain: bool,
        mut group: Vec<Record>,
    ) -> Mark {
        let mut queued = receivers.filter(|(receiver, qos)| !receiver.clean && *qos > QoS::AtMostOnce).map(
            |(receiver, qos)| {
                let (session, message) = (receiver.serial, outgoing.message().clone());
                Record::Queued { session, key: 0, qos, retain, message }
            },
        );
        let Some(first) = queued.next() else { return self.durability.append(group) };
        let (mark, key) = match queued.next() {
            // Most messages have one receiver, and need no group to be made.
            None if group.is_empty() => self.durability.append_message_alone(first),
            second => {
                group.extend([first].into_iter().chain(second).chain(queued));
                self.durability.append_message(group)
            }
        };
        outgoing.key.set(key);
        mark
    }

    /// Hands a message to one receiver alone: that is not found by its subscriptions, or gets one more copy.
    pub(crate) fn hand_over_alone(
        &self,
        receiver: &SessionRef,
        outgoing: &Outgoing<'_>,
        qos: QoS,
        burst: &mut Burst<'_>,
    ) -> Mark {
        let mut mark = Mark::NOTHING;
        if self.durability.is_on() {
            outgoing.key.set(0);
            mark = self.keep([(receiver, qos)].into_iter(), outgoing, false, Vec::new());
        }
        self.hand_over(receiver, outgoing, qos, None, burst);
        mark
    }

    /// Hands over a retained message that was looked up, and that this client may have: unless another has taken its place
    /// since. That one goes the way of all others, and its predecessor must not come behind it. `false` if there is no room for it now:
    /// nothing is dropped for its sake, so it has to come later.
    pub(crate) fn hand_over_retained(
        &self,
        receiver: &SessionRef,
        (topic, message): (&TopicName, &Message),
        qos: QoS,
        now: Instant,
        burst: &mut Burst<'_>,
    ) -> bool {
        let has_room = Cell::new(true);
        let keep = |state: &SessionState, outgoing: &Outgoing<'_>| {
            has_room.set(state.outbox.has_room_for_retained(outgoing.size(), qos, &self.limits));
            if !has_room.get() {
                return false; // Before the store hears of it.
            }
            // Until its place in the store is taken nobody else takes its place here, and the session's lock is held until it is in
            // the outbox: its successor comes behind it in both.
            let retained = self.retained.read();
            let is_current = retained.get(topic, now).is_some_and(|current| current.is(message));
            if is_current && self.durability.is_on() {
                self.keep([(receiver, qos)].into_iter(), outgoing, true, Vec::new());
            }
            is_current
        };
        self.hand_over(receiver, &Outgoing::of(message), qos, Some(&keep), burst);
        has_room.get()
    }

    /// Puts a message into one receiver's outbox; one that is `retained`, if that could be kept.
    pub(super) fn hand_over(
        &self,
        receiver: &SessionRef,
        outgoing: &Outgoing<'_>,
        qos: QoS,
        retained: Option<&KeepRetained<'_>>,
        burst: &mut Burst<'_>,
    ) {
        let retain = retained.is_some();
        let mut state = receiver.lock();
        if state.has_ended() || retained.is_some_and(|keep| !keep(&state, outgoing)) {
            return;
        }
        // A retained message was read long ago.
        let now = burst.now.filter(|_| !retain);
        let pushed = state.push(outgoing, qos, retain, now, &self.limits, &self.hooks);
        for (reason, _) in &pushed.dropped {
            state.lose(*reason, burst.now);
        }
        let peer = self.traces.is_on().then(|| state.peer());
        drop(state);
        if let Some(peer) = peer {
            self.trace_hand_over(
                (&receiver.client_id, peer),
                outgoing,
                (qos, retain),
                &pushed.dropped,
                burst.now,
            );
        }
        let accepted = self.settle(receiver, pushed, Some(outgoing), burst);
        if accepted {
            burst.tally.delivered(qos);
        }
        if accepted && self.message_observers > 0 {
            let message = outgoing.message();
            self.observe_message(&Event::Delivered { client_id: &receiver.client_id, message, qos });
        }
    }

    /// Does what a push has left to do, without the session's lock. Says whether the `incoming` message was accepted.
    #[inline]
    fn settle(
        &self,
        receiver: &SessionRef,
        pushed: Pushed,
        incoming: Option<&Outgoing<'_>>,
        burst: &mut Burst<'_>,
    ) -> bool {
        if pushed.dropped.is_empty() && pushed.read.is_none() {
            burst.wake(pushed.waker);
            return true;
        }
        self.settle_losses(receiver, pushed, incoming, burst)
    }

    /// The rest of `settle`, apart so that the way of a push that cost nothing stays short.
    #[cold]
    fn settle_losses(
        &self,
        receiver: &SessionRef,
        pushed: Pushed,
        incoming: Option<&Outgoing<'_>>,
        burst: &mut Burst<'_>,
    ) -> bool {
        burst.wake(pushed.waker);
        let mut accepted = true;
        for (reason, dropped) in pushed.dropped {
            let message = match &dropped {
                Dropped::Incoming => {
                    accepted = false;
                    self.refuse_slow_consumer(receiver, reason);
                    incoming.map(Outgoing::message)
                }
                Dropped::Waiting(message) => Some(message),
            };
            if let Some(message) = message {
                self.dropped(&receiver.client_id, message, reason, burst);
            }
        }
        self.read_queue(receiver, pushed.read);
        accepted
    }

    /// Asks the store for a part of a session's queue. Nothing is locked.
    ///
    /// It may answer before it returns. Then the next part is asked for here, and not from within the answer: there may be very many,
    /// each as deep in the stack as all before it.
    pub(crate) fn read_queue(&self, session: &SessionRef, pending: Option<PendingRead>) {
        let mut next = pending;
        while let Some(PendingRead { number, read }) = next.take() {
            let answer = Arc::new(Mutex::new(Answer::Asking));
            let (this, asked, given) = (self.this.clone(), session.clone(), Arc::clone(&answer));
            let deliver = move |page| {
                let mut answer = given.lock();
                if matches!(*answer, Answer::Asking) {
                    *answer = Answer::Here(page);
                    return;
                }
                drop(answer);
                let Some(core) = this.upgrade() else { return };
                let next = core.add_page(&asked, number, page);
                core.read_queue(&asked, next);
            };
            self.durability.read_queue(read, Box::new(deliver));
            let given = mem::replace(&mut *answer.lock(), Answer::Awaited);
            if let Answer::Here(page) = given {
                next = self.add_page(session, number, page);
            }
        }
    }

    /// Takes what was read, and says what to read next.
    fn add_page(&self, session: &SessionRef, number: u64, page: QueuePage) -> Option<PendingRead> {
        let mut state = session.lock();
        if state.has_ended() {
            return None;
        }
        let mut pushed = state.add_page(number, page, &self.limits, &self.hooks);
        drop(state);
        let next = pushed.read.take();
        self.settle(session, pushed, None, &mut self.burst());
        next
    }

    #[cold]
    fn trace_hand_over(
        &self,
        receiver: (&Arc<str>, Option<Peer>),
        outgoing: &Outgoing<'_>,
        (qos, retain): (QoS, bool),
        dropped: &[(DropReason, Dropped)],
        now: Option<Instant>,
    ) {
        let mut refused = None;
        for (reason, what) in dropped {
            match what {
                Dropped::Incoming => refused = Some(*reason),
                Dropped::Waiting(older) => {
                    let as_it_was = (older.qos(), older.retain());
                    self.traces.message(now, receiver, &Outgoing::of(older), as_it_was, Some(*reason));
                }
            }
        }
        self.traces.message(now, receiver, outgoing, (qos, retain), refused);
    }

    fn refuse_slow_consumer(&self, receiver: &SessionRef, reason: DropReason) {
        if reason == DropReason::QueueFull && self.limits.queue_full == QueueFullPolicy::Disconnect {
            receiver.close(crate::CloseReason::SlowConsumer);
        }
    }

    /// Takes note of messages that waited for a connection that is gone, and that nobody keeps for its client.
    pub(crate) fn left_behind(&self, detached: &Detached, burst: &mut Burst<'_>) {
        for message in &detached.lost {
            self.dropped(&detached.info.client_id, message, DropReason::Qos0WhileAbsent, burst);
        }
    }

    /// Takes note of messages that waited for a client, and that it may not have.
    pub(crate) fn withheld(&self, client_id: &str, messages: &[Message], burst: &mut Burst<'_>) {
        for message in messages {
            self.dropped(client_id, message, DropReason::Withheld, burst);
        }
    }
}
