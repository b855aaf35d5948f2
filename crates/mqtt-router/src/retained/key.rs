//! Topics as keys: bytes whose plain order is the order of topics level by level.
//!
//! A key is the topic with U+0000 in the place of `/`. No topic can hold U+0000 [MQTT-4.7.3-2], and nothing is less:
//! so `a` stands right before `a/x`, and both before `a-b`, which by its bytes would stand between them.

use mqtt_codec::TopicName;

/// Stands between two levels of a key.
pub(super) const SEPARATOR: u8 = 0;

/// Less than every byte of a topic, greater than [`SEPARATOR`]: put after a topic's key, it is beyond all below it.
pub(super) const PAST_SUBTREE: u8 = 1;

pub(super) fn key_of(topic: &TopicName) -> Vec<u8> {
    swapped(topic.as_bytes(), b'/', SEPARATOR)
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
    bytes.iter().map(|&byte| if byte == from { to } else { byte }).collect()
}
