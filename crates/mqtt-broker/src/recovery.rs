//! [`Recovery`]: puts together again what a store has kept of an earlier process.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use mqtt_codec::{PacketId, QoS};
use mqtt_router::RetainedFilling;

use crate::{
    client::{ClientInfo, Peer},
    core::Core,
    event::SessionEnd,
    message::Message,
    session::{Restoring, SessionRef, Stage, Will},
    store::{Expected, MessageKey, Record, SessionKey},
};

/// Takes the records of [`crate::store::Store::recover`] one by one.
pub(crate) struct Recovery<'a> {
    core: &'a Core,
    now: Instant,
    sessions: Restoring<'a>,
    /// The one that is being told of.
    current: Option<Current>,
    /// Sessions of which nothing has said that their client was gone.
    attached: Vec<SessionRef>,
    newest: MessageKey,
    wills: Vec<(Arc<str>, Will)>,
    retained: RetainedFilling<Message>,
    /// How many went into that, of which there may not be room for all.
    retained_told: usize,
    /// Subscriptions that a lower limit forbids.
    subscriptions_left_out: usize,
    /// Retained messages that the store is to forget.
    expired: Vec<Record>,
}

struct Current {
    session: SessionRef,
    is_attached: bool,
    /// A message about which more may follow.
    waiting: Option<Waiting>,
}

struct Waiting {
    key: MessageKey,
    qos: QoS,
    retain: bool,
    message: Message,
    sent: Option<PacketId>,
    released: bool,
}

impl<'a> Recovery<'a> {
    pub(crate) fn new(core: &'a Core, now: Instant, expected: Expected) -> Self {
        core.expect_subscriptions(expected.subscriptions);
        Self {
            core,
            now,
            sessions: Restoring::new(&core.sessions),
            current: None,
            attached: Vec::new(),
            newest: expected.newest,
            wills: Vec::new(),
            retained: core.fill_retained(expected.retained),
            retained_told: 0,
            subscriptions_left_out: 0,
            expired: Vec::new(),
        }
    }

    pub(crate) fn visit(&mut self, record: Record) {
        match record {
            Record::SessionStarted { session, client_id } => {
                self.leave_session();
                let session =
                    self.sessions.add(session, client_id, self.core.durability.journal(session, false));
                self.current = Some(Current { session, is_attached: true, waiting: None });
            }
            Record::Subscribed { session, filter, qos } => {
                let core = self.core;
                if let Some(current) = self.current(session)
                    && !core.restore_subscription(&current.session, &filter, qos)
                {
                    self.subscriptions_left_out += 1;
                }
            }
            Record::Queued { session, key, qos, retain, message } => {
                self.newest = self.newest.max(key);
                if let Some(current) = self.current(session) {
                    current.restore_waiting();
                    current.waiting =
                        Some(Waiting { key, qos, retain, message, sent: None, released: false });
                }
            }
            Record::Sent { session, key, packet_id } => {
                if let Some(waiting) = self.waiting(session, key) {
                    waiting.sent = Some(packet_id);
                }
            }
            Record::Released { session, key } => {
                if let Some(waiting) = self.waiting(session, key) {
                    waiting.released = true;
                }
            }
            Record::Received { session, packet_id } => {
                if let Some(current) = self.current(session) {
                    // Within the limit when it was received; it must be remembered whatever the limit is now.
                    let mut state = current.session.lock();
                    state.seldom.change(|parts| parts.received.insert(packet_id));
                }
            }
            Record::SessionDetached { session, at } => {
                let (now, age, limits) = (self.now, self.core.durability.age(at), &self.core.limits);
                if let Some(current) = self.current.as_mut().filter(|current| current.is(session)) {
                    current.is_attached = false;
                    self.sessions.be_absent(&current.session, now, age, limits);
                }
            }
            Record::WillSet { key, client_id, will } => {
                self.core.sessions.skip_serial(key);
                self.wills.push((client_id, Will { key, message: will }));
            }
            Record::Retained { message, expires_at } => self.restore_retained(message, expires_at),
            // Only what is left of these is told, not that they happened.
            Record::SessionAttached { .. }
            | Record::SessionEnded { .. }
            | Record::Unsubscribed { .. }
            | Record::Done { .. }
            | Record::Forgotten { .. }
            | Record::RetainedCleared { .. }
            | Record::WillCleared { .. } => {}
        }
    }

    /// Who was connected when the process ended is not any more: their sessions age from now on, and their Wills are due.
    pub(crate) fn finish(mut self) {
        self.leave_session();
        let core = self.core;
        core.durability.skip_key(self.newest);
        for session in &self.attached {
            self.sessions.be_absent(session, self.now, Duration::ZERO, &core.limits);
            core.durability.write(|| core.durability.detached(session.serial, self.now));
        }
        for discarded in self.sessions.finish() {
            core.forget(&discarded, SessionEnd::Discarded, &mut core.burst());
            core.durability.append(core.end_record(&discarded));
        }
        core.restore_retained(self.retained);
        tell_of_left_out(self.subscriptions_left_out, "subscriptions", "max_topic_levels");
        let retained = core.retained_len();
        let is_for_number = retained >= core.limits.max_retained_messages;
        let limit = if is_for_number { "max_retained_messages" } else { "max_retained_bytes" };
        tell_of_left_out(self.retained_told.saturating_sub(retained), "retained messages", limit);
        core.durability.append(self.expired);
        let mut burst = core.burst();
        for (client_id, will) in self.wills {
            let client = ClientInfo {
                clean_session: core.sessions.get(&client_id).is_none(),
                client_id,
                user_name: None,
                peer: Peer::Unknown,
                listener: None,
                keep_alive_secs: 0,
                connected_at: self.now,
                attached: crate::client::Attached::default(),
            };
            core.publish_will(self.now, &client, will, Vec::new(), &mut burst);
        }
    }

    fn current(&mut self, session: SessionKey) -> Option<&mut Current> {
        self.current.as_mut().filter(|current| current.is(session))
    }

    fn waiting(&mut self, session: SessionKey, key: MessageKey) -> Option<&mut Waiting> {
        self.current(session)?.waiting.as_mut().filter(|waiting| waiting.key == key)
    }

    fn leave_session(&mut self) {
        let Some(mut current) = self.current.take() else { return };
        current.restore_waiting();
        if current.is_attached {
            self.attached.push(current.session);
        }
    }

    /// What has expired meanwhile takes no room from others.
    fn restore_retained(&mut self, message: Message, expires_at: Option<SystemTime>) {
        let left = expires_at.map(|at| self.core.durability.time_until(at));
        if left.is_some_and(|left| left.is_zero()) {
            self.expired.extend(message.topic_name().map(|topic| Record::RetainedCleared { topic }));
            return;
        }
        let expires_at = left.and_then(|left| self.now.checked_add(left));
        let message = message.retained();
        self.retained_told += 1;
        // It was within the limit when it was stored; if the limit is lower now, it is not retained any more.
        self.retained.set(message.topic_bytes(), message.clone(), message.size(), expires_at);
    }
}

/// The store has them still.
fn tell_of_left_out(count: usize, what: &str, limit: &str) {
    if count > 0 {
        tracing::warn!(
            "{count} {what} of an earlier start are left out, as {limit} is lower now: a start with a higher one has them again"
        );
    }
}

impl Current {
    fn is(&self, session: SessionKey) -> bool {
        self.session.serial == session
    }

    fn restore_waiting(&mut self) {
        let Some(Waiting { key, qos, retain, message, sent, released }) = self.waiting.take() else { return };
        let outbox = &mut self.session.lock().outbox;
        match (sent, qos) {
            (Some(packet_id), _) if released => outbox.restore_sent(packet_id, Stage::Released, key),
            (Some(packet_id), QoS::ExactlyOnce) => {
                outbox.restore_sent(packet_id, Stage::Published2 { message, retain }, key);
            }
            (Some(packet_id), _) => {
                outbox.restore_sent(packet_id, Stage::Published1 { message, retain }, key);
            }
            (None, _) => outbox.restore_queued(message.size()),
        }
    }
}

#[cfg(all(test, not(gmqtt_loom)))]
mod tests {
    use mqtt_codec::{TopicFilter, TopicName};

    use super::*;
    use crate::{Broker, net};

    /// A store may read both at the same time.
    #[test]
    fn what_belongs_to_no_session_may_come_between_the_records_of_one() {
        let (core, now) = (Arc::clone(Broker::builder().build().core()), net::now());
        let mut recovery = Recovery::new(&core, now, Expected::default());
        let topic = TopicName::try_from("t").unwrap();
        let message = Message::new(&topic, b"p", QoS::AtLeastOnce);
        let retained = || Record::Retained { message: message.retained(), expires_at: None };
        let (session, key, qos) = (3, 7, QoS::AtLeastOnce);
        let will = Record::WillSet { key: 9, client_id: "other".into(), will: message.clone() };
        for record in [
            retained(),
            Record::SessionStarted { session, client_id: "a".into() },
            will,
            Record::Subscribed { session, filter: TopicFilter::try_from("f").unwrap(), qos },
            Record::Queued { session, key, qos, retain: false, message: message.clone() },
            retained(),
            Record::Sent { session, key, packet_id: PacketId::FIRST },
            Record::Queued { session, key: 8, qos, retain: false, message: message.clone() },
        ] {
            recovery.visit(record);
        }
        recovery.finish();
        let restored = core.sessions.get("a").unwrap();
        let outbox = &restored.lock().outbox;
        assert_eq!((outbox.inflight_messages(), outbox.queued_messages()), (1, 1));
        assert_eq!((core.subscriptions_len(), core.retained_len()), (1, 1));
        assert_eq!(core.retained_message(&topic, now), Some(message.retained()));
    }
}
