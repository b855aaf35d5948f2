//! The fourteen control packets (chapter 3), a file each: the value, how it is read, how it is written.
//!
//! Whether a packet is legal *now*, or from this side of a connection, is not known here.

mod acknowledgement;
mod connack;
mod connect;
mod disconnect;
mod pingreq;
mod pingresp;
mod puback;
mod pubcomp;
mod publish;
mod pubrec;
mod pubrel;
mod suback;
mod subscribe;
mod unsuback;
mod unsubscribe;

use bytes::{BufMut, Bytes};

use crate::{DecodeError, EncodeError, Frame, PacketType};

pub use self::{
    connack::{Connack, ConnectRefusal},
    connect::{Connect, Credentials, Will},
    disconnect::Disconnect,
    pingreq::Pingreq,
    pingresp::Pingresp,
    puback::Puback,
    pubcomp::Pubcomp,
    publish::{Delivery, Publish, PublishRef, encode_publish, encode_publish_head},
    pubrec::Pubrec,
    pubrel::Pubrel,
    suback::{Suback, SubscribeReturnCode},
    subscribe::Subscribe,
    unsuback::Unsuback,
    unsubscribe::Unsubscribe,
};

/// Any control packet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is documented as the type it holds")]
pub enum Packet {
    Connect(Box<Connect>),
    Connack(Connack),
    Publish(Publish),
    Puback(Puback),
    Pubrec(Pubrec),
    Pubrel(Pubrel),
    Pubcomp(Pubcomp),
    Subscribe(Subscribe),
    Suback(Suback),
    Unsubscribe(Unsubscribe),
    Unsuback(Unsuback),
    Pingreq,
    Pingresp,
    Disconnect,
}

impl Packet {
    /// Reads the packet in `frame`. `bytes` are those that the frame was split off, of which strings and payloads become slices:
    /// what comes behind the frame is left alone.
    pub fn decode(frame: &Frame<'_>, bytes: &Bytes) -> Result<Self, DecodeError> {
        if bytes.len() < frame.len {
            return Err(DecodeError::Truncated);
        }
        let header_len = frame.len.saturating_sub(frame.body.len());
        Self::decode_body(frame.packet_type, frame.flags, bytes.slice(header_len..frame.len))
    }

    /// Reads the packet whose fixed header has been judged and cut off `body`.
    #[inline]
    pub(crate) fn decode_body(packet_type: PacketType, flags: u8, body: Bytes) -> Result<Self, DecodeError> {
        Ok(match packet_type {
            PacketType::Connect => Self::Connect(Box::new(Connect::decode(&body)?)),
            PacketType::Connack => Self::Connack(Connack::decode(&body)?),
            PacketType::Publish => Self::Publish(Publish::decode(flags, body)?),
            PacketType::Puback => Self::Puback(Puback::decode(&body)?),
            PacketType::Pubrec => Self::Pubrec(Pubrec::decode(&body)?),
            PacketType::Pubrel => Self::Pubrel(Pubrel::decode(&body)?),
            PacketType::Pubcomp => Self::Pubcomp(Pubcomp::decode(&body)?),
            PacketType::Subscribe => Self::Subscribe(Subscribe::decode(&body)?),
            PacketType::Suback => Self::Suback(Suback::decode(&body)?),
            PacketType::Unsubscribe => Self::Unsubscribe(Unsubscribe::decode(&body)?),
            PacketType::Unsuback => Self::Unsuback(Unsuback::decode(&body)?),
            PacketType::Pingreq => Pingreq::decode(&body).map(|_| Self::Pingreq)?,
            PacketType::Pingresp => Pingresp::decode(&body).map(|_| Self::Pingresp)?,
            PacketType::Disconnect => Disconnect::decode(&body).map(|_| Self::Disconnect)?,
        })
    }

    /// Appends the packet's bytes to `out`, or nothing at all if it cannot be spelled.
    pub fn encode(&self, out: &mut impl BufMut) -> Result<(), EncodeError> {
        match self {
            Self::Connect(packet) => packet.encode(out),
            Self::Connack(packet) => packet.encode(out),
            Self::Publish(packet) => packet.encode(out),
            Self::Puback(packet) => packet.encode(out),
            Self::Pubrec(packet) => packet.encode(out),
            Self::Pubrel(packet) => packet.encode(out),
            Self::Pubcomp(packet) => packet.encode(out),
            Self::Subscribe(packet) => packet.encode(out),
            Self::Suback(packet) => packet.encode(out),
            Self::Unsubscribe(packet) => packet.encode(out),
            Self::Unsuback(packet) => packet.encode(out),
            Self::Pingreq => Pingreq.encode(out),
            Self::Pingresp => Pingresp.encode(out),
            Self::Disconnect => Disconnect.encode(out),
        }
    }

    /// How many bytes [`encode`](Self::encode) appends.
    pub fn encoded_len(&self) -> usize {
        match self {
            Self::Connect(packet) => packet.encoded_len(),
            Self::Connack(packet) => packet.encoded_len(),
            Self::Publish(packet) => packet.encoded_len(),
            Self::Puback(packet) => packet.encoded_len(),
            Self::Pubrec(packet) => packet.encoded_len(),
            Self::Pubrel(packet) => packet.encoded_len(),
            Self::Pubcomp(packet) => packet.encoded_len(),
            Self::Subscribe(packet) => packet.encoded_len(),
            Self::Suback(packet) => packet.encoded_len(),
            Self::Unsubscribe(packet) => packet.encoded_len(),
            Self::Unsuback(packet) => packet.encoded_len(),
            Self::Pingreq => Pingreq.encoded_len(),
            Self::Pingresp => Pingresp.encoded_len(),
            Self::Disconnect => Disconnect.encoded_len(),
        }
    }

    /// Which of the fourteen it is.
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::Connack(_) => PacketType::Connack,
            Self::Publish(_) => PacketType::Publish,
            Self::Puback(_) => PacketType::Puback,
            Self::Pubrec(_) => PacketType::Pubrec,
            Self::Pubrel(_) => PacketType::Pubrel,
            Self::Pubcomp(_) => PacketType::Pubcomp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::Suback(_) => PacketType::Suback,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::Unsuback(_) => PacketType::Unsuback,
            Self::Pingreq => PacketType::Pingreq,
            Self::Pingresp => PacketType::Pingresp,
            Self::Disconnect => PacketType::Disconnect,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What came behind the frame was taken for its end, and its beginning for a part of the fixed header.
    #[test]
    fn a_packet_is_read_from_its_own_bytes_alone() {
        let bytes = Bytes::from_static(b"\x30\x05\0\x01ahi\x30\x04\0\x01bx");
        let frame = Frame::split(&bytes, usize::MAX).unwrap().unwrap();
        let Packet::Publish(publish) = Packet::decode(&frame, &bytes).unwrap() else { panic!("a PUBLISH") };
        assert_eq!((publish.topic.as_str(), &publish.payload[..]), ("a", &b"hi"[..]));
        assert_eq!(Packet::decode(&frame, &bytes.slice(..frame.len)), Ok(Packet::Publish(publish)));
        assert_eq!(Packet::decode(&frame, &bytes.slice(..frame.len - 1)), Err(DecodeError::Truncated));
    }
}
