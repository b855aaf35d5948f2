//! Every number that bounds the broker, in one struct, each with its default and its unit.

use std::{
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

pub use mqtt_router::{DeliveryMode, SharedStrategy};

use crate::close_reason::ProtocolViolation;

/// What to do with a message that finds a receiver's queue full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueFullPolicy {
    /// Make room: drop the oldest queued QoS 0 message; without one, the incoming message if it is QoS 0; else the oldest.
    #[default]
    DropOldest,
    /// Drop the incoming message.
    DropNewest,
    /// Drop the incoming message and disconnect the receiver, if it is connected.
    Disconnect,
}

/// What to do with a client that publishes faster than it may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishRatePolicy {
    /// Read nothing more from it until it has kept to the rate again: its own network connection holds it back.
    #[default]
    Delay,
    /// Disconnect it.
    Disconnect,
}

/// The bounds and policies of a broker. `docs/limits.md` says what happens at each of them.
///
/// ```
/// use std::time::Duration;
///
/// use mqtt_broker::{Broker, Limits, QueueFullPolicy};
///
/// let mut limits = Limits::default();
/// limits.max_queued_messages = 100;
/// limits.queue_full = QueueFullPolicy::DropNewest;
/// limits.session_expiry = Some(Duration::from_secs(24 * 60 * 60));
/// let broker = Broker::builder().limits(limits).build();
/// assert_eq!(broker.limits().max_queued_messages, 100);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Connections at a time. Default 100,000.
    pub max_connections: usize,
    /// Connections of each listener at a time that has no number of its own: see [`crate::ListenerLimits`]. Default none.
    pub max_connections_per_listener: Option<usize>,
    /// Connections of one address at a time; `None` is no limit. Default none: many clients may share one.
    pub max_connections_per_address: Option<usize>,
    /// Connections of one user name at a time; `None` is no limit, and who has no user name has none. Default none.
    pub max_connections_per_user: Option<usize>,
    /// Connections that one address may open a second; as many may come at once. Default none.
    pub max_accept_rate_per_address: Option<NonZeroU32>,
    /// How many bits of an IPv6 address stand for one peer, in the two limits of an address. Default 64.
    pub ipv6_prefix_len: u8,
    /// Bans at a time: see [`crate::Broker::ban`]. Default 10,000.
    pub max_bans: usize,
    /// How often a client identifier may connect within `flapping_window`; one more time, and it is banned. Default none.
    pub flapping_connects: Option<NonZeroU32>,
    /// See `flapping_connects`. Default 1 minute.
    pub flapping_window: Duration,
    /// How long a client identifier that flaps is banned. Default 5 minutes.
    pub flapping_ban: Duration,
    /// Time from accept to a whole CONNECT. Default 10 s.
    pub connect_timeout: Duration,
    /// Largest packet before the CONNECT is accepted, in bytes. Default 328 KiB: a CONNECT with every field at its longest.
    pub max_connect_packet_size: usize,
    /// Largest packet of a connected client, in bytes, fixed header included. Default 2 MiB.
    pub max_packet_size: usize,
    /// Length of a client identifier, in bytes. Default 1,024; 23 have to be allowed.
    pub max_client_id_len: usize,
    /// Length of the user name in a CONNECT, in bytes. Default 1,024: tokens are given as passwords. A hook that takes them as
    /// user names needs more.
    pub max_user_name_len: usize,
    /// Longest keep alive, in seconds; what a client asks beyond it (0, "never", included) is cut to it; `None`, or 0, cuts nothing.
    /// Default none.
    pub max_keep_alive_secs: Option<u16>,
    /// How long a TCP connection may be silent before the system asks whether the other end is still there; who does not
    /// answer five times is gone. `None` never asks. Default 5 minutes.
    pub tcp_keep_alive: Option<Duration>,
    /// PUBLISH packets a second of one client; as many may come at once. Default none.
    pub max_publish_rate: Option<NonZeroU32>,
    /// Bytes of PUBLISH packets a second of one client; as many may come at once. Default none.
    pub max_publish_byte_rate: Option<NonZeroU64>,
    /// What happens to who publishes faster than that. Default [`PublishRatePolicy::Delay`].
    pub publish_rate_policy: PublishRatePolicy,
    /// Whether clients may publish to topics that begin with `$` (4.7.2). Never to `$SYS`. Default no.
    pub allow_dollar_topics: bool,
    /// Levels of a topic name or filter. Default 128.
    pub max_topic_levels: usize,
    /// Length of a topic name or filter, in bytes. Default 65,535, the protocol's own.
    pub max_topic_len: usize,
    /// Topic filters in one SUBSCRIBE or UNSUBSCRIBE. Default 1,024.
    pub max_filters_per_packet: usize,
    /// Topic filters of all sessions. Default 10,000,000.
    pub max_subscriptions: usize,
    /// Topic filters of one client. Default 100,000.
    pub max_subscriptions_per_client: usize,
    /// Topic filters with a wildcard of one client: each costs with every message that it might match. Default 10,000.
    pub max_wildcard_subscriptions_per_client: usize,
    /// Shared subscriptions of one client: each group that it is in may bring it a copy of a message. Default 100.
    pub max_shared_subscriptions_per_client: usize,
    /// Bytes of one client's topic filters, and 7 more for each; of one with a wildcard, 64 more for each of its levels. Default
    /// 8 MiB: `max_subscriptions_per_client` of usual ones without a wildcard.
    pub max_subscription_bytes_per_client: usize,
    /// Sessions, connected or not. Default 1,000,000.
    pub max_sessions: usize,
    /// How long a persistent session outlives its connection; `None` is for ever. Default 7 days.
    pub session_expiry: Option<Duration>,
    /// QoS 1 and 2 messages sent to a client and not yet acknowledged. Default 512, at most 65,535; 0 counts as 1.
    pub max_inflight: u16,
    /// Bytes (topic and payload) of those; the message that reaches it still goes. Default 4 MiB; 0 counts as 1.
    pub max_inflight_bytes: usize,
    /// QoS 2 messages received from a client and not yet released by PUBREL. Default 65,535.
    pub max_unreleased: usize,
    /// Messages that wait for one client, besides those inflight. Retained ones drive nothing out: they come when there is room. A
    /// [`LocalSubscriber`](crate::LocalSubscriber) gets all of its messages by this way, so it hears nothing if this is 0. Default
    /// 2,048.
    pub max_queued_messages: usize,
    /// Bytes (topic and payload) that wait for one client. Default 64 MiB.
    pub max_queued_bytes: usize,
    /// Bytes of a connected client's queue that are kept in memory if the store has them too. Default 256 KiB.
    pub queue_window_bytes: usize,
    /// What happens when either of them is reached. Default [`QueueFullPolicy::DropOldest`].
    pub queue_full: QueueFullPolicy,
    /// Whether QoS 0 messages wait for an absent client with a persistent session. Default yes.
    pub queue_qos0_messages: bool,
    /// Encoded bytes that wait for a connected client's socket before messages go to its queue; once more as many wait for the
    /// store. Default 256 KiB.
    pub max_pending_bytes: usize,
    /// Whether unacknowledged messages are re-sent on a live connection, and how often; after no time at all, none
    /// are. Default never: TCP does that.
    pub retry_interval: Option<Duration>,
    /// One copy a client, or one a matching subscription. Default [`DeliveryMode::Once`].
    pub delivery_mode: DeliveryMode,
    /// Which member of a shared subscription gets a message. Default [`SharedStrategy::RoundRobin`].
    pub shared_strategy: SharedStrategy,
    /// Retained messages. Default 1,000,000.
    pub max_retained_messages: usize,
    /// Bytes (topic and payload) of all retained messages. Default 1 GiB.
    pub max_retained_bytes: usize,
    /// How long a retained message is kept; `None` is for ever. Default for ever.
    pub retained_expiry: Option<Duration>,
    /// How often `$SYS` topics are published; `None` is never. At least a second. Default never.
    pub sys_interval: Option<Duration>,
    /// How long an asynchronous hook may take. Default 5 s.
    pub hook_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 100_000,
            max_connections_per_listener: None,
            max_connections_per_address: None,
            max_connections_per_user: None,
            max_accept_rate_per_address: None,
            ipv6_prefix_len: 64,
            max_bans: 10_000,
            flapping_connects: None,
            flapping_window: Duration::from_mins(1),
            flapping_ban: Duration::from_mins(5),
            connect_timeout: Duration::from_secs(10),
            max_connect_packet_size: 328 * 1024,
            max_packet_size: 2 * 1024 * 1024,
            max_client_id_len: 1_024,
            max_user_name_len: 1_024,
            max_keep_alive_secs: None,
            tcp_keep_alive: Some(Duration::from_mins(5)),
            max_publish_rate: None,
            max_publish_byte_rate: None,
            publish_rate_policy: PublishRatePolicy::default(),
            allow_dollar_topics: false,
            max_topic_levels: 128,
            max_topic_len: 65_535,
            max_filters_per_packet: 1_024,
            max_subscriptions: 10_000_000,
            max_subscriptions_per_client: 100_000,
            max_wildcard_subscriptions_per_client: 10_000,
            max_shared_subscriptions_per_client: 100,
            max_subscription_bytes_per_client: 8 * 1024 * 1024,
            max_sessions: 1_000_000,
            session_expiry: Some(Duration::from_hours(7 * 24)),
            max_inflight: 512,
            max_inflight_bytes: 4 * 1024 * 1024,
            max_unreleased: 65_535,
            max_queued_messages: 2_048,
            max_queued_bytes: 64 * 1024 * 1024,
            queue_window_bytes: 256 * 1024,
            queue_full: QueueFullPolicy::default(),
            queue_qos0_messages: true,
            max_pending_bytes: 256 * 1024,
            retry_interval: None,
            delivery_mode: DeliveryMode::Once,
            shared_strategy: SharedStrategy::RoundRobin,
            max_retained_messages: 1_000_000,
            max_retained_bytes: 1024 * 1024 * 1024,
            retained_expiry: None,
            sys_interval: None,
            hook_timeout: Duration::from_secs(5),
        }
    }
}

impl Limits {
    /// Whether a topic is too long, or has too many levels.
    pub(crate) fn check_topic(&self, topic: &str) -> Result<(), ProtocolViolation> {
        if topic.len() > self.max_topic_len {
            return Err(ProtocolViolation::TopicTooLong);
        }
        // Short topics, nearly all, are not even counted.
        let (len, most) = (topic.len(), self.max_topic_levels);
        if len >= most && topic.bytes().filter(|&byte| byte == b'/').count() >= most {
            return Err(ProtocolViolation::TooManyTopicLevels);
        }
        Ok(())
    }

    /// Whether a topic is not for clients to publish to.
    pub(crate) fn reserves(&self, topic: &[u8]) -> bool {
        topic.first() == Some(&b'$')
            && !(self.allow_dollar_topics && topic != b"$SYS" && !topic.starts_with(b"$SYS/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_counted_in_levels_and_length_in_bytes() {
        let limits = Limits { max_topic_levels: 3, max_topic_len: 7, ..Limits::default() };
        for (topic, verdict) in [
            ("a/b/c", Ok(())),
            ("a/b/c/d", Err(ProtocolViolation::TooManyTopicLevels)),
            ("///", Err(ProtocolViolation::TooManyTopicLevels)),
            ("aaaaaaa", Ok(())),
            ("aaaaaaaa", Err(ProtocolViolation::TopicTooLong)),
            ("\u{e4}\u{e4}\u{e4}\u{e4}", Err(ProtocolViolation::TopicTooLong)),
        ] {
            assert_eq!(limits.check_topic(topic), verdict, "{topic}");
        }
    }

    #[test]
    fn dollar_topics_are_reserved_and_sys_always() {
        let (closed, open) = (Limits::default(), Limits { allow_dollar_topics: true, ..Limits::default() });
        for (topic, reserved, reserved_when_open) in [
            ("a/$b", false, false),
            ("$a", true, false),
            ("$", true, false),
            ("$SYS", true, true),
            ("$SYS/a", true, true),
            ("$SYSTEM", true, false),
        ] {
            assert_eq!(closed.reserves(topic.as_bytes()), reserved, "{topic}");
            assert_eq!(open.reserves(topic.as_bytes()), reserved_when_open, "{topic}");
        }
    }
}
