//! CONNECT (section 3.1): a client's first packet.

use std::fmt;

use bytes::{BufMut, Bytes};
use nom::{
    Parser,
    combinator::{cond, map_res},
    number::complete::{be_u16, u8},
    sequence::pair,
};

use crate::{DecodeError, EncodeError, PacketType, QoS, TopicName, Utf8Bytes, wire};

const PROTOCOL_NAME: &[u8] = b"MQTT";
const PROTOCOL_LEVEL: u8 = 4;
/// Protocol name, protocol level, connect flags, keep alive.
const VARIABLE_HEADER_LEN: usize = 2 + PROTOCOL_NAME.len() + 1 + 1 + 2;

const RESERVED: u8 = 0b0000_0001;
const CLEAN_SESSION: u8 = 0b0000_0010;
const WILL: u8 = 0b0000_0100;
const WILL_QOS_SHIFT: u8 = 3;
const WILL_RETAIN: u8 = 0b0010_0000;
const PASSWORD: u8 = 0b0100_0000;
const USER_NAME: u8 = 0b1000_0000;

/// Who connects, and on what terms.
///
/// ```
/// use mqtt_codec::{Connect, Credentials, QoS, Will};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let connect = Connect {
///     clean_session: false,
///     keep_alive_secs: 60,
///     client_id: "sensor-7".try_into()?,
///     will: Some(Will {
///         topic: "status/sensor-7".try_into()?,
///         message: "lost".into(),
///         qos: QoS::AtLeastOnce,
///         retain: true,
///     }),
///     credentials: Some(Credentials { user_name: "anna".try_into()?, password: Some("secret".into()) }),
/// };
/// let mut bytes = Vec::new();
/// connect.encode(&mut bytes)?;
/// assert_eq!(bytes.len(), connect.encoded_len());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// Whether the session ends with the connection and starts without earlier state [MQTT-3.1.2-6].
    pub clean_session: bool,
    /// The longest silence the client allows itself, in seconds; 0 switches the mechanism off.
    pub keep_alive_secs: u16,
    /// The name of the client's session. Empty: the server shall choose one [MQTT-3.1.3-6].
    pub client_id: Utf8Bytes,
    /// What to publish if the connection ends without DISCONNECT.
    pub will: Option<Will>,
    /// Who the client says it is.
    pub credentials: Option<Credentials>,
}

/// The message that is published on the client's behalf when its connection ends without DISCONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// Where to.
    pub topic: TopicName,
    /// The payload: up to 65,535 bytes of anything.
    pub message: Bytes,
    /// With which guarantee.
    pub qos: QoS,
    /// Whether the message is retained [MQTT-3.1.2-16] [MQTT-3.1.2-17].
    pub retain: bool,
}

/// User name and password. There is no password without a user name [MQTT-3.1.2-22].
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name.
    pub user_name: Utf8Bytes,
    /// The password: up to 65,535 bytes of anything.
    pub password: Option<Bytes>,
}

impl Connect {
    /// Reads the packet from its body; strings and binary fields become slices of it.
    ///
    /// A protocol level other than 4 is told before anything that follows it is looked at, since it may mean anything.
    pub fn decode(body: &Bytes) -> Result<Self, DecodeError> {
        let fields = wire::whole(body, fields)?;
        let client_id = Utf8Bytes::new(wire::share(body, fields.client_id))?; // [MQTT-3.1.3-4] [MQTT-3.1.3-5]
        let will = match fields.will {
            None => None,
            Some((topic, message)) => Some(Will {
                topic: TopicName::new(wire::share(body, topic))?, // [MQTT-3.1.3-10]
                message: wire::share(body, message),
                qos: fields.flags.will_qos,
                retain: fields.flags.has(WILL_RETAIN),
            }),
        };
        let credentials = match fields.user_name {
            None => None,
            Some(user_name) => Some(Credentials {
                user_name: Utf8Bytes::new(wire::share(body, user_name))?, // [MQTT-3.1.3-11]
                password: fields.password.map(|password| wire::share(body, password)),
            }),
        };
        Ok(Self {
            clean_session: fields.flags.has(CLEAN_SESSION),
            keep_alive_secs: fields.keep_alive_secs,
            client_id,
            will,
            credentials,
        })
    }

    /// Appends the packet's bytes to `out`, or nothing at all if the will message or the password is too long.
    pub fn encode(&self, out: &mut impl BufMut) -> Result<(), EncodeError> {
        if let Some(will) = &self.will {
            wire::check_field(&will.message)?;
        }
        let password = self.credentials.as_ref().and_then(|credentials| credentials.password.as_ref());
        if let Some(password) = password {
            wire::check_field(password)?;
        }
        let name_len = PROTOCOL_NAME.len() as u16;
        wire::put_head(out, PacketType::Connect.first_byte(), self.remaining_len(), name_len)?;
        out.put_slice(PROTOCOL_NAME);
        let [high, low] = self.keep_alive_secs.to_be_bytes();
        out.put_slice(&[PROTOCOL_LEVEL, self.flags(), high, low]);
        // [MQTT-3.1.3-1] [MQTT-3.1.3-3]
        wire::put_field(out, self.client_id.as_bytes());
        if let Some(will) = &self.will {
            wire::put_field(out, will.topic.as_bytes());
            wire::put_field(out, &will.message);
        }
        if let Some(credentials) = &self.credentials {
            wire::put_field(out, credentials.user_name.as_bytes());
        }
        if let Some(password) = password {
            wire::put_field(out, password);
        }
        Ok(())
    }

    /// How many bytes [`encode`](Self::encode) appends.
    pub fn encoded_len(&self) -> usize {
        wire::packet_len(self.remaining_len())
    }

    fn remaining_len(&self) -> usize {
        let will = self
            .will
            .as_ref()
            .map_or(0, |will| wire::field_len(will.topic.as_bytes()) + wire::field_len(&will.message));
        let credentials = self.credentials.as_ref().map_or(0, |credentials| {
            let password = credentials.password.as_ref().map_or(0, |password| wire::field_len(password));
            wire::field_len(credentials.user_name.as_bytes()) + password
        });
        VARIABLE_HEADER_LEN + wire::field_len(self.client_id.as_bytes()) + will + credentials
    }

    /// The flags say what the payload holds [MQTT-3.1.2-18] [MQTT-3.1.2-19] [MQTT-3.1.2-20] [MQTT-3.1.2-21].
    fn flags(&self) -> u8 {
        let mut flags = if self.clean_session { CLEAN_SESSION } else { 0 };
        if let Some(will) = &self.will {
            flags |= WILL | will.qos.as_u8() << WILL_QOS_SHIFT; // [MQTT-3.1.2-9]
            flags |= if will.retain { WILL_RETAIN } else { 0 };
        }
        if let Some(credentials) = &self.credentials {
            flags |= USER_NAME | if credentials.password.is_some() { PASSWORD } else { 0 };
        }
        flags
    }
}

impl fmt::Debug for Credentials {
    /// Keeps the password out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user_name", &self.user_name)
            .field("password", &self.password.as_ref().map(|_| "..."))
            .finish()
    }
}

/// The packet as it stands in its body, its strings not yet judged.
struct Fields<'a> {
    flags: ConnectFlags,
    keep_alive_secs: u16,
    client_id: &'a [u8],
    will: Option<(&'a [u8], &'a [u8])>,
    user_name: Option<&'a [u8]>,
    password: Option<&'a [u8]>,
}

/// Connect flags that do not contradict each other.
#[derive(Clone, Copy)]
struct ConnectFlags {
    bits: u8,
    will_qos: QoS,
}

impl ConnectFlags {
    fn check(bits: u8) -> Result<Self, DecodeError> {
        if bits & RESERVED != 0 {
            return Err(DecodeError::ReservedConnectFlag); // [MQTT-3.1.2-3]
        }
        let will_qos = bits >> WILL_QOS_SHIFT & 0b11;
        // [MQTT-3.1.2-11] [MQTT-3.1.2-13] [MQTT-3.1.2-15]
        if bits & WILL == 0 && (will_qos != 0 || bits & WILL_RETAIN != 0) {
            return Err(DecodeError::WillFlagsWithoutWill);
        }
        if bits & USER_NAME == 0 && bits & PASSWORD != 0 {
            return Err(DecodeError::PasswordWithoutUserName); // [MQTT-3.1.2-22]
        }
        let will_qos = QoS::from_u8(will_qos).ok_or(DecodeError::InvalidWillQoS)?; // [MQTT-3.1.2-14]
        Ok(Self { bits, will_qos })
    }

    fn has(self, flag: u8) -> bool {
        self.bits & flag != 0
    }
}

/// The payload's fields in their order [MQTT-3.1.3-1], each there if its flag says so.
fn fields(input: &[u8]) -> wire::Parsed<'_, Fields<'_>> {
    let (input, ()) = protocol(input)?;
    let (input, flags) = map_res(u8, ConnectFlags::check).parse(input)?;
    let (input, keep_alive_secs) = be_u16(input)?;
    let (input, client_id) = wire::field(input)?; // [MQTT-3.1.3-3]
    let (input, will) = cond(flags.has(WILL), pair(wire::field, wire::field)).parse(input)?; // [MQTT-3.1.2-9]
    let (input, user_name) = cond(flags.has(USER_NAME), wire::field).parse(input)?; // [MQTT-3.1.2-18] [MQTT-3.1.2-19]
    let (input, password) = cond(flags.has(PASSWORD), wire::field).parse(input)?; // [MQTT-3.1.2-20] [MQTT-3.1.2-21]
    Ok((input, Fields { flags, keep_alive_secs, client_id, will, user_name, password }))
}

fn protocol(input: &[u8]) -> wire::Parsed<'_, ()> {
    let (input, ()) = map_res(wire::field, |name| match name {
        PROTOCOL_NAME => Ok(()),
        _ => Err(DecodeError::InvalidProtocolName), // [MQTT-3.1.2-1]
    })
    .parse(input)?;
    map_res(u8, |level| match level {
        PROTOCOL_LEVEL => Ok(()),
        _ => Err(DecodeError::UnsupportedProtocolLevel(level)), // [MQTT-3.1.2-2]
    })
    .parse(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Connect {
        Connect {
            clean_session: true,
            keep_alive_secs: 60,
            client_id: Utf8Bytes::try_from("c").unwrap(),
            will: Some(Will {
                topic: TopicName::try_from("w").unwrap(),
                message: Bytes::from_static(b"\0\xff"),
                qos: QoS::ExactlyOnce,
                retain: true,
            }),
            credentials: Some(Credentials {
                user_name: Utf8Bytes::try_from("u").unwrap(),
                password: Some(Bytes::from_static(b"\0\xfe")),
            }),
        }
    }

    /// [MQTT-3.1.3-1] [MQTT-3.1.2-9] [MQTT-3.1.2-19] [MQTT-3.1.2-21]
    #[test]
    fn bytes_and_back() {
        let bytes = b"\x10\x1b\0\x04MQTT\x04\xf6\0\x3c\0\x01c\0\x01w\0\x02\0\xff\0\x01u\0\x02\0\xfe";
        let mut out = Vec::new();
        full().encode(&mut out).unwrap();
        assert_eq!(out, bytes);
        assert_eq!(full().encoded_len(), bytes.len());
        assert_eq!(Connect::decode(&Bytes::from_static(&bytes[2..])), Ok(full()));
    }

    /// Every combination of flags, on a body that has what they announce. [MQTT-3.1.2-3] [MQTT-3.1.2-11]
    /// [MQTT-3.1.2-13] [MQTT-3.1.2-14] [MQTT-3.1.2-15] [MQTT-3.1.2-18] [MQTT-3.1.2-20] [MQTT-3.1.2-22]
    #[test]
    fn every_flags_byte_is_judged() {
        for flags in 0..=u8::MAX {
            let mut body = b"\0\x04MQTT\x04\0\0\x3c\0\x01c".to_vec();
            body[7] = flags;
            let fields = (flags & WILL) / 2 + (flags >> 6 & 1) + (flags >> 7);
            body.extend(b"\0\x01x".repeat(usize::from(fields)));
            let will_bits = flags & 0b0011_1000;
            let expected = if flags & RESERVED != 0 {
                Err(DecodeError::ReservedConnectFlag)
            } else if flags & WILL == 0 && will_bits != 0 {
                Err(DecodeError::WillFlagsWithoutWill)
            } else if flags >> 6 == 1 {
                Err(DecodeError::PasswordWithoutUserName)
            } else if flags & 0b0001_1000 == 0b0001_1000 {
                Err(DecodeError::InvalidWillQoS)
            } else {
                Ok(flags)
            };
            let body = Bytes::from(body);
            assert_eq!(Connect::decode(&body).map(|packet| packet.flags()), expected, "{flags:#010b}");
        }
    }

    /// [MQTT-3.1.2-1] [MQTT-3.1.2-2]
    #[test]
    fn the_protocol_is_told_before_what_follows() {
        let decode = |body: &'static [u8]| Connect::decode(&Bytes::from_static(body)).unwrap_err();
        assert_eq!(decode(b"\0\x04MQTT\x05garbage"), DecodeError::UnsupportedProtocolLevel(5));
        assert_eq!(decode(b"\0\x04mqtt\x04"), DecodeError::InvalidProtocolName);
        assert_eq!(decode(b"\0\x06MQIsdp\x03"), DecodeError::InvalidProtocolName);
        assert_eq!(decode(b"\0\x05MQTT"), DecodeError::Truncated);
    }

    #[test]
    fn too_long_fields_have_no_spelling() {
        let long = Bytes::from(vec![0; 65_536]);
        let mut packet = full();
        packet.credentials.as_mut().unwrap().password = Some(long.clone());
        let mut out = Vec::new();
        assert_eq!(packet.encode(&mut out), Err(EncodeError::FieldTooLong { len: 65_536 }));
        let mut packet = full();
        packet.will.as_mut().unwrap().message = long;
        assert_eq!(packet.encode(&mut out), Err(EncodeError::FieldTooLong { len: 65_536 }));
        assert!(out.is_empty());
    }

    #[test]
    fn passwords_stay_out_of_logs() {
        assert!(!format!("{:?}", full()).contains("xfe"));
    }
}
