//! Cuts whole packets out of a byte stream (section 2.2), borrowed: nothing is copied and no body is read.

use std::fmt;

use crate::DecodeError;

/// The largest remaining length that four bytes can spell (section 2.2.3).
pub const MAX_REMAINING_LEN: usize = 268_435_455;

/// The fourteen control packets (section 2.2.1), each with its number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "their names are the standard's own")]
pub enum PacketType {
    Connect = 1,
    Connack = 2,
    Publish = 3,
    Puback = 4,
    Pubrec = 5,
    Pubrel = 6,
    Pubcomp = 7,
    Subscribe = 8,
    Suback = 9,
    Unsubscribe = 10,
    Unsuback = 11,
    Pingreq = 12,
    Pingresp = 13,
    Disconnect = 14,
}

/// One whole packet at the head of a byte stream: its fixed header taken apart, its body as it came.
///
/// ```
/// use mqtt_codec::{Frame, PacketType, PublishRef};
///
/// # fn main() -> Result<(), mqtt_codec::DecodeError> {
/// // PINGREQ, a PUBLISH of `hi` to `a/b`, and the first byte of something else.
/// let mut bytes = &b"\xc0\x00\x30\x07\x00\x03a/bhi\x30"[..];
/// let mut seen = Vec::new();
/// while let Some(frame) = Frame::split(bytes, 1024)? {
///     if frame.packet_type == PacketType::Publish {
///         let publish = PublishRef::decode(&frame)?;
///         assert_eq!((publish.topic, publish.payload), ("a/b", &b"hi"[..]));
///     }
///     seen.push(frame.packet_type);
///     bytes = &bytes[frame.len..];
/// }
/// assert_eq!((seen, bytes), (vec![PacketType::Pingreq, PacketType::Publish], &b"\x30"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What kind of packet it is.
    pub packet_type: PacketType,
    /// The low four bits of the first byte. They are as section 2.2.2 wants them; only PUBLISH has a choice.
    pub flags: u8,
    /// Everything after the fixed header.
    pub body: &'a [u8],
    /// How many bytes the whole packet takes, fixed header included.
    pub len: usize,
}

impl<'a> Frame<'a> {
    /// The packet that `bytes` begins with, or `None` while more bytes are needed.
    ///
    /// The fixed header is judged as soon as it is there, long before the body: packet type, reserved flags, and the
    /// whole packet's length against `max_packet_size` (in bytes, fixed header included).
    ///
    /// A remaining length may be spelled with more bytes than it needs (`80 00` for 0): section 2.2.3 of 3.1.1 asks for
    /// no shortest form, and its own decoding algorithm reads such lengths. A fifth byte it refuses, and so do we.
    #[inline]
    pub fn split(bytes: &'a [u8], max_packet_size: usize) -> Result<Option<Self>, DecodeError> {
        let Some(header) = FixedHeader::read(bytes, max_packet_size)? else { return Ok(None) };
        let Some(body) = bytes.get(header.header_len..header.len) else { return Ok(None) };
        Ok(Some(Self { packet_type: header.packet_type, flags: header.flags, body, len: header.len }))
    }

    /// How many bytes the packet that `bytes` begins with will take in all; `None` while its fixed header is cut short.
    ///
    /// The fixed header is judged as [`Frame::split`] does.
    #[inline]
    pub fn announced_len(bytes: &[u8], max_packet_size: usize) -> Result<Option<usize>, DecodeError> {
        Ok(FixedHeader::read(bytes, max_packet_size)?.map(|header| header.len))
    }
}

impl PacketType {
    /// The type with this number; `None` for 0, 15 and more.
    #[inline]
    pub const fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            1 => Self::Connect,
            2 => Self::Connack,
            3 => Self::Publish,
            4 => Self::Puback,
            5 => Self::Pubrec,
            6 => Self::Pubrel,
            7 => Self::Pubcomp,
            8 => Self::Subscribe,
            9 => Self::Suback,
            10 => Self::Unsubscribe,
            11 => Self::Unsuback,
            12 => Self::Pingreq,
            13 => Self::Pingresp,
            14 => Self::Disconnect,
            _ => return None,
        })
    }

    /// The number on the wire: 1 to 14.
    #[inline]
    pub const fn as_u8(self) -> u8 {
        self as u8
    }

    /// The first byte of a packet of this type whose flags are fixed [MQTT-2.2.2-1].
    pub(crate) const fn first_byte(self) -> u8 {
        self.as_u8() << 4 | self.reserved_flags()
    }

    /// The flags of table 2.2. PUBLISH, which has flags of its own, counts as 0.
    const fn reserved_flags(self) -> u8 {
        match self {
            // [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1]
            Self::Pubrel | Self::Subscribe | Self::Unsubscribe => 0b0010,
            _ => 0,
        }
    }
}

impl fmt::Display for PacketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "CONNECT",
            Self::Connack => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::Puback => "PUBACK",
            Self::Pubrec => "PUBREC",
            Self::Pubrel => "PUBREL",
            Self::Pubcomp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::Suback => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::Unsuback => "UNSUBACK",
            Self::Pingreq => "PINGREQ",
            Self::Pingresp => "PINGRESP",
            Self::Disconnect => "DISCONNECT",
        })
    }
}

struct FixedHeader {
    packet_type: PacketType,
    flags: u8,
    header_len: usize,
    len: usize,
}

impl FixedHeader {
    #[inline]
    fn read(bytes: &[u8], max_packet_size: usize) -> Result<Option<Self>, DecodeError> {
        let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
        let (packet_type, flags) = read_first_byte(first)?;
        let Some((remaining_len, length_bytes)) = read_remaining_len(rest)? else { return Ok(None) };
        let header_len = 1 + length_bytes;
        let len = header_len + remaining_len;
        if len > max_packet_size {
            return Err(DecodeError::PacketTooLarge { len, max: max_packet_size });
        }
        Ok(Some(Self { packet_type, flags, header_len, len }))
    }
}

#[inline]
fn read_first_byte(first: u8) -> Result<(PacketType, u8), DecodeError> {
    let (number, flags) = (first >> 4, first & 0x0f);
    match PacketType::from_u8(number) {
        Some(PacketType::Publish) => Ok((PacketType::Publish, flags)),
        Some(packet_type) if flags == packet_type.reserved_flags() => Ok((packet_type, flags)),
        // [MQTT-2.2.2-2] [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1] [MQTT-3.14.1-1]
        Some(packet_type) => Err(DecodeError::ReservedFlags { packet_type, flags }),
        None => Err(DecodeError::ReservedPacketType(number)),
    }
}

/// The remaining length at the head of `bytes`, and how many bytes spell it.
#[inline]
fn read_remaining_len(bytes: &[u8]) -> Result<Option<(usize, usize)>, DecodeError> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err(DecodeError::RemainingLengthTooLong) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_LIMIT: usize = usize::MAX;

    /// [MQTT-2.2.2-1] [MQTT-2.2.2-2] [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1] [MQTT-3.14.1-1]
    #[test]
    fn every_first_byte_is_judged_alone() {
        for first in 0..=u8::MAX {
            let (number, flags) = (first >> 4, first & 0x0f);
            let expected = match (number, flags) {
                (0 | 15, _) => Err(DecodeError::ReservedPacketType(number)),
                (3, _) | (6 | 8 | 10, 2) | (1 | 2 | 4 | 5 | 7 | 9 | 11..=14, 0) => Ok(None),
                _ => {
                    let packet_type = PacketType::from_u8(number).unwrap();
                    Err(DecodeError::ReservedFlags { packet_type, flags })
                }
            };
            assert_eq!(Frame::split(&[first], NO_LIMIT), expected, "{first:#04x}");
        }
    }

    #[test]
    fn reads_the_lengths_of_table_2_4() {
        let table: [(&[u8], usize); 11] = [
            (&[0x00], 0),
            (&[0x7f], 127),
            (&[0x80, 0x01], 128),
            (&[0xff, 0x7f], 16_383),
            (&[0x80, 0x80, 0x01], 16_384),
            (&[0xff, 0xff, 0x7f], 2_097_151),
            (&[0x80, 0x80, 0x80, 0x01], 2_097_152),
            (&[0xff, 0xff, 0xff, 0x7f], MAX_REMAINING_LEN),
            (&[0x80, 0x00], 0),
            (&[0x80, 0x80, 0x80, 0x00], 0),
            (&[0xff, 0x80, 0x00], 127),
        ];
        for (spelling, value) in table {
            let bytes = [&[0x30], spelling].concat();
            assert_eq!(
                Frame::announced_len(&bytes, NO_LIMIT),
                Ok(Some(bytes.len() + value)),
                "{spelling:x?}"
            );
            for cut in 0..bytes.len() {
                assert_eq!(Frame::announced_len(&bytes[..cut], NO_LIMIT), Ok(None));
            }
        }
        assert_eq!(
            Frame::split(&[0x30, 0x80, 0x80, 0x80, 0x80], NO_LIMIT),
            Err(DecodeError::RemainingLengthTooLong)
        );
    }

    #[test]
    fn a_too_large_packet_is_refused_by_its_header() {
        let error = DecodeError::PacketTooLarge { len: 102, max: 101 };
        assert_eq!(Frame::split(&[0x30, 100], 101), Err(error));
        assert_eq!(Frame::split(&[0x30, 100], 102), Ok(None));
    }

    #[test]
    fn splits_off_one_packet_and_leaves_the_next() {
        let frame = Frame::split(&[0x62, 2, 0, 7, 0xc0, 0], NO_LIMIT).unwrap().unwrap();
        assert_eq!(frame, Frame { packet_type: PacketType::Pubrel, flags: 2, body: &[0, 7], len: 4 });
        assert_eq!(Frame::split(&[0x62, 2, 0], NO_LIMIT), Ok(None));
        assert_eq!(Frame::split(&[], NO_LIMIT), Ok(None));
    }
}
