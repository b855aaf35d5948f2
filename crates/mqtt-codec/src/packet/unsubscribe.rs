//! UNSUBSCRIBE (section 3.10): topic filters a client no longer wants.

use bytes::{BufMut, Bytes};

use crate::{DecodeError, EncodeError, PacketId, PacketType, TopicFilter, wire};

/// A request to end subscriptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe {
    /// Comes back in the UNSUBACK [MQTT-3.10.4-4].
    pub packet_id: PacketId,
    /// At least one filter [MQTT-3.10.3-2], in the packet's order.
    pub filters: Vec<TopicFilter>,
}

impl Unsubscribe {
    /// Reads the packet from its body; the filters become slices of it.
    pub fn decode(body: &Bytes) -> Result<Self, DecodeError> {
        let shared = |filter| Ok(TopicFilter::new(wire::share(body, filter))?); // [MQTT-3.10.3-1]
        let fields = (wire::packet_id, wire::to_the_end(wire::field, shared));
        let (packet_id, filters) = wire::whole(body, fields)?;
        if filters.is_empty() {
            return Err(DecodeError::NoFilters); // [MQTT-3.10.3-2]
        }
        Ok(Self { packet_id, filters })
    }

    /// Appends the packet's bytes to `out`, or nothing at all if there is no filter or there are too many.
    pub fn encode(&self, out: &mut impl BufMut) -> Result<(), EncodeError> {
        if self.filters.is_empty() {
            return Err(EncodeError::NoFilters); // [MQTT-3.10.3-2]
        }
        wire::put_head(
            out,
            PacketType::Unsubscribe.first_byte(),
            self.remaining_len(),
            self.packet_id.get(),
        )?;
        for filter in &self.filters {
            wire::put_field(out, filter.as_bytes());
        }
        Ok(())
    }

    /// How many bytes [`encode`](Self::encode) appends.
    pub fn encoded_len(&self) -> usize {
        wire::packet_len(self.remaining_len())
    }

    fn remaining_len(&self) -> usize {
        2 + self.filters.iter().map(|filter| wire::field_len(filter.as_bytes())).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FilterError;

    fn decode(body: &'static [u8]) -> Result<Unsubscribe, DecodeError> {
        Unsubscribe::decode(&Bytes::from_static(body))
    }

    #[test]
    fn bytes_and_back() {
        let filters = ["a/b", "c/d"].map(|text| TopicFilter::try_from(text).unwrap()).to_vec();
        let packet = Unsubscribe { packet_id: PacketId::new(10).unwrap(), filters };
        let bytes = b"\xa2\x0c\0\x0a\0\x03a/b\0\x03c/d";
        let mut out = Vec::new();
        packet.encode(&mut out).unwrap();
        assert_eq!(out, bytes);
        assert_eq!(packet.encoded_len(), bytes.len());
        assert_eq!(decode(&bytes[2..]), Ok(packet));
    }

    /// [MQTT-2.3.1-1] [MQTT-3.10.3-1] [MQTT-3.10.3-2]
    #[test]
    fn refuses() {
        assert_eq!(decode(b"\0\0\0\x01a"), Err(DecodeError::ZeroPacketId));
        assert_eq!(decode(b"\0\x01"), Err(DecodeError::NoFilters));
        assert_eq!(decode(b"\0\x01\0\x02a"), Err(DecodeError::Truncated));
        assert_eq!(decode(b"\0\x01\0\0"), Err(DecodeError::TopicFilter(FilterError::Empty)));
        let nothing = Unsubscribe { packet_id: PacketId::FIRST, filters: Vec::new() };
        assert_eq!(nothing.encode(&mut Vec::new()), Err(EncodeError::NoFilters));
    }
}
