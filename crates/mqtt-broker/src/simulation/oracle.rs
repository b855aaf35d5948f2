//! [`Oracle`]: what the broker owes to whom, reckoned from the moments at which it took a message, a subscription, a Will.
//!
//! It hears of them by hooks and events, and of what came of them from the clients. It never looks into the broker.

use std::collections::BTreeMap;

use mqtt_codec::{QoS, TopicFilter, TopicName};

use super::{
    debts::{Arrival, Session},
    plan::{Plan, is_roomy},
    rng::Rng,
    stats::Stats,
};
use crate::{
    event::{DropReason, Event, SessionEnd},
    hooks::{PublishDecision, PublishRequest},
    limits::Limits,
    message::Message,
};

pub(super) struct Oracle {
    limits: Limits,
    marks: bool,
    pub(super) now: u64,
    /// Which connection is running.
    pub(super) running: usize,
    /// Nothing is refused any more: the world comes to rest.
    pub(super) calm: bool,
    pub(super) failure: Option<String>,
    pub(super) stats: Stats,
    rng: Rng,
    /// Counts acts, so that earlier and later can be told.
    clock: u64,
    messages: BTreeMap<u64, Taken>,
    sent: BTreeMap<u64, Sent>,
    /// By client identifier and topic and QoS: the last message that was taken for the first time.
    order_taken: BTreeMap<(String, String, QoS), u64>,
    sessions: Vec<Session>,
    current: BTreeMap<String, usize>,
    /// The session of each connection that was accepted.
    connections: BTreeMap<usize, usize>,
    retained: BTreeMap<String, u64>,
    wills: BTreeMap<u64, u32>,
}

/// A message that the broker took.
pub(super) struct Taken {
    pub(super) topic: TopicName,
    pub(super) qos: QoS,
    pub(super) len: usize,
    pub(super) at: u64,
    /// When another took its place as the retained one.
    pub(super) replaced_at: Option<u64>,
}

/// A message that a client sends with QoS 1 or 2.
struct Sent {
    qos: QoS,
    taken: u32,
    /// A hook had the broker acknowledge and forget it.
    refused: bool,
    acknowledged: bool,
}

/// A payload: the mark, then its last byte over and over.
pub(super) fn payload(mark: u64, len: usize) -> Vec<u8> {
    let mut bytes = mark.to_be_bytes().to_vec();
    bytes.resize(len.max(8), mark as u8);
    bytes
}

pub(super) fn mark_of(bytes: &[u8]) -> Option<u64> {
    let mark = u64::from_be_bytes(*bytes.first_chunk()?);
    (payload(mark, bytes.len()) == bytes).then_some(mark)
}

const MARKED: u64 = 1 << 63;

impl Oracle {
    pub(super) fn new(seed: u64, plan: &Plan) -> Self {
        Self {
            limits: plan.limits.clone(),
            marks: plan.marks,
            now: 0,
            running: 0,
            calm: false,
            failure: None,
            stats: Stats::default(),
            rng: Rng::new(seed),
            clock: 0,
            messages: BTreeMap::new(),
            sent: BTreeMap::new(),
            order_taken: BTreeMap::new(),
            sessions: Vec::new(),
            current: BTreeMap::new(),
            connections: BTreeMap::new(),
            retained: BTreeMap::new(),
            wills: BTreeMap::new(),
        }
    }

    pub(super) fn fail(&mut self, why: impl Into<String>) {
        self.failure.get_or_insert(why.into());
    }

    /// A client begins to send a message.
    pub(super) fn sends(&mut self, mark: u64, qos: QoS) {
        self.sent.insert(mark, Sent { qos, taken: 0, refused: false, acknowledged: false });
    }

    /// PUBACK or PUBREC came: the message is the broker's. [MQTT-4.3.2-2] [MQTT-4.3.3-2]
    pub(super) fn acknowledged(&mut self, mark: u64) {
        let Some(sent) = self.sent.get_mut(&mark) else { return };
        sent.acknowledged = true;
        let taken_well = sent.taken == 1 || sent.taken > 1 && sent.qos == QoS::AtLeastOnce || sent.refused;
        if !taken_well {
            let taken = sent.taken;
            self.fail(format!("message {mark} was acknowledged and taken {taken} times"));
        }
    }

    /// The hook that is asked about each PUBLISH.
    pub(super) fn publish(&mut self, request: &PublishRequest<'_>) -> PublishDecision {
        let PublishRequest { client, topic, payload: bytes, qos, retain } = *request;
        let client = &*client.client_id;
        if bytes.is_empty() {
            self.unretain(topic);
            return PublishDecision::Pass;
        }
        let Some(mark) = mark_of(bytes) else {
            self.fail(format!("{client} published a payload that is not its own: {bytes:?}"));
            return PublishDecision::Pass;
        };
        if self.marks && !self.calm && self.rng.chance(4) {
            self.stats.refused += 1;
            if self.rng.chance(700) {
                return PublishDecision::Disconnect;
            }
            if let Some(sent) = self.sent.get_mut(&mark) {
                sent.refused = true;
            }
            return PublishDecision::Drop;
        }
        self.note_taken(client, topic, mark, qos);
        let mark = if self.marks { MARKED | self.clock } else { mark };
        self.take(mark, topic, bytes.len(), qos, retain);
        if !self.marks {
            return PublishDecision::Pass;
        }
        PublishDecision::Change(Message::from_parts(
            topic.as_bytes(),
            &payload(mark, bytes.len()),
            qos,
            retain,
        ))
    }

    fn note_taken(&mut self, client: &str, topic: &str, mark: u64, qos: QoS) {
        let Some(sent) = self.sent.get_mut(&mark) else { return };
        sent.taken += 1;
        if sent.taken > 1 {
            if qos == QoS::ExactlyOnce {
                self.fail(format!("QoS 2 message {mark} of {client} was taken twice"));
            }
            return;
        }
        let last = self.order_taken.insert((client.into(), topic.into(), qos), mark);
        if last.is_some_and(|last| last > mark) {
            self.fail(format!("message {mark} of {client} was taken after {last:?}"));
        }
    }

    /// The hook that is asked about each Will.
    pub(super) fn will(&mut self, will: &Message) {
        let Some(mark) = mark_of(will.payload()) else {
            self.fail("a Will with a payload that is not its own");
            return;
        };
        *self.wills.entry(mark).or_default() += 1;
        self.stats.wills += 1;
        self.take(mark, will.topic(), will.payload().len(), will.qos(), will.retain());
    }

    /// From here on the broker owes this message to everybody whose subscription matches.
    pub(super) fn take(&mut self, mark: u64, topic: &str, len: usize, qos: QoS, retain: bool) {
        self.clock += 1;
        let Ok(topic) = TopicName::try_from(topic) else { return self.fail("not a topic name") };
        if retain {
            self.unretain(topic.as_str());
            self.retained.insert(topic.as_str().into(), mark);
        }
        for &session in self.current.values() {
            self.sessions[session].owe(mark, &topic, qos);
        }
        self.messages.insert(mark, Taken { topic, qos, len, at: self.clock, replaced_at: None });
    }

    fn unretain(&mut self, topic: &str) {
        self.clock += 1;
        let replaced = self.retained.remove(topic);
        if let Some(message) = replaced.and_then(|mark| self.messages.get_mut(&mark)) {
            message.replaced_at = Some(self.clock);
        }
    }

    /// The observer.
    pub(super) fn event(&mut self, event: &Event<'_>) {
        self.clock += 1;
        match *event {
            Event::Connected { client, session_present } => {
                self.connected(&client.client_id, client.clean_session, session_present);
            }
            Event::Disconnected { client, .. } => {
                let (connection, now) = (self.running, self.now);
                if let Some(session) = self.session(&client.client_id) {
                    session.disconnected(connection, now);
                }
            }
            Event::SessionCreated { client_id } => {
                self.current.insert(client_id.into(), self.sessions.len());
                self.sessions.push(Session::new(client_id));
            }
            Event::SessionResumed { .. } => self.stats.resumed += 1,
            Event::SessionTakenOver { client_id } => {
                self.stats.taken_over += 1;
                if let Some(session) = self.session(client_id) {
                    session.lose_qos0();
                }
            }
            Event::SessionEnded { client_id, reason } => self.session_ended(client_id, reason),
            Event::Subscribed { client_id, filter, granted } => {
                let clock = self.clock;
                let subscribed =
                    self.session(client_id).map(|session| session.subscribed(filter, granted, clock));
                if subscribed.is_none() {
                    self.fail(format!("{client_id} subscribes without a session"));
                }
            }
            Event::Unsubscribed { client_id, filter } => {
                if let Some(session) = self.session(client_id) {
                    session.unsubscribed(filter);
                }
            }
            Event::Dropped { client_id, message, reason } => self.dropped(client_id, message, reason),
            _ => {}
        }
    }

    fn session(&mut self, client_id: &str) -> Option<&mut Session> {
        self.current.get(client_id).map(|&session| &mut self.sessions[session])
    }

    /// [MQTT-3.2.2-1] [MQTT-3.2.2-2] [MQTT-3.2.2-3]
    fn connected(&mut self, client_id: &str, clean_session: bool, session_present: bool) {
        let Some(&index) = self.current.get(client_id) else {
            return self.fail(format!("{client_id} is connected, and has no session"));
        };
        let session = &mut self.sessions[index];
        let expected = !clean_session && session.may_be_resumed();
        session.connected(self.running, clean_session);
        self.connections.insert(self.running, index);
        if session_present != expected {
            self.fail(format!("{client_id} was told {session_present} for session present"));
        }
    }

    fn session_ended(&mut self, client_id: &str, reason: SessionEnd) {
        let Some(index) = self.current.remove(client_id) else {
            return self.fail(format!("a session of {client_id} ended that did not exist"));
        };
        self.stats.expired += u64::from(reason == SessionEnd::Expired);
        let (now, expiry) = (self.now, self.expiry());
        if let Err(why) = self.sessions[index].end(reason, now, expiry) {
            self.fail(format!("{client_id}: {why}"));
        }
    }

    fn expiry(&self) -> u64 {
        self.limits.session_expiry.map_or(u64::MAX, |expiry| expiry.as_millis() as u64)
    }

    fn dropped(&mut self, client_id: &str, message: &Message, reason: DropReason) {
        let allowed = match reason {
            DropReason::SessionEnded | DropReason::Refused => return,
            DropReason::QueueFull => !is_roomy(&self.limits),
            DropReason::Qos0WhileAbsent => !self.limits.queue_qos0_messages,
            DropReason::RetainedFull
            | DropReason::ReservedTopic
            | DropReason::TooLong
            | DropReason::Withheld => false,
        };
        self.stats.dropped += 1;
        if !allowed {
            self.fail(format!("a message for {client_id} was dropped: {reason}"));
        }
        let mark = mark_of(message.payload());
        match self.session(client_id) {
            Some(session) => session.dropped(mark),
            None => self.fail(format!("a message was dropped for {client_id}, who has no session")),
        }
    }

    /// The session of a connection that was accepted.
    pub(super) fn session_of(&self, connection: usize) -> Option<usize> {
        self.connections.get(&connection).copied()
    }

    /// SUBACK came for these.
    pub(super) fn granted(&mut self, connection: usize, filter: &TopicFilter, granted: QoS) {
        let session = self.connections.get(&connection).map(|&session| &self.sessions[session]);
        if !session.is_some_and(|session| session.has_been_granted(filter, granted)) {
            self.fail(format!("SUBACK grants {filter} with QoS {granted}, and nobody subscribed so"));
        }
    }

    /// A client got a message, for the first time or again.
    pub(super) fn arrived(&mut self, connection: usize, bytes: &[u8], arrival: &Arrival<'_>) {
        self.clock += 1;
        if bytes.is_empty() {
            return;
        }
        let Some(&session) = self.connections.get(&connection) else {
            return self.fail("a message came before CONNACK");
        };
        let mark = mark_of(bytes).unwrap_or_default();
        let Some(message) = self
            .messages
            .get(&mark)
            .filter(|message| message.topic.as_str() == arrival.topic && message.len == bytes.len())
        else {
            return self.fail(format!("a message came that nobody published: {} {bytes:?}", arrival.topic));
        };
        let session = &mut self.sessions[session];
        let outcome = if arrival.retain {
            self.stats.retained += 1;
            session.retained_arrived(mark, message, arrival, self.clock)
        } else {
            session.arrived(mark, message, arrival, connection, self.limits.retry_interval.is_some())
        };
        match outcome {
            Ok(true) => self.stats.arrived += 1,
            Ok(false) => self.stats.repeated += 1,
            Err(why) => {
                let client = session.client_id.clone();
                self.fail(format!("{client}, connection {connection}, message {mark:x}: {why}: {arrival:?}"));
            }
        }
    }

    /// Sessions that were absent for too long at `now` must be gone.
    pub(super) fn ticked(&mut self, now: u64) {
        let expiry = self.expiry();
        let is_late = |session: &Session| session.absent_since.is_some_and(|since| since + expiry <= now);
        let late = self.current.values().find(|&&session| is_late(&self.sessions[session]));
        if let Some(&late) = late {
            self.fail(format!("the session of {} did not expire", self.sessions[late].client_id));
        }
    }

    /// The world is at rest, and everybody connected: nothing may be owed any more.
    pub(super) fn settle(&mut self) {
        let mut owed = None;
        for &session in self.current.values() {
            let session = &self.sessions[session];
            let retained = self.retained.values().filter_map(|mark| Some((*mark, self.messages.get(mark)?)));
            owed = owed.or_else(|| session.owed(&self.messages)).or_else(|| session.owed_retained(retained));
        }
        if let Some(owed) = owed {
            self.fail(owed);
        }
    }

    /// What a new subscriber to everything would get, by topic, `$` topics included.
    pub(super) fn retained(&self) -> &BTreeMap<String, u64> {
        &self.retained
    }

    pub(super) fn sessions_kept(&self) -> usize {
        self.current.len()
    }

    pub(super) fn subscriptions_kept(&self) -> usize {
        self.current.values().map(|&session| self.sessions[session].subscriptions()).sum()
    }

    /// How often the Will with this mark was published.
    pub(super) fn wills_published(&self, mark: u64) -> u32 {
        self.wills.get(&mark).copied().unwrap_or_default()
    }
}
