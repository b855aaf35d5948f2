//! [`TopicFilter`]: what a client subscribes to. May hold wildcards.

use std::fmt;

use bytes::Bytes;

use super::{MAX_STRING_BYTES, TopicName, is_special, levels};
use crate::string::{has_byte, text};

/// A topic filter: 1 to 65,535 bytes of UTF-8 without U+0000, in which `+` fills a whole level and `#` the last one.
///
/// Cheap to clone; a filter decoded from a packet is a slice of that packet's bytes.
///
/// ```
/// use mqtt_codec::{FilterError, TopicFilter, TopicName};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let filter = TopicFilter::try_from("room/+/light")?;
/// assert!(filter.matches(&TopicName::try_from("room/12/light")?));
/// assert!(!filter.matches(&TopicName::try_from("room/12/door")?));
/// assert_eq!(TopicFilter::try_from("room/#/light"), Err(FilterError::MisplacedHash));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter(Bytes);

/// Why bytes are no topic filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterError {
    /// Zero-length filters are not allowed [MQTT-4.7.3-1].
    Empty,
    /// Longer than 65,535 bytes [MQTT-4.7.3-3].
    TooLong,
    /// Not well-formed UTF-8 [MQTT-3.8.3-1].
    NotUtf8,
    /// U+0000 is in it [MQTT-4.7.3-2].
    Nul,
    /// `#` stands beside another character or before the last level [MQTT-4.7.1-2].
    MisplacedHash,
    /// `+` stands beside another character in its level [MQTT-4.7.1-3].
    MisplacedPlus,
}

impl TopicFilter {
    /// Checks `bytes` and takes them as a topic filter, without a copy.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, FilterError> {
        let bytes = bytes.into();
        Self::check(&bytes)?;
        Ok(Self(bytes))
    }

    /// Whether `bytes` may stand as a topic filter: the check of [`TopicFilter::new`] for bytes that stay where they are.
    pub fn check(bytes: &[u8]) -> Result<&str, FilterError> {
        if bytes.is_empty() {
            return Err(FilterError::Empty); // [MQTT-4.7.3-1]
        }
        if bytes.len() > MAX_STRING_BYTES {
            return Err(FilterError::TooLong); // [MQTT-4.7.3-3]
        }
        let text = text(bytes).ok_or(FilterError::NotUtf8)?; // [MQTT-3.8.3-1]
        if has_byte(bytes, is_special) {
            check_wildcards(bytes)?;
        }
        Ok(text)
    }

    /// The filter as text.
    pub fn as_str(&self) -> &str {
        // Checked when it was made. The check is repeated because this crate forbids `unsafe`; hot paths use `as_bytes`.
        text(&self.0).unwrap_or_default()
    }

    /// The filter as its UTF-8 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The shared bytes behind the filter.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// The same filter with bytes of its own: to be kept without the packet that it was decoded from.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }

    /// Whether `+` or `#` is in it; a filter without one matches exactly the topic of the same bytes.
    pub fn has_wildcard(&self) -> bool {
        self.0.iter().any(|&byte| byte == b'+' || byte == b'#')
    }

    /// Whether a message published to `topic` belongs to this filter (sections 4.7.1 and 4.7.2).
    ///
    /// The plain reading of the standard, one level at a time: the oracle that faster matchers are tested against.
    pub fn matches(&self, topic: &TopicName) -> bool {
        let (filter, topic) = (self.as_str(), topic.as_str());
        // [MQTT-4.7.2-1]
        if topic.starts_with('$') && (filter.starts_with('+') || filter.starts_with('#')) {
            return false;
        }
        let (mut filter_levels, mut topic_levels) = (levels(filter), levels(topic));
        loop {
            match (filter_levels.next(), topic_levels.next()) {
                (Some("#"), _) | (None, None) => return true, // `a/#` matches `a` too: 4.7.1.2
                (Some("+"), Some(_)) => {}
                (Some(wanted), Some(level)) if wanted == level => {} // [MQTT-4.7.3-4]
                _ => return false,
            }
        }
    }
}

/// Judges each wildcard by the bytes beside it.
fn check_wildcards(bytes: &[u8]) -> Result<(), FilterError> {
    let ends_level = |byte: Option<&u8>| byte.is_none_or(|&byte| byte == b'/');
    for (index, &byte) in bytes.iter().enumerate().filter(|&(_, &byte)| is_special(byte)) {
        let stands_first = ends_level(index.checked_sub(1).and_then(|before| bytes.get(before)));
        let after = bytes.get(index + 1);
        match byte {
            b'#' if stands_first && after.is_none() => {}
            b'#' => return Err(FilterError::MisplacedHash), // [MQTT-4.7.1-2]
            b'+' if stands_first && ends_level(after) => {}
            b'+' => return Err(FilterError::MisplacedPlus), // [MQTT-4.7.1-3]
            _ => return Err(FilterError::Nul),              // [MQTT-4.7.3-2]
        }
    }
    Ok(())
}

impl TryFrom<&str> for TopicFilter {
    type Error = FilterError;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        Self::check(text.as_bytes())?;
        Ok(Self(Bytes::copy_from_slice(text.as_bytes())))
    }
}

impl From<TopicName> for TopicFilter {
    /// Every topic name is the filter that matches it alone.
    fn from(name: TopicName) -> Self {
        Self(name.into_bytes())
    }
}

impl fmt::Debug for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a topic filter must have at least one character",
            Self::TooLong => "a topic filter must not be longer than 65,535 bytes",
            Self::NotUtf8 => "a topic filter must be UTF-8",
            Self::Nul => "a topic filter must not contain U+0000",
            Self::MisplacedHash => "`#` must be the last level of a topic filter, alone in it",
            Self::MisplacedPlus => "`+` must stand alone in its level of a topic filter",
        })
    }
}

impl std::error::Error for FilterError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// [MQTT-4.7.1-2] [MQTT-4.7.1-3] [MQTT-4.7.3-1] [MQTT-4.7.3-2] [MQTT-4.7.3-3] [MQTT-3.8.3-1]
    #[test]
    fn accepts_and_refuses() {
        for good in ["#", "+", "a", "/", "a/#", "+/#", "/+", "+/+", "a/+/b", "$SYS/#", "//", "$share/g/#"] {
            assert_eq!(TopicFilter::try_from(good).unwrap().as_str(), good);
        }
        let refused: [(&[u8], FilterError); 9] = [
            (b"", FilterError::Empty),
            (b"a\0", FilterError::Nul),
            (b"\xc0\x80", FilterError::NotUtf8),
            (b"a#", FilterError::MisplacedHash),
            (b"#/a", FilterError::MisplacedHash),
            (b"a/#/b", FilterError::MisplacedHash),
            (b"a+", FilterError::MisplacedPlus),
            (b"a/+b/c", FilterError::MisplacedPlus),
            (b"++", FilterError::MisplacedPlus),
        ];
        for (bytes, error) in refused {
            assert_eq!(TopicFilter::new(bytes.to_vec()), Err(error), "{bytes:?}");
        }
        assert_eq!(TopicFilter::new(vec![b'a'; 65_536]), Err(FilterError::TooLong));
    }

    /// The examples of sections 4.7.1 to 4.7.3. [MQTT-4.7.2-1] [MQTT-4.7.3-4]
    #[test]
    fn matches_as_the_standard_says() {
        let table = [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
            ("sport/#", "sport", true),
            ("#", "a/b/c", true),
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/x", false),
            ("+/monitor/Clients", "$SYS/monitor/Clients", false),
            ("$SYS/#", "$SYS/x", true),
            ("$SYS/#", "$SYS", true),
            ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
            ("a", "A", false),
            ("a", "a/", false),
            ("/a", "a", false),
            ("a//b", "a/b", false),
            ("a/+/b", "a//b", true),
        ];
        for (filter, topic, expected) in table {
            let (f, t) = (TopicFilter::try_from(filter).unwrap(), TopicName::try_from(topic).unwrap());
            assert_eq!(f.matches(&t), expected, "{filter} against {topic}");
        }
    }
}
