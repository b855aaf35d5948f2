//! [`Session`]: what the broker owes to one session, and what it has paid.

use std::collections::BTreeMap;

use mqtt_codec::{QoS, TopicFilter, TopicName};

use super::oracle::Taken;
use crate::event::SessionEnd;

/// A session as the oracle reckons it, from its first connection to its end.
pub(super) struct Session {
    pub(super) client_id: String,
    pub(super) absent_since: Option<u64>,
    clean: bool,
    /// No connection has it yet.
    is_new: bool,
    subscriptions: BTreeMap<TopicFilter, Subscription>,
    /// Every subscription that there was, with its moment.
    subscribed: Vec<(TopicFilter, QoS, u64)>,
    debts: BTreeMap<u64, Debt>,
    /// Messages that were dropped for this session, by mark.
    dropped: BTreeMap<u64, u32>,
    /// Retained messages that came, by mark: how often, and when last.
    retained: BTreeMap<u64, (u32, u64)>,
    /// The last message that came for the first time, by topic and QoS.
    last: BTreeMap<(String, QoS), u64>,
    /// The last message that came on this connection, for the first time or again.
    last_here: BTreeMap<(String, QoS), u64>,
    connection: usize,
    /// The connection that has the session, or had it last.
    owner: usize,
}

struct Subscription {
    granted: QoS,
    at: u64,
}

struct Debt {
    qos: QoS,
    state: State,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Owed,
    /// QoS 0, and a connection ended since: it may have been lost with it.
    MayBeLost,
    Paid,
}

/// A PUBLISH as a client got it.
#[derive(Debug)]
pub(super) struct Arrival<'a> {
    pub(super) topic: &'a str,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) dup: bool,
}

impl Session {
    pub(super) fn new(client_id: &str) -> Self {
        Self {
            client_id: client_id.into(),
            absent_since: None,
            clean: false,
            is_new: true,
            subscriptions: BTreeMap::new(),
            subscribed: Vec::new(),
            debts: BTreeMap::new(),
            dropped: BTreeMap::new(),
            retained: BTreeMap::new(),
            last: BTreeMap::new(),
            last_here: BTreeMap::new(),
            connection: usize::MAX,
            owner: usize::MAX,
        }
    }

    pub(super) fn may_be_resumed(&self) -> bool {
        !self.is_new && !self.clean
    }

    pub(super) fn connected(&mut self, connection: usize, clean: bool) {
        self.owner = connection;
        self.clean = clean;
        self.is_new = false;
        self.absent_since = None;
    }

    /// A connection that has lost the session before takes nothing with it.
    pub(super) fn disconnected(&mut self, connection: usize, now: u64) {
        if self.owner == connection {
            self.absent_since = Some(now);
            self.lose_qos0();
        }
    }

    pub(super) fn lose_qos0(&mut self) {
        for debt in self.debts.values_mut().filter(|debt| debt.qos == QoS::AtMostOnce) {
            if debt.state == State::Owed {
                debt.state = State::MayBeLost;
            }
        }
    }

    /// Whether it was right to end it so.
    pub(super) fn end(&self, reason: SessionEnd, now: u64, expiry: u64) -> Result<(), String> {
        match reason {
            SessionEnd::Expired if self.absent_since.is_none_or(|since| since + expiry > now) => {
                Err(format!("expired at {now}, absent since {:?}", self.absent_since))
            }
            SessionEnd::Clean if !self.clean => Err("ended, though it was not clean".into()),
            _ => Ok(()),
        }
    }

    pub(super) fn subscribed(&mut self, filter: &TopicFilter, granted: QoS, at: u64) {
        self.subscriptions.insert(filter.clone(), Subscription { granted, at });
        self.subscribed.push((filter.clone(), granted, at));
    }

    pub(super) fn unsubscribed(&mut self, filter: &TopicFilter) {
        self.subscriptions.remove(filter);
    }

    pub(super) fn subscriptions(&self) -> usize {
        self.subscriptions.len()
    }

    pub(super) fn has_been_granted(&self, filter: &TopicFilter, granted: QoS) -> bool {
        self.subscribed.iter().any(|(known, qos, _)| known == filter && *qos == granted)
    }

    /// A message was published: one copy is due, with the highest QoS that was granted [MQTT-3.3.5-1].
    pub(super) fn owe(&mut self, mark: u64, topic: &TopicName, qos: QoS) {
        let matching = self.subscriptions.iter().filter(|(filter, _)| filter.matches(topic));
        if let Some(granted) = matching.map(|(_, subscription)| subscription.granted).max() {
            self.debts.insert(mark, Debt { qos: qos.min(granted), state: State::Owed });
        }
    }

    pub(super) fn dropped(&mut self, mark: Option<u64>) {
        if let Some(mark) = mark {
            *self.dropped.entry(mark).or_default() += 1;
        }
    }

    /// `Ok(true)` for a first arrival, `Ok(false)` for a repetition that may be.
    pub(super) fn arrived(
        &mut self,
        mark: u64,
        message: &Taken,
        arrival: &Arrival<'_>,
        connection: usize,
        retries: bool,
    ) -> Result<bool, String> {
        let stream = (arrival.topic.to_owned(), arrival.qos);
        if self.connection != connection {
            self.connection = connection;
            self.last_here.clear();
        }
        let last_here = self.last_here.insert(stream.clone(), message.at);
        if !retries && last_here.is_some_and(|last| last >= message.at) {
            return Err("out of order on one connection".into()); // [MQTT-4.6.0-5] [MQTT-4.6.0-6]
        }
        let Some(debt) = self.debts.get_mut(&mark) else { return Err("matches no subscription".into()) };
        if debt.qos != arrival.qos {
            return Err(format!("should have come with QoS {}", debt.qos)); // [MQTT-3.8.4-6]
        }
        if debt.state == State::Paid {
            return match arrival.qos {
                QoS::AtLeastOnce if arrival.dup => Ok(false),
                _ => Err("came twice".into()), // [MQTT-4.3.3-1]
            };
        }
        debt.state = State::Paid;
        match self.last.insert(stream, message.at) {
            Some(last) if last >= message.at => Err("out of order".into()), // [MQTT-4.6.0-6]
            _ => Ok(true),
        }
    }

    /// The same for a message with RETAIN, which is due once for each subscription.
    pub(super) fn retained_arrived(
        &mut self,
        mark: u64,
        message: &Taken,
        arrival: &Arrival<'_>,
        now: u64,
    ) -> Result<bool, String> {
        let mut matching = self.subscribed.iter().filter(|(filter, _, _)| filter.matches(&message.topic));
        let Some(first) = matching.clone().map(|(_, _, at)| *at).min() else {
            return Err("retained, and matches no subscription".into());
        };
        if message.replaced_at.is_some_and(|replaced| replaced < first) {
            return Err("retained, and replaced before the subscription was made".into());
        }
        if !matching.any(|(_, granted, _)| message.qos.min(*granted) == arrival.qos) {
            return Err("retained, and came with a QoS that was not granted".into());
        }
        let due = self.subscribed.iter().filter(|(filter, _, _)| filter.matches(&message.topic)).count();
        let (times, last) = self.retained.entry(mark).or_default();
        *last = now;
        if arrival.dup && *times > 0 {
            return Ok(false);
        }
        *times += 1;
        if *times as usize > due { Err("retained, and came too often".into()) } else { Ok(true) }
    }

    /// A message that never came, though nothing is left that could bring it.
    pub(super) fn owed(&self, messages: &BTreeMap<u64, Taken>) -> Option<String> {
        let unpaid =
            |(mark, debt): &(&u64, &Debt)| debt.state == State::Owed && !self.dropped.contains_key(mark);
        let (mark, debt) = self.debts.iter().find(unpaid)?;
        let topic = messages.get(mark).map(|message| message.topic.as_str());
        Some(format!("{} never got message {mark:x} on {topic:?} with QoS {}", self.client_id, debt.qos))
    }

    /// A retained message that a subscription of QoS 1 or 2 should have brought.
    pub(super) fn owed_retained<'a>(
        &self,
        mut retained: impl Iterator<Item = (u64, &'a Taken)>,
    ) -> Option<String> {
        let unpaid = |mark: &u64, message: &Taken| {
            self.subscriptions.iter().any(|(filter, subscription)| {
                message.at < subscription.at
                    && message.qos.min(subscription.granted) != QoS::AtMostOnce
                    && filter.matches(&message.topic)
                    && self.retained.get(mark).is_none_or(|(_, last)| *last < subscription.at)
                    && !self.dropped.contains_key(mark)
            })
        };
        let (mark, message) = retained.find(|(mark, message)| unpaid(mark, message))?;
        Some(format!("{} never got the retained message {mark:x} on {}", self.client_id, message.topic))
    }
}
