//! Everything that the broker counts, in JSON. Rates are the reader's business: what is counted only grows.

use std::collections::BTreeMap;

use mqtt_broker::{CloseReason, Counts, DropReason, RefusalReason, SessionTotals};
use serde::Serialize;
use utoipa::ToSchema;

/// What was counted since the broker started.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Counters {
    connections_accepted: u64,
    connections_refused: u64,
    /// Connections and CONNECT packets that were not let in, by reason.
    refusals: BTreeMap<&'static str, u64>,
    /// CONNECT packets about which access control was asked, by what came of it.
    authentications: BTreeMap<&'static str, u64>,
    /// CONNECT packets by the outcome: `accepted`, or the refusal in the words of the standard.
    connects: BTreeMap<&'static str, u64>,
    sessions_created: u64,
    sessions_resumed: u64,
    sessions_taken_over: u64,
    sessions_expired: u64,
    /// Topic filters refused because of a limit.
    filters_refused: u64,
    /// Times that a client was not read from, because it had published faster than it may.
    publishers_delayed: u64,
    bytes_received: u64,
    bytes_sent: u64,
    /// By type: `publish`, `puback` and so on.
    packets_received: BTreeMap<&'static str, Packets>,
    packets_sent: BTreeMap<&'static str, Packets>,
    /// PUBLISH packets by QoS: three numbers.
    messages_received: [u64; 3],
    messages_sent: [u64; 3],
    /// Messages handed to a receiver, by the QoS that it gets them with.
    messages_delivered: [u64; 3],
    messages_acknowledged: u64,
    /// By reason.
    messages_dropped: BTreeMap<&'static str, u64>,
    /// Connections that ended, by reason.
    connections_closed: BTreeMap<&'static str, u64>,
    residence: Residence,
}

/// Packets of one type.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(super) struct Packets {
    packets: u64,
    bytes: u64,
}

/// How long messages were in the broker, from the reading of the PUBLISH to the hand-over to the receiver's socket.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Residence {
    /// The upper bounds of the buckets, in seconds; one more bucket has none.
    bounds_seconds: Vec<f64>,
    /// Messages in each bucket, one more than bounds. Not added up.
    counts: Vec<u64>,
    /// All times added up.
    sum_seconds: f64,
}

/// What waits in all sessions together.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Gauges {
    /// Sessions whose client is connected.
    pub(super) connected: usize,
    inflight_messages: usize,
    unreleased_messages: usize,
    queued_messages: usize,
    queued_bytes: usize,
}

/// The names of packet types, by their number in the standard.
pub(crate) const PACKET_TYPES: [&str; 15] = [
    "reserved",
    "connect",
    "connack",
    "publish",
    "puback",
    "pubrec",
    "pubrel",
    "pubcomp",
    "subscribe",
    "suback",
    "unsubscribe",
    "unsuback",
    "pingreq",
    "pingresp",
    "disconnect",
];

/// The outcomes of CONNECT, by the return code of CONNACK.
pub(crate) const CONNECT_OUTCOMES: [&str; 6] = [
    "accepted",
    "unacceptable_protocol_version",
    "identifier_rejected",
    "server_unavailable",
    "bad_user_name_or_password",
    "not_authorized",
];

impl Counters {
    pub(super) fn of(counts: &Counts) -> Self {
        Self {
            connections_accepted: counts.connections_accepted,
            connections_refused: counts.connections_refused,
            refusals: RefusalReason::ALL.iter().map(|reason| reason.as_str()).zip(counts.refused).collect(),
            authentications: Counts::AUTHENTICATIONS.into_iter().zip(counts.authentications).collect(),
            connects: CONNECT_OUTCOMES.into_iter().zip(counts.connacks).collect(),
            sessions_created: counts.sessions_created,
            sessions_resumed: counts.sessions_resumed,
            sessions_taken_over: counts.sessions_taken_over,
            sessions_expired: counts.sessions_expired,
            filters_refused: counts.filters_refused,
            publishers_delayed: counts.publishers_delayed,
            bytes_received: counts.bytes_received,
            bytes_sent: counts.bytes_sent,
            packets_received: packets(&counts.packets_received, &counts.packet_bytes_received),
            packets_sent: packets(&counts.packets_sent, &counts.packet_bytes_sent),
            messages_received: counts.publishes_received,
            messages_sent: counts.publishes_sent,
            messages_delivered: counts.delivered,
            messages_acknowledged: counts.messages_acknowledged,
            messages_dropped: dropped(&counts.dropped),
            connections_closed: CloseReason::NAMES.iter().copied().zip(counts.closed).collect(),
            residence: Residence {
                bounds_seconds: Counts::residence_bounds().map(|bound| bound.as_secs_f64()).collect(),
                counts: counts.residence.to_vec(),
                sum_seconds: seconds(counts.residence_micros),
            },
        }
    }
}

impl From<SessionTotals> for Gauges {
    fn from(totals: SessionTotals) -> Self {
        Self {
            connected: totals.connected,
            inflight_messages: totals.inflight_messages,
            unreleased_messages: totals.unreleased_messages,
            queued_messages: totals.queued_messages,
            queued_bytes: totals.queued_bytes,
        }
    }
}

/// Messages dropped, under the names of the reasons.
pub(super) fn dropped(by_reason: &[u64; DropReason::ALL.len()]) -> BTreeMap<&'static str, u64> {
    DropReason::ALL.iter().map(|reason| reason.as_str()).zip(by_reason.iter().copied()).collect()
}

#[allow(clippy::cast_precision_loss, reason = "exact for three centuries")]
pub(crate) fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

fn packets(packets: &[u64], bytes: &[u64]) -> BTreeMap<&'static str, Packets> {
    let all = packets.iter().zip(bytes).map(|(&packets, &bytes)| Packets { packets, bytes });
    PACKET_TYPES.into_iter().zip(all).skip(1).collect()
}
