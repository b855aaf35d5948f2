//! [`Publisher`]: numbered messages on topics of its own, many of them unacknowledged at a time.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use mqtt_codec::{Delivery, Packet, PacketId, Puback, Pubcomp, Publish, Pubrec, Pubrel, QoS, TopicName};

use crate::{
    link::{Link, Stop, connect_packet, fault},
    phase::{Client, Phase},
    rng::Rng,
};

pub(crate) struct Publisher {
    name: String,
    clean_session: bool,
    /// Messages unacknowledged at a time, at most.
    window: usize,
    rng: Rng,
    has_session: bool,
    next_id: PacketId,
    unacknowledged: VecDeque<Sending>,
    pub(crate) topics: Vec<Topic>,
    pub(crate) acknowledged: u64,
}

/// Messages with numbers from 1 on.
#[derive(Clone)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// Every so many messages an empty one, which clears what is retained; 0 for never.
    clear_every: u64,
    /// The last one that was sent, and the last one that was acknowledged.
    pub(crate) sent: u64,
    pub(crate) acknowledged: u64,
}

#[derive(Clone)]
struct Sending {
    packet_id: PacketId,
    topic: usize,
    number: u64,
    padding: usize,
    /// QoS 2: the broker has it, and PUBREL is on its way.
    released: bool,
}

/// The number of a message, if its payload is whole.
pub(crate) fn number_in(payload: &str) -> Option<u64> {
    let [number, length, padding] = payload.splitn(3, ' ').collect::<Vec<_>>().try_into().ok()?;
    let is_whole = length.parse() == Ok(padding.len()) && padding.bytes().all(|byte| byte == b'x');
    number.parse().ok().filter(|_| is_whole)
}

impl Topic {
    /// The last level of its name says with which QoS its messages are published.
    pub(crate) fn new(name: &str) -> Self {
        let qos = name.as_bytes().last().and_then(|digit| QoS::from_u8(digit - b'0')).unwrap();
        Self { name: name.into(), qos, retain: false, clear_every: 0, sent: 0, acknowledged: 0 }
    }

    pub(crate) fn retained(name: &str, clear_every: u64) -> Self {
        Self { retain: true, clear_every, ..Self::new(name) }
    }

    /// What is retained after this message: its number, or nothing.
    pub(crate) fn retained_after(&self, number: u64) -> Option<u64> {
        (number > 0 && !self.clears(number)).then_some(number)
    }

    fn clears(&self, number: u64) -> bool {
        number.is_multiple_of(self.clear_every) // Of 0, no number that there is.
    }

    fn payload(&self, sending: &Sending) -> Bytes {
        if self.clears(sending.number) {
            return Bytes::new();
        }
        format!("{} {} {}", sending.number, sending.padding, "x".repeat(sending.padding)).into()
    }
}

impl Publisher {
    pub(crate) fn new(name: &str, clean_session: bool, window: usize, rng: Rng, topics: Vec<Topic>) -> Self {
        Self {
            name: name.into(),
            clean_session,
            window,
            rng,
            has_session: false,
            next_id: PacketId::FIRST,
            unacknowledged: VecDeque::new(),
            topics,
            acknowledged: 0,
        }
    }

    pub(crate) fn add_last_numbers(&self, last: &mut BTreeMap<String, u64>) {
        last.extend(self.topics.iter().map(|topic| (topic.name.clone(), topic.sent)));
    }

    /// Everything unacknowledged again, in its order [MQTT-4.4.0-1].
    fn repeat(&mut self, link: &mut Link, session_present: bool) -> Result<(), Stop> {
        for sending in self.unacknowledged.clone() {
            if sending.released {
                link.put(Packet::Pubrel(Pubrel { packet_id: sending.packet_id }));
            } else {
                self.put(link, &sending, session_present);
            }
        }
        link.flush()
    }

    fn put(&self, link: &mut Link, sending: &Sending, dup: bool) {
        let (topic, packet_id) = (&self.topics[sending.topic], sending.packet_id);
        let delivery = match topic.qos {
            QoS::AtMostOnce => Delivery::AtMostOnce,
            QoS::AtLeastOnce => Delivery::AtLeastOnce { packet_id, dup },
            QoS::ExactlyOnce => Delivery::ExactlyOnce { packet_id, dup },
        };
        let (name, payload) = (TopicName::new(topic.name.clone()).unwrap(), topic.payload(sending));
        link.put(Packet::Publish(Publish { delivery, retain: topic.retain, topic: name, payload }));
    }

    fn send_more(&mut self, link: &mut Link) -> Result<(), Stop> {
        let room = self.window - self.unacknowledged.len();
        for _ in 0..self.rng.index(room + 1) {
            let topic = self.rng.index(self.topics.len());
            let large = self.rng.percent(3);
            let padding = self.rng.index(if large { 20_000 } else { 200 });
            self.topics[topic].sent += 1;
            let number = self.topics[topic].sent;
            let sending = Sending { packet_id: self.free_id(), topic, number, padding, released: false };
            self.put(link, &sending, false);
            if self.topics[topic].qos != QoS::AtMostOnce {
                self.unacknowledged.push_back(sending);
            }
        }
        link.flush()
    }

    /// One of few: each is used again and again, and the broker has to have freed it before.
    fn free_id(&mut self) -> PacketId {
        loop {
            let is_last = usize::from(self.next_id.get()) >= 2 * self.window;
            self.next_id = if is_last { PacketId::FIRST } else { self.next_id.next() };
            if self.unacknowledged.iter().all(|sending| sending.packet_id != self.next_id) {
                return self.next_id;
            }
        }
    }

    fn handle(&mut self, packet: &Packet, link: &mut Link) -> Result<(), Stop> {
        match *packet {
            Packet::Puback(Puback { packet_id }) => {
                let place = self.awaited(QoS::AtLeastOnce, false, packet_id)?;
                self.acknowledge(place);
                self.unacknowledged.remove(place);
            }
            Packet::Pubrec(Pubrec { packet_id }) => {
                let place = self.awaited(QoS::ExactlyOnce, false, packet_id)?;
                self.acknowledge(place);
                self.unacknowledged[place].released = true;
                link.send(Packet::Pubrel(Pubrel { packet_id }))?;
            }
            Packet::Pubcomp(Pubcomp { packet_id }) => {
                let place = self.awaited(QoS::ExactlyOnce, true, packet_id)?;
                self.unacknowledged.remove(place);
            }
            ref other => return fault(format!("{other:?} for a publisher")),
        }
        Ok(())
    }

    /// The oldest message for which such an acknowledgement is awaited: acknowledgements come in their order
    /// [MQTT-4.6.0-2] [MQTT-4.6.0-3].
    fn awaited(&self, qos: QoS, released: bool, packet_id: PacketId) -> Result<usize, Stop> {
        let is_awaited =
            |sending: &&Sending| self.topics[sending.topic].qos == qos && sending.released == released;
        match self.unacknowledged.iter().find(is_awaited) {
            Some(sending) if sending.packet_id == packet_id => {}
            other => {
                let awaited = other.map(|sending| sending.packet_id.get());
                return fault(format!("packet {packet_id:?} acknowledged, but {awaited:?} was to be"));
            }
        }
        Ok(self.unacknowledged.iter().position(|sending| sending.packet_id == packet_id).unwrap())
    }

    /// From here on the message must not be lost.
    fn acknowledge(&mut self, place: usize) {
        let Sending { topic, number, .. } = self.unacknowledged[place];
        self.topics[topic].acknowledged = number;
        self.acknowledged += 1;
    }
}

impl Client for Publisher {
    fn name(&self) -> &str {
        &self.name
    }

    fn connection(&mut self, phase: &Phase) -> Result<bool, Stop> {
        let connect = connect_packet(&self.name, self.clean_session);
        let (mut link, session_present) = Link::connect(phase.address, connect)?;
        if self.has_session && !session_present {
            return fault("its session is lost");
        }
        self.has_session = !self.clean_session;
        self.repeat(&mut link, session_present)?;
        while !phase.is_over() {
            if phase.goal.is_none() {
                self.send_more(&mut link)?;
                if self.rng.permille(5) {
                    return Ok(false); // Cut in the middle.
                }
            } else if self.unacknowledged.is_empty() {
                link.leave();
                phase.publisher_is_done();
                return Ok(true);
            }
            let mut next = link.next(Duration::from_millis(20))?;
            while let Some(packet) = next {
                self.handle(&packet, &mut link)?;
                next = link.next_read()?;
            }
        }
        Ok(false)
    }

    fn lacks(&self, _phase: &Phase) -> String {
        let first = self.unacknowledged.front();
        let first = first.map(|sending| (&self.topics[sending.topic].name, sending.number, sending.released));
        format!("{} messages are not acknowledged, the first is {first:?}", self.unacknowledged.len())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn identifiers_come_again_and_again() {
        let mut publisher = Publisher::new("any", false, 20, Rng::new(1), vec![Topic::new("t/any/2")]);
        let used: HashSet<PacketId> = (0..1000).map(|_| publisher.free_id()).collect();
        assert!(used.len() <= 40, "{} identifiers for 1000 messages", used.len());
    }

    #[test]
    fn a_payload_tells_its_number_if_it_is_whole() {
        assert_eq!(number_in("17 3 xxx"), Some(17));
        assert_eq!(number_in("17 0 "), Some(17));
        for damaged in ["17 3 xx", "17 3 xxxx", "17 3 xyx", "17 xxx", "17", "", "x 3 xxx"] {
            assert_eq!(number_in(damaged), None, "{damaged:?}");
        }
    }
}
