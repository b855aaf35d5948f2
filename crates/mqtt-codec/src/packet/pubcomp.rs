//! PUBCOMP (section 3.7): the answer to PUBREL, and the end of a QoS 2 delivery.

use bytes::BufMut;

use super::acknowledgement::{IDENTIFIED_LEN, decode_identified, encode_identified};
use crate::{DecodeError, EncodeError, PacketId, PacketType};

/// The receiver of a QoS 2 PUBLISH has forgotten its identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pubcomp {
    /// The identifier of that PUBLISH [MQTT-2.3.1-6].
    pub packet_id: PacketId,
}

impl Pubcomp {
    /// Reads the packet from its body.
    #[inline]
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        decode_identified(body).map(|packet_id| Self { packet_id })
    }

    /// Appends the packet's bytes to `out`.
    #[inline]
    pub fn encode(&self, out: &mut impl BufMut) -> Result<(), EncodeError> {
        encode_identified(out, PacketType::Pubcomp, self.packet_id)
    }

    /// How many bytes [`encode`](Self::encode) appends.
    pub const fn encoded_len(&self) -> usize {
        IDENTIFIED_LEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [MQTT-2.2.2-1] [MQTT-2.3.1-6]
    #[test]
    fn bytes_and_back() {
        let packet = Pubcomp { packet_id: PacketId::new(0x1234).unwrap() };
        let mut out = Vec::new();
        packet.encode(&mut out).unwrap();
        assert_eq!(out, [0x70, 0x02, 0x12, 0x34]);
        assert_eq!(out.len(), packet.encoded_len());
        assert_eq!(Pubcomp::decode(&[0x12, 0x34]), Ok(packet));
        assert_eq!(Pubcomp::decode(&[0, 0]), Err(DecodeError::ZeroPacketId));
        assert_eq!(Pubcomp::decode(&[0x12]), Err(DecodeError::Truncated));
        assert_eq!(Pubcomp::decode(&[0x12, 0x34, 0]), Err(DecodeError::TrailingBytes));
    }
}
