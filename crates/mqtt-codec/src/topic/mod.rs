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

/// Whether `bytes` have a length that a name or filter may have, and neither U+0000 nor a wildcard in them. Sixteen bytes
/// at a time, since every PUBLISH passes here.
#[inline]
fn is_plain(bytes: &[u8]) -> bool {
    let (blocks, rest) = bytes.as_chunks();
    match bytes.last_chunk() {
        // The last sixteen bytes cover what is left over.
        Some(last) => {
            !blocks.iter().any(has_special) && !has_special(last) && bytes.len() <= MAX_STRING_BYTES
        }
        None => !rest.is_empty() && !rest.iter().any(|&byte| is_special(byte)),
    }
}

#[inline]
fn has_special(block: &[u8; 16]) -> bool {
    // No early end: that is what lets the compiler judge all sixteen at once.
    block.iter().fold(false, |found, &byte| found | is_special(byte))
}

const fn is_special(byte: u8) -> bool {
    // `+` and `#` differ in one bit: with it masked out there is one value to look for.
    byte == 0 || byte & !(b'+' ^ b'#') == b'+' & b'#'
}
