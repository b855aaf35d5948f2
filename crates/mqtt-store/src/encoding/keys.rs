//! Keys of rows.

use fjall::Slice;
use mqtt_broker::store::{MessageKey, StoreError};
use mqtt_codec::{QoS, TopicFilter};
use xxhash_rust::xxh3::xxh3_128;

use super::{SessionId, Table, Value, damaged};

/// Keys of the engine end at 65,535 bytes; a filter may be that long by itself, with a session before it.
const MAX_FILTER_IN_KEY: usize = 65_000;

pub(crate) fn id_key(id: u64) -> Slice {
    id.to_be_bytes().into()
}

pub(crate) fn entry_key(id: SessionId, key: MessageKey) -> Slice {
    let mut bytes = [0; 16];
    let (session, message) = bytes.split_at_mut(8);
    session.copy_from_slice(&id.to_be_bytes());
    message.copy_from_slice(&key.to_be_bytes());
    bytes.into()
}

/// The key of a row of `Inflight` or `Received`.
pub(crate) fn block_key(id: SessionId, block: u16) -> Slice {
    let mut bytes = [0; 10];
    let (session, packet_ids) = bytes.split_at_mut(8);
    session.copy_from_slice(&id.to_be_bytes());
    packet_ids.copy_from_slice(&block.to_be_bytes());
    bytes.into()
}

pub(crate) fn message_key(epoch: u32, key: MessageKey) -> Slice {
    [&epoch.to_be_bytes()[..], &key.to_be_bytes()].concat().into()
}

/// The session and the filter; of a filter that is too long for a key its beginning and a digest.
pub(crate) fn subscription_key(id: SessionId, filter: &TopicFilter) -> Slice {
    let filter = filter.as_bytes();
    match filter.get(..MAX_FILTER_IN_KEY) {
        Some(beginning) if filter.len() > MAX_FILTER_IN_KEY => {
            [&id.to_be_bytes(), beginning, &xxh3_128(filter).to_be_bytes()].concat().into()
        }
        _ => [&id.to_be_bytes(), filter].concat().into(),
    }
}

/// The session that a key of its tables begins with.
pub(crate) fn session_of(key: &[u8]) -> Option<SessionId> {
    key.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// The message that a key of `Queue` ends with, and the first of a run, which a key of `Runs` or `Gaps` ends with.
pub(crate) fn message_of(key: &[u8]) -> Option<MessageKey> {
    key.last_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// The block of packet identifiers that a key of `Inflight` or `Received` ends with.
pub(crate) fn block_of(key: &[u8]) -> Option<u16> {
    key.last_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

/// The filter of a subscription's row.
pub(crate) fn filter_of(key: &[u8], in_value: Option<TopicFilter>) -> Result<TopicFilter, StoreError> {
    match in_value {
        Some(filter) => Ok(filter),
        None => TopicFilter::new(key.get(8..).unwrap_or_default().to_vec())
            .map_err(|_| damaged(Table::Subscriptions, "has no valid topic filter")),
    }
}

/// What the value of a subscription has to say, given its key.
pub(crate) fn subscription(filter: &TopicFilter, qos: QoS) -> Value {
    let in_value = filter.as_bytes().len() > MAX_FILTER_IN_KEY;
    Value::Subscription { qos, filter: in_value.then(|| filter.clone()) }
}
