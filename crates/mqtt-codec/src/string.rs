//! [`Utf8Bytes`]: a string as MQTT spells it (section 1.5.3), on shared bytes.
//!
//! Topic names and filters are stricter and have types of their own in [`crate::topic`].

use std::{fmt, str};

use ascii::AsciiStr;
use bytes::Bytes;

use crate::topic::MAX_STRING_BYTES;

/// Up to 65,535 bytes of UTF-8 without U+0000.
///
/// Cheap to clone; a string decoded from a packet is a slice of that packet's bytes. The control characters U+0001 to
/// U+001F and U+007F to U+009F and the non-characters are taken: the standard allows a receiver to close on them, and
/// asks nobody to. U+FEFF stays where it stands [MQTT-1.5.3-3].
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Utf8Bytes(Bytes);

/// Why bytes are no MQTT string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StringError {
    /// Longer than 65,535 bytes.
    TooLong,
    /// Not well-formed UTF-8; surrogates are not [MQTT-1.5.3-1].
    NotUtf8,
    /// U+0000 is in it [MQTT-1.5.3-2].
    Nul,
}

impl Utf8Bytes {
    /// Checks `bytes` and takes them as a string, without a copy.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, StringError> {
        let bytes = bytes.into();
        check(&bytes)?;
        Ok(Self(bytes))
    }

    /// The string as text.
    pub fn as_str(&self) -> &str {
        // Checked when it was made. The check is repeated because this crate forbids `unsafe`.
        text(&self.0).unwrap_or_default()
    }

    /// The string as its UTF-8 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The shared bytes behind the string.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// Whether there is not one character in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// `bytes` as text if they are well-formed UTF-8 [MQTT-1.5.3-1]; nothing is skipped or stripped [MQTT-1.5.3-3].
#[inline]
pub(crate) fn text(bytes: &[u8]) -> Option<&str> {
    // Most strings are short ASCII, for which `from_utf8` takes several times as long.
    match AsciiStr::from_ascii(bytes) {
        Ok(text) => Some(text.as_str()),
        Err(_) => str::from_utf8(bytes).ok(),
    }
}

/// Whether a byte that `is_wanted` is among `bytes`. Sixteen at a time, since every PUBLISH passes here.
#[inline]
pub(crate) fn has_byte(bytes: &[u8], is_wanted: impl Fn(u8) -> bool) -> bool {
    // No early end within sixteen: that is what lets the compiler judge them all at once.
    let in_block = |block: &[u8; 16]| block.iter().fold(false, |found, &byte| found | is_wanted(byte));
    let (blocks, rest) = bytes.as_chunks();
    match bytes.last_chunk() {
        // The last sixteen cover what is left over.
        Some(last) => blocks.iter().any(in_block) || in_block(last),
        None => rest.iter().any(|&byte| is_wanted(byte)),
    }
}

fn check(bytes: &[u8]) -> Result<(), StringError> {
    if bytes.len() > MAX_STRING_BYTES {
        return Err(StringError::TooLong);
    }
    if text(bytes).is_none() {
        return Err(StringError::NotUtf8); // [MQTT-1.5.3-1]
    }
    if has_byte(bytes, |byte| byte == 0) {
        return Err(StringError::Nul); // [MQTT-1.5.3-2]
    }
    Ok(())
}

impl TryFrom<&str> for Utf8Bytes {
    type Error = StringError;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        check(text.as_bytes())?;
        Ok(Self(Bytes::copy_from_slice(text.as_bytes())))
    }
}

impl fmt::Debug for Utf8Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Utf8Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for StringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "a string must not be longer than 65,535 bytes",
            Self::NotUtf8 => "a string must be UTF-8",
            Self::Nul => "a string must not contain U+0000",
        })
    }
}

impl std::error::Error for StringError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// [MQTT-1.5.3-1] [MQTT-1.5.3-2] [MQTT-1.5.3-3]
    #[test]
    fn accepts_and_refuses() {
        for good in ["", "a", "\u{1}\u{1f}\u{7f}\u{9f}", "\u{feff}a", "\u{ffff}", "ä漢🦀"] {
            assert_eq!(Utf8Bytes::try_from(good).unwrap().as_bytes(), good.as_bytes());
        }
        assert!(Utf8Bytes::new(vec![b'a'; 65_535]).is_ok());
        for (bad, error) in [
            (vec![b'a'; 65_536], StringError::TooLong),
            (b"a\0".to_vec(), StringError::Nul),
            (b"\xed\xa0\x80".to_vec(), StringError::NotUtf8),
            (b"\xc0\x80".to_vec(), StringError::NotUtf8),
            (b"\xf4\x90\x80\x80".to_vec(), StringError::NotUtf8),
        ] {
            assert_eq!(Utf8Bytes::new(bad), Err(error));
        }
    }
}
