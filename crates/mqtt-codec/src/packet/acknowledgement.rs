//! The bytes that PUBACK, PUBREC, PUBREL, PUBCOMP and UNSUBACK share: a packet identifier and nothing else; and the
//! bytes that PINGREQ, PINGRESP and DISCONNECT share: none.
//!
//! Which acknowledgement belongs to which packet is not known here.

use bytes::BufMut;

use crate::{DecodeError, EncodeError, PacketId, PacketType, wire};

/// How many bytes a packet with nothing but an identifier takes.
pub(super) const IDENTIFIED_LEN: usize = 4;

/// How many bytes a packet without a body takes.
pub(super) const BARE_LEN: usize = 2;

/// Reads a body that is a packet identifier and nothing else. By hand: there is one for every QoS 1 message.
#[inline]
pub(super) fn decode_identified(body: &[u8]) -> Result<PacketId, DecodeError> {
    match *body {
        // [MQTT-2.3.1-1]
        [high, low] => PacketId::new(u16::from_be_bytes([high, low])).ok_or(DecodeError::ZeroPacketId),
        [] | [_] => Err(DecodeError::Truncated),
        [0, 0, ..] => Err(DecodeError::ZeroPacketId),
        _ => Err(DecodeError::TrailingBytes),
    }
}

/// Appends a packet that carries a packet identifier and nothing else.
#[inline]
pub(super) fn encode_identified(
    out: &mut impl BufMut,
    packet_type: PacketType,
    packet_id: PacketId,
) -> Result<(), EncodeError> {
    wire::put_head(out, packet_type.first_byte(), 2, packet_id.get())
}

/// Reads a body that must be empty.
#[inline]
pub(super) fn decode_bare(body: &[u8]) -> Result<(), DecodeError> {
    if body.is_empty() { Ok(()) } else { Err(DecodeError::TrailingBytes) }
}

/// Appends a packet without a body.
#[inline]
pub(super) fn encode_bare(out: &mut impl BufMut, packet_type: PacketType) -> Result<(), EncodeError> {
    if out.remaining_mut() < BARE_LEN {
        return Err(EncodeError::BufferFull { needed: BARE_LEN });
    }
    out.put_slice(&[packet_type.first_byte(), 0]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The hand-written reader is the plain nom one, only faster.
        #[test]
        fn equals_the_plain_parser(body in prop::collection::vec(0..3_u8, 0..5)) {
            prop_assert_eq!(decode_identified(&body), wire::whole(&body, wire::packet_id));
        }
    }

    #[test]
    fn a_full_buffer_is_an_error() {
        let mut room = [0; 3];
        assert_eq!(
            encode_identified(&mut &mut room[..], PacketType::Puback, PacketId::FIRST),
            Err(EncodeError::BufferFull { needed: 4 })
        );
        assert_eq!(room, [0; 3]);
    }
}
