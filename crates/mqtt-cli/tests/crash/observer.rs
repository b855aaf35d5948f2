//! What an outsider sees: retained messages, and by probes which subscriptions there are.

use std::collections::BTreeMap;

use mqtt_codec::{Delivery, Packet, PacketId, Publish, Pubrel, QoS, Subscribe, TopicFilter, TopicName};

use crate::{
    broker::STUCK,
    link::{Link, Stop, connect_packet, fault},
    phase::Phase,
    publisher::{Publisher, Topic, number_in},
};

/// How many filters the churner plays with.
pub(crate) const PROBES: usize = 8;
pub(crate) const PROBE_END: &str = "probes/end";
/// Retained for ever, and looked up after everything else.
const RETAINED_END: &str = "z/end";

pub(crate) fn probe_topic(place: usize) -> String {
    format!("c/{place}/1")
}

/// A clean session.
struct Observer(Link);

impl Observer {
    fn connect(phase: &Phase) -> Result<Self, Stop> {
        Ok(Self(Link::connect(phase.address, connect_packet("observer", true))?.0))
    }

    /// Publishes with QoS 2, to the end.
    fn publish(&mut self, topic: &str, payload: &str, retain: bool) -> Result<(), Stop> {
        let (packet_id, topic) = (PacketId::FIRST, TopicName::try_from(topic).unwrap());
        let delivery = Delivery::ExactlyOnce { packet_id, dup: false };
        let payload = payload.to_owned().into();
        self.0.send(Packet::Publish(Publish { delivery, retain, topic, payload }))?;
        self.expect("PUBREC", |packet| matches!(packet, Packet::Pubrec(_)))?;
        self.0.send(Packet::Pubrel(Pubrel { packet_id }))?;
        self.expect("PUBCOMP", |packet| matches!(packet, Packet::Pubcomp(_)))
    }

    fn expect(&mut self, what: &str, is_it: impl Fn(&Packet) -> bool) -> Result<(), Stop> {
        match self.0.next(STUCK)? {
            Some(packet) if is_it(&packet) => Ok(()),
            other => fault(format!("{other:?} instead of {what}")),
        }
    }

    /// All retained messages below these filters: topic and payload.
    fn retained(&mut self, filters: &[&str]) -> Result<BTreeMap<String, String>, Stop> {
        let filters = filters.iter().chain([&RETAINED_END]);
        let filters = filters.map(|filter| (TopicFilter::try_from(*filter).unwrap(), QoS::AtMostOnce));
        self.0
            .send(Packet::Subscribe(Subscribe { packet_id: PacketId::FIRST, filters: filters.collect() }))?;
        let mut retained = BTreeMap::new();
        loop {
            match self.0.next(STUCK)? {
                Some(Packet::Suback(_)) => {}
                Some(Packet::Publish(publish)) if publish.topic.as_str() == RETAINED_END => {
                    return Ok(retained);
                }
                Some(Packet::Publish(publish)) if publish.retain => {
                    let payload = String::from_utf8_lossy(&publish.payload).into_owned();
                    retained.insert(publish.topic.as_str().into(), payload);
                }
                other => return fault(format!("{other:?} instead of retained messages")),
            }
        }
    }
}

/// Retains what every later look at retained messages ends with.
pub(crate) fn set_up(phase: &Phase) -> Result<(), Stop> {
    let mut observer = Observer::connect(phase)?;
    observer.publish(RETAINED_END, "end", true)?;
    observer.0.leave();
    Ok(())
}

/// Publishes to whatever the churner may have subscribed to.
pub(crate) fn probe(phase: &Phase, payload: &str) -> Result<(), Stop> {
    let mut observer = Observer::connect(phase)?;
    for place in 0..PROBES {
        observer.publish(&probe_topic(place), payload, false)?;
    }
    observer.publish(PROBE_END, payload, false)?;
    observer.0.leave();
    Ok(())
}

/// Whether each topic retains what was acknowledged last, or something that was sent later.
pub(crate) fn check_retained(phase: &Phase, publishers: &[Publisher]) -> Result<(), Stop> {
    let mut observer = Observer::connect(phase)?;
    let retained = observer.retained(&["r/#", "t/#"])?;
    observer.0.leave();
    for topic in publishers.iter().flat_map(|publisher| &publisher.topics) {
        let found = number_retained(topic, &retained)?;
        if !topic.retain || topic.qos == QoS::AtMostOnce {
            continue;
        }
        let mut allowed = (topic.acknowledged..=topic.sent).map(|number| topic.retained_after(number));
        if !allowed.any(|number| number == found) {
            let (name, acknowledged, sent) = (&topic.name, topic.acknowledged, topic.sent);
            return fault(format!(
                "{name} retains {found:?}; {acknowledged} was acknowledged, {sent} was the last one sent"
            ));
        }
    }
    Ok(())
}

/// What a topic retains; that it is damaged, or that nobody asked for it, is a fault.
fn number_retained(topic: &Topic, retained: &BTreeMap<String, String>) -> Result<Option<u64>, Stop> {
    let Some(payload) = retained.get(&topic.name) else { return Ok(None) };
    match number_in(payload) {
        Some(number) if topic.retain => Ok(Some(number)),
        _ => fault(format!("{} retains {payload:.20?} ({} bytes)", topic.name, payload.len())),
    }
}
