//! PINGRESP (section 3.13): the answer to PINGREQ.

use bytes::BufMut;

use super::acknowledgement::{BARE_LEN, decode_bare, encode_bare};
use crate::{DecodeError, EncodeError, PacketType};

/// The server is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pingresp;

impl Pingresp {
    /// Reads the packet from its body, which must be empty.
    #[inline]
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        decode_bare(body).map(|()| Self)
    }

    /// Appends the packet's bytes to `out`.
    #[inline]
    pub fn encode(&self, out: &mut impl BufMut) -> Result<(), EncodeError> {
        encode_bare(out, PacketType::Pingresp)
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
        Pingresp.encode(&mut out).unwrap();
        assert_eq!(out, [0xd0, 0x00]);
        assert_eq!(out.len(), Pingresp.encoded_len());
        assert_eq!(Pingresp::decode(&[]), Ok(Pingresp));
        assert_eq!(Pingresp::decode(&[0]), Err(DecodeError::TrailingBytes));
    }
}
