//! [`Recovery`]: puts together again what a store has kept of an earlier process.

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use mqtt_codec::{PacketId, QoS};

use crate::{
    client::{ClientInfo, Peer},
    core::Core,
    message::Message,
    session::{SessionRef, Stage, Will},
    store::{MessageKey, Record, SessionKey},
};

/// Takes the records of [`crate::store::Store::recover`] one by one.
pub(crate) struct Recovery<'a> {
    core: &'a Core,
    now: Instant,
    sessions: HashMap<SessionKey, SessionRef>,
    /// Sessions of which nothing has said yet that their client was gone.
    attached: HashSet<SessionKey>,
    /// A message about which more may follow.
    waiting: Option<Waiting>,
    wills: Vec<(Arc<str>, Will)>,
    /// Retained messages that the store is to forget.
    expired: Vec<Record>,
}

struct Waiting {
    session: SessionKey,
    key: MessageKey,
    qos: QoS,
    retain: bool,
    message: Message,
    sent: Option<PacketId>,
    released: bool,
}

impl<'a> Recovery<'a> {
    pub(crate) fn new(core: &'a Core, now: Instant) -> Self {
        let (sessions, attached) = (HashMap::new(), HashSet::new());
        Self { core, now, sessions, attached, waiting: None, wills: Vec::new(), expired: Vec::new() }
    }

    pub(crate) fn visit(&mut self, record: Record) {
        match record {
            Record::SessionStarted { session, client_id } => {
                self.restore_waiting();
                self.sessions.insert(session, self.core.restore_session(session, client_id));
                self.attached.insert(session);
            }
            Record::Subscribed { session, filter, qos } => {
                if let Some(session) = self.sessions.get(&session) {
                    self.core.restore_subscription(session, filter, qos);
                }
            }
            Record::Queued { session, key, qos, retain, message } => {
                self.restore_waiting();
                self.core.durability.skip_key(key);
                let (sent, released) = (None, false);
                self.waiting = Some(Waiting { session, key, qos, retain, message, sent, released });
            }
            Record::Sent { key, packet_id, .. } => {
                if let Some(waiting) = self.waiting.as_mut().filter(|waiting| waiting.key == key) {
                    waiting.sent = Some(packet_id);
                }
            }
            Record::Released { key, .. } => {
                if let Some(waiting) = self.waiting.as_mut().filter(|waiting| waiting.key == key) {
                    waiting.released = true;
                }
            }
            Record::Received { session, packet_id } => {
                if let Some(session) = self.sessions.get(&session) {
                    // Within the limit when it was received; it must be remembered whatever the limit is now.
                    let mut state = session.lock();
                    let _ = state.seldom.change(|parts| parts.received.insert(packet_id, usize::MAX));
                }
            }
            Record::SessionDetached { session, at } => {
                self.attached.remove(&session);
                if let Some(session) = self.sessions.get(&session) {
                    let age = self.core.durability.age(at);
                    self.core.sessions.restore_absence(session, self.now, age, &self.core.limits);
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
        self.restore_waiting();
        let core = self.core;
        for key in &self.attached {
            if let Some(session) = self.sessions.get(key) {
                core.sessions.restore_absence(session, self.now, Duration::ZERO, &core.limits);
                core.durability.write_detached(*key, self.now);
            }
        }
        core.durability.append(mem::take(&mut self.expired));
        let mut burst = core.burst();
        for (client_id, will) in mem::take(&mut self.wills) {
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

    /// What has expired meanwhile takes no room from others.
    fn restore_retained(&mut self, message: Message, expires_at: Option<SystemTime>) {
        let left = expires_at.map(|at| self.core.durability.time_until(at));
        if left.is_some_and(|left| left.is_zero()) {
            self.expired.extend(message.topic_name().map(|topic| Record::RetainedCleared { topic }));
            return;
        }
        self.core.restore_retained(message, left.and_then(|left| self.now.checked_add(left)));
    }

    fn restore_waiting(&mut self) {
        let Some(Waiting { session, key, qos, retain, message, sent, released }) = self.waiting.take() else {
            return;
        };
        let Some(session) = self.sessions.get(&session) else { return };
        let outbox = &mut session.lock().outbox;
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
