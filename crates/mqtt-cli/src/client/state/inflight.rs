//! [`Inflight`]: messages of QoS 1 and 2 that were sent and that the server has not taken over yet.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use mqtt_codec::{Delivery, EncodeError, PacketId, Pubrel, QoS, TopicName, encode_publish};

use crate::client::fault::Fault;

/// A message to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Publication {
    pub(crate) topic: TopicName,
    pub(crate) payload: Bytes,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
}

/// In the order in which they were sent first.
#[derive(Default)]
pub(super) struct Inflight {
    deliveries: VecDeque<(PacketId, Awaits)>,
    acknowledged: u64,
}

enum Awaits {
    Puback(Publication),
    Pubrec(Publication),
    Pubcomp,
}

impl Publication {
    pub(super) fn encode(&self, delivery: Delivery, out: &mut BytesMut) -> Result<(), EncodeError> {
        let (topic, len) = (&self.topic, self.payload.len());
        tracing::debug!(?delivery, retain = self.retain, "sending PUBLISH to {topic}, {len} bytes");
        encode_publish(out, delivery, self.retain, self.topic.as_bytes(), &self.payload)
    }
}

impl Inflight {
    pub(super) fn len(&self) -> usize {
        self.deliveries.len()
    }

    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    pub(super) fn contains(&self, packet_id: PacketId) -> bool {
        self.position(packet_id).is_some()
    }

    pub(super) fn push(&mut self, packet_id: PacketId, publication: Publication) {
        let awaits = match publication.qos {
            QoS::ExactlyOnce => Awaits::Pubrec(publication),
            _ => Awaits::Puback(publication),
        };
        self.deliveries.push_back((packet_id, awaits));
    }

    /// An identifier is free again after its acknowledgement, no earlier [MQTT-2.3.1-3]. Unknown ones are let pass: they
    /// answer what an earlier connection asked.
    pub(super) fn handle_puback(&mut self, packet_id: PacketId) -> Result<(), Fault> {
        let Some(index) = self.position(packet_id) else { return Ok(()) };
        if !matches!(self.deliveries.get(index), Some((_, Awaits::Puback(_)))) {
            return Err(Fault::WrongAcknowledgement);
        }
        self.deliveries.remove(index);
        self.acknowledged += 1;
        Ok(())
    }

    /// From here on the message is the server's: it is never sent again, only PUBREL is [MQTT-4.3.3-1].
    pub(super) fn handle_pubrec(&mut self, packet_id: PacketId) -> Result<(), Fault> {
        match self.deliveries.iter_mut().find(|(id, _)| *id == packet_id) {
            Some((_, Awaits::Puback(_))) => return Err(Fault::WrongAcknowledgement),
            Some((_, awaits @ Awaits::Pubrec(_))) => {
                *awaits = Awaits::Pubcomp;
                self.acknowledged += 1;
            }
            Some((_, Awaits::Pubcomp)) | None => {}
        }
        Ok(())
    }

    pub(super) fn handle_pubcomp(&mut self, packet_id: PacketId) -> Result<(), Fault> {
        let Some(index) = self.position(packet_id) else { return Ok(()) };
        if !matches!(self.deliveries.get(index), Some((_, Awaits::Pubcomp))) {
            return Err(Fault::WrongAcknowledgement);
        }
        self.deliveries.remove(index);
        Ok(())
    }

    /// The session goes on: everything is sent again as it was, in its order
    /// [MQTT-2.3.1-3] [MQTT-3.3.1-1] [MQTT-4.4.0-1] [MQTT-4.6.0-1].
    pub(super) fn resend(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        self.send_all(true, out)
    }

    /// A new session begins: what the server has not got is published as if for the first time.
    pub(super) fn start_anew(&mut self, out: &mut BytesMut) -> Result<(), EncodeError> {
        self.deliveries.retain(|(_, awaits)| !matches!(awaits, Awaits::Pubcomp));
        self.send_all(false, out)
    }

    fn send_all(&self, dup: bool, out: &mut BytesMut) -> Result<(), EncodeError> {
        for (packet_id, awaits) in &self.deliveries {
            let packet_id = *packet_id;
            match awaits {
                Awaits::Puback(message) => message.encode(Delivery::AtLeastOnce { packet_id, dup }, out)?,
                Awaits::Pubrec(message) => message.encode(Delivery::ExactlyOnce { packet_id, dup }, out)?,
                Awaits::Pubcomp => Pubrel { packet_id }.encode(out)?,
            }
        }
        Ok(())
    }

    fn position(&self, packet_id: PacketId) -> Option<usize> {
        self.deliveries.iter().position(|(id, _)| *id == packet_id)
    }
}
