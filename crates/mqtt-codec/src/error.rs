//! Why bytes are no packet ([`DecodeError`]), and why a value has no bytes ([`EncodeError`]).
//!
//! Both say only what is wrong. What to do about it (close, answer, log) is the caller's affair.

use std::{error::Error, fmt};

use crate::{FilterError, PacketType, StringError, TopicNameError};

/// One way in which bytes are not a control packet of MQTT 3.1.1.
///
/// Every one of them ends the connection [MQTT-4.8.0-1]. [`UnsupportedProtocolLevel`](Self::UnsupportedProtocolLevel)
/// alone is answered first; a server closes without a word on any other [MQTT-3.1.4-1].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The packet type is 0 or 15, which section 2.2.1 forbids.
    ReservedPacketType(u8),
    /// The low four bits of the first byte are not those of section 2.2.2 [MQTT-2.2.2-2].
    ReservedFlags {
        /// The type they came with.
        packet_type: PacketType,
        /// The four bits.
        flags: u8,
    },
    /// The remaining length goes on after its fourth byte (section 2.2.3).
    RemainingLengthTooLong,
    /// The packet announces more bytes than the receiver is willing to take.
    PacketTooLarge {
        /// The whole packet's length, fixed header included, in bytes.
        len: usize,
        /// The limit it was held against, in bytes.
        max: usize,
    },
    /// A field runs past the end of its packet.
    Truncated,
    /// Bytes are left over after the packet's last field.
    TrailingBytes,
    /// A string is not well-formed UTF-8 [MQTT-1.5.3-1] or holds U+0000 [MQTT-1.5.3-2].
    String(StringError),
    /// A topic name is not one [MQTT-3.3.2-1] [MQTT-3.3.2-2] [MQTT-4.7.3-1].
    TopicName(TopicNameError),
    /// A topic filter is not one [MQTT-3.8.3-1] [MQTT-3.10.3-1] [MQTT-4.7.1-2] [MQTT-4.7.1-3] [MQTT-4.7.3-1].
    TopicFilter(FilterError),
    /// A packet identifier is zero [MQTT-2.3.1-1].
    ZeroPacketId,
    /// CONNECT: the protocol name is not `MQTT` [MQTT-3.1.2-1].
    InvalidProtocolName,
    /// CONNECT: the protocol level is not 4. A server answers CONNACK 0x01 before it closes [MQTT-3.1.2-2].
    UnsupportedProtocolLevel(u8),
    /// CONNECT: the reserved flag is set [MQTT-3.1.2-3].
    ReservedConnectFlag,
    /// CONNECT: a Will QoS or Will Retain without a Will [MQTT-3.1.2-11] [MQTT-3.1.2-13] [MQTT-3.1.2-15].
    WillFlagsWithoutWill,
    /// CONNECT: the Will QoS is 3 [MQTT-3.1.2-14].
    InvalidWillQoS,
    /// CONNECT: a password without a user name [MQTT-3.1.2-22].
    PasswordWithoutUserName,
    /// CONNACK: one of the seven reserved acknowledge flags is set (section 3.2.2.1).
    ReservedConnackFlags(u8),
    /// CONNACK: the return code is none of section 3.2.2.3.
    UnknownConnectReturnCode(u8),
    /// CONNACK: a refusal claims that a session is present [MQTT-3.2.2-4].
    SessionPresentOnRefusal,
    /// [`PublishRef::decode`](crate::PublishRef::decode) was given another packet: its caller's mistake, not the peer's.
    NotAPublish(PacketType),
    /// PUBLISH: the QoS is 3 [MQTT-3.3.1-4].
    InvalidQoS,
    /// PUBLISH: DUP is set although the QoS is 0 [MQTT-3.3.1-2].
    DupOnQoS0,
    /// SUBSCRIBE: a requested QoS is 3 or has reserved bits set [MQTT-3.8.3-4].
    InvalidRequestedQoS(u8),
    /// SUBSCRIBE or UNSUBSCRIBE without a topic filter [MQTT-3.8.3-3] [MQTT-3.10.3-2].
    NoFilters,
    /// SUBACK without a return code: there is one for each filter [MQTT-3.8.4-5].
    NoReturnCodes,
    /// SUBACK: a return code other than 0x00, 0x01, 0x02 and 0x80 [MQTT-3.9.3-2].
    UnknownSubscribeReturnCode(u8),
}

/// What the protocol has no spelling for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// A string or a length-prefixed field is longer than 65,535 bytes (section 1.5.3).
    FieldTooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// The packet's remaining length would be more than 268,435,455 bytes (section 2.2.3).
    PacketTooLong {
        /// The remaining length in bytes.
        remaining_len: usize,
    },
    /// A SUBSCRIBE or UNSUBSCRIBE has at least one topic filter [MQTT-3.8.3-3] [MQTT-3.10.3-2].
    NoFilters,
    /// A SUBACK has a return code for each filter [MQTT-3.8.4-5].
    NoReturnCodes,
    /// The buffer cannot grow to what the packet needs; `Vec<u8>` and `BytesMut` always can.
    BufferFull {
        /// The whole packet's length in bytes.
        needed: usize,
    },
}

impl From<StringError> for DecodeError {
    fn from(error: StringError) -> Self {
        Self::String(error)
    }
}

impl From<TopicNameError> for DecodeError {
    fn from(error: TopicNameError) -> Self {
        Self::TopicName(error)
    }
}

impl From<FilterError> for DecodeError {
    fn from(error: FilterError) -> Self {
        Self::TopicFilter(error)
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReservedPacketType(value) => write!(f, "packet type {value} is reserved"),
            Self::ReservedFlags { packet_type, flags } => {
                write!(f, "fixed header flags {flags:#06b} are not those of {packet_type}")
            }
            Self::RemainingLengthTooLong => f.write_str("the remaining length takes more than four bytes"),
            Self::PacketTooLarge { len, max } => {
                write!(f, "a packet of {len} bytes is larger than the limit of {max} bytes")
            }
            Self::Truncated => f.write_str("a field runs past the end of its packet"),
            Self::TrailingBytes => f.write_str("bytes are left over after the packet's last field"),
            Self::String(error) => error.fmt(f),
            Self::TopicName(error) => error.fmt(f),
            Self::TopicFilter(error) => error.fmt(f),
            Self::ZeroPacketId => f.write_str("the packet identifier is zero"),
            Self::InvalidProtocolName => f.write_str("the protocol name is not MQTT"),
            Self::UnsupportedProtocolLevel(level) => write!(f, "protocol level {level} is not supported"),
            Self::ReservedConnectFlag => f.write_str("the reserved connect flag is set"),
            Self::WillFlagsWithoutWill => f.write_str("a will QoS or will retain flag is set without a will"),
            Self::InvalidWillQoS => f.write_str("the will QoS is 3"),
            Self::PasswordWithoutUserName => f.write_str("a password comes without a user name"),
            Self::ReservedConnackFlags(flags) => {
                write!(f, "connect acknowledge flags {flags:#04x} are reserved")
            }
            Self::UnknownConnectReturnCode(code) => write!(f, "connect return code {code} is reserved"),
            Self::SessionPresentOnRefusal => f.write_str("a refused connection claims a present session"),
            Self::NotAPublish(packet_type) => write!(f, "{packet_type} is not a PUBLISH"),
            Self::InvalidQoS => f.write_str("the QoS is 3"),
            Self::DupOnQoS0 => f.write_str("DUP is set on a QoS 0 PUBLISH"),
            Self::InvalidRequestedQoS(value) => write!(f, "requested QoS byte {value:#04x} is not 0, 1 or 2"),
            Self::NoFilters => f.write_str("there is no topic filter"),
            Self::NoReturnCodes => f.write_str("there is no return code"),
            Self::UnknownSubscribeReturnCode(code) => {
                write!(f, "subscribe return code {code:#04x} is reserved")
            }
        }
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FieldTooLong { len } => write!(f, "a field of {len} bytes is longer than 65,535 bytes"),
            Self::PacketTooLong { remaining_len } => {
                write!(f, "a remaining length of {remaining_len} bytes is more than 268,435,455")
            }
            Self::NoFilters => f.write_str("there is no topic filter"),
            Self::NoReturnCodes => f.write_str("there is no return code"),
            Self::BufferFull { needed } => write!(f, "the buffer has no room for {needed} bytes"),
        }
    }
}

impl Error for DecodeError {}
impl Error for EncodeError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// It travels in the `Result` of every hot call.
    #[test]
    fn decode_error_stays_small() {
        assert!(size_of::<DecodeError>() <= 24);
    }
}
