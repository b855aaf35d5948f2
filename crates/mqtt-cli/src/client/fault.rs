//! [`Fault`]: what a server did, or did not do, that ends a connection.

use std::fmt;

use mqtt_codec::{ConnectRefusal, DecodeError, EncodeError, PacketType};

/// Why a connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// CONNACK with a return code other than 0.
    Refused(ConnectRefusal),
    /// CONNECT was not answered.
    NoConnack,
    /// PINGREQ was not answered.
    NoPingresp,
    /// Bytes that are no packet.
    Malformed(DecodeError),
    /// A packet that a server does not send, or not now.
    Unexpected(PacketType),
    /// PUBACK, PUBREC or PUBCOMP where another one of them is due.
    WrongAcknowledgement,
    /// SUBACK or UNSUBACK to a request that was not made.
    NotAsked,
    /// Not the server's: we want to say what has no spelling.
    Unspeakable(EncodeError),
}

impl Fault {
    /// Whether the next connection may do better.
    pub(super) fn is_transient(&self) -> bool {
        matches!(self, Self::NoConnack | Self::NoPingresp | Self::Refused(ConnectRefusal::ServerUnavailable))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "the broker refused the connection: {}", in_words(*refusal)),
            Self::NoConnack => f.write_str("the broker did not answer CONNECT"),
            Self::NoPingresp => f.write_str("the broker does not answer any more"),
            Self::Malformed(error) => write!(f, "the broker sent a malformed packet: {error}"),
            Self::Unexpected(packet_type) => write!(f, "the broker sent a {packet_type} where it must not"),
            Self::WrongAcknowledgement => f.write_str("the broker sent an acknowledgement of the wrong kind"),
            Self::NotAsked => f.write_str("the broker sent an answer to a request that was not made"),
            Self::Unspeakable(error) => write!(f, "cannot be sent with MQTT: {error}"),
        }
    }
}

impl std::error::Error for Fault {}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

impl From<EncodeError> for Fault {
    fn from(error: EncodeError) -> Self {
        Self::Unspeakable(error)
    }
}

fn in_words(refusal: ConnectRefusal) -> &'static str {
    match refusal {
        ConnectRefusal::UnacceptableProtocolVersion => "it does not speak MQTT 3.1.1 (return code 1)",
        ConnectRefusal::IdentifierRejected => "it does not take this client identifier (return code 2)",
        ConnectRefusal::ServerUnavailable => "it is not available (return code 3)",
        ConnectRefusal::BadUserNameOrPassword => "wrong user name or password (return code 4)",
        ConnectRefusal::NotAuthorized => "not authorized (return code 5)",
    }
}
