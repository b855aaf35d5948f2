//! [`LimitArguments`]: the numbers of [`Limits`] that an operator sets. Their defaults are read there, never repeated.

use std::{
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

use clap::{
    builder::{PossibleValuesParser, TypedValueParser},
    value_parser,
};
use mqtt_broker::{DeliveryMode, Limits, PublishRatePolicy, QueueFullPolicy, SharedStrategy};

use crate::quantity::{Size, Span};

/// What the command line calls the values of an enum of the broker.
type Names<T> = [(&'static str, T)];

const QUEUE_FULL: &Names<QueueFullPolicy> = &[
    ("drop-oldest", QueueFullPolicy::DropOldest),
    ("drop-newest", QueueFullPolicy::DropNewest),
    ("disconnect", QueueFullPolicy::Disconnect),
];
const PUBLISH_RATE_POLICY: &Names<PublishRatePolicy> =
    &[("delay", PublishRatePolicy::Delay), ("disconnect", PublishRatePolicy::Disconnect)];
const DELIVERY_MODE: &Names<DeliveryMode> =
    &[("once", DeliveryMode::Once), ("overlap", DeliveryMode::Overlap)];
const SHARED_STRATEGY: &Names<SharedStrategy> = &[
    ("round-robin", SharedStrategy::RoundRobin),
    ("random", SharedStrategy::Random),
    ("sticky", SharedStrategy::Sticky),
    ("hash-client", SharedStrategy::HashClient),
    ("hash-topic", SharedStrategy::HashTopic),
];

/// The longest packet that the protocol can spell.
const MAX_PACKET_SIZE: usize = mqtt_codec::MAX_REMAINING_LEN + 5;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArguments {
    /// Connections at a time
    #[arg(long, value_name = "N", default_value_t = Limits::default().max_connections)]
    max_connections: usize,

    /// Connections of one address at a time [default: no limit]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    max_connections_per_address: Option<usize>,

    /// Connections of one user name at a time [default: no limit]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    max_connections_per_user: Option<usize>,

    /// Connections that one address may open a second; further ones are closed before any TLS [default: no limit]
    #[arg(long, value_name = "N")]
    max_accept_rate_per_address: Option<NonZeroU32>,

    /// How many bits of an IPv6 address stand for one peer, in the limits of an address
    #[arg(long, value_name = "BITS", default_value_t = Limits::default().ipv6_prefix_len, value_parser = value_parser!(u8).range(1..=128))]
    ipv6_prefix_len: u8,

    /// Bans of addresses, client identifiers and users at a time
    #[arg(long, value_name = "N", default_value_t = Limits::default().max_bans)]
    max_bans: usize,

    /// How often a client identifier may connect within --flapping-window; one more time, and it is banned [default: no limit]
    #[arg(long, value_name = "N")]
    flapping_connects: Option<NonZeroU32>,

    /// See --flapping-connects
    #[arg(long, value_name = "TIME", default_value_t = Span(Some(Limits::default().flapping_window)), value_parser = finite)]
    flapping_window: Span,

    /// How long a client identifier that flaps is banned
    #[arg(long, value_name = "TIME", default_value_t = Span(Some(Limits::default().flapping_ban)), value_parser = finite)]
    flapping_ban: Span,

    /// Time from a connection's beginning to its whole CONNECT
    #[arg(long, value_name = "TIME", default_value_t = Span(Some(Limits::default().connect_timeout)), value_parser = finite)]
    connect_timeout: Span,

    /// Largest packet, fixed header included; what sends a larger one is disconnected
    #[arg(long, value_name = "SIZE", default_value_t = Size(Limits::default().max_packet_size), value_parser = packet_size)]
    max_packet_size: Size,

    /// Longest keep alive, never for no limit; what asks for more gets this one
    #[arg(long, value_name = "TIME", default_value_t = seconds(Limits::default().max_keep_alive_secs), value_parser = keep_alive)]
    max_keep_alive: Span,

    /// How long a TCP connection may be silent before the system asks whether its client is still there
    #[arg(long, value_name = "TIME", default_value_t = Span(Limits::default().tcp_keep_alive), value_parser = not_at_once)]
    tcp_keep_alive: Span,

    /// Messages that one client may publish a second [default: no limit]
    #[arg(long, value_name = "N")]
    max_publish_rate: Option<NonZeroU32>,

    /// Bytes that one client may publish a second [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = byte_rate)]
    max_publish_byte_rate: Option<NonZeroU64>,

    /// What happens to a client that publishes faster
    ///
    /// delay reads nothing more from it until it has kept to the rate again. disconnect disconnects it.
    #[arg(long, value_name = "POLICY", default_value = name_of(PUBLISH_RATE_POLICY, Limits::default().publish_rate_policy), value_parser = named(PUBLISH_RATE_POLICY))]
    publish_rate_policy: PublishRatePolicy,

    /// Let clients publish to topics that begin with $, but for $SYS
    #[arg(long)]
    allow_dollar_topics: bool,

    /// Levels of a topic
    #[arg(long, value_name = "N", default_value_t = Limits::default().max_topic_levels, value_parser = at_least_one)]
    max_topic_levels: usize,

    /// Bytes of a topic
    #[arg(long, value_name = "N", default_value_t = Limits::default().max_topic_len, value_parser = at_least_one)]
    max_topic_len: usize,

    /// Topic filters in one packet
    #[arg(long, value_name = "N", default_value_t = Limits::default().max_filters_per_packet, value_parser = at_least_one)]
    max_filters_per_packet: usize,

    /// Topic filters of all clients
    #[arg(long, value_name = "N", default_value_t = Limits::default().max_subscriptions)]
    max_subscriptions: usize,

    /// Topic filters with a wildcard of one client
    #[arg(long, value_name = "N", default_value_t = Limits::default().max_wildcard_subscriptions_per_client)]
    max_wildcard_subscriptions_per_client: usize,

    /// Topic filters of one client
    #[arg(long, value_name = "N", default_value_t = Limits::default().max_subscriptions_per_client)]
    max_subscriptions_per_client: usize,

    /// Sessions, connected or not
    #[arg(long, value_name = "N", default_value_t = Limits::default().max_sessions)]
    max_sessions: usize,

    /// How long a persistent session outlives its connection
    #[arg(long, value_name = "TIME", default_value_t = Span(Limits::default().session_expiry))]
    session_expiry: Span,

    /// QoS 1 and 2 messages sent to a client and not yet acknowledged
    #[arg(long, value_name = "N", default_value_t = Limits::default().max_inflight, value_parser = value_parser!(u16).range(1..))]
    max_inflight: u16,

    /// Bytes of those
    #[arg(long, value_name = "SIZE", default_value_t = Size(Limits::default().max_inflight_bytes), value_parser = at_least_a_byte)]
    max_inflight_bytes: Size,

    /// QoS 2 messages received from a client and not yet released by it
    #[arg(long, value_name = "N", default_value_t = Limits::default().max_unreleased, value_parser = at_least_one)]
    max_unreleased: usize,

    /// Messages that wait for one client, connected or not
    #[arg(long, value_name = "N", default_value_t = Limits::default().max_queued_messages)]
    max_queued_messages: usize,

    /// Bytes that wait for one client, connected or not
    #[arg(long, value_name = "SIZE", default_value_t = Size(Limits::default().max_queued_bytes))]
    max_queued_bytes: Size,

    /// Bytes of a connected client's queue that are kept in memory if the disk has them too
    #[arg(long, value_name = "SIZE", default_value_t = Size(Limits::default().queue_window_bytes))]
    queue_window_bytes: Size,

    /// What to do when the messages or the bytes that wait reach their limit
    ///
    /// drop-oldest makes room: the oldest queued QoS 0 message goes, without one the new message if it is QoS 0, else
    /// the oldest. drop-newest drops the new message. disconnect drops it and disconnects the client.
    #[arg(long, value_name = "POLICY", default_value = name_of(QUEUE_FULL, Limits::default().queue_full), value_parser = named(QUEUE_FULL))]
    queue_full: QueueFullPolicy,

    /// Keep no QoS 0 messages for absent clients
    #[arg(long)]
    no_queue_qos0: bool,

    /// Encoded bytes that wait for a connected client's socket, before messages go to its queue
    #[arg(long, value_name = "SIZE", default_value_t = Size(Limits::default().max_pending_bytes))]
    max_pending_bytes: Size,

    /// How often an unacknowledged message is sent again on a live connection
    #[arg(long, value_name = "TIME", default_value_t = Span(Limits::default().retry_interval), value_parser = not_at_once)]
    retry_interval: Span,

    /// One copy of a message a client, or one a matching subscription
    #[arg(long, value_name = "MODE", default_value = name_of(DELIVERY_MODE, Limits::default().delivery_mode), value_parser = named(DELIVERY_MODE))]
    delivery_mode: DeliveryMode,

    /// Which member of a shared subscription gets a message
    #[arg(long, value_name = "STRATEGY", default_value = name_of(SHARED_STRATEGY, Limits::default().shared_strategy), value_parser = named(SHARED_STRATEGY))]
    shared_strategy: SharedStrategy,

    /// Retained messages
    #[arg(long, value_name = "N", default_value_t = Limits::default().max_retained_messages)]
    max_retained_messages: usize,

    /// Bytes of all retained messages
    #[arg(long, value_name = "SIZE", default_value_t = Size(Limits::default().max_retained_bytes))]
    max_retained_bytes: Size,

    /// How long a retained message is kept
    #[arg(long, value_name = "TIME", default_value_t = Span(Limits::default().retained_expiry))]
    retained_expiry: Span,
}

impl LimitArguments {
    pub(crate) fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        limits.max_connections = self.max_connections;
        limits.max_connections_per_address = self.max_connections_per_address;
        limits.max_connections_per_user = self.max_connections_per_user;
        limits.max_accept_rate_per_address = self.max_accept_rate_per_address;
        limits.ipv6_prefix_len = self.ipv6_prefix_len;
        limits.max_bans = self.max_bans;
        limits.flapping_connects = self.flapping_connects;
        limits.flapping_window = self.flapping_window.0.unwrap_or(Duration::MAX);
        limits.flapping_ban = self.flapping_ban.0.unwrap_or(Duration::MAX);
        limits.connect_timeout = self.connect_timeout.0.unwrap_or(Duration::MAX);
        limits.max_packet_size = self.max_packet_size.0;
        limits.max_connect_packet_size = limits.max_connect_packet_size.min(self.max_packet_size.0);
        limits.max_keep_alive_secs =
            self.max_keep_alive.0.and_then(|time| u16::try_from(time.as_secs()).ok());
        limits.tcp_keep_alive = self.tcp_keep_alive.0;
        limits.max_publish_rate = self.max_publish_rate;
        limits.max_publish_byte_rate = self.max_publish_byte_rate;
        limits.publish_rate_policy = self.publish_rate_policy;
        limits.allow_dollar_topics = self.allow_dollar_topics;
        limits.max_topic_levels = self.max_topic_levels;
        limits.max_topic_len = self.max_topic_len;
        limits.max_filters_per_packet = self.max_filters_per_packet;
        limits.max_subscriptions = self.max_subscriptions;
        limits.max_wildcard_subscriptions_per_client = self.max_wildcard_subscriptions_per_client;
        limits.max_subscriptions_per_client = self.max_subscriptions_per_client;
        limits.max_sessions = self.max_sessions;
        limits.session_expiry = self.session_expiry.0;
        limits.max_inflight = self.max_inflight;
        limits.max_inflight_bytes = self.max_inflight_bytes.0;
        limits.max_unreleased = self.max_unreleased;
        limits.max_queued_messages = self.max_queued_messages;
        limits.max_queued_bytes = self.max_queued_bytes.0;
        limits.queue_window_bytes = self.queue_window_bytes.0;
        limits.queue_full = self.queue_full;
        limits.queue_qos0_messages = !self.no_queue_qos0;
        limits.max_pending_bytes = self.max_pending_bytes.0;
        limits.retry_interval = self.retry_interval.0;
        limits.delivery_mode = self.delivery_mode;
        limits.shared_strategy = self.shared_strategy;
        limits.max_retained_messages = self.max_retained_messages;
        limits.max_retained_bytes = self.max_retained_bytes.0;
        limits.retained_expiry = self.retained_expiry.0;
        limits
    }
}

fn seconds(secs: Option<u16>) -> Span {
    Span(secs.map(|secs| Duration::from_secs(secs.into())))
}

fn finite(text: &str) -> Result<Span, String> {
    match text.parse()? {
        Span(None) => Err("this time must have an end".to_owned()),
        span => Ok(span),
    }
}

fn not_at_once(text: &str) -> Result<Span, String> {
    match text.parse()? {
        Span(Some(Duration::ZERO)) => Err("a time of nothing at all: say never, or a time".to_owned()),
        span => Ok(span),
    }
}

fn keep_alive(text: &str) -> Result<Span, String> {
    match text.parse()? {
        Span(Some(time)) if !(1..=u64::from(u16::MAX)).contains(&time.as_secs()) => {
            Err("a keep alive is from 1s to 65535s".to_owned())
        }
        span => Ok(span),
    }
}

fn packet_size(text: &str) -> Result<Size, String> {
    match text.parse()? {
        Size(bytes) if !(64..=MAX_PACKET_SIZE).contains(&bytes) => {
            Err(format!("a packet's largest size is from 64B to {MAX_PACKET_SIZE}B"))
        }
        size => Ok(size),
    }
}

fn byte_rate(text: &str) -> Result<NonZeroU64, String> {
    let Size(bytes) = text.parse()?;
    NonZeroU64::new(bytes as u64).ok_or_else(|| "must be at least one byte a second".to_owned())
}

fn at_least_a_byte(text: &str) -> Result<Size, String> {
    match text.parse()? {
        Size(0) => Err("must be at least 1B".to_owned()),
        size => Ok(size),
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(error.to_string()),
    }
}

fn name_of<T: PartialEq>(names: &Names<T>, value: T) -> &'static str {
    names.iter().find(|(_, named)| *named == value).map_or("", |(name, _)| name)
}

fn named<T: Copy + Send + Sync + 'static>(names: &'static Names<T>) -> impl TypedValueParser<Value = T> {
    let value = move |text: String| {
        let found = names.iter().find(|(name, _)| *name == text);
        found.map(|&(_, value)| value).ok_or("not one of them")
    };
    PossibleValuesParser::new(names.iter().map(|(name, _)| *name)).try_map(value)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        limits: LimitArguments,
    }

    fn limits(arguments: &[&str]) -> Result<Limits, clap::Error> {
        Line::try_parse_from([&["gmqtt"], arguments].concat()).map(|line| line.limits.limits())
    }

    #[test]
    fn without_arguments_all_is_as_the_broker_has_it() {
        assert_eq!(format!("{:?}", limits(&[]).unwrap()), format!("{:?}", Limits::default()));
    }

    #[test]
    fn each_argument_sets_its_own_limit() {
        let table = [
            ("--max-connections=1", "max_connections: 1,"),
            ("--max-connections-per-address=2", "max_connections_per_address: Some(2),"),
            ("--max-connections-per-user=3", "max_connections_per_user: Some(3),"),
            ("--max-accept-rate-per-address=4", "max_accept_rate_per_address: Some(4),"),
            ("--ipv6-prefix-len=56", "ipv6_prefix_len: 56,"),
            ("--max-bans=5", "max_bans: 5,"),
            ("--flapping-connects=6", "flapping_connects: Some(6),"),
            ("--flapping-window=7s", "flapping_window: 7s,"),
            ("--flapping-ban=8s", "flapping_ban: 8s,"),
            ("--tcp-keep-alive=9s", "tcp_keep_alive: Some(9s),"),
            ("--max-publish-rate=10", "max_publish_rate: Some(10),"),
            ("--max-publish-byte-rate=11KiB", "max_publish_byte_rate: Some(11264),"),
            ("--publish-rate-policy=disconnect", "publish_rate_policy: Disconnect,"),
            ("--allow-dollar-topics", "allow_dollar_topics: true,"),
            ("--max-topic-len=12", "max_topic_len: 12,"),
            ("--max-filters-per-packet=13", "max_filters_per_packet: 13,"),
            ("--max-subscriptions=14", "max_subscriptions: 14,"),
            ("--max-wildcard-subscriptions-per-client=15", "max_wildcard_subscriptions_per_client: 15,"),
            ("--connect-timeout=2s", "connect_timeout: 2s,"),
            ("--max-packet-size=64KiB", "max_packet_size: 65536,"),
            ("--max-keep-alive=3m", "max_keep_alive_secs: Some(180),"),
            ("--max-topic-levels=4", "max_topic_levels: 4,"),
            ("--max-subscriptions-per-client=5", "max_subscriptions_per_client: 5,"),
            ("--max-sessions=6", "max_sessions: 6,"),
            ("--session-expiry=never", "session_expiry: None,"),
            ("--max-inflight=8", "max_inflight: 8,"),
            ("--max-inflight-bytes=8KiB", "max_inflight_bytes: 8192,"),
            ("--max-unreleased=9", "max_unreleased: 9,"),
            ("--max-queued-messages=10", "max_queued_messages: 10,"),
            ("--max-queued-bytes=11kB", "max_queued_bytes: 11000,"),
            ("--queue-full=disconnect", "queue_full: Disconnect,"),
            ("--no-queue-qos0", "queue_qos0_messages: false,"),
            ("--queue-window-bytes=12KiB", "queue_window_bytes: 12288,"),
            ("--max-pending-bytes=12KiB", "max_pending_bytes: 12288,"),
            ("--retry-interval=20s", "retry_interval: Some(20s),"),
            ("--delivery-mode=overlap", "delivery_mode: Overlap,"),
            ("--shared-strategy=hash-topic", "shared_strategy: HashTopic,"),
            ("--max-retained-messages=13", "max_retained_messages: 13,"),
            ("--max-retained-bytes=14MiB", "max_retained_bytes: 14680064,"),
            ("--retained-expiry=1h", "retained_expiry: Some(3600s),"),
        ];
        for (argument, field) in table {
            let limits = format!("{:?}", limits(&[argument]).unwrap());
            assert!(limits.contains(field), "{argument}: {limits}");
            assert!(
                !format!("{:?}", Limits::default()).contains(field),
                "{argument} is tried with its default"
            );
        }
    }

    #[test]
    fn limits_that_would_stop_all_service_are_refused() {
        let refused = [
            "--max-inflight=0",
            "--max-inflight=65536",
            "--max-inflight-bytes=0B",
            "--max-packet-size=63",
            "--max-packet-size=1GiB",
            "--max-topic-levels=0",
            "--max-keep-alive=0s",
            "--max-keep-alive=19h",
            "--connect-timeout=never",
            "--retry-interval=0s",
            "--tcp-keep-alive=0s",
            "--max-publish-rate=0",
            "--max-publish-byte-rate=0",
            "--max-accept-rate-per-address=0",
            "--max-connections-per-address=0",
            "--ipv6-prefix-len=0",
            "--max-filters-per-packet=0",
            "--queue-full=later",
        ];
        for argument in refused {
            assert!(limits(&[argument]).is_err(), "{argument}");
        }
    }
}
