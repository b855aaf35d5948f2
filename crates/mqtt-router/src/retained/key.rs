//! Topics as keys: bytes whose plain order is the order of topics level by level.
//!
//! A key is the topic with U+0000 in the place of `/`. No topic can hold U+0000 [MQTT-4.7.3-2], and nothing is less:
//! so `a` stands right before `a/x`, and both before `a-b`, which by its bytes would stand between them.

use std::sync::Arc;

use mqtt_codec::TopicName;

/// Stands between two levels of a key.
pub(super) const SEPARATOR: u8 = 0;

/// Less than every byte of a topic, greater than [`SEPARATOR`]: put after a topic's key, it is beyond all below it.
pub(super) const PAST_SUBTREE: u8 = 1;

pub(super) fn key_of(topic: &TopicName) -> Vec<u8> {
    swapped(topic.as_bytes(), b'/', SEPARATOR)
}

/// The same for the bytes of a valid topic name, to be shared.
pub(super) fn shared_key_of(topic: &[u8]) -> Arc<[u8]> {
    topic.iter().map(|&byte| swap(byte, b'/', SEPARATOR)).collect()
}

/// What the keys of all topics begin with that begin with these bytes.
pub(super) fn prefix_of(beginning: &[u8]) -> Vec<u8> {
    swapped(beginning, b'/', SEPARATOR)
}

/// The topic with this key. `None` only for bytes that [`key_of`] never gives.
pub(super) fn topic_of(key: &[u8]) -> Option<TopicName> {
    TopicName::new(swapped(key, SEPARATOR, b'/')).ok()
}

fn swapped(bytes: &[u8], from: u8, to: u8) -> Vec<u8> {
    bytes.iter().map(|&byte| swap(byte, from, to)).collect()
}

fn swap(byte: u8, from: u8, to: u8) -> u8 {
    if byte == from { to } else { byte }
}
