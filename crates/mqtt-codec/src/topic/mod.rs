//! Topic names and topic filters (section 4.7): two types, because only one of them may hold wildcards.

mod filter;
mod name;

pub use filter::{FilterError, TopicFilter};
pub use name::{TopicName, TopicNameError};

/// The longest string MQTT can spell, in bytes [MQTT-4.7.3-3].
pub const MAX_STRING_BYTES: usize = 65_535;

/// Splits a topic name or filter at `/`. Empty levels are levels: `/a//b` has four.
pub fn levels(topic: &str) -> impl Iterator<Item = &str> {
    topic.split('/')
}

/// Whether this byte alone may keep text from being a topic name: U+0000, `+`, `#`.
const fn is_special(byte: u8) -> bool {
    // `+` and `#` differ in one bit: with it masked out there is one value to look for.
    byte == 0 || byte & !(b'+' ^ b'#') == b'+' & b'#'
}
