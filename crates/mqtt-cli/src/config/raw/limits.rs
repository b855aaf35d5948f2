//! `[limits]`: the keys of the broker's [`Limits`].

use std::{
    num::{NonZeroU16, NonZeroU32, NonZeroUsize},
    time::Duration,
};

use mqtt_broker::{DeliveryMode, Limits, PublishRatePolicy, QueueFullPolicy, SharedStrategy};

use crate::{
    config::{
        key::section,
        value::{ByteRate, Deadline, Finite, Interval, KeepAlive, NotEmpty, PacketSize, PrefixLen, Seldom},
    },
    quantity::{Size, Span},
};

section! {
    /// What one client, and all of them, may use: docs/limits.md says what happens at each.
    LimitKeys at "limits" {
        /// Connections at a time.
        max_connections: usize = limits().max_connections, Reload;
        /// Connections at a time of each listener that has no max_connections of its own. Without a number there is no limit.
        max_connections_per_listener: Option<NonZeroUsize> = None, Reload;
        /// Connections of one address at a time. Without a number there is no limit: many clients may share one.
        max_connections_per_address: Option<NonZeroUsize> = None, Reload;
        /// Connections of one user name at a time. Without a number there is no limit.
        max_connections_per_user: Option<NonZeroUsize> = None, Reload;
        /// Connections that one address may open a second; further ones are closed before any TLS. Without a number there is
        /// no limit.
        max_accept_rate_per_address: Option<NonZeroU32> = None, Reload;
        /// How many bits of an IPv6 address stand for one peer, in the limits of an address.
        ipv6_prefix_len: PrefixLen = PrefixLen(limits().ipv6_prefix_len), Reload;
        /// Bans of addresses, client identifiers and users at a time.
        max_bans: usize = limits().max_bans, Restart;
        /// How often a client identifier may connect within flapping_window; one more time, and it is banned. Without a
        /// number there is no limit.
        flapping_connects: Option<NonZeroU32> = None, Restart;
        /// See flapping_connects.
        flapping_window: Finite = Finite(limits().flapping_window), Restart;
        /// How long a client identifier that flaps is banned.
        flapping_ban: Finite = Finite(limits().flapping_ban), Restart;
        /// Time from a connection's beginning to its whole CONNECT.
        connect_timeout: Deadline = Deadline(limits().connect_timeout), Reload;
        /// Largest packet before the CONNECT is accepted, fixed header included. Never more than max_packet_size.
        max_connect_packet_size: PacketSize = PacketSize(limits().max_connect_packet_size), Reload;
        /// Largest packet, fixed header included; what sends a larger one is disconnected.
        max_packet_size: PacketSize = PacketSize(limits().max_packet_size), Reload;
        /// Bytes of a client identifier, 23 at least. What connects with a longer one is refused.
        max_client_id_len: NonZeroUsize = at_least_one(limits().max_client_id_len), Reload;
        /// Bytes of the user name that a client gives. More are needed only where a web server takes it for a token.
        max_user_name_len: NonZeroUsize = at_least_one(limits().max_user_name_len), Reload;
        /// Longest keep alive, never for no limit; what asks for more gets this one.
        max_keep_alive: KeepAlive = KeepAlive(limits().max_keep_alive_secs), Reload;
        /// How long a TCP connection may be silent before the system asks whether its client is still there.
        tcp_keep_alive: Interval = Interval(limits().tcp_keep_alive), Restart;
        /// Messages that one client may publish a second. Without a number there is no limit.
        max_publish_rate: Option<NonZeroU32> = None, Reload;
        /// Bytes that one client may publish a second. Without a number there is no limit.
        max_publish_byte_rate: Option<ByteRate> = None, Reload;
        /// What happens to a client that publishes faster.
        ///
        /// delay reads nothing more from it until it has kept to the rate again. disconnect disconnects it.
        publish_rate_policy: PublishRatePolicy = limits().publish_rate_policy, Reload;
        /// Let clients publish to topics that begin with $, but for $SYS.
        allow_dollar_topics: bool = limits().allow_dollar_topics, Restart;
        /// Levels of a topic.
        max_topic_levels: NonZeroUsize = at_least_one(limits().max_topic_levels), Restart;
        /// Bytes of a topic.
        max_topic_len: NonZeroUsize = at_least_one(limits().max_topic_len), Restart;
        /// Topic filters in one packet.
        max_filters_per_packet: NonZeroUsize = at_least_one(limits().max_filters_per_packet), Reload;
        /// Topic filters of all clients.
        max_subscriptions: usize = limits().max_subscriptions, Restart;
        /// Topic filters with a wildcard of one client.
        max_wildcard_subscriptions_per_client: usize = limits().max_wildcard_subscriptions_per_client, Restart;
        /// Shared subscriptions of one client.
        max_shared_subscriptions_per_client: usize = limits().max_shared_subscriptions_per_client, Restart;
        /// Topic filters of one client.
        max_subscriptions_per_client: usize = limits().max_subscriptions_per_client, Restart;
        /// Bytes of one client's topic filters, and 7 more for each; with a wildcard, 64 more for each level.
        max_subscription_bytes_per_client: Size = Size(limits().max_subscription_bytes_per_client), Restart;
        /// Sessions, connected or not.
        max_sessions: usize = limits().max_sessions, Restart;
        /// How long a persistent session outlives its connection.
        session_expiry: Span = Span(limits().session_expiry), Restart;
        /// QoS 1 and 2 messages sent to a client and not yet acknowledged.
        max_inflight: NonZeroU16 = NonZeroU16::new(limits().max_inflight).unwrap_or(NonZeroU16::MIN), Restart;
        /// Bytes of those.
        max_inflight_bytes: NotEmpty = NotEmpty(limits().max_inflight_bytes), Restart;
        /// QoS 2 messages received from a client and not yet released by it.
        max_unreleased: NonZeroUsize = at_least_one(limits().max_unreleased), Reload;
        /// Messages that wait for one client, connected or not.
        max_queued_messages: usize = limits().max_queued_messages, Restart;
        /// Bytes that wait for one client, connected or not.
        max_queued_bytes: Size = Size(limits().max_queued_bytes), Restart;
        /// Bytes of a connected client's queue that are kept in memory if the disk has them too.
        queue_window_bytes: Size = Size(limits().queue_window_bytes), Restart;
        /// What to do when the messages or the bytes that wait reach their limit.
        ///
        /// drop-oldest makes room: the oldest queued QoS 0 message goes, without one the new message if it is QoS 0, else
        /// the oldest. drop-newest drops the new message. disconnect drops it and disconnects the client.
        queue_full: QueueFullPolicy = limits().queue_full, Restart;
        /// Whether QoS 0 messages wait for absent clients.
        queue_qos0_messages: bool = limits().queue_qos0_messages, Restart;
        /// Encoded bytes that wait for a connected client's socket, before messages go to its queue.
        max_pending_bytes: Size = Size(limits().max_pending_bytes), Restart;
        /// How often an unacknowledged message is sent again on a live connection.
        retry_interval: Interval = Interval(limits().retry_interval), Reload;
        /// One copy of a message a client, or one a matching subscription.
        delivery_mode: DeliveryMode = limits().delivery_mode, Restart;
        /// Which member of a shared subscription gets a message.
        shared_strategy: SharedStrategy = limits().shared_strategy, Restart;
        /// Retained messages.
        max_retained_messages: usize = limits().max_retained_messages, Restart;
        /// Bytes of all retained messages.
        max_retained_bytes: Size = Size(limits().max_retained_bytes), Restart;
        /// How long a retained message is kept.
        retained_expiry: Span = Span(limits().retained_expiry), Restart;
        /// How often the topics below $SYS are published, a second at least, or never.
        sys_interval: Seldom = Seldom(Some(Duration::from_secs(10))), Restart;
        /// How long a decision that is asked of others may take: of a password's check, say.
        hook_timeout: Deadline = Deadline(limits().hook_timeout), Reload;
    }
}

fn limits() -> Limits {
    Limits::default()
}

fn at_least_one(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN)
}
