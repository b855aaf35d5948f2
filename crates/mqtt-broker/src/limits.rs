//! Every number that bounds the broker, in one struct, each with its default and its unit.

use std::time::Duration;

pub use mqtt_router::{DeliveryMode, SharedStrategy};

/// What to do with a message that finds a receiver's queue full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueFullPolicy {
    /// Make room: drop the oldest queued QoS 0 message; without one, the incoming message if it is QoS 0; else the oldest.
    #[default]
    DropOldest,
    /// Drop the incoming message.
    DropNewest,
    /// Drop the incoming message and disconnect the receiver, if it is connected.
    Disconnect,
}

/// The bounds and policies of a broker. `docs/limits.md` says what happens at each of them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Connections at a time. Default 100,000.
    pub max_connections: usize,
    /// Time from accept to a whole CONNECT. Default 10 s.
    pub connect_timeout: Duration,
    /// Largest packet before the CONNECT is accepted, in bytes. Default 328 KiB: a CONNECT with every field at its longest.
    pub max_connect_packet_size: usize,
    /// Largest packet of a connected client, in bytes, fixed header included. Default 2 MiB.
    pub max_packet_size: usize,
    /// Longest keep alive, in seconds; what a client asks beyond it (0, "never", included) is cut to it. Default none.
    pub max_keep_alive_secs: Option<u16>,
    /// Levels of a topic name or filter. Default 128.
    pub max_topic_levels: usize,
    /// Topic filters of one client. Default 100,000.
    pub max_subscriptions_per_client: usize,
    /// Sessions, connected or not. Default 1,000,000.
    pub max_sessions: usize,
    /// How long a persistent session outlives its connection; `None` is for ever. Default 7 days.
    pub session_expiry: Option<Duration>,
    /// QoS 1 and 2 messages sent to a client and not yet acknowledged. Default 20, at most 65,535.
    pub max_inflight: u16,
    /// QoS 2 messages received from a client and not yet released by PUBREL. Default 65,535.
    pub max_unreleased: usize,
    /// Messages that wait for one client, besides those inflight. Default 2,048.
    pub max_queued_messages: usize,
    /// Bytes (topic and payload) that wait for one client. Default 64 MiB.
    pub max_queued_bytes: usize,
    /// What happens when either of them is reached. Default [`QueueFullPolicy::DropOldest`].
    pub queue_full: QueueFullPolicy,
    /// Whether QoS 0 messages wait for an absent client with a persistent session. Default yes.
    pub queue_qos0_messages: bool,
    /// Encoded bytes that wait for a connected client's socket before messages go to its queue. Default 256 KiB.
    pub max_pending_bytes: usize,
    /// Whether unacknowledged messages are re-sent on a live connection, and how often. Default never: TCP does that.
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
    /// How long an asynchronous hook may take. Default 5 s.
    pub hook_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 100_000,
            connect_timeout: Duration::from_secs(10),
            max_connect_packet_size: 328 * 1024,
            max_packet_size: 2 * 1024 * 1024,
            max_keep_alive_secs: None,
            max_topic_levels: 128,
            max_subscriptions_per_client: 100_000,
            max_sessions: 1_000_000,
            session_expiry: Some(Duration::from_hours(7 * 24)),
            max_inflight: 20,
            max_unreleased: 65_535,
            max_queued_messages: 2_048,
            max_queued_bytes: 64 * 1024 * 1024,
            queue_full: QueueFullPolicy::default(),
            queue_qos0_messages: true,
            max_pending_bytes: 256 * 1024,
            retry_interval: None,
            delivery_mode: DeliveryMode::Once,
            shared_strategy: SharedStrategy::RoundRobin,
            max_retained_messages: 1_000_000,
            max_retained_bytes: 1024 * 1024 * 1024,
            retained_expiry: None,
            hook_timeout: Duration::from_secs(5),
        }
    }
}
