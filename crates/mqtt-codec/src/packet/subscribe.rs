//! SUBSCRIBE (section 3.8): topic filters a client wants, each with the highest QoS it wants.

use bytes::{BufMut, Bytes};
use nom::{Parser, combinator::map_res, number::complete::u8, sequence::pair};

use crate::{DecodeError, EncodeError, PacketId, PacketType, QoS, TopicFilter, wire};

/// A request for subscriptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// Comes back in the SUBACK [MQTT-3.8.4-2].
    pub packet_id: PacketId,
    /// At least one filter [MQTT-3.8.3-3], each with its requested QoS, in the packet's order.
    pub filters: Vec<(TopicFilter, QoS)>,
}

impl Subscribe {
    /// Reads the packet from its body; the filters become slices of it.
    pub fn decode(body: &Bytes) -> Result<Self, DecodeError> {
        let shared = |(filter, qos)| Ok((TopicFilter::new(wire::share(body, filter))?, qos)); // [MQTT-3.8.3-1]
        let (packet_id, filters) = wire::whole(body, (wire::packet_id, wire::to_the_end(request, shared)))?;
        if filters.is_empty() {
            return Err(DecodeError::NoFilters); // [MQTT-3.8.3-3]
        }
        Ok(Self { packet_id, filters })
    }

    /// Appends the packet's bytes to `out`, or nothing at all if there is no filter or there are too many.
    pub fn encode(&self, out: &mut impl BufMut) -> Result<(), EncodeError> {
        if self.filters.is_empty() {
            return Err(EncodeError::NoFilters); // [MQTT-3.8.3-3]
        }
        wire::put_head(out, PacketType::Subscribe.first_byte(), self.remaining_len(), self.packet_id.get())?;
        for (filter, qos) in &self.filters {
            wire::put_field(out, filter.as_bytes());
            out.put_u8(qos.as_u8());
        }
        Ok(())
    }

    /// How many bytes [`encode`](Self::encode) appends.
    pub fn encoded_len(&self) -> usize {
        wire::packet_len(self.remaining_len())
    }

    fn remaining_len(&self) -> usize {
        2 + self.filters.iter().map(|(filter, _)| wire::field_len(filter.as_bytes()) + 1).sum::<usize>()
    }
}

/// A filter, not yet judged, and its requested QoS [MQTT-3.8.3-4].
fn request(input: &[u8]) -> wire::Parsed<'_, (&[u8], QoS)> {
    let qos = map_res(u8, |value| QoS::from_u8(value).ok_or(DecodeError::InvalidRequestedQoS(value)));
    pair(wire::field, qos).parse(input)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FilterError;

    fn decode(body: &'static [u8]) -> Result<Subscribe, DecodeError> {
        Subscribe::decode(&Bytes::from_static(body))
    }

    #[test]
    fn bytes_and_back() {
        let packet = Subscribe {
            packet_id: PacketId::new(10).unwrap(),
            filters: vec![
                (TopicFilter::try_from("a/b").unwrap(), QoS::AtLeastOnce),
                (TopicFilter::try_from("c/#").unwrap(), QoS::ExactlyOnce),
            ],
        };
        let bytes = b"\x82\x0e\0\x0a\0\x03a/b\x01\0\x03c/#\x02";
        let mut out = Vec::new();
        packet.encode(&mut out).unwrap();
        assert_eq!(out, bytes);
        assert_eq!(packet.encoded_len(), bytes.len());
        assert_eq!(decode(&bytes[2..]), Ok(packet));
    }

    /// [MQTT-2.3.1-1] [MQTT-3.8.3-1] [MQTT-3.8.3-3] [MQTT-3.8.3-4]
    #[test]
    fn refuses() {
        assert_eq!(decode(b"\0\0\0\x01a\0"), Err(DecodeError::ZeroPacketId));
        assert_eq!(decode(b"\0\x01"), Err(DecodeError::NoFilters));
        assert_eq!(decode(b"\0\x01\0\x01a"), Err(DecodeError::Truncated));
        assert_eq!(decode(b"\0\x01\0\x01a\0\0"), Err(DecodeError::Truncated));
        assert_eq!(decode(b"\0\x01\0\x01a\x03"), Err(DecodeError::InvalidRequestedQoS(3)));
        assert_eq!(decode(b"\0\x01\0\x01a\x80"), Err(DecodeError::InvalidRequestedQoS(0x80)));
        assert_eq!(decode(b"\0\x01\0\x01\xff\0"), Err(DecodeError::TopicFilter(FilterError::NotUtf8)));
        let nothing = Subscribe { packet_id: PacketId::FIRST, filters: Vec::new() };
        assert_eq!(nothing.encode(&mut Vec::new()), Err(EncodeError::NoFilters));
    }
}
