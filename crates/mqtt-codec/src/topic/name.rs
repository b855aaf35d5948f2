//! [`TopicName`]: where a message is published. No wildcards.

use std::{fmt, str};

use ascii::AsciiStr;
use bytes::Bytes;

use super::{MAX_STRING_BYTES, is_special};
use crate::string::{has_byte, text};

/// A topic name: 1 to 65,535 bytes of UTF-8 without U+0000 and without `+` or `#`.
///
/// Cheap to clone; a name decoded from a packet is a slice of that packet's bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Bytes);

/// Why bytes are no topic name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicNameError {
    /// Zero-length names are not allowed [MQTT-4.7.3-1].
    Empty,
    /// Longer than 65,535 bytes [MQTT-4.7.3-3].
    TooLong,
    /// Not well-formed UTF-8 [MQTT-3.3.2-1].
    NotUtf8,
    /// U+0000 is in it [MQTT-4.7.3-2].
    Nul,
    /// `+` or `#` is in it [MQTT-3.3.2-2].
    Wildcard,
}

impl TopicName {
    /// Checks `bytes` and takes them as a topic name, without a copy.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, TopicNameError> {
        let bytes = bytes.into();
        Self::check(&bytes)?;
        Ok(Self(bytes))
    }

    /// Takes bytes that [`TopicName::check`] has accepted.
    pub(crate) fn from_checked(bytes: Bytes) -> Self {
        debug_assert!(Self::check(&bytes).is_ok());
        Self(bytes)
    }

    /// Whether `bytes` may stand as a topic name: the check of [`TopicName::new`] for bytes that stay where they are.
    #[inline]
    pub fn check(bytes: &[u8]) -> Result<&str, TopicNameError> {
        match AsciiStr::from_ascii(bytes) {
            Ok(text) if (1..=MAX_STRING_BYTES).contains(&bytes.len()) && !has_byte(bytes, is_special) => {
                Ok(text.as_str())
            }
            _ => Self::check_beyond_ascii(bytes),
        }
    }

    /// The whole check, out of the way of the names that most messages have.
    #[cold]
    fn check_beyond_ascii(bytes: &[u8]) -> Result<&str, TopicNameError> {
        if bytes.is_empty() {
            return Err(TopicNameError::Empty); // [MQTT-4.7.3-1]
        }
        if bytes.len() > MAX_STRING_BYTES {
            return Err(TopicNameError::TooLong); // [MQTT-4.7.3-3]
        }
        let text = str::from_utf8(bytes).map_err(|_| TopicNameError::NotUtf8)?; // [MQTT-3.3.2-1]
        if bytes.contains(&0) {
            return Err(TopicNameError::Nul); // [MQTT-4.7.3-2]
        }
        if has_byte(bytes, is_special) {
            return Err(TopicNameError::Wildcard); // [MQTT-4.7.1-1] [MQTT-3.3.2-2]
        }
        Ok(text)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        // Checked when it was made. The check is repeated because this crate forbids `unsafe`; hot paths use `as_bytes`.
        text(&self.0).unwrap_or_default()
    }

    /// The name as its UTF-8 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The shared bytes behind the name.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl TryFrom<&str> for TopicName {
    type Error = TopicNameError;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        Self::check(text.as_bytes())?;
        Ok(Self(Bytes::copy_from_slice(text.as_bytes())))
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for TopicNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a topic name must have at least one character",
            Self::TooLong => "a topic name must not be longer than 65,535 bytes",
            Self::NotUtf8 => "a topic name must be UTF-8",
            Self::Nul => "a topic name must not contain U+0000",
            Self::Wildcard => "a topic name must not contain the wildcards `+` and `#`",
        })
    }
}

impl std::error::Error for TopicNameError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// [MQTT-3.3.2-1] [MQTT-3.3.2-2] [MQTT-4.7.3-1] [MQTT-4.7.3-2] [MQTT-4.7.3-3] [MQTT-4.7.1-1]
    #[test]
    fn accepts_and_refuses() {
        for good in ["a", "/", "//", "a/b", " ", "$SYS/x", "\u{feff}", "ä/漢/🦀"] {
            assert_eq!(TopicName::try_from(good).unwrap().as_str(), good);
        }
        assert!(TopicName::new(vec![b'a'; 65_535]).is_ok());
        let refused: [(&[u8], TopicNameError); 6] = [
            (b"", TopicNameError::Empty),
            (b"a\0b", TopicNameError::Nul),
            (b"a/+", TopicNameError::Wildcard),
            (b"a#", TopicNameError::Wildcard),
            (b"\xff", TopicNameError::NotUtf8),
            (b"\xed\xa0\x80", TopicNameError::NotUtf8),
        ];
        for (bytes, error) in refused {
            assert_eq!(TopicName::new(bytes.to_vec()), Err(error), "{bytes:?}");
        }
        assert_eq!(TopicName::new(vec![b'a'; 65_536]), Err(TopicNameError::TooLong));
    }
}
