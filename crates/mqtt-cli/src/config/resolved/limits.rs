//! From `[limits]` to the broker's [`Limits`].

use std::num::NonZeroUsize;

use mqtt_broker::Limits;

use crate::config::{mistake::Mistakes, raw::LimitKeys};

/// [MQTT-3.1.3-5].
const SHORTEST_MOST_OF_CLIENT_ID: usize = 23;

pub(super) fn resolve(keys: &LimitKeys, mistakes: &mut Mistakes) -> Limits {
    let mut limits = Limits::default();
    limits.max_connections = keys.max_connections.value;
    limits.max_connections_per_listener = keys.max_connections_per_listener.value.map(NonZeroUsize::get);
    limits.max_connections_per_address = keys.max_connections_per_address.value.map(NonZeroUsize::get);
    limits.max_connections_per_user = keys.max_connections_per_user.value.map(NonZeroUsize::get);
    limits.max_accept_rate_per_address = keys.max_accept_rate_per_address.value;
    limits.ipv6_prefix_len = keys.ipv6_prefix_len.value.0;
    limits.max_bans = keys.max_bans.value;
    limits.flapping_connects = keys.flapping_connects.value;
    limits.flapping_window = keys.flapping_window.value.0;
    limits.flapping_ban = keys.flapping_ban.value.0;
    limits.connect_timeout = keys.connect_timeout.value.0;
    limits.max_packet_size = keys.max_packet_size.value.0;
    limits.max_connect_packet_size = keys.max_connect_packet_size.value.0;
    limits.max_client_id_len = keys.max_client_id_len.value.get();
    limits.max_user_name_len = keys.max_user_name_len.value.get();
    limits.max_keep_alive_secs = keys.max_keep_alive.value.0;
    limits.tcp_keep_alive = keys.tcp_keep_alive.value.0;
    limits.max_publish_rate = keys.max_publish_rate.value;
    limits.max_publish_byte_rate = keys.max_publish_byte_rate.value.map(|rate| rate.0);
    limits.publish_rate_policy = keys.publish_rate_policy.value;
    limits.allow_dollar_topics = keys.allow_dollar_topics.value;
    limits.max_topic_len = keys.max_topic_len.value.get();
    limits.max_filters_per_packet = keys.max_filters_per_packet.value.get();
    limits.max_subscriptions = keys.max_subscriptions.value;
    limits.max_wildcard_subscriptions_per_client = keys.max_wildcard_subscriptions_per_client.value;
    limits.max_shared_subscriptions_per_client = keys.max_shared_subscriptions_per_client.value;
    limits.max_topic_levels = keys.max_topic_levels.value.get();
    limits.max_subscriptions_per_client = keys.max_subscriptions_per_client.value;
    limits.max_subscription_bytes_per_client = keys.max_subscription_bytes_per_client.value.0;
    limits.max_sessions = keys.max_sessions.value;
    limits.session_expiry = keys.session_expiry.value.0;
    limits.max_inflight = keys.max_inflight.value.get();
    limits.max_inflight_bytes = keys.max_inflight_bytes.value.0;
    limits.queue_window_bytes = keys.queue_window_bytes.value.0;
    limits.max_unreleased = keys.max_unreleased.value.get();
    limits.max_queued_messages = keys.max_queued_messages.value;
    limits.max_queued_bytes = keys.max_queued_bytes.value.0;
    limits.queue_full = keys.queue_full.value;
    limits.queue_qos0_messages = keys.queue_qos0_messages.value;
    limits.max_pending_bytes = keys.max_pending_bytes.value.0;
    limits.retry_interval = keys.retry_interval.value.0;
    limits.delivery_mode = keys.delivery_mode.value;
    limits.shared_strategy = keys.shared_strategy.value;
    limits.max_retained_messages = keys.max_retained_messages.value;
    limits.max_retained_bytes = keys.max_retained_bytes.value.0;
    limits.retained_expiry = keys.retained_expiry.value.0;
    limits.sys_interval = keys.sys_interval.value.0;
    limits.hook_timeout = keys.hook_timeout.value.0;
    if limits.max_client_id_len < SHORTEST_MOST_OF_CLIENT_ID {
        let what = "`max_client_id_len` is less than 23: so many bytes have to be allowed";
        mistakes.add(&keys.max_client_id_len.origin, what);
    }
    if limits.max_connect_packet_size > limits.max_packet_size {
        if keys.max_connect_packet_size.is_given() {
            let what =
                "`max_connect_packet_size` is larger than max_packet_size: a CONNECT is a packet like others";
            mistakes.add(&keys.max_connect_packet_size.origin, what);
        }
        limits.max_connect_packet_size = limits.max_packet_size;
    }
    limits
}
