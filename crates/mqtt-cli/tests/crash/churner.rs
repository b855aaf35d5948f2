//! [`Churner`]: a durable session that subscribes and unsubscribes all the time, and knows what it was promised.

use std::{collections::VecDeque, time::Duration};

use mqtt_codec::{
    Delivery, Packet, PacketId, Puback, Pubcomp, Publish, Pubrec, Pubrel, QoS, Suback, Subscribe,
    SubscribeReturnCode, TopicFilter, Unsuback, Unsubscribe,
};

use crate::{
    broker::STUCK,
    link::{Link, Stop, connect_packet, fault},
    observer::{PROBE_END, PROBES, probe_topic},
    phase::{Client, Phase},
    rng::Rng,
};

const NAME: &str = "churner";

pub(crate) struct Churner {
    rng: Rng,
    filters: Vec<Filter>,
    next_id: PacketId,
    /// Changes since the beginning: their numbers.
    changes: u64,
    requests: VecDeque<Request>,
    pub(crate) acknowledged: u64,
}

/// What may be subscribed with one filter: what was acknowledged last, or what was asked for since.
struct Filter(Vec<(u64, Option<QoS>)>);

/// A SUBSCRIBE or UNSUBSCRIBE that was sent on this connection and not answered.
struct Request {
    packet_id: PacketId,
    /// The granted QoS in the order of the filters; `None` for UNSUBSCRIBE.
    granted: Option<Vec<SubscribeReturnCode>>,
    /// Which change of which filter.
    changes: Vec<(usize, u64)>,
}

impl Churner {
    pub(crate) fn new(rng: Rng) -> Self {
        let filters = (0..PROBES).map(|_| Filter(vec![(0, None)])).collect();
        let (next_id, requests) = (PacketId::FIRST, VecDeque::new());
        Self { rng, filters, next_id, changes: 0, requests, acknowledged: 0 }
    }

    /// Subscribes to what ends a probe.
    pub(crate) fn set_up(phase: &Phase) -> Result<(), Stop> {
        let (mut link, _) = Link::connect(phase.address, connect_packet(NAME, false))?;
        let filters = vec![(TopicFilter::try_from(PROBE_END).unwrap(), QoS::ExactlyOnce)];
        link.send(Packet::Subscribe(Subscribe { packet_id: PacketId::FIRST, filters }))?;
        match link.next(STUCK)? {
            Some(Packet::Suback(_)) => {
                link.leave();
                Ok(())
            }
            other => fault(format!("{other:?} instead of SUBACK")),
        }
    }

    /// Reads which probes came, and with which QoS: that is what is subscribed.
    pub(crate) fn verify(&mut self, phase: &Phase, probe: &str) -> Result<(), Stop> {
        let (mut link, session_present) = Link::connect(phase.address, connect_packet(NAME, false))?;
        if !session_present {
            return fault("its session is lost");
        }
        let mut found = vec![None; PROBES];
        loop {
            let Some(packet) = link.next(STUCK)? else { return fault("the probe does not arrive") };
            let Some(publish) = acknowledge(packet, &mut link)? else { continue };
            link.flush()?;
            if publish.payload != probe.as_bytes() {
                continue; // Load from before, or an earlier probe.
            }
            if publish.topic.as_str() == PROBE_END {
                break;
            }
            if let Some(place) = (0..PROBES).find(|place| probe_topic(*place) == publish.topic.as_str()) {
                found[place] = Some(publish.delivery.qos());
            }
        }
        for (place, found) in found.into_iter().enumerate() {
            let Filter(possible) = &mut self.filters[place];
            if !possible.iter().any(|(_, value)| *value == found) {
                let topic = probe_topic(place);
                return fault(format!("{topic} is subscribed with {found:?}, promised was {possible:?}"));
            }
            *possible = vec![(0, found)];
        }
        link.leave();
        Ok(())
    }

    fn request(&mut self, link: &mut Link) -> Result<(), Stop> {
        let count = 1 + self.rng.index(3);
        let places: Vec<usize> = (0..count).map(|_| self.rng.index(PROBES)).collect();
        let filter = |place: &usize| TopicFilter::try_from(&*probe_topic(*place)).unwrap();
        self.next_id = self.next_id.next();
        let packet_id = self.next_id;
        let values: Vec<Option<QoS>> = if self.rng.percent(60) {
            places.iter().map(|_| QoS::from_u8(self.rng.within(0..3) as u8)).collect()
        } else {
            vec![None; count]
        };
        let granted: Option<Vec<QoS>> = values.iter().copied().collect();
        link.put(match &granted {
            Some(granted) => {
                let filters = places.iter().map(filter).zip(granted.iter().copied()).collect();
                Packet::Subscribe(Subscribe { packet_id, filters })
            }
            None => {
                Packet::Unsubscribe(Unsubscribe { packet_id, filters: places.iter().map(filter).collect() })
            }
        });
        let mut changes = Vec::new();
        for (place, value) in places.into_iter().zip(values) {
            self.changes += 1;
            self.filters[place].0.push((self.changes, value));
            changes.push((place, self.changes));
        }
        let granted = granted.map(|granted| granted.into_iter().map(SubscribeReturnCode::Granted).collect());
        self.requests.push_back(Request { packet_id, granted, changes });
        link.flush()
    }

    fn answered(&mut self, id: PacketId, return_codes: Option<Vec<SubscribeReturnCode>>) -> Result<(), Stop> {
        let Some(Request { packet_id, granted, changes }) = self.requests.pop_front() else {
            return fault(format!("nothing was asked with {id:?}"));
        };
        if packet_id != id || granted != return_codes {
            return fault(format!("{id:?} was answered with {return_codes:?}, asked was {granted:?}"));
        }
        for (place, change) in changes {
            self.filters[place].0.retain(|(number, _)| *number >= change);
            self.acknowledged += 1;
        }
        Ok(())
    }

    fn handle(&mut self, packet: Packet, link: &mut Link) -> Result<(), Stop> {
        match packet {
            Packet::Suback(Suback { packet_id, return_codes }) => {
                self.answered(packet_id, Some(return_codes))
            }
            Packet::Unsuback(Unsuback { packet_id }) => self.answered(packet_id, None),
            other => acknowledge(other, link).map(drop),
        }
    }
}

/// Acknowledges whatever it is; hands back a message.
fn acknowledge(packet: Packet, link: &mut Link) -> Result<Option<Publish>, Stop> {
    match packet {
        Packet::Publish(publish) => {
            match publish.delivery {
                Delivery::AtMostOnce => {}
                Delivery::AtLeastOnce { packet_id, .. } => link.put(Packet::Puback(Puback { packet_id })),
                Delivery::ExactlyOnce { packet_id, .. } => link.put(Packet::Pubrec(Pubrec { packet_id })),
            }
            Ok(Some(publish))
        }
        Packet::Pubrel(Pubrel { packet_id }) => {
            link.send(Packet::Pubcomp(Pubcomp { packet_id }))?;
            Ok(None)
        }
        other => fault(format!("{other:?} for a subscriber")),
    }
}

impl Client for Churner {
    fn name(&self) -> &str {
        NAME
    }

    fn connection(&mut self, phase: &Phase) -> Result<bool, Stop> {
        if phase.goal.is_some() {
            return Ok(true);
        }
        self.requests.clear();
        let (mut link, session_present) = Link::connect(phase.address, connect_packet(NAME, false))?;
        if !session_present {
            return fault("its session is lost");
        }
        while !phase.is_over() && !self.rng.percent(1) {
            if self.requests.len() < 4 {
                self.request(&mut link)?;
            }
            let mut next = link.next(Duration::from_millis(self.rng.within(1..20)))?;
            while let Some(packet) = next {
                self.handle(packet, &mut link)?;
                next = link.next_read()?;
            }
            link.flush()?;
        }
        Ok(false)
    }

    fn lacks(&self, _phase: &Phase) -> String {
        format!("{} requests are not answered", self.requests.len())
    }
}
