//! What is on its way to the client: begun, sent again, acknowledged. Each step goes to the journal, and from QoS 1 on to
//! what is inflight.

use mqtt_codec::{Delivery as Wire, PacketId, Pubrel, QoS, encode_publish};

use super::{
    super::{
        gate::Gate,
        inflight::{Acknowledged, Delivery, Inflight, Stage},
    },
    Outbox,
};
use crate::{
    message::Message,
    store::{Mark, MessageKey},
};

impl Outbox {
    pub(crate) fn puback(&mut self, id: PacketId) -> (Acknowledged, Mark) {
        self.acknowledge(id, Inflight::puback)
    }

    pub(crate) fn pubrec(&mut self, id: PacketId) -> (Acknowledged, Mark) {
        self.acknowledge(id, Inflight::pubrec)
    }

    pub(crate) fn pubcomp(&mut self, id: PacketId) -> (Acknowledged, Mark) {
        self.acknowledge(id, Inflight::pubcomp)
    }

    /// Sends again what has waited for its acknowledgement since the previous call already.
    pub(crate) fn retry(&mut self) {
        let overdue = self.inflight.as_mut().map(|inflight| inflight.overdue());
        self.resend(overdue.unwrap_or_default());
    }

    /// Puts a delivery back that an earlier process had begun.
    pub(crate) fn restore_sent(&mut self, packet_id: PacketId, stage: Stage, key: MessageKey) {
        self.inflight.get_or_insert_default().restore(packet_id, stage, key);
    }

    pub(super) fn begin(&mut self, message: Message, key: MessageKey, qos: QoS, retain: bool) {
        let packet_id = self.inflight.get_or_insert_default().begin(message.clone(), key, qos, retain);
        let mark = self.journal.sent(key, packet_id);
        if qos == QoS::ExactlyOnce {
            self.hold_until(mark);
        }
        // [MQTT-4.3.2-1] [MQTT-4.3.3-1]: DUP is 0 the first time [MQTT-3.3.1-3].
        self.encode(wire(qos, packet_id, false), retain, message.topic_bytes(), message.payload());
    }

    pub(super) fn encode(&mut self, delivery: Wire, retain: bool, topic: &[u8], payload: &[u8]) {
        let qos = delivery.qos();
        // It fits a packet: who publishes made sure of that. If it did not, nothing would be appended.
        if encode_publish(&mut self.pending, delivery, retain, topic, payload).is_ok() {
            self.sent.publishes[usize::from(qos.as_u8())] += 1;
        }
    }

    pub(super) fn resend(&mut self, deliveries: Vec<Delivery>) {
        for Delivery { packet_id, stage, .. } in deliveries {
            // [MQTT-3.3.1-1]: DUP is 1 when it is repeated.
            match stage {
                Stage::Published1 { message, retain } => {
                    let delivery = wire(QoS::AtLeastOnce, packet_id, true);
                    self.encode(delivery, retain, message.topic_bytes(), message.payload());
                }
                Stage::Published2 { message, retain } => {
                    let delivery = wire(QoS::ExactlyOnce, packet_id, true);
                    self.encode(delivery, retain, message.topic_bytes(), message.payload());
                }
                Stage::Released => {
                    if (Pubrel { packet_id }).encode(&mut self.pending).is_ok() {
                        self.sent.pubrels += 1;
                    }
                }
            }
        }
    }

    /// Gives up deliveries that were begun for an earlier connection.
    pub(super) fn withhold_unacknowledged(&mut self, gate: Gate<'_>) -> Vec<Message> {
        let mut withheld = Vec::new();
        let Some(inflight) = self.inflight.as_mut().filter(|_| !gate.is_open()) else { return withheld };
        for Delivery { packet_id, stage, .. } in inflight.in_order() {
            let (message, qos, retain) = match stage {
                Stage::Published1 { message, retain } => (message, QoS::AtLeastOnce, retain),
                Stage::Published2 { message, retain } => (message, QoS::ExactlyOnce, retain),
                Stage::Released => continue, // It is the receiver's already.
            };
            if !gate.lets_pass(&message, qos, retain) {
                self.journal.done(inflight.give_up(packet_id));
                withheld.push(message);
            }
        }
        withheld
    }

    fn acknowledge(
        &mut self,
        id: PacketId,
        step: impl FnOnce(&mut Inflight, PacketId) -> Acknowledged,
    ) -> (Acknowledged, Mark) {
        let inflight = self.inflight.get_or_insert_default();
        let key = inflight.key_of(id);
        let acknowledged = step(inflight, id);
        let mark = match acknowledged {
            Acknowledged::Complete => self.journal.done(key),
            Acknowledged::Release => self.journal.released(key),
            Acknowledged::Unknown | Acknowledged::WrongKind => Mark::NOTHING,
        };
        (acknowledged, mark)
    }
}

fn wire(qos: QoS, packet_id: PacketId, dup: bool) -> Wire {
    match qos {
        QoS::AtMostOnce => Wire::AtMostOnce,
        QoS::AtLeastOnce => Wire::AtLeastOnce { packet_id, dup },
        QoS::ExactlyOnce => Wire::ExactlyOnce { packet_id, dup },
    }
}
