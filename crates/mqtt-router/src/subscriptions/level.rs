//! [`Level`]: the text of one level of a filter, in two words.

/// A short text lies inline: no allocation, and no look at another place in memory to compare it. `+` is the shortest.
pub(super) enum Level {
    Short { len: u8, bytes: [u8; SHORT] },
    Long(Box<[u8]>),
}

/// What fits beside the pointer of a long one.
const SHORT: usize = 7;

impl Level {
    pub(super) fn new(text: &[u8]) -> Self {
        let mut bytes = [0; SHORT];
        match bytes.get_mut(..text.len()) {
            Some(front) => {
                front.copy_from_slice(text);
                Self::Short { len: text.len() as u8, bytes }
            }
            None => Self::Long(text.into()),
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Self::Long(text) => text,
        }
    }

    pub(super) fn is(&self, text: &[u8]) -> bool {
        self.as_bytes() == text
    }
}

impl Default for Level {
    fn default() -> Self {
        Self::Short { len: 0, bytes: [0; SHORT] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_any_text_in_two_words() {
        assert_eq!(size_of::<Level>(), 16);
        for len in 0..20 {
            let text = vec![b'x'; len];
            let level = Level::new(&text);
            assert!(level.is(&text) && !level.is(b"y") && !level.is(&vec![b'x'; len + 1]));
            assert_eq!(matches!(level, Level::Long(_)), len > SHORT);
        }
    }
}
