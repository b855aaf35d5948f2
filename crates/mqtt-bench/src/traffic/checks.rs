//! The receiving end: each message once, in order, and to whom it belongs.

use crate::{
    frames::FILLER,
    stream::{Arrival, STAMP_BYTES, Stamp, Stream},
    traffic::{Digits, Numbers, Plan, Routing, receive::Delivery},
};

/// Of so many messages of a publisher one is looked at whole.
const LOOKED_AT: u64 = 64;

/// What went wrong, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Faults {
    /// Deliveries that never came.
    pub(crate) lost: u64,
    /// Deliveries that came more than once.
    pub(crate) duplicated: u64,
    /// Deliveries that came after a later one of the same publisher and topic.
    pub(crate) reordered: u64,
    /// Deliveries to somebody who should not have them, or of what nobody sent.
    pub(crate) misrouted: u64,
    /// Anything else, in words.
    pub(crate) errors: Vec<String>,
}

impl Faults {
    const MAX_ERRORS: usize = 8;

    pub(crate) fn any(&self) -> bool {
        self.lost + self.duplicated + self.reordered + self.misrouted > 0 || !self.errors.is_empty()
    }

    /// Adds those of another part of the same benchmark.
    pub(crate) fn merge(&mut self, other: Self) {
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.misrouted += other.misrouted;
        other.errors.into_iter().for_each(|error| self.error(error));
    }

    /// Keeps the first few: they tell what the thousandth only repeats.
    pub(crate) fn error(&mut self, error: String) {
        if self.errors.len() < Self::MAX_ERRORS && !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }
}

/// Every stream of a plan.
pub(crate) struct Checks {
    routing: Routing,
    topics: Vec<String>,
    payload_bytes: usize,
    digits: Option<Digits>,
    publishers: usize,
    subscribers: usize,
    streams: Vec<Stream>,
    /// [`Routing::AnyOne`]: one more than the newest that each subscriber has of each publisher.
    newest: Vec<u64>,
    delivered: u64,
    qos: u8,
    /// Deliveries with another QoS than this.
    with_other_qos: u64,
    /// Deliveries with another topic or payload than they were sent with.
    changed: u64,
    pub(crate) faults: Faults,
}

impl Checks {
    pub(crate) fn new(plan: &Plan) -> Self {
        let (publishers, subscribers) = (plan.topics.len(), plan.subscribers);
        let streams = match plan.routing {
            Routing::Pairs | Routing::AnyOne => publishers,
            Routing::All => publishers * subscribers,
            Routing::Nobody => 0,
        };
        let newest = if plan.routing == Routing::AnyOne { publishers * subscribers } else { 0 };
        Self {
            routing: plan.routing,
            topics: plan.topics.clone(),
            payload_bytes: plan.payload_bytes.max(STAMP_BYTES),
            digits: plan.digits,
            publishers,
            subscribers,
            streams: std::iter::repeat_with(Stream::default).take(streams).collect(),
            newest: vec![0; newest],
            delivered: 0,
            qos: plan.delivery_qos.as_u8(),
            with_other_qos: 0,
            changed: 0,
            faults: Faults::default(),
        }
    }

    /// Notes a delivery of one of the `sent` messages of its publisher; `false` if it is none that should have happened.
    pub(crate) fn arrive(&mut self, subscriber: usize, delivery: &Delivery<'_>, sent: u64) -> bool {
        let stamp = delivery.stamp;
        self.with_other_qos += u64::from(delivery.qos != self.qos);
        let stream = self.stream_of(subscriber, stamp.publisher);
        let Some(stream) = stream.filter(|_| stamp.sequence < sent && self.is_for(subscriber, delivery))
        else {
            self.faults.misrouted += 1;
            return false;
        };
        self.changed += u64::from(self.is_changed(delivery));
        let arrival = self.streams[stream].arrive(stamp.sequence);
        if arrival == Arrival::Duplicate {
            self.faults.duplicated += 1;
            return false;
        }
        self.delivered += 1;
        // A publisher has one topic, or many, among which no order is promised.
        if self.digits.is_none() && self.is_late(subscriber, stamp, arrival) {
            self.faults.reordered += 1;
        }
        true
    }

    fn is_late(&mut self, subscriber: usize, stamp: Stamp, arrival: Arrival) -> bool {
        if self.routing != Routing::AnyOne {
            return arrival == Arrival::Late;
        }
        // Subscribers are read in turns, so order can be asked of each one's own share only.
        let newest = &mut self.newest[subscriber * self.publishers + stamp.publisher];
        let is_late = stamp.sequence < *newest;
        *newest = (*newest).max(stamp.sequence + 1);
        is_late
    }

    /// Whether the number in the topic, if there is one, is that of the message or one of the subscriber's.
    fn is_for(&self, subscriber: usize, delivery: &Delivery<'_>) -> bool {
        let Some(digits) = self.digits else { return true };
        let number = digits.read(delivery.topic);
        match digits.numbers {
            Numbers::Counted => number as u64 == delivery.stamp.sequence,
            Numbers::Below { each, .. } => number.wrapping_sub(subscriber * each) < each,
        }
    }

    /// The length is that of every message; the rest is looked at in a few, or it would cost more than the server does.
    fn is_changed(&self, delivery: &Delivery<'_>) -> bool {
        let Delivery { stamp, topic, payload, .. } = delivery;
        payload.len() != self.payload_bytes
            || (stamp.sequence.is_multiple_of(LOOKED_AT)
                && (payload.iter().skip(STAMP_BYTES).any(|&byte| byte != FILLER)
                    || !self.is_topic_of(stamp.publisher, topic)))
    }

    fn is_topic_of(&self, publisher: usize, topic: &[u8]) -> bool {
        let Some(sent) = self.topics.get(publisher) else { return false };
        let (from, to) = self.digits.map_or((0, 0), |digits| (digits.offset, digits.offset + digits.width));
        let sent = sent.as_bytes();
        topic.get(..from) == sent.get(..from) && topic.get(to..) == sent.get(to..)
    }

    fn stream_of(&self, subscriber: usize, publisher: usize) -> Option<usize> {
        match self.routing {
            Routing::Pairs => (publisher == subscriber).then_some(publisher),
            Routing::All => (publisher < self.publishers).then_some(subscriber * self.publishers + publisher),
            Routing::AnyOne => (publisher < self.publishers).then_some(publisher),
            Routing::Nobody => None,
        }
    }

    /// Deliveries so far, duplicates not counted.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// How many messages of `publisher` its slowest receiver has.
    pub(crate) fn received_by_slowest(&self, publisher: usize) -> u64 {
        match self.routing {
            Routing::Pairs | Routing::AnyOne => self.streams[publisher].received(),
            Routing::All => (0..self.subscribers)
                .map(|subscriber| self.streams[subscriber * self.publishers + publisher].received())
                .min()
                .unwrap_or(0),
            Routing::Nobody => u64::MAX,
        }
    }

    /// Closes the account: `sent` says how many messages each publisher sent.
    pub(crate) fn finish(mut self, sent: &[u64]) -> Faults {
        self.faults.lost = match self.routing {
            Routing::Nobody => 0,
            Routing::Pairs | Routing::AnyOne => {
                self.streams.iter().zip(sent).map(|(stream, &sent)| stream.lost(sent)).sum()
            }
            Routing::All => {
                self.streams.iter().zip(sent.iter().cycle()).map(|(stream, &sent)| stream.lost(sent)).sum()
            }
        };
        if self.with_other_qos > 0 {
            let error = format!("{} messages came with another QoS than they should", self.with_other_qos);
            self.faults.error(error);
        }
        if self.changed > 0 {
            let what = "came with another topic or payload than they were sent with";
            let error = format!("of the messages that were looked at {} {what}", self.changed);
            self.faults.error(error);
        }
        self.faults
    }
}

#[cfg(test)]
mod tests {
    use mqtt_codec::QoS;

    use super::*;

    fn checks(routing: Routing, publishers: usize, subscribers: usize) -> Checks {
        let plan = Plan::store(vec![String::new(); publishers], QoS::AtMostOnce, 16, 1);
        Checks::new(&Plan { subscribers, routing, ..plan })
    }

    fn delivery(publisher: usize, sequence: u64) -> Delivery<'static> {
        let stamp = Stamp { publisher, sequence, sent_ns: 0 };
        Delivery { stamp, qos: 0, retain: false, topic: b"", payload: &[FILLER; STAMP_BYTES] }
    }

    #[test]
    fn a_message_for_another_subscriber_is_misrouted_and_lost() {
        let mut checks = checks(Routing::Pairs, 2, 2);
        assert!(!checks.arrive(1, &delivery(0, 0), 1));
        let faults = checks.finish(&[1, 0]);
        assert_eq!((faults.misrouted, faults.lost), (1, 1));
    }

    #[test]
    fn each_subscriber_of_a_fan_out_is_accounted_for() {
        let mut checks = checks(Routing::All, 2, 2);
        for (subscriber, publisher, sequence) in
            [(0, 0, 0), (1, 0, 0), (0, 1, 1), (0, 1, 0), (1, 1, 0), (1, 1, 0)]
        {
            checks.arrive(subscriber, &delivery(publisher, sequence), 2);
        }
        assert_eq!(checks.received_by_slowest(1), 1);
        let faults = checks.finish(&[1, 2]);
        assert_eq!((faults.lost, faults.duplicated, faults.reordered), (1, 1, 1));
    }

    #[test]
    fn a_share_may_have_gaps_but_no_disorder() {
        let mut checks = checks(Routing::AnyOne, 1, 2);
        for (subscriber, sequence) in [(0, 1), (1, 0), (1, 3), (1, 2), (0, 2)] {
            checks.arrive(subscriber, &delivery(0, sequence), 4);
        }
        let faults = checks.finish(&[4]);
        assert_eq!((faults.lost, faults.duplicated, faults.reordered), (0, 1, 1));
    }
}
