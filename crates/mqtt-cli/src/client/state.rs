//! [`State`]: a client's side of MQTT 3.1.1, without the network and without a clock.
//!
//! After every `handle_*` and every call that sends, call `poll_event` until it returns nothing, write `outgoing`, then
//! read `poll_timeout`. A fault means: close this connection; `handle_connection` begins the next.

mod inflight;

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use mqtt_codec::{
    Connack, Connect, Decoder, Delivery, EncodeError, MAX_REMAINING_LEN, Packet, PacketId, Puback, Pubcomp,
    Publish, Pubrec, Pubrel, QoS, Subscribe, SubscribeReturnCode, TopicFilter, Unsubscribe,
};

use self::inflight::Inflight;
pub(crate) use self::inflight::Publication;
use super::fault::Fault;

/// How long a server may take to answer CONNECT.
const CONNACK_TIME: Duration = Duration::from_secs(10);
/// How long a server may take to answer PINGREQ, whatever the keep alive is.
const SHORTEST_PING_TIME: Duration = Duration::from_secs(5);
/// With so many bytes not yet written, no further message is taken.
const MAX_OUTGOING: usize = 64 * 1024;
/// The longest packet that the protocol can spell: a client takes what its user subscribed to.
const MAX_PACKET_SIZE: usize = MAX_REMAINING_LEN + 5;

/// What the server did that the user of a client wants to know.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The connection is accepted.
    Connected { session_present: bool },
    /// The answer to `subscribe`, filter by filter.
    Subscribed(Vec<SubscribeReturnCode>),
    /// A message; its acknowledgement, if it takes one, is in `outgoing` already.
    Message(Publish),
}

/// The Session State of a client (3.1.2.4), and its connection's.
pub(super) struct State {
    connect: Connect,
    max_inflight: usize,
    phase: Phase,
    decoder: Decoder,
    incoming: BytesMut,
    outgoing: BytesMut,
    inflight: Inflight,
    /// QoS 2 messages that came and were not released.
    received: HashSet<PacketId>,
    /// SUBSCRIBE and UNSUBSCRIBE without an answer.
    requests: Vec<(PacketId, Request)>,
    next_packet_id: PacketId,
    last_sent: Instant,
    pinged: Option<Instant>,
}

/// ```text
/// Offline --handle_connection--> Connecting --CONNACK 0--> Connected --disconnect--> Ended
///    ^---------------- handle_loss, fault ----------------------'
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Offline,
    Connecting { deadline: Instant },
    Connected,
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    Subscribe,
    Unsubscribe,
}

impl State {
    /// `connect` is sent at the beginning of every connection; an error says that it cannot be spelled. Packet identifiers
    /// begin with `first_packet_id`.
    pub(super) fn new(
        now: Instant,
        connect: Connect,
        max_inflight: u16,
        first_packet_id: PacketId,
    ) -> Result<Self, EncodeError> {
        connect.encode(&mut BytesMut::new())?;
        Ok(Self {
            connect,
            max_inflight: max_inflight.into(),
            phase: Phase::Offline,
            decoder: Decoder::new(MAX_PACKET_SIZE),
            incoming: BytesMut::new(),
            outgoing: BytesMut::new(),
            inflight: Inflight::default(),
            received: HashSet::new(),
            requests: Vec::new(),
            next_packet_id: first_packet_id,
            last_sent: now,
            pinged: None,
        })
    }

    /// A network connection is there.
    pub(super) fn handle_connection(&mut self, now: Instant) -> Result<(), EncodeError> {
        self.handle_loss();
        self.phase = Phase::Connecting { deadline: now + CONNACK_TIME };
        tracing::debug!("sending CONNECT as {}", self.connect.client_id);
        self.connect.encode(&mut self.outgoing)
    }

    /// The network connection is gone.
    pub(super) fn handle_loss(&mut self) {
        self.phase = Phase::Offline;
        self.decoder = Decoder::new(MAX_PACKET_SIZE);
        self.incoming.clear();
        self.outgoing.clear();
        self.requests.clear();
        self.pinged = None;
    }

    /// Bytes were taken off `outgoing` and written.
    pub(super) fn handle_sent(&mut self, now: Instant) {
        self.last_sent = now;
    }

    /// The moment that `poll_timeout` named has come.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), Fault> {
        if self.poll_timeout().is_none_or(|at| now < at) {
            return Ok(());
        }
        match self.phase {
            Phase::Connecting { .. } => Err(Fault::NoConnack),
            _ if self.pinged.is_some() => Err(Fault::NoPingresp),
            _ => {
                self.pinged = Some(now);
                self.send(&Packet::Pingreq) // [MQTT-3.1.2-23]
            }
        }
    }

    /// When to call `handle_timeout`, if nothing else happens before.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let keep_alive = Duration::from_secs(self.connect.keep_alive_secs.into());
        match (self.phase, self.pinged) {
            (Phase::Connecting { deadline }, _) => Some(deadline),
            (Phase::Connected, Some(pinged)) => Some(pinged + keep_alive.max(SHORTEST_PING_TIME)),
            // Early enough that a slow machine or network does not make it late. [MQTT-3.1.2-23]
            (Phase::Connected, None) if !keep_alive.is_zero() => Some(self.last_sent + keep_alive * 3 / 4),
            _ => None,
        }
    }

    /// What to write, and where to put what was read.
    pub(super) fn buffers(&mut self) -> (&mut BytesMut, &mut BytesMut) {
        (&mut self.outgoing, &mut self.incoming)
    }

    /// The next thing that happened. Packets are taken one at a time: what is not polled for is not acknowledged.
    pub(super) fn poll_event(&mut self) -> Result<Option<Event>, Fault> {
        while matches!(self.phase, Phase::Connecting { .. } | Phase::Connected) {
            let Some(packet) = self.decoder.decode(&mut self.incoming)? else { break };
            tracing::debug!("received {}", packet.packet_type());
            self.pinged = None; // Whatever came, the server lives.
            if let Some(event) = self.handle_packet(packet)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// Whether a message may be published now.
    pub(super) fn has_room(&self) -> bool {
        let is_open = self.phase == Phase::Connected;
        is_open && self.inflight.len() < self.max_inflight && self.outgoing.len() < MAX_OUTGOING
    }

    /// Whether all that was sent has been written, and answered if it takes an answer.
    pub(super) fn is_idle(&self) -> bool {
        self.outgoing.is_empty() && self.requests.is_empty() && self.inflight.len() == 0
    }

    /// How many messages of QoS 1 and 2 the server has taken over.
    pub(super) fn acknowledged(&self) -> u64 {
        self.inflight.acknowledged()
    }

    /// Messages of QoS 1 and 2 that it has not.
    pub(super) fn unacknowledged(&self) -> usize {
        self.inflight.len()
    }

    /// Sends a message; ask `has_room` before.
    pub(super) fn publish(&mut self, publication: Publication) -> Result<(), EncodeError> {
        let delivery = match publication.qos {
            QoS::AtMostOnce => Delivery::AtMostOnce,
            // [MQTT-4.3.2-1] [MQTT-4.3.3-1]
            QoS::AtLeastOnce => Delivery::AtLeastOnce { packet_id: self.next_packet_id(), dup: false },
            QoS::ExactlyOnce => Delivery::ExactlyOnce { packet_id: self.next_packet_id(), dup: false },
        };
        publication.encode(delivery, &mut self.outgoing)?;
        if let Some(packet_id) = delivery.packet_id() {
            self.inflight.push(packet_id, publication);
        }
        Ok(())
    }

    /// Asks for subscriptions; answered by [`Event::Subscribed`].
    pub(super) fn subscribe(&mut self, filters: Vec<(TopicFilter, QoS)>) -> Result<(), Fault> {
        let packet_id = self.next_packet_id();
        self.requests.push((packet_id, Request::Subscribe));
        self.send(&Packet::Subscribe(Subscribe { packet_id, filters }))
    }

    /// Ends subscriptions.
    pub(super) fn unsubscribe(&mut self, filters: Vec<TopicFilter>) -> Result<(), Fault> {
        let packet_id = self.next_packet_id();
        self.requests.push((packet_id, Request::Unsubscribe));
        self.send(&Packet::Unsubscribe(Unsubscribe { packet_id, filters }))
    }

    /// Says good-bye: after this nothing more is sent, nor looked at [MQTT-3.14.4-2].
    pub(super) fn disconnect(&mut self) -> Result<(), Fault> {
        if self.phase == Phase::Connected {
            self.send(&Packet::Disconnect)?;
            self.phase = Phase::Ended;
        }
        Ok(())
    }

    fn handle_packet(&mut self, packet: Packet) -> Result<Option<Event>, Fault> {
        match (self.phase, packet) {
            (Phase::Connecting { .. }, Packet::Connack(Connack::Accepted { session_present })) => {
                self.resume(session_present)?;
                return Ok(Some(Event::Connected { session_present }));
            }
            (Phase::Connecting { .. }, Packet::Connack(Connack::Refused(refusal))) => {
                return Err(Fault::Refused(refusal));
            }
            (Phase::Connecting { .. }, packet) => return Err(Fault::Unexpected(packet.packet_type())),
            (_, Packet::Publish(publish)) => return self.handle_publish(publish),
            (_, Packet::Puback(Puback { packet_id })) => self.inflight.handle_puback(packet_id)?,
            (_, Packet::Pubrec(Pubrec { packet_id })) => {
                self.inflight.handle_pubrec(packet_id)?;
                self.send(&Packet::Pubrel(Pubrel { packet_id }))?; // [MQTT-4.3.3-1] [MQTT-4.6.0-4]
            }
            (_, Packet::Pubcomp(Pubcomp { packet_id })) => self.inflight.handle_pubcomp(packet_id)?,
            (_, Packet::Pubrel(Pubrel { packet_id })) => {
                self.received.remove(&packet_id);
                self.send(&Packet::Pubcomp(Pubcomp { packet_id }))?; // [MQTT-4.3.3-2] [MQTT-2.3.1-6]
            }
            (_, Packet::Suback(suback)) => {
                self.answered(suback.packet_id, Request::Subscribe)?;
                return Ok(Some(Event::Subscribed(suback.return_codes)));
            }
            (_, Packet::Unsuback(unsuback)) => self.answered(unsuback.packet_id, Request::Unsubscribe)?,
            (_, Packet::Pingresp) => {}
            (_, packet) => return Err(Fault::Unexpected(packet.packet_type())), // [MQTT-4.8.0-1]
        }
        Ok(None)
    }

    /// Acknowledges by QoS, whatever is done with the message [MQTT-4.5.0-2] [MQTT-3.3.4-1].
    fn handle_publish(&mut self, publish: Publish) -> Result<Option<Event>, Fault> {
        match publish.delivery {
            Delivery::AtMostOnce => {}
            Delivery::AtLeastOnce { packet_id, .. } => self.send(&Packet::Puback(Puback { packet_id }))?, // [MQTT-4.3.2-2]
            Delivery::ExactlyOnce { packet_id, .. } => {
                self.send(&Packet::Pubrec(Pubrec { packet_id }))?;
                if !self.received.insert(packet_id) {
                    return Ok(None); // [MQTT-4.3.3-2]
                }
            }
        }
        Ok(Some(Event::Message(publish)))
    }

    /// The connection is accepted: what was under way on the last one goes on, or begins again.
    fn resume(&mut self, session_present: bool) -> Result<(), Fault> {
        self.phase = Phase::Connected;
        if !session_present {
            // The server has forgotten which identifiers it used: the same ones mean new messages.
            self.received.clear();
        }
        if self.connect.clean_session {
            self.inflight.start_anew(&mut self.outgoing)?;
        } else {
            self.inflight.resend(&mut self.outgoing)?; // [MQTT-4.4.0-1]
        }
        Ok(())
    }

    fn answered(&mut self, packet_id: PacketId, request: Request) -> Result<(), Fault> {
        let asked = self.requests.iter().position(|&asked| asked == (packet_id, request));
        let index = asked.ok_or(Fault::NotAsked)?;
        self.requests.swap_remove(index);
        Ok(())
    }

    /// One that is not in use [MQTT-2.3.1-2]. There always is: the window is smaller than the range.
    fn next_packet_id(&mut self) -> PacketId {
        loop {
            let packet_id = self.next_packet_id;
            self.next_packet_id = packet_id.next();
            let is_asking = self.requests.iter().any(|&(asking, _)| asking == packet_id);
            if !is_asking && !self.inflight.contains(packet_id) {
                return packet_id;
            }
        }
    }

    fn send(&mut self, packet: &Packet) -> Result<(), Fault> {
        tracing::debug!("sending {}", packet.packet_type());
        Ok(packet.encode(&mut self.outgoing)?)
    }
}

#[cfg(test)]
mod tests;
