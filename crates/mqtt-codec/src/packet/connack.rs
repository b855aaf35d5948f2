//! CONNACK (section 3.2): the answer to CONNECT.

use std::fmt;

use bytes::BufMut;
use nom::number::complete::u8;

use crate::{DecodeError, EncodeError, PacketType, wire};

const LEN: usize = 4;

/// Whether the server takes the connection. A refusal has no session to speak of, and no way to claim one [MQTT-3.2.2-4].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connack {
    /// Return code 0: the connection is accepted [MQTT-3.1.4-4].
    Accepted {
        /// Whether the server has stored session state for the client [MQTT-3.2.2-2] [MQTT-3.2.2-3].
        session_present: bool,
    },
    /// Return codes 1 to 5: the server closes after this packet [MQTT-3.2.2-5].
    Refused(ConnectRefusal),
}

/// Why a server refuses a connection: the return codes of section 3.2.2.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ConnectRefusal {
    /// 1: the server does not speak the requested protocol level [MQTT-3.1.2-2].
    UnacceptableProtocolVersion = 1,
    /// 2: the client identifier is not allowed [MQTT-3.1.3-9].
    IdentifierRejected = 2,
    /// 3: the MQTT service is not there.
    ServerUnavailable = 3,
    /// 4: the user name or the password is wrong or malformed.
    BadUserNameOrPassword = 4,
    /// 5: the client may not connect.
    NotAuthorized = 5,
}

impl fmt::Display for ConnectRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnacceptableProtocolVersion => "unacceptable protocol version",
            Self::IdentifierRejected => "client identifier rejected",
            Self::ServerUnavailable => "server unavailable",
            Self::BadUserNameOrPassword => "bad user name or password",
            Self::NotAuthorized => "not authorized",
        })
    }
}

impl Connack {
    /// Reads the packet from its body.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let (flags, return_code) = wire::whole(body, (u8, u8))?;
        if flags > 1 {
            return Err(DecodeError::ReservedConnackFlags(flags));
        }
        let session_present = flags == 1;
        if return_code == 0 {
            return Ok(Self::Accepted { session_present });
        }
        let refusal =
            ConnectRefusal::from_u8(return_code).ok_or(DecodeError::UnknownConnectReturnCode(return_code))?;
        if session_present {
            return Err(DecodeError::SessionPresentOnRefusal); // [MQTT-3.2.2-4]
        }
        Ok(Self::Refused(refusal))
    }

    /// Appends the packet's bytes to `out`.
    pub fn encode(&self, out: &mut impl BufMut) -> Result<(), EncodeError> {
        let body = match *self {
            Self::Accepted { session_present } => [u8::from(session_present), 0],
            Self::Refused(refusal) => [0, refusal.as_u8()], // [MQTT-3.2.2-4]
        };
        wire::put_head(out, PacketType::Connack.first_byte(), body.len(), u16::from_be_bytes(body))
    }

    /// How many bytes [`encode`](Self::encode) appends.
    pub const fn encoded_len(&self) -> usize {
        LEN
    }
}

impl ConnectRefusal {
    /// The refusal with this return code; `None` for 0, 6 and more.
    pub const fn from_u8(return_code: u8) -> Option<Self> {
        Some(match return_code {
            1 => Self::UnacceptableProtocolVersion,
            2 => Self::IdentifierRejected,
            3 => Self::ServerUnavailable,
            4 => Self::BadUserNameOrPassword,
            5 => Self::NotAuthorized,
            _ => return None,
        })
    }

    /// The return code on the wire: 1 to 5.
    pub const fn as_u8(self) -> u8 {
        self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every body of two bytes: accepted ones come back as they were. [MQTT-3.2.2-4]
    #[test]
    fn every_body_is_judged() {
        for flags in 0..=u8::MAX {
            for code in 0..=u8::MAX {
                let expected = match (flags, code) {
                    (2.., _) => Err(DecodeError::ReservedConnackFlags(flags)),
                    (_, 6..) => Err(DecodeError::UnknownConnectReturnCode(code)),
                    (1, 1..) => Err(DecodeError::SessionPresentOnRefusal),
                    (_, 0) => Ok(Connack::Accepted { session_present: flags == 1 }),
                    _ => Ok(Connack::Refused(ConnectRefusal::from_u8(code).unwrap())),
                };
                assert_eq!(Connack::decode(&[flags, code]), expected);
                if let Ok(packet) = expected {
                    let mut out = Vec::new();
                    packet.encode(&mut out).unwrap();
                    assert_eq!(out, [0x20, 2, flags, code]);
                    assert_eq!(out.len(), packet.encoded_len());
                }
            }
        }
        assert_eq!(Connack::decode(&[0]), Err(DecodeError::Truncated));
        assert_eq!(Connack::decode(&[0, 0, 0]), Err(DecodeError::TrailingBytes));
    }
}
