//! PUBREL (section 3.6): the sender's answer to PUBREC.

use bytes::BufMut;

use super::acknowledgement::{IDENTIFIED_LEN, decode_identified, encode_identified};
use crate::{DecodeError, EncodeError, PacketId, PacketType};

/// The sender of a QoS 2 PUBLISH will not send it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pubrel {
    /// The identifier of that PUBLISH [MQTT-2.3.1-6].
    pub packet_id: PacketId,
}

impl Pubrel {
    /// Reads the packet from its body.
    #[inline]
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        decode_identified(body).map(|packet_id| Self { packet_id })
    }

    /// Appends the packet's bytes to `out`.
    #[inline]
    pub fn encode(&self, out: &mut impl BufMut) -> Result<(), EncodeError> {
        encode_identified(out, PacketType::Pubrel, self.packet_id)
    }

    /// How many bytes [`encode`](Self::encode) appends.
    pub const fn encoded_len(&self) -> usize {
        IDENTIFIED_LEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [MQTT-2.2.2-1] [MQTT-2.3.1-6] [MQTT-3.6.1-1]
    #[test]
    fn bytes_and_back() {
        let packet = Pubrel { packet_id: PacketId::new(0x1234).unwrap() };
        let mut out = Vec::new();
        packet.encode(&mut out).unwrap();
        assert_eq!(out, [0x62, 0x02, 0x12, 0x34]);
        assert_eq!(out.len(), packet.encoded_len());
        assert_eq!(Pubrel::decode(&[0x12, 0x34]), Ok(packet));
        assert_eq!(Pubrel::decode(&[0, 0]), Err(DecodeError::ZeroPacketId));
        assert_eq!(Pubrel::decode(&[0x12]), Err(DecodeError::Truncated));
        assert_eq!(Pubrel::decode(&[0x12, 0x34, 0]), Err(DecodeError::TrailingBytes));
    }
}
