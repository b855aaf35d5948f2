//! SUBACK (section 3.9): the answer to SUBSCRIBE, filter by filter.

use bytes::BufMut;
use nom::number::complete::u8;

use crate::{DecodeError, EncodeError, PacketId, PacketType, QoS, wire};

const FAILURE: u8 = 0x80;

/// What became of each filter of a SUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suback {
    /// The identifier of that SUBSCRIBE [MQTT-2.3.1-7].
    pub packet_id: PacketId,
    /// A return code for each filter [MQTT-3.8.4-5], in the order of the filters [MQTT-3.9.3-1]: at least one.
    pub return_codes: Vec<SubscribeReturnCode>,
}

/// What became of one filter of a SUBSCRIBE [MQTT-3.9.3-2].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribeReturnCode {
    /// 0x00, 0x01, 0x02: the subscription stands, with at most this QoS.
    Granted(QoS),
    /// 0x80: there is no such subscription.
    Failure,
}

impl Suback {
    /// Reads the packet from its body.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let known =
            |code| SubscribeReturnCode::from_u8(code).ok_or(DecodeError::UnknownSubscribeReturnCode(code));
        let (packet_id, return_codes) = wire::whole(body, (wire::packet_id, wire::to_the_end(u8, known)))?;
        if return_codes.is_empty() {
            return Err(DecodeError::NoReturnCodes); // [MQTT-3.8.4-5]
        }
        Ok(Self { packet_id, return_codes })
    }

    /// Appends the packet's bytes to `out`, or nothing at all if there is no return code or there are too many.
    pub fn encode(&self, out: &mut impl BufMut) -> Result<(), EncodeError> {
        if self.return_codes.is_empty() {
            return Err(EncodeError::NoReturnCodes); // [MQTT-3.8.4-5]
        }
        wire::put_head(out, PacketType::Suback.first_byte(), self.remaining_len(), self.packet_id.get())?;
        for code in &self.return_codes {
            out.put_u8(code.as_u8()); // [MQTT-3.9.3-1]
        }
        Ok(())
    }

    /// How many bytes [`encode`](Self::encode) appends.
    pub fn encoded_len(&self) -> usize {
        wire::packet_len(self.remaining_len())
    }

    fn remaining_len(&self) -> usize {
        2 + self.return_codes.len()
    }
}

impl SubscribeReturnCode {
    /// The meaning of a return code; `None` for all but 0x00, 0x01, 0x02 and 0x80 [MQTT-3.9.3-2].
    pub const fn from_u8(code: u8) -> Option<Self> {
        match QoS::from_u8(code) {
            Some(qos) => Some(Self::Granted(qos)),
            None if code == FAILURE => Some(Self::Failure),
            None => None,
        }
    }

    /// The return code on the wire.
    pub const fn as_u8(self) -> u8 {
        match self {
            Self::Granted(qos) => qos.as_u8(),
            Self::Failure => FAILURE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [MQTT-2.3.1-7] [MQTT-3.9.3-1]
    #[test]
    fn bytes_and_back() {
        let return_codes = vec![
            SubscribeReturnCode::Failure,
            SubscribeReturnCode::Granted(QoS::ExactlyOnce),
            SubscribeReturnCode::Granted(QoS::AtMostOnce),
        ];
        let packet = Suback { packet_id: PacketId::new(10).unwrap(), return_codes };
        let bytes = b"\x90\x05\0\x0a\x80\x02\0";
        let mut out = Vec::new();
        packet.encode(&mut out).unwrap();
        assert_eq!(out, bytes);
        assert_eq!(packet.encoded_len(), bytes.len());
        assert_eq!(Suback::decode(&bytes[2..]), Ok(packet));
    }

    /// [MQTT-3.9.3-2] [MQTT-3.8.4-5]
    #[test]
    fn refuses() {
        for code in (3..0x80).chain(0x81..=u8::MAX) {
            let error = DecodeError::UnknownSubscribeReturnCode(code);
            assert_eq!(Suback::decode(&[0, 1, 0, code]), Err(error));
        }
        assert_eq!(Suback::decode(&[0, 0, 0]), Err(DecodeError::ZeroPacketId));
        assert_eq!(Suback::decode(&[0, 1]), Err(DecodeError::NoReturnCodes));
        assert_eq!(Suback::decode(&[0]), Err(DecodeError::Truncated));
        let nothing = Suback { packet_id: PacketId::FIRST, return_codes: Vec::new() };
        assert_eq!(nothing.encode(&mut Vec::new()), Err(EncodeError::NoReturnCodes));
    }
}
