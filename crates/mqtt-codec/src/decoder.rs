//! [`Decoder`]: control packets out of a growing buffer, on shared bytes.

use bytes::{Buf, BytesMut};

use crate::{DecodeError, Frame, Packet};

/// Takes whole packets off the front of a byte stream, one after the other.
///
/// Topics, payloads and the like are slices of the buffer they came in, not copies. One decoder belongs to one stream:
/// between two calls the buffer may only grow at its end. After an error the stream has no packet boundary worth
/// trusting: drop both.
#[derive(Clone, Debug)]
pub struct Decoder {
    max_packet_size: usize,
    /// The buffer is not worth a look before it holds so many bytes: a packet that comes in many pieces is read once.
    awaited_len: usize,
}

impl Decoder {
    /// A decoder that refuses packets of more than `max_packet_size` bytes, fixed header included, by their fixed
    /// header: before their body has been buffered.
    pub const fn new(max_packet_size: usize) -> Self {
        Self { max_packet_size, awaited_len: 0 }
    }

    /// The next packet, cut off the front of `bytes`; `None` while it is not all there.
    pub fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Packet>, DecodeError> {
        if bytes.len() < self.awaited_len {
            return Ok(None);
        }
        let Some(frame) = Frame::split(bytes, self.max_packet_size)? else {
            self.awaited_len = Frame::announced_len(bytes, self.max_packet_size)?.unwrap_or(0);
            return Ok(None);
        };
        self.awaited_len = 0;
        let Frame { packet_type, flags, body, len } = frame;
        let header_len = len - body.len();
        let mut body = bytes.split_to(len).freeze();
        body.advance(header_len);
        Packet::decode_body(packet_type, flags, body).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PacketId, Puback};

    #[test]
    fn waits_for_the_whole_packet_and_leaves_the_next() {
        let mut decoder = Decoder::new(100);
        let mut bytes = BytesMut::new();
        for byte in [0x40, 2, 0] {
            bytes.extend_from_slice(&[byte]);
            assert_eq!(decoder.decode(&mut bytes), Ok(None));
        }
        bytes.extend_from_slice(&[1, 0xd0, 0, 0xd0]);
        assert_eq!(
            decoder.decode(&mut bytes),
            Ok(Some(Packet::Puback(Puback { packet_id: PacketId::FIRST })))
        );
        assert_eq!(decoder.decode(&mut bytes), Ok(Some(Packet::Pingresp)));
        assert_eq!(decoder.decode(&mut bytes), Ok(None));
        assert_eq!(&bytes[..], [0xd0]);
    }

    #[test]
    fn topic_and_payload_are_not_copied() {
        let mut bytes = BytesMut::from(&b"\x30\x07\0\x03a/bhi"[..]);
        let start = bytes.as_ptr() as usize;
        let Ok(Some(Packet::Publish(publish))) = Decoder::new(100).decode(&mut bytes) else { panic!() };
        assert_eq!(publish.topic.as_bytes().as_ptr() as usize, start + 4);
        assert_eq!(publish.payload.as_ptr() as usize, start + 7);
    }

    #[test]
    fn a_packet_in_pieces_is_not_looked_at_before_it_is_whole() {
        let mut decoder = Decoder::new(100);
        let mut bytes = BytesMut::from(&b"\x30\x07\0\x03a"[..]);
        assert_eq!(decoder.decode(&mut bytes), Ok(None));
        bytes[0] = 0;
        assert_eq!(decoder.decode(&mut bytes), Ok(None));
        bytes.extend_from_slice(b"/bhi");
        assert_eq!(decoder.decode(&mut bytes), Err(DecodeError::ReservedPacketType(0)));
    }

    #[test]
    fn the_limit_is_checked_before_the_body_is_there() {
        let mut bytes = BytesMut::from(&[0x30, 0xff, 0xff, 0xff, 0x7f][..]);
        let error = DecodeError::PacketTooLarge { len: 268_435_460, max: 1000 };
        assert_eq!(Decoder::new(1000).decode(&mut bytes), Err(error));
    }
}
