//! Why a connection ended: [`CloseReason`] is what the broker did, [`ProtocolViolation`] what the client did wrong.

use std::{fmt, io::ErrorKind};

use mqtt_codec::DecodeError;

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The client sent DISCONNECT.
    Disconnected,
    /// The client, or the network, closed the connection without DISCONNECT.
    ConnectionLost,
    /// Reading or writing failed.
    Io(ErrorKind),
    /// Bytes that are no packet.
    Malformed(DecodeError),
    /// A legal packet at an illegal moment.
    Violation(ProtocolViolation),
    /// What comes before MQTT went wrong: the word of a proxy, TLS, or the upgrade to WebSocket.
    HandshakeFailed,
    /// A proxy only looked whether the broker is alive.
    HealthCheck,
    /// No whole CONNECT within the time limit.
    ConnectTimeout,
    /// Nothing received for one and a half times the keep alive.
    KeepAliveTimeout,
    /// CONNECT was answered with this return code.
    Refused(mqtt_codec::ConnectRefusal),
    /// Another connection came with the same client identifier.
    TakenOver,
    /// The queue was full, and [`crate::QueueFullPolicy::Disconnect`] is the policy.
    SlowConsumer,
    /// It published faster than it may, and [`crate::PublishRatePolicy::Disconnect`] is the policy.
    PublishRate,
    /// It was banned while it was connected.
    Banned,
    /// A hook asked for it.
    Hook,
    /// The time for which a hook had let the client in is over: see [`crate::Admission::ends_at`].
    AdmissionEnded,
    /// A hook did not answer within [`crate::Limits::hook_timeout`], or panicked.
    HookFailed,
    /// Asked for through [`crate::Broker`].
    Kicked,
    /// The broker is shutting down.
    Shutdown,
    /// A defect of the broker [MQTT-4.8.0-2]: a panic while this connection was being served.
    Internal,
}

/// A packet that is well-formed, and yet not allowed where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolViolation {
    /// The first packet is not CONNECT [MQTT-3.1.0-1].
    FirstPacketNotConnect,
    /// A second CONNECT [MQTT-3.1.0-2].
    SecondConnect,
    /// A packet that only a server sends.
    ServerPacket,
    /// An acknowledgement that is not the next one of its delivery (4.3).
    WrongAcknowledgement,
    /// More QoS 2 messages without PUBREL than [`crate::Limits::max_unreleased`].
    TooManyUnreleased,
    /// A WebSocket frame that is text, not binary [MQTT-6.0.0-1].
    FrameNotBinary,
    /// A topic with more levels than [`crate::Limits::max_topic_levels`].
    TooManyTopicLevels,
    /// A topic longer than [`crate::Limits::max_topic_len`].
    TopicTooLong,
    /// A SUBSCRIBE or UNSUBSCRIBE with more filters than [`crate::Limits::max_filters_per_packet`].
    TooManyFilters,
}

macro_rules! names {
    ($($pattern:pat => $name:literal,)+) => {
        impl CloseReason {
            /// The names in metrics: a name for each limit, and each kind of mistake, that ends a connection.
            pub const NAMES: &'static [&'static str] = &[$($name,)+];

            /// Its name in metrics.
            pub const fn as_str(&self) -> &'static str {
                match self { $($pattern => $name,)+ }
            }
        }
    };
}

names! {
    Self::Disconnected => "disconnected",
    Self::ConnectionLost => "connection_lost",
    // The system has asked whether the other end is still there, and got no answer.
    Self::Io(ErrorKind::TimedOut) => "half_open",
    Self::Io(_) => "io",
    Self::Malformed(DecodeError::PacketTooLarge { .. }) => "packet_too_large",
    Self::Malformed(_) => "malformed",
    Self::Violation(ProtocolViolation::FirstPacketNotConnect) => "first_packet_not_connect",
    Self::Violation(ProtocolViolation::SecondConnect) => "second_connect",
    Self::Violation(ProtocolViolation::ServerPacket) => "server_packet",
    Self::Violation(ProtocolViolation::WrongAcknowledgement) => "wrong_acknowledgement",
    Self::Violation(ProtocolViolation::TooManyUnreleased) => "too_many_unreleased",
    Self::Violation(ProtocolViolation::FrameNotBinary) => "frame_not_binary",
    Self::Violation(ProtocolViolation::TooManyTopicLevels) => "too_many_topic_levels",
    Self::Violation(ProtocolViolation::TopicTooLong) => "topic_too_long",
    Self::Violation(ProtocolViolation::TooManyFilters) => "too_many_filters",
    Self::HandshakeFailed => "handshake_failed",
    Self::HealthCheck => "health_check",
    Self::ConnectTimeout => "connect_timeout",
    Self::KeepAliveTimeout => "keep_alive_timeout",
    Self::Refused(_) => "refused",
    Self::TakenOver => "taken_over",
    Self::SlowConsumer => "slow_consumer",
    Self::PublishRate => "publish_rate",
    Self::Banned => "banned",
    Self::Hook => "hook",
    Self::AdmissionEnded => "admission_ended",
    Self::HookFailed => "hook_failed",
    Self::Kicked => "kicked",
    Self::Shutdown => "shutdown",
    Self::Internal => "internal",
}

impl CloseReason {
    /// Its place in [`CloseReason::NAMES`].
    pub(crate) fn index(&self) -> usize {
        Self::NAMES.iter().position(|name| *name == self.as_str()).unwrap_or_default()
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnected => f.write_str("the client disconnected"),
            Self::ConnectionLost => f.write_str("the connection was closed without DISCONNECT"),
            Self::Io(kind) => write!(f, "the connection failed: {kind}"),
            Self::Malformed(error) => write!(f, "malformed packet: {error}"),
            Self::Violation(violation) => write!(f, "protocol violation: {violation}"),
            Self::HandshakeFailed => f.write_str("the handshake before MQTT failed"),
            Self::HealthCheck => f.write_str("a proxy's health check"),
            Self::ConnectTimeout => f.write_str("no CONNECT within the time limit"),
            Self::KeepAliveTimeout => f.write_str("nothing received for 1.5 times the keep alive"),
            Self::Refused(refusal) => write!(f, "CONNECT refused: {refusal}"),
            Self::TakenOver => f.write_str("another connection came with the same client identifier"),
            Self::SlowConsumer => f.write_str("the client reads too slowly: its queue is full"),
            Self::PublishRate => f.write_str("the client publishes faster than it may"),
            Self::Banned => f.write_str("the client was banned"),
            Self::AdmissionEnded => f.write_str("what the client had proved who it is by has expired"),
            Self::Hook => f.write_str("a hook asked for it"),
            Self::HookFailed => f.write_str("a hook did not answer in time, or failed"),
            Self::Kicked => f.write_str("the operator asked for it"),
            Self::Shutdown => f.write_str("the broker is shutting down"),
            Self::Internal => f.write_str("an internal error; please report it"),
        }
    }
}

impl fmt::Display for ProtocolViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FirstPacketNotConnect => "the first packet is not CONNECT",
            Self::SecondConnect => "a second CONNECT",
            Self::ServerPacket => "a packet that only a server may send",
            Self::WrongAcknowledgement => "an acknowledgement of the wrong kind for its delivery",
            Self::TooManyUnreleased => "too many QoS 2 messages without PUBREL",
            Self::FrameNotBinary => "a WebSocket frame that is not binary",
            Self::TooManyTopicLevels => "a topic with too many levels",
            Self::TopicTooLong => "a topic that is too long",
            Self::TooManyFilters => "too many topic filters in one packet",
        })
    }
}

impl std::error::Error for ProtocolViolation {}

impl From<DecodeError> for CloseReason {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

impl From<ProtocolViolation> for CloseReason {
    fn from(violation: ProtocolViolation) -> Self {
        Self::Violation(violation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two with one name would be one counter.
    #[test]
    fn each_name_stands_once() {
        let mut names = CloseReason::NAMES.to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CloseReason::NAMES.len());
        let kept_apart = [ErrorKind::TimedOut, ErrorKind::NotConnected].map(CloseReason::Io);
        assert_eq!(kept_apart.map(|reason| reason.as_str()), ["half_open", "io"]);
    }
}
