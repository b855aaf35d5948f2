//! [`Client`]: a 3.1.1 client that keeps to the standard, with a session state of its own, and checks what it is told.
//!
//! What it does next is the script's choice; how it answers is here.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
};

use bytes::{Bytes, BytesMut};
use mqtt_codec::{
    Connack, Connect, Decoder, Delivery, Packet, PacketId, Puback, Pubcomp, Publish, Pubrec, Pubrel, QoS,
    Subscribe, SubscribeReturnCode, TopicFilter, TopicName, Unsubscribe, Utf8Bytes, Will,
};

use super::{
    debts::Arrival,
    link::Link,
    oracle::{Oracle, mark_of},
    rng::Rng,
};

const LARGEST_PACKET: usize = 1024 * 1024;

pub(super) struct Client {
    pub(super) name: String,
    pub(super) clean: bool,
    pub(super) keep_alive_secs: u16,
    pub(super) phase: Phase,
    /// Its network connection, by number; the broker may not know yet that it is gone.
    pub(super) link: Option<usize>,
    /// Bytes that it reads at a time.
    pub(super) pace: usize,
    /// How long it thinks before it acknowledges, at most.
    pub(super) hesitation: u64,
    /// It sends nothing of its own accord, not even PINGREQ.
    pub(super) is_silent: bool,
    pub(super) outgoing: VecDeque<Outgoing>,
    received: BTreeMap<PacketId, u64>,
    /// The broker's session that `outgoing` and `received` belong to.
    session: Option<usize>,
    next_id: PacketId,
    pub(super) request: Option<Request>,
    /// Acknowledgements that it is about to send, in their order [MQTT-4.6.0-2].
    owed: VecDeque<(u64, Packet)>,
    bytes: BytesMut,
    decoder: Decoder,
    last_sent: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Phase {
    Away { until: u64 },
    Connecting,
    Online,
}

/// A message with QoS 1 or 2 on its way to the broker.
pub(super) struct Outgoing {
    publish: Publish,
    packet_id: PacketId,
    mark: u64,
    /// PUBREC came: from here on only PUBREL is sent.
    is_released: bool,
}

/// A SUBSCRIBE or UNSUBSCRIBE that is not answered.
pub(super) enum Request {
    Subscribe(Subscribe),
    Unsubscribe(PacketId),
}

/// What a client has around it while it acts.
pub(super) struct Surroundings<'a> {
    pub(super) now: u64,
    pub(super) link: &'a mut Link,
    pub(super) oracle: &'a mut Oracle,
    pub(super) rng: &'a mut Rng,
    pub(super) longest_delay: u64,
    pub(super) most_open: usize,
}

impl Client {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            clean: false,
            keep_alive_secs: 0,
            phase: Phase::Away { until: 0 },
            link: None,
            pace: usize::MAX,
            hesitation: 0,
            is_silent: false,
            outgoing: VecDeque::new(),
            received: BTreeMap::new(),
            session: None,
            next_id: PacketId::FIRST,
            request: None,
            owed: VecDeque::new(),
            bytes: BytesMut::new(),
            decoder: Decoder::new(LARGEST_PACKET),
            last_sent: 0,
        }
    }

    pub(super) fn connect(&mut self, link: usize, will: Option<Will>, around: &mut Surroundings<'_>) {
        self.phase = Phase::Connecting;
        self.link = Some(link);
        let connect = Connect {
            clean_session: self.clean,
            keep_alive_secs: self.keep_alive_secs,
            client_id: Utf8Bytes::try_from(self.name.as_str()).unwrap(),
            will,
            credentials: None,
        };
        self.send(&Packet::Connect(Box::new(connect)), around);
    }

    /// The network connection is gone, with everything that it carried.
    pub(super) fn leave(&mut self, until: u64) {
        self.phase = Phase::Away { until };
        self.link = None;
        self.owed.clear();
        self.request = None;
        self.bytes.clear();
        self.decoder = Decoder::new(LARGEST_PACKET);
    }

    /// Nothing is to be sent, and nothing awaited.
    pub(super) fn is_at_rest(&self) -> bool {
        self.phase == Phase::Online
            && self.outgoing.is_empty()
            && self.request.is_none()
            && self.owed.is_empty()
            && self.received.is_empty()
    }

    pub(super) fn disconnect(&mut self, around: &mut Surroundings<'_>) {
        self.send(&Packet::Disconnect, around);
    }

    pub(super) fn publish(
        &mut self,
        mark: u64,
        message: (TopicName, Bytes),
        qos: QoS,
        retain: bool,
        around: &mut Surroundings<'_>,
    ) {
        let (topic, payload) = message;
        if qos == QoS::AtMostOnce {
            let publish = Publish { delivery: Delivery::AtMostOnce, retain, topic, payload };
            return self.send(&Packet::Publish(publish), around);
        }
        let packet_id = self.free_id();
        let delivery = match qos {
            QoS::ExactlyOnce => Delivery::ExactlyOnce { packet_id, dup: false },
            _ => Delivery::AtLeastOnce { packet_id, dup: false },
        };
        let publish = Publish { delivery, retain, topic, payload };
        self.send(&Packet::Publish(publish.clone()), around);
        around.oracle.sends(mark, qos);
        self.outgoing.push_back(Outgoing { publish, packet_id, mark, is_released: false });
    }

    pub(super) fn subscribe(&mut self, filters: Vec<(TopicFilter, QoS)>, around: &mut Surroundings<'_>) {
        let subscribe = Subscribe { packet_id: self.free_id(), filters };
        self.send(&Packet::Subscribe(subscribe.clone()), around);
        self.request = Some(Request::Subscribe(subscribe));
    }

    pub(super) fn unsubscribe(&mut self, filters: Vec<TopicFilter>, around: &mut Surroundings<'_>) {
        let packet_id = self.free_id();
        self.send(&Packet::Unsubscribe(Unsubscribe { packet_id, filters }), around);
        self.request = Some(Request::Unsubscribe(packet_id));
    }

    /// Reads at its pace, answers, and keeps the connection alive.
    pub(super) fn live(&mut self, around: &mut Surroundings<'_>) {
        let read = around.link.to_client.read(self.pace);
        self.bytes.extend_from_slice(&read);
        loop {
            match self.decoder.decode(&mut self.bytes) {
                Ok(Some(packet)) => self.hear(packet, around),
                Ok(None) => break,
                Err(error) => return around.oracle.fail(format!("{} reads nonsense: {error}", self.name)),
            }
        }
        while let Some((_, packet)) = self.owed.pop_front_if(|(at, _)| *at <= around.now) {
            self.send(&packet, around);
        }
        let keep_alive = u64::from(self.keep_alive_secs) * 1000;
        let is_time = keep_alive > 0 && around.now >= self.last_sent + keep_alive / 2;
        if self.phase == Phase::Online && is_time && !self.is_silent {
            self.send(&Packet::Pingreq, around);
        }
    }

    fn hear(&mut self, packet: Packet, around: &mut Surroundings<'_>) {
        let heard = match packet {
            Packet::Connack(Connack::Accepted { session_present }) if self.phase == Phase::Connecting => {
                self.accepted(session_present, around);
                Ok(())
            }
            _ if self.phase != Phase::Online => Err("before CONNACK"),
            Packet::Publish(publish) => self.hear_publish(&publish, around),
            Packet::Puback(Puback { packet_id }) => self.hear_puback(packet_id, around),
            Packet::Pubrec(Pubrec { packet_id }) => self.hear_pubrec(packet_id, around),
            Packet::Pubcomp(Pubcomp { packet_id }) => self.hear_pubcomp(packet_id),
            Packet::Pubrel(Pubrel { packet_id }) => {
                self.received.remove(&packet_id);
                self.owe(Packet::Pubcomp(Pubcomp { packet_id }), around);
                Ok(())
            }
            Packet::Suback(suback) => self.hear_suback(suback.packet_id, &suback.return_codes, around),
            Packet::Unsuback(unsuback) => match self.request.take() {
                Some(Request::Unsubscribe(packet_id)) if packet_id == unsuback.packet_id => Ok(()),
                _ => Err("unasked"),
            },
            Packet::Pingresp => Ok(()),
            _ => Err("not from a server"),
        };
        if let Err(why) = heard {
            around.oracle.fail(format!("{} got a packet that is wrong: {why}", self.name));
        }
    }

    /// Without a session at the broker, the client's is void too. Else what is under way goes on, in its order.
    ///
    /// No client can know of a session that the broker began meanwhile, when the CONNACK that said so was lost. It would
    /// mix up the two; ours asks the oracle.
    fn accepted(&mut self, session_present: bool, around: &mut Surroundings<'_>) {
        self.phase = Phase::Online;
        let session = around.oracle.session_of(self.link.unwrap_or(usize::MAX));
        if session.is_none() {
            around.oracle.fail("a client got CONNACK 0 on a connection that was not accepted");
        }
        if std::mem::replace(&mut self.session, session) != session || !session_present {
            self.outgoing.clear();
            self.received.clear();
            return;
        }
        let repeated: Vec<Packet> = self.outgoing.iter().map(Outgoing::repeated).collect();
        for packet in repeated {
            self.send(&packet, around);
        }
    }

    fn hear_publish(&mut self, publish: &Publish, around: &mut Surroundings<'_>) -> Result<(), &'static str> {
        let Publish { delivery, retain, topic, payload } = publish;
        let mark = mark_of(payload).unwrap_or_default();
        let is_new = match *delivery {
            Delivery::AtMostOnce => true,
            Delivery::AtLeastOnce { packet_id, dup } => {
                let puback = Packet::Puback(Puback { packet_id });
                if self.received.contains_key(&packet_id) || !dup && self.is_owed(&puback) {
                    return Err("its identifier is in use"); // [MQTT-2.3.1-4]
                }
                self.owe(puback, around);
                true
            }
            Delivery::ExactlyOnce { packet_id, dup } => {
                if self.is_owed(&Packet::Puback(Puback { packet_id })) {
                    return Err("its identifier is in use for QoS 1");
                }
                self.owe(Packet::Pubrec(Pubrec { packet_id }), around);
                match self.received.insert(packet_id, mark) {
                    Some(_) if !dup => return Err("its identifier is in use for QoS 2"),
                    Some(earlier) if earlier != mark => return Err("another message under its identifier"),
                    earlier => earlier.is_none(),
                }
            }
        };
        if self.open_deliveries() > around.most_open {
            return Err("beyond the inflight window");
        }
        if is_new {
            let (topic, qos, dup) = (topic.as_str(), delivery.qos(), delivery.dup());
            let arrival = Arrival { topic, qos, retain: *retain, dup };
            around.oracle.arrived(self.link.unwrap_or(usize::MAX), payload, &arrival);
        }
        Ok(())
    }

    fn is_owed(&self, packet: &Packet) -> bool {
        self.owed.iter().any(|(_, owed)| owed == packet)
    }

    /// At least so many deliveries the broker must hold to be inflight.
    fn open_deliveries(&self) -> usize {
        let mut ids: Vec<PacketId> = self.received.keys().copied().collect();
        ids.extend(self.owed.iter().filter_map(|(_, packet)| match packet {
            Packet::Puback(Puback { packet_id }) => Some(*packet_id),
            _ => None,
        }));
        ids.sort_unstable();
        ids.dedup();
        ids.len()
    }

    fn hear_puback(&mut self, id: PacketId, around: &mut Surroundings<'_>) -> Result<(), &'static str> {
        let position = self.outgoing.iter().position(|outgoing| {
            outgoing.packet_id == id && outgoing.publish.delivery.qos() == QoS::AtLeastOnce
        });
        let acknowledged = position.and_then(|position| self.outgoing.remove(position));
        let Some(Outgoing { mark, .. }) = acknowledged else { return Err("PUBACK for nothing") };
        around.oracle.acknowledged(mark);
        Ok(())
    }

    fn hear_pubrec(&mut self, id: PacketId, around: &mut Surroundings<'_>) -> Result<(), &'static str> {
        let mut outgoing = self.outgoing.iter_mut().filter(|outgoing| outgoing.packet_id == id);
        let Some(outgoing) = outgoing.next().filter(|outgoing| !outgoing.is_released) else {
            return Err("PUBREC for nothing");
        };
        if outgoing.publish.delivery.qos() != QoS::ExactlyOnce {
            return Err("PUBREC for QoS 1");
        }
        outgoing.is_released = true;
        around.oracle.acknowledged(outgoing.mark);
        self.owe(Packet::Pubrel(Pubrel { packet_id: id }), around);
        Ok(())
    }

    fn hear_pubcomp(&mut self, id: PacketId) -> Result<(), &'static str> {
        let position =
            self.outgoing.iter().position(|outgoing| outgoing.packet_id == id && outgoing.is_released);
        position.and_then(|position| self.outgoing.remove(position)).map(drop).ok_or("PUBCOMP for nothing")
    }

    fn hear_suback(
        &mut self,
        packet_id: PacketId,
        return_codes: &[SubscribeReturnCode],
        around: &mut Surroundings<'_>,
    ) -> Result<(), &'static str> {
        let Some(Request::Subscribe(subscribe)) = self.request.take() else { return Err("unasked") };
        if subscribe.packet_id != packet_id || subscribe.filters.len() != return_codes.len() {
            return Err("SUBACK for another SUBSCRIBE");
        }
        for ((filter, asked), code) in subscribe.filters.iter().zip(return_codes) {
            match code {
                SubscribeReturnCode::Granted(granted) if granted <= asked => {
                    around.oracle.granted(self.link.unwrap_or(usize::MAX), filter, *granted);
                }
                _ => return Err("a refusal, or more than was asked for"),
            }
        }
        Ok(())
    }

    fn owe(&mut self, packet: Packet, around: &mut Surroundings<'_>) {
        let earliest = self.owed.back().map_or(0, |(at, _)| *at);
        let at = around.now + around.rng.between(0, self.hesitation);
        self.owed.push_back((at.max(earliest), packet));
    }

    fn send(&mut self, packet: &Packet, around: &mut Surroundings<'_>) {
        let mut bytes = Vec::with_capacity(packet.encoded_len());
        packet.encode(&mut bytes).unwrap();
        let at = around.now + around.rng.between(0, around.longest_delay);
        around.link.to_broker.write(&bytes, at);
        self.last_sent = around.now;
    }

    fn free_id(&mut self) -> PacketId {
        while self.outgoing.iter().any(|outgoing| outgoing.packet_id == self.next_id) {
            self.next_id = self.next_id.next();
        }
        let id = self.next_id;
        self.next_id = id.next();
        id
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, phase, link, outgoing, received, owed, request, .. } = self;
        let outgoing: Vec<_> =
            outgoing.iter().map(|out| (out.packet_id, out.mark, out.is_released)).collect();
        write!(f, "{name} {phase:?} {link:?}, outgoing {outgoing:?}, received {received:?}, owed {owed:?}")?;
        write!(f, ", {}", if request.is_some() { "unanswered" } else { "answered" })
    }
}

impl Outgoing {
    fn repeated(&self) -> Packet {
        let packet_id = self.packet_id;
        if self.is_released {
            return Packet::Pubrel(Pubrel { packet_id });
        }
        let delivery = match self.publish.delivery.qos() {
            QoS::ExactlyOnce => Delivery::ExactlyOnce { packet_id, dup: true },
            _ => Delivery::AtLeastOnce { packet_id, dup: true },
        };
        Packet::Publish(Publish { delivery, ..self.publish.clone() })
    }
}
