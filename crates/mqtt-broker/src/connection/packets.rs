//! Packets in the bytes that came: where each ends, and who handles it. What one means is in a file a kind beside this one.

use std::time::Instant;

use mqtt_codec::{ConnectRefusal, Frame, PacketType, Pingreq, Pingresp};

use super::{Connection, disconnect, phase::Phase};
use crate::{
    burst::Burst,
    close_reason::{CloseReason, ProtocolViolation},
};

impl Connection {
    /// Takes from `bytes` what the first packet in `partial` lacks, and handles it if it is whole then.
    pub(super) fn complete_partial<'b>(
        &mut self,
        now: Instant,
        bytes: &'b [u8],
        burst: &mut Burst<'_>,
    ) -> &'b [u8] {
        let largest = self.max_packet_size();
        let partial = &mut self.inbound.get_or_insert_default().partial;
        let missing = match Frame::announced_len(partial, largest) {
            Ok(Some(len)) => len.saturating_sub(partial.len()),
            Ok(None) => 1, // Its length is not known yet; it will be within four bytes.
            Err(error) => {
                self.end(now, error.into(), burst);
                return &[];
            }
        };
        let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
        partial.extend_from_slice(taken);
        let mut held = std::mem::take(partial);
        let used = self.handle_packets(now, &held, burst);
        held.drain(..used);
        if self.closed().is_none() && !held.is_empty() {
            self.inbound.get_or_insert_default().partial = held;
        }
        rest
    }

    /// Handles every whole packet at the head of `bytes`; returns how many bytes they were.
    pub(super) fn handle_packets(&mut self, now: Instant, bytes: &[u8], burst: &mut Burst<'_>) -> usize {
        let mut used = 0;
        while self.wants_bytes() {
            let rest = bytes.get(used..).unwrap_or_default();
            if burst.is_spent()
                && !rest.is_empty()
                && let Phase::Open(open) = &mut self.phase
            {
                open.is_interrupted = true;
                break;
            }
            match Frame::split(rest, self.max_packet_size()) {
                Ok(None) if self.is_no_connect(rest) => {
                    self.name_other_protocol(now, rest);
                    self.end(now, ProtocolViolation::FirstPacketNotConnect.into(), burst); // [MQTT-3.1.0-1]
                }
                Ok(None) => break,
                Ok(Some(frame)) => {
                    used += frame.len;
                    burst.tally.received(frame.packet_type, frame.len);
                    if self.place.core.traces.is_on() {
                        self.trace(now, &frame);
                    }
                    if let Err(reason) = self.handle_packet(now, &frame, burst) {
                        self.name_other_protocol(now, rest);
                        self.end(now, reason, burst);
                    }
                }
                Err(error) => {
                    self.name_other_protocol(now, rest);
                    self.end(now, error.into(), burst); // [MQTT-2.2.2-2] [MQTT-4.8.0-1]
                }
            }
        }
        if used > 0 {
            self.hear(now);
        }
        used
    }

    #[cold]
    fn trace(&self, now: Instant, frame: &Frame<'_>) {
        if let Phase::Open(open) = &self.phase {
            self.place.core.traces.received(now, &open.attachment.info, frame);
        }
    }

    /// A listener's port that was mistaken for another is worth a line of its own.
    fn name_other_protocol(&self, now: Instant, bytes: &[u8]) {
        let Phase::AwaitConnect(stranger) = &self.phase else { return };
        let peer = stranger.peer;
        let what = match bytes {
            [0x16, 3, ..] => {
                "TLS on a listener without: let the client speak plain MQTT (mqtt, ws), or use a TLS listener"
            }
            [b'G', b'E', ..] => "HTTP on a listener for plain MQTT: let the client use a WebSocket listener",
            [b'P', b'R', b'O', ..] | [b'\r', b'\n', b'\r', ..] => {
                "a PROXY protocol header on a listener that expects none: name its sender as a trusted proxy"
            }
            _ => return,
        };
        if let Some(left_out) = self.place.entrance.mistaken_ports.may_write(now) {
            tracing::warn!(%peer, listener = self.place.entrance.name.as_deref(), left_out, "{what}");
        }
    }

    fn handle_packet(
        &mut self,
        now: Instant,
        frame: &Frame<'_>,
        burst: &mut Burst<'_>,
    ) -> Result<(), CloseReason> {
        if let Phase::AwaitConnect(stranger) = &mut self.phase {
            let (peer, certified) = (stranger.peer, stranger.certificate_user_name.take());
            return match frame.packet_type {
                PacketType::Connect if self.place.is_beyond_the_limit() => {
                    Err(self.refuse(ConnectRefusal::ServerUnavailable, burst))
                }
                PacketType::Connect => self.handle_connect(now, peer, certified, frame, burst),
                _ => Err(ProtocolViolation::FirstPacketNotConnect.into()), // [MQTT-3.1.0-1]
            };
        }
        match frame.packet_type {
            PacketType::Publish => self.handle_publish(now, frame, burst),
            PacketType::Puback | PacketType::Pubrec | PacketType::Pubrel | PacketType::Pubcomp => {
                self.handle_acknowledgement(frame, burst)
            }
            PacketType::Subscribe => self.handle_subscribe(frame, burst),
            PacketType::Unsubscribe => self.handle_unsubscribe(frame, burst),
            PacketType::Pingreq => {
                Pingreq::decode(frame.body)?;
                // [MQTT-3.12.4-1]
                self.answer(PacketType::Pingresp, burst, |out| Pingresp.encode(out))
            }
            PacketType::Disconnect => Err(disconnect::reason(frame)),
            PacketType::Connect => Err(ProtocolViolation::SecondConnect.into()), // [MQTT-3.1.0-2]
            PacketType::Connack | PacketType::Suback | PacketType::Unsuback | PacketType::Pingresp => {
                Err(ProtocolViolation::ServerPacket.into())
            }
        }
    }

    /// Whether a first packet that has only begun is of another kind: the rest need not be waited for.
    fn is_no_connect(&self, bytes: &[u8]) -> bool {
        let is_another = |first: &u8| first >> 4 != PacketType::Connect as u8;
        matches!(self.phase, Phase::AwaitConnect(_)) && bytes.first().is_some_and(is_another)
    }

    /// The largest that it may send now.
    pub(crate) fn max_packet_size(&self) -> usize {
        match self.phase {
            Phase::AwaitConnect(_) => self.limits().max_connect_packet_size,
            _ => self.limits().max_packet_size,
        }
    }
}
