//! PINGREQ (section 3.12): a client's sign of life.

use bytes::BufMut;

use super::acknowledgement::{BARE_LEN, decode_bare, encode_bare};
use crate::{DecodeError, EncodeError, PacketType};

/// The client is there, and asks whether the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pingreq;

impl Pingreq {
    /// Reads the packet from its body, which must be empty.
    #[inline]
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        decode_bare(body).map(|()| Self)
    }

    /// Appends the packet's bytes to `out`.
    #[inline]
    pub fn encode(&self, out: &mut impl BufMut) -> Result<(), EncodeError> {
        encode_bare(out, PacketType::Pingreq)
    }

    /// How many bytes [`encode`](Self::encode) appends.
    pub const fn encoded_len(&self) -> usize {
        BARE_LEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [MQTT-2.2.2-1]
    #[test]
    fn bytes_and_back() {
        let mut out = Vec::new();
        Pingreq.encode(&mut out).unwrap();
        assert_eq!(out, [0xc0, 0x00]);
        assert_eq!(out.len(), Pingreq.encoded_len());
        assert_eq!(Pingreq::decode(&[]), Ok(Pingreq));
        assert_eq!(Pingreq::decode(&[0]), Err(DecodeError::TrailingBytes));
    }
}
