//! PUBLISH (section 3.3): an application message on its way. The hot packet: read and written by hand.

use bytes::{Buf, BufMut, Bytes};

use crate::{DecodeError, EncodeError, Frame, PacketId, PacketType, QoS, TopicName, wire};

const RETAIN: u8 = 0b0001;
const QOS: u8 = 0b0110;
const AT_MOST_ONCE: u8 = 0b0000;
const AT_LEAST_ONCE: u8 = 0b0010;
const QOS_SHIFT: u8 = 1;
const DUP: u8 = 0b1000;

/// With which guarantee a message travels, and what that takes: a QoS 0 message has no identifier [MQTT-2.3.1-5] and is
/// never a duplicate [MQTT-3.3.1-2].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// QoS 0.
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce {
        /// Comes back in the PUBACK.
        packet_id: PacketId,
        /// Whether this may be a re-delivery of an earlier attempt [MQTT-3.3.1-1].
        dup: bool,
    },
    /// QoS 2.
    ExactlyOnce {
        /// Comes back in the PUBREC.
        packet_id: PacketId,
        /// Whether this may be a re-delivery of an earlier attempt [MQTT-3.3.1-1].
        dup: bool,
    },
}

/// An application message that borrows the bytes it came in: what a broker's hot path reads, without an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishRef<'a> {
    /// The guarantee it travels with.
    pub delivery: Delivery,
    /// Sent to a server: to be stored for future subscribers. Sent to a client: stored before the client subscribed.
    pub retain: bool,
    /// Where it is published: always a valid topic name.
    pub topic: &'a str,
    /// The message itself: any bytes, or none.
    pub payload: &'a [u8],
}

/// An application message on shared bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// The guarantee it travels with.
    pub delivery: Delivery,
    /// Sent to a server: to be stored for future subscribers. Sent to a client: stored before the client subscribed.
    pub retain: bool,
    /// Where it is published.
    pub topic: TopicName,
    /// The message itself: any bytes, or none.
    pub payload: Bytes,
}

/// Appends a whole PUBLISH to `out`, or nothing at all if it cannot be spelled.
///
/// `topic` must be the bytes of a valid topic name; its length alone is checked here, since a broker sends one message to
/// many receivers.
#[inline]
pub fn encode_publish(
    out: &mut impl BufMut,
    delivery: Delivery,
    retain: bool,
    topic: &[u8],
    payload: &[u8],
) -> Result<(), EncodeError> {
    put_head(out, delivery, retain, topic, payload.len(), 0)?;
    out.put_slice(payload);
    Ok(())
}

/// [`encode_publish`] up to the payload, for those who write the payload from where it stands: `out` needs no room for that.
#[inline]
pub fn encode_publish_head(
    out: &mut impl BufMut,
    delivery: Delivery,
    retain: bool,
    topic: &[u8],
    payload_len: usize,
) -> Result<(), EncodeError> {
    put_head(out, delivery, retain, topic, payload_len, payload_len)
}

/// `elsewhere` bytes of the payload go where `out` does not.
#[inline]
fn put_head(
    out: &mut impl BufMut,
    delivery: Delivery,
    retain: bool,
    topic: &[u8],
    payload_len: usize,
    elsewhere: usize,
) -> Result<(), EncodeError> {
    wire::check_field(topic)?;
    let packet_id = delivery.packet_id();
    let remaining_len = remaining_len(topic, packet_id, payload_len);
    let topic_len = topic.len() as u16;
    wire::put_head_of(out, first_byte(delivery, retain), remaining_len, topic_len, elsewhere)?;
    out.put_slice(topic);
    if let Some(packet_id) = packet_id {
        out.put_u16(packet_id.get());
    }
    Ok(())
}

impl Delivery {
    /// The QoS alone.
    #[inline]
    pub const fn qos(self) -> QoS {
        match self {
            Self::AtMostOnce => QoS::AtMostOnce,
            Self::AtLeastOnce { .. } => QoS::AtLeastOnce,
            Self::ExactlyOnce { .. } => QoS::ExactlyOnce,
        }
    }

    /// The packet identifier; QoS 0 has none [MQTT-2.3.1-5].
    #[inline]
    pub const fn packet_id(self) -> Option<PacketId> {
        match self {
            Self::AtMostOnce => None,
            Self::AtLeastOnce { packet_id, .. } | Self::ExactlyOnce { packet_id, .. } => Some(packet_id),
        }
    }

    /// Whether this may be a re-delivery; never so at QoS 0 [MQTT-3.3.1-2].
    #[inline]
    pub const fn dup(self) -> bool {
        match self {
            Self::AtMostOnce => false, // [MQTT-4.3.1-1]
            Self::AtLeastOnce { dup, .. } | Self::ExactlyOnce { dup, .. } => dup,
        }
    }
}

impl<'a> PublishRef<'a> {
    /// Reads the message in `frame`; [`DecodeError::NotAPublish`] if there is another packet.
    #[inline]
    pub fn decode(frame: &Frame<'a>) -> Result<Self, DecodeError> {
        if frame.packet_type != PacketType::Publish {
            return Err(DecodeError::NotAPublish(frame.packet_type));
        }
        Self::decode_body(frame.flags, frame.body)
    }

    #[inline]
    fn decode_body(flags: u8, body: &'a [u8]) -> Result<Self, DecodeError> {
        let (&topic_len, rest) = body.split_first_chunk().ok_or(DecodeError::Truncated)?;
        let topic_len = usize::from(u16::from_be_bytes(topic_len));
        let (topic, rest) = rest.split_at_checked(topic_len).ok_or(DecodeError::Truncated)?;
        let dup = flags & DUP != 0;
        let (delivery, payload) = match flags & QOS {
            AT_MOST_ONCE if dup => return Err(DecodeError::DupOnQoS0), // [MQTT-3.3.1-2]
            AT_MOST_ONCE => (Delivery::AtMostOnce, rest),              // [MQTT-2.3.1-5]
            QOS => return Err(DecodeError::InvalidQoS),                // [MQTT-3.3.1-4]
            qos => {
                let (&packet_id, payload) = rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
                let packet_id =
                    PacketId::new(u16::from_be_bytes(packet_id)).ok_or(DecodeError::ZeroPacketId)?; // [MQTT-2.3.1-1]
                let delivery = if qos == AT_LEAST_ONCE {
                    Delivery::AtLeastOnce { packet_id, dup }
                } else {
                    Delivery::ExactlyOnce { packet_id, dup }
                };
                (delivery, payload)
            }
        };
        let topic = TopicName::check(topic)?; // [MQTT-3.3.2-1] [MQTT-3.3.2-2]
        Ok(Self { delivery, retain: flags & RETAIN != 0, topic, payload })
    }
}

impl Publish {
    /// Reads the message from its fixed header's `flags` and its `body`, of which topic and payload become slices.
    #[inline]
    pub fn decode(flags: u8, mut body: Bytes) -> Result<Self, DecodeError> {
        let PublishRef { delivery, retain, topic, payload } = PublishRef::decode_body(flags, &body)?;
        let (topic_len, payload_len) = (topic.len(), payload.len());
        body.advance(2);
        let topic = TopicName::from_checked(body.split_to(topic_len));
        body.advance(body.len() - payload_len);
        Ok(Self { delivery, retain, topic, payload: body })
    }

    /// Appends the packet's bytes to `out`, or nothing at all if the payload is too long.
    pub fn encode(&self, out: &mut impl BufMut) -> Result<(), EncodeError> {
        encode_publish(out, self.delivery, self.retain, self.topic.as_bytes(), &self.payload)
    }

    /// How many bytes [`encode`](Self::encode) appends.
    pub fn encoded_len(&self) -> usize {
        let topic = self.topic.as_bytes();
        wire::packet_len(remaining_len(topic, self.delivery.packet_id(), self.payload.len()))
    }
}

#[inline]
fn first_byte(delivery: Delivery, retain: bool) -> u8 {
    let dup = if delivery.dup() { DUP } else { 0 };
    PacketType::Publish.first_byte() | dup | delivery.qos().as_u8() << QOS_SHIFT | u8::from(retain)
}

#[inline]
fn remaining_len(topic: &[u8], packet_id: Option<PacketId>, payload_len: usize) -> usize {
    let packet_id_len = if packet_id.is_some() { 2 } else { 0 };
    payload_len.saturating_add(wire::field_len(topic) + packet_id_len)
}

#[cfg(test)]
mod tests {
    use nom::combinator::{cond, rest};
    use proptest::prelude::*;

    use super::*;
    use crate::{MAX_REMAINING_LEN, TopicNameError};

    fn decode(flags: u8, body: &[u8]) -> Result<PublishRef<'_>, DecodeError> {
        PublishRef::decode_body(flags, body)
    }

    /// [MQTT-2.3.1-5] [MQTT-3.3.2-1]
    #[test]
    fn bytes_and_back() {
        let packet_id = PacketId::new(10).unwrap();
        let table: [(Delivery, bool, &[u8]); 5] = [
            (Delivery::AtMostOnce, false, b"\x30\x07\0\x03a/bhi"),
            (Delivery::AtMostOnce, true, b"\x31\x07\0\x03a/bhi"),
            (Delivery::AtLeastOnce { packet_id, dup: false }, true, b"\x33\x09\0\x03a/b\0\x0ahi"),
            (Delivery::AtLeastOnce { packet_id, dup: true }, false, b"\x3a\x09\0\x03a/b\0\x0ahi"),
            (Delivery::ExactlyOnce { packet_id, dup: true }, true, b"\x3d\x09\0\x03a/b\0\x0ahi"),
        ];
        for (delivery, retain, bytes) in table {
            let topic = TopicName::try_from("a/b").unwrap();
            let packet = Publish { delivery, retain, topic, payload: Bytes::from_static(b"hi") };
            let mut out = Vec::new();
            packet.encode(&mut out).unwrap();
            assert_eq!(out, bytes);
            assert_eq!(packet.encoded_len(), bytes.len());
            let frame = Frame::split(bytes, usize::MAX).unwrap().unwrap();
            let borrowed = PublishRef { delivery, retain, topic: "a/b", payload: b"hi" };
            assert_eq!(PublishRef::decode(&frame), Ok(borrowed));
            assert_eq!(Publish::decode(frame.flags, Bytes::from_static(&bytes[2..])), Ok(packet));
        }
    }

    /// [MQTT-2.3.1-1] [MQTT-3.3.1-2] [MQTT-3.3.1-4] [MQTT-3.3.2-1] [MQTT-3.3.2-2]
    #[test]
    fn refuses() {
        assert_eq!(decode(0b1000, b"\0\x01a"), Err(DecodeError::DupOnQoS0));
        assert_eq!(decode(0b0110, b"\0\x01a\0\x01"), Err(DecodeError::InvalidQoS));
        assert_eq!(decode(0b0010, b"\0\x01a\0\0"), Err(DecodeError::ZeroPacketId));
        assert_eq!(decode(0b0010, b"\0\x01a\0"), Err(DecodeError::Truncated));
        assert_eq!(decode(0, b"\0"), Err(DecodeError::Truncated));
        assert_eq!(decode(0, b"\0\x02a"), Err(DecodeError::Truncated));
        assert_eq!(decode(0, b"\0\0a"), Err(DecodeError::TopicName(TopicNameError::Empty)));
        assert_eq!(decode(0, b"\0\x01+"), Err(DecodeError::TopicName(TopicNameError::Wildcard)));
        assert_eq!(decode(0, b"\0\x01\xff"), Err(DecodeError::TopicName(TopicNameError::NotUtf8)));
    }

    /// It was read as if it were one, in a release build.
    #[test]
    fn another_packet_is_no_message() {
        let frame = Frame::split(b"\x82\x06\0\x01\0\x01a\x01", usize::MAX).unwrap().unwrap();
        assert_eq!(PublishRef::decode(&frame), Err(DecodeError::NotAPublish(PacketType::Subscribe)));
    }

    #[test]
    fn too_much_has_no_spelling() {
        let mut out = Vec::new();
        let topic = vec![b'a'; 65_536];
        let long_topic = encode_publish(&mut out, Delivery::AtMostOnce, false, &topic, b"");
        assert_eq!(long_topic, Err(EncodeError::FieldTooLong { len: 65_536 }));
        let most = MAX_REMAINING_LEN - 3;
        assert_eq!(encode_publish_head(&mut Vec::new(), Delivery::AtMostOnce, false, b"a", most), Ok(()));
        for payload_len in [most + 1, usize::MAX] {
            let head = encode_publish_head(&mut out, Delivery::AtMostOnce, false, b"a", payload_len);
            assert!(matches!(head, Err(EncodeError::PacketTooLong { .. })));
        }
        assert!(out.is_empty());
    }

    /// It asked for room for the payload, too, which it does not write.
    #[test]
    fn the_head_needs_room_for_itself_alone() {
        let mut room = [0; 16];
        let mut head =
            |topic: &[u8]| encode_publish_head(&mut &mut room[..], Delivery::AtMostOnce, false, topic, 1_000);
        assert_eq!(head(b"elevenbytes"), Ok(()));
        assert_eq!(head(b"twelve bytes"), Err(EncodeError::BufferFull { needed: 17 }));
        let whole = encode_publish(&mut &mut room[..], Delivery::AtMostOnce, false, b"a", &[0; 12]);
        assert_eq!(whole, Err(EncodeError::BufferFull { needed: 17 }));
    }

    /// The plain nom reading of section 3.3, which the hand-written one must equal.
    fn oracle(flags: u8, body: &[u8]) -> Result<PublishRef<'_>, DecodeError> {
        let qos = QoS::from_u8(flags >> 1 & 3);
        let has_packet_id = matches!(qos, Some(QoS::AtLeastOnce | QoS::ExactlyOnce));
        let fields = (wire::field, cond(has_packet_id, wire::packet_id), rest);
        let (topic, packet_id, payload) = wire::whole(body, fields)?;
        let dup = flags & 8 != 0;
        let delivery = match (qos.ok_or(DecodeError::InvalidQoS)?, packet_id) {
            (QoS::AtLeastOnce, Some(packet_id)) => Delivery::AtLeastOnce { packet_id, dup },
            (QoS::ExactlyOnce, Some(packet_id)) => Delivery::ExactlyOnce { packet_id, dup },
            _ if dup => return Err(DecodeError::DupOnQoS0),
            _ => Delivery::AtMostOnce,
        };
        let topic = TopicName::check(topic)?;
        Ok(PublishRef { delivery, retain: flags & 1 != 0, topic, payload })
    }

    proptest! {
        #[test]
        fn equals_the_plain_parser(
            flags in 0..16_u8,
            topic_len in 0..12_u16,
            rest in prop::collection::vec(prop_oneof![Just(0_u8), Just(b'/'), Just(b'#'), b'a'..=b'z', any::<u8>()], 0..40),
            cut in 0..42_usize,
        ) {
            let mut body = topic_len.to_be_bytes().to_vec();
            body.extend(rest);
            body.truncate(cut);
            prop_assert_eq!(decode(flags, &body), oracle(flags, &body));
        }
    }
}
