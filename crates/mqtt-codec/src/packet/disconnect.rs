//! DISCONNECT (section 3.14): a client's last packet.

use bytes::BufMut;

use super::acknowledgement::{BARE_LEN, decode_bare, encode_bare};
use crate::{DecodeError, EncodeError, PacketType};

/// The client leaves on purpose; its Will is not to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disconnect;

impl Disconnect {
    /// Reads the packet from its body, which must be empty.
    #[inline]
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        decode_bare(body).map(|()| Self)
    }

    /// Appends the packet's bytes to `out`.
    #[inline]
    pub fn encode(&self, out: &mut impl BufMut) -> Result<(), EncodeError> {
        encode_bare(out, PacketType::Disconnect)
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
        Disconnect.encode(&mut out).unwrap();
        assert_eq!(out, [0xe0, 0x00]);
        assert_eq!(out.len(), Disconnect.encoded_len());
        assert_eq!(Disconnect::decode(&[]), Ok(Disconnect));
        assert_eq!(Disconnect::decode(&[0]), Err(DecodeError::TrailingBytes));
    }
}
