//! [`Subscriber`]: a durable session that checks every message it gets.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    time::Duration,
};

use mqtt_codec::{
    Delivery, Packet, PacketId, Puback, Pubcomp, Publish, Pubrec, Pubrel, QoS, Suback, Subscribe,
    SubscribeReturnCode, TopicFilter, TopicName,
};

use crate::{
    broker::STUCK,
    link::{Link, Stop, connect_packet, fault},
    phase::{Client, Goal, Phase},
    publisher::number_in,
    rng::Rng,
};

pub(crate) struct Subscriber {
    name: String,
    filter: &'static str,
    granted: QoS,
    habit: Habit,
    rng: Rng,
    /// Identifiers of QoS 2 messages that PUBREL has not released.
    unreleased: HashSet<PacketId>,
    /// The greatest number on each topic: all before it have come, in their order.
    seen: BTreeMap<String, u64>,
    wills: BTreeSet<String>,
    /// What came last, to be told with a fault.
    history: VecDeque<String>,
    pub(crate) deliveries: u64,
    pub(crate) repetitions: u64,
}

/// How much of the past a fault tells.
const HISTORY: usize = 60;

/// Whether it is there while the load is made.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Habit {
    Stays,
    ComesAndGoes,
    Absent,
}

impl Subscriber {
    pub(crate) fn new(name: &str, filter: &'static str, granted: QoS, habit: Habit, rng: Rng) -> Self {
        Self {
            name: name.into(),
            filter,
            granted,
            habit,
            rng,
            unreleased: HashSet::new(),
            seen: BTreeMap::new(),
            wills: BTreeSet::new(),
            history: VecDeque::new(),
            deliveries: 0,
            repetitions: 0,
        }
    }

    /// Subscribes, before the first message.
    pub(crate) fn set_up(&mut self, phase: &Phase) -> Result<(), Stop> {
        let (mut link, _) = Link::connect(phase.address, connect_packet(&self.name, false))?;
        let filters = vec![(TopicFilter::try_from(self.filter).unwrap(), self.granted)];
        link.send(Packet::Subscribe(Subscribe { packet_id: PacketId::FIRST, filters }))?;
        let return_codes = vec![SubscribeReturnCode::Granted(self.granted)];
        match link.next(STUCK)? {
            Some(Packet::Suback(suback))
                if suback == (Suback { packet_id: PacketId::FIRST, return_codes }) =>
            {
                link.leave();
                Ok(())
            }
            other => fault(format!("{other:?} instead of SUBACK")),
        }
    }

    fn handle(&mut self, packet: Packet, link: &mut Link) -> Result<(), Stop> {
        match packet {
            Packet::Publish(publish) => {
                let payload = String::from_utf8_lossy(&publish.payload);
                self.note(format!("{} {:.8} {:?}", publish.topic.as_str(), payload, publish.delivery));
                match publish.delivery {
                    Delivery::AtMostOnce => return fault(format!("{publish:?} came with QoS 0")),
                    Delivery::AtLeastOnce { packet_id, .. } => {
                        self.count(&publish)?;
                        link.put(Packet::Puback(Puback { packet_id }));
                    }
                    Delivery::ExactlyOnce { packet_id, dup } => {
                        if self.unreleased.insert(packet_id) {
                            self.count(&publish)?;
                        } else if !dup {
                            return fault(format!("{packet_id:?} is in use, and came again without DUP"));
                        }
                        link.put(Packet::Pubrec(Pubrec { packet_id }));
                    }
                }
                Ok(())
            }
            Packet::Pubrel(Pubrel { packet_id }) => {
                self.unreleased.remove(&packet_id);
                link.put(Packet::Pubcomp(Pubcomp { packet_id }));
                Ok(())
            }
            other => fault(format!("{other:?} for a subscriber")),
        }
    }

    fn note(&mut self, what: String) {
        self.history.truncate(HISTORY - 1);
        self.history.push_front(what);
    }

    /// A message that is new, as far as the protocol can tell.
    fn count(&mut self, publish: &Publish) -> Result<(), Stop> {
        self.deliveries += 1;
        let (topic, payload) = (publish.topic.as_str(), String::from_utf8_lossy(&publish.payload));
        if topic.starts_with("w/") {
            let is_new = self.wills.insert(payload.to_string());
            return if is_new { Ok(()) } else { fault(format!("the will {payload} was published twice")) };
        }
        let published = topic.as_bytes().last().and_then(|digit| QoS::from_u8(digit.wrapping_sub(b'0')));
        let Some(number) = number_in(&payload) else {
            return fault(format!("{topic}: nobody publishes {payload:.20?} ({} bytes)", payload.len()));
        };
        if published.map(|published| published.min(self.granted)) != Some(publish.delivery.qos()) {
            return fault(format!("{topic}: {number} came with {:?}", publish.delivery.qos()));
        }
        let most = self.seen.entry(topic.into()).or_default();
        // At QoS 1 any of those before may come again, from the publisher's repetition or from the broker's.
        let again = publish.delivery.qos() == QoS::AtLeastOnce && number <= *most;
        if number != *most + 1 && !again {
            let what = if number <= *most { "a second time" } else { "too early" };
            let history = self.history.iter().rev().map(String::as_str).collect::<Vec<_>>().join("\n");
            return fault(format!("{topic}: {number} came {what}, after {most}\n{history}"));
        }
        self.repetitions += u64::from(again);
        *most = number.max(*most);
        Ok(())
    }

    fn has_reached(&self, goal: &Goal) -> bool {
        self.missing(goal).is_none() && self.unreleased.is_empty()
    }

    fn missing(&self, goal: &Goal) -> Option<String> {
        let filter = TopicFilter::try_from(self.filter).unwrap();
        let matches = |topic: &str| filter.matches(&TopicName::try_from(topic).unwrap());
        for (topic, &last) in goal.last.iter().filter(|(topic, _)| matches(topic)) {
            let most = self.seen.get(topic).copied().unwrap_or(0);
            if most < last {
                return Some(format!("{topic}: {} to {last} have not arrived", most + 1));
            }
        }
        if let Some(will) = goal.void_wills.intersection(&self.wills).next() {
            return Some(format!("the will {will} was published after DISCONNECT"));
        }
        let will = goal.wills.difference(&self.wills).next().filter(|_| matches("w/any"));
        will.map(|will| format!("the will {will} was not published"))
    }

    /// New load: takes what comes, now and then slowly, now and then not at all.
    fn take_load(&mut self, phase: &Phase, link: &mut Link) -> Result<(), Stop> {
        while !phase.is_over() {
            let comes_and_goes = self.habit == Habit::ComesAndGoes;
            if comes_and_goes && self.rng.percent(3) {
                phase.rest(Duration::from_millis(self.rng.within(0..60)));
                return Ok(()); // Cut: what was read is not acknowledged.
            }
            let mut next = link.next(Duration::from_millis(20))?;
            while let Some(packet) = next {
                self.handle(packet, link)?;
                if comes_and_goes && self.rng.permille(5) {
                    return Ok(());
                }
                next = link.next_read()?;
            }
            link.flush()?;
        }
        Ok(())
    }

    fn reach(&mut self, phase: &Phase, goal: &Goal, link: &mut Link) -> Result<bool, Stop> {
        let mut asked = false;
        while !phase.is_over() {
            // When nobody publishes any more, one round trip shows what nobody may send either.
            if !asked && phase.publishers_are_done() && self.has_reached(goal) {
                link.put(Packet::Pingreq);
                asked = true;
            }
            link.flush()?;
            let mut next = link.next(Duration::from_millis(5))?;
            while let Some(packet) = next {
                if asked && packet == Packet::Pingresp {
                    return Ok(self.has_reached(goal));
                }
                self.handle(packet, link)?;
                next = link.next_read()?;
            }
        }
        Ok(false)
    }
}

impl Client for Subscriber {
    fn name(&self) -> &str {
        &self.name
    }

    fn connection(&mut self, phase: &Phase) -> Result<bool, Stop> {
        if phase.goal.is_none() && self.habit == Habit::Absent {
            phase.rest(STUCK);
            return Ok(false);
        }
        let (mut link, session_present) = Link::connect(phase.address, connect_packet(&self.name, false))?;
        if !session_present {
            return fault("its session is lost");
        }
        self.note(format!("connected to {}", phase.address));
        let Some(goal) = &phase.goal else {
            self.take_load(phase, &mut link)?;
            return Ok(false);
        };
        let reached = self.reach(phase, goal, &mut link)?;
        if reached {
            link.leave();
        }
        Ok(reached)
    }

    fn lacks(&self, phase: &Phase) -> String {
        let missing = phase.goal.as_ref().and_then(|goal| self.missing(goal));
        missing.unwrap_or_else(|| format!("{} deliveries have no PUBREL", self.unreleased.len()))
    }
}
