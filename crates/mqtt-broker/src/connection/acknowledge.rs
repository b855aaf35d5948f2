//! PUBACK, PUBREC, PUBREL and PUBCOMP from a client (3.4 to 3.7): how deliveries go on and end.

use mqtt_codec::{Frame, PacketId, PacketType, Puback, Pubcomp, Pubrec, Pubrel};

use super::Connection;
use crate::{
    burst::Burst,
    close_reason::{CloseReason, ProtocolViolation},
    event::Event,
    session::{Acknowledged, Outbox},
    store::Mark,
};

impl Connection {
    pub(super) fn handle_acknowledgement(
        &mut self,
        frame: &Frame<'_>,
        burst: &mut Burst<'_>,
    ) -> Result<(), CloseReason> {
        match frame.packet_type {
            PacketType::Puback => {
                let Puback { packet_id } = Puback::decode(frame.body)?;
                self.advance(packet_id, Outbox::puback, burst)
            }
            PacketType::Pubrec => {
                let Pubrec { packet_id } = Pubrec::decode(frame.body)?;
                self.advance(packet_id, Outbox::pubrec, burst)
            }
            PacketType::Pubcomp => {
                let Pubcomp { packet_id } = Pubcomp::decode(frame.body)?;
                self.advance(packet_id, Outbox::pubcomp, burst)
            }
            _ => {
                let Pubrel { packet_id } = Pubrel::decode(frame.body)?;
                self.release(packet_id, burst)
            }
        }
    }

    /// One step of a delivery from the broker to this client.
    fn advance(
        &mut self,
        packet_id: PacketId,
        step: impl FnOnce(&mut Outbox, PacketId) -> (Acknowledged, Mark),
        burst: &mut Burst<'_>,
    ) -> Result<(), CloseReason> {
        let (acknowledged, mark) = step(&mut self.attachment()?.lock()?.outbox, packet_id);
        match acknowledged {
            Acknowledged::Complete => {
                burst.tally.acknowledged();
                let client_id = &self.attachment()?.session.client_id;
                self.place
                    .core
                    .observe_message(&Event::Acknowledged { client_id, packet_id: packet_id.get() });
            }
            Acknowledged::Release => {
                // [MQTT-4.6.0-4]; the receiver forgets the message at PUBREL, so PUBLISH must never come again.
                self.hold_until(mark);
                self.answer(PacketType::Pubrel, burst, |out| Pubrel { packet_id }.encode(out))?;
            }
            Acknowledged::Unknown => {}
            Acknowledged::WrongKind => return Err(ProtocolViolation::WrongAcknowledgement.into()),
        }
        Ok(())
    }

    /// PUBREL ends a delivery from this client to the broker. PUBCOMP answers it even if the identifier is unknown: the
    /// client repeats PUBREL until it comes [MQTT-4.3.3-2].
    fn release(&mut self, packet_id: PacketId, burst: &mut Burst<'_>) -> Result<(), CloseReason> {
        let mut state = self.attachment()?.lock()?;
        state.seldom.change_if_any(|parts| parts.received.release(packet_id));
        let mark = state.outbox.journal().forgotten(packet_id);
        drop(state);
        self.hold_until(mark);
        // [MQTT-2.3.1-6]
        self.answer(PacketType::Pubcomp, burst, |out| Pubcomp { packet_id }.encode(out))
    }
}
