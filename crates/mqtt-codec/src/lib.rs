//! A sans-IO MQTT 3.1.1 codec.
//!
//! No sockets, no runtime, no clock and no locks: bytes in, values out, and back.
//!
//! There are two ways in. [`Decoder`] takes owned [`Packet`]s off a [`bytes::BytesMut`]. [`Frame::split`] cuts one packet
//! out of borrowed bytes, for those who then read just what they need, such as a [`PublishRef`], without an allocation.
//! Either refuses what the standard forbids with a [`DecodeError`] that says what and where it is written.
//!
//! Over any byte stream, here a blocking one:
//!
//! ```
//! use std::io::{self, Read};
//!
//! use bytes::BytesMut;
//! use mqtt_codec::{Decoder, Packet};
//!
//! /// The next packet of a stream; `None` at its end.
//! fn read_packet(
//!     stream: &mut impl Read,
//!     decoder: &mut Decoder,
//!     buffer: &mut BytesMut,
//! ) -> io::Result<Option<Packet>> {
//!     let mut chunk = [0; 4096];
//!     loop {
//!         match decoder.decode(buffer) {
//!             Ok(Some(packet)) => return Ok(Some(packet)),
//!             Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
//!             Ok(None) => {}
//!         }
//!         let len = stream.read(&mut chunk)?;
//!         if len == 0 {
//!             return Ok(None);
//!         }
//!         buffer.extend_from_slice(&chunk[..len]);
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut stream = &b"\x30\x07\x00\x03a/bhi\xe0\x00"[..];
//! let (mut decoder, mut buffer) = (Decoder::new(1024 * 1024), BytesMut::new());
//!
//! let Some(Packet::Publish(publish)) = read_packet(&mut stream, &mut decoder, &mut buffer)? else { panic!() };
//! assert_eq!((publish.topic.as_str(), &publish.payload[..]), ("a/b", &b"hi"[..]));
//! assert_eq!(read_packet(&mut stream, &mut decoder, &mut buffer)?, Some(Packet::Disconnect));
//! assert_eq!(read_packet(&mut stream, &mut decoder, &mut buffer)?, None);
//!
//! let mut out = BytesMut::new();
//! publish.encode(&mut out)?;
//! assert_eq!(&out[..], b"\x30\x07\x00\x03a/bhi");
//! # Ok(())
//! # }
//! ```
//!
//! What the codec does not know: which packet is legal when, which side may send it, and what a topic filter matches in a
//! set of many. Strings and binary fields decoded from a packet keep that packet's buffer alive; copy what is to stay.

mod decoder;
mod error;
mod frame;
mod packet;
mod packet_id;
mod qos;
mod string;
pub mod topic;
mod wire;

pub use decoder::Decoder;
pub use error::{DecodeError, EncodeError};
pub use frame::{Frame, MAX_REMAINING_LEN, PacketType};
pub use packet::{
    Connack, Connect, ConnectRefusal, Credentials, Delivery, Disconnect, Packet, Pingreq, Pingresp, Puback,
    Pubcomp, Publish, PublishRef, Pubrec, Pubrel, Suback, Subscribe, SubscribeReturnCode, Unsuback,
    Unsubscribe, Will, encode_publish, encode_publish_head,
};
pub use packet_id::PacketId;
pub use qos::QoS;
pub use string::{StringError, Utf8Bytes};
pub use topic::{FilterError, TopicFilter, TopicName, TopicNameError};
