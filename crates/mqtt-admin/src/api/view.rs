//! How clients, sessions and subscriptions look in JSON: the names of 2018, and what is new beside them.

use std::collections::BTreeMap;

use mqtt_broker::{SessionSnapshot, SubscriptionSnapshot};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::counters::dropped;
use crate::{
    admin::Admin,
    clock::NEVER,
    list::{Key, Order, Place},
};

/// A connected client.
#[allow(clippy::struct_field_names, reason = "they are the names of 2018")]
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Client {
    client_id: String,
    username: Option<String>,
    /// Address and port, or what it connects over.
    remote_addr: String,
    clean_session: bool,
    /// In seconds, as it is in force; 0 is off.
    keep_alive: u16,
    connected_at: String,
    #[serde(flatten)]
    load: Load,
}

/// A session, connected or not.
#[allow(clippy::struct_field_names, reason = "they are the names of 2018")]
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Session {
    client_id: String,
    /// `online` or `offline`.
    #[schema(value_type = String)]
    status: &'static str,
    username: Option<String>,
    /// Empty if it is not connected.
    remote_addr: String,
    clean_session: bool,
    /// How many.
    subscriptions: usize,
    max_inflight: u16,
    max_msg_queue: usize,
    /// `0001-01-01T00:00:00Z` if it is not connected.
    connected_at: String,
    /// `0001-01-01T00:00:00Z` if it is connected.
    offline_at: String,
    #[serde(flatten)]
    load: Load,
}

/// What waits for a client, and what it has sent and got.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Load {
    /// QoS 1 and 2 messages sent and not acknowledged.
    inflight_len: usize,
    /// QoS 2 messages received and not released.
    unreleased_len: usize,
    /// Messages that wait.
    msg_queue_len: usize,
    /// Their topics and payloads, in bytes.
    msg_queue_bytes: usize,
    /// Messages dropped since the session began, for whatever reason.
    msg_queue_dropped: u64,
    /// The same by reason.
    dropped: BTreeMap<&'static str, u64>,
    /// The last of them.
    last_drop: Option<LastDrop>,
    /// PUBLISH packets since the session began.
    messages_received: u64,
    messages_sent: u64,
    bytes_received: u64,
    /// Without the answers to its own packets.
    bytes_sent: u64,
}

/// A message that was dropped.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LastDrop {
    reason: &'static str,
    at: Option<String>,
}

/// A subscription.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Subscription {
    pub(super) client_id: String,
    pub(super) qos: u8,
    /// The filter, `$share/group/` included.
    pub(super) name: String,
    /// When it was granted, to the second; the year 1 if that was before the broker's last start.
    pub(super) at: String,
}

/// What sessions and clients are sorted by.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum SortBy {
    #[default]
    ClientId,
    Username,
    ConnectedAt,
    Subscriptions,
    InflightLen,
    MsgQueueLen,
    MsgQueueBytes,
    MsgQueueDropped,
    MessagesReceived,
    MessagesSent,
    BytesReceived,
    BytesSent,
}

impl Client {
    /// `None` if it is not connected.
    pub(super) fn of(admin: &Admin, session: &SessionSnapshot) -> Option<Self> {
        let info = session.client.as_ref()?;
        Some(Self {
            client_id: session.client_id.to_string(),
            username: info.user_name.as_deref().map(str::to_owned),
            remote_addr: info.peer.to_string(),
            clean_session: info.clean_session,
            keep_alive: info.keep_alive_secs,
            connected_at: admin.shared().clock.rfc3339(info.connected_at),
            load: Load::of(admin, session),
        })
    }
}

impl Session {
    pub(super) fn of(admin: &Admin, session: &SessionSnapshot) -> Self {
        let (clock, info) = (admin.shared().clock, session.client.as_ref());
        let limits = admin.broker().limits();
        Self {
            client_id: session.client_id.to_string(),
            status: if info.is_some() { "online" } else { "offline" },
            username: info.and_then(|info| info.user_name.as_deref().map(str::to_owned)),
            remote_addr: info.map(|info| info.peer.to_string()).unwrap_or_default(),
            clean_session: session.clean_session,
            subscriptions: session.subscriptions,
            max_inflight: limits.max_inflight,
            max_msg_queue: limits.max_queued_messages,
            connected_at: info.map_or_else(|| NEVER.into(), |info| clock.rfc3339(info.connected_at)),
            offline_at: session.absent_since.map_or_else(|| NEVER.into(), |at| clock.rfc3339(at)),
            load: Load::of(admin, session),
        }
    }
}

impl Load {
    fn of(admin: &Admin, session: &SessionSnapshot) -> Self {
        Self {
            inflight_len: session.inflight_messages,
            unreleased_len: session.unreleased_messages,
            msg_queue_len: session.queued_messages,
            msg_queue_bytes: session.queued_bytes,
            msg_queue_dropped: session.dropped.iter().sum(),
            dropped: dropped(&session.dropped),
            last_drop: session.last_drop.map(|(reason, at)| LastDrop {
                reason: reason.as_str(),
                at: at.map(|at| admin.shared().clock.rfc3339(at)),
            }),
            messages_received: session.messages_received,
            messages_sent: session.messages_sent,
            bytes_received: session.bytes_received,
            bytes_sent: session.bytes_sent,
        }
    }
}

impl Subscription {
    pub(super) fn of(admin: &Admin, subscription: &SubscriptionSnapshot) -> Self {
        let granted_at = subscription.granted_at.map(|at| admin.shared().clock.rfc3339(at));
        Self {
            client_id: subscription.client_id.to_string(),
            qos: subscription.qos.as_u8(),
            name: subscription.filter.as_str().to_owned(),
            at: granted_at.unwrap_or_else(|| NEVER.into()),
        }
    }
}

impl SortBy {
    /// The most loaded come first, unless the request says otherwise; names and times begin with the least.
    pub(super) fn default_order(self) -> Order {
        match self {
            Self::ClientId | Self::Username | Self::ConnectedAt => Order::Asc,
            _ => Order::Desc,
        }
    }

    /// Where a session stands in a list that is sorted by this.
    pub(super) fn place<'a>(self, admin: &Admin, session: &'a SessionSnapshot) -> Place<'a> {
        let number = |n: usize| Key::Number(n as u64);
        let info = session.client.as_ref();
        let key = match self {
            Self::ClientId => Key::Nothing,
            Self::Username => Key::text(info.and_then(|info| info.user_name.as_deref()).unwrap_or_default()),
            Self::ConnectedAt => {
                Key::Number(info.map_or(0, |info| admin.shared().clock.sort_key(info.connected_at)))
            }
            Self::Subscriptions => number(session.subscriptions),
            Self::InflightLen => number(session.inflight_messages),
            Self::MsgQueueLen => number(session.queued_messages),
            Self::MsgQueueBytes => number(session.queued_bytes),
            Self::MsgQueueDropped => Key::Number(session.dropped.iter().sum()),
            Self::MessagesReceived => Key::Number(session.messages_received),
            Self::MessagesSent => Key::Number(session.messages_sent),
            Self::BytesReceived => Key::Number(session.bytes_received),
            Self::BytesSent => Key::Number(session.bytes_sent),
        };
        Place::new(key, [&session.client_id, ""])
    }
}
