//! [`FilterScan`]: a walk over ordered keys that knows, at a key that does not match, where the next match may be.
//!
//! With the filter `a/+/c`, at `a/x/d` the next may be `a/y/c`; at `a/y` it is `a/y/c`; at `b` there is none any more.
//! All that lies between is leapt over, however much that is.

use mqtt_codec::TopicFilter;

use super::key::{PAST_SUBTREE, SEPARATOR};

/// A filter taken apart for the walk.
pub(super) struct FilterScan<'a> {
    levels: Vec<Level<'a>>,
    /// Whether `#` follows the levels.
    ends_with_hash: bool,
}

#[derive(Clone, Copy)]
enum Level<'a> {
    Literal(&'a [u8]),
    Plus,
}

/// What a key is to the filter.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Match,
    /// No match; and none before this key, which is greater than the judged one.
    SeekTo(Vec<u8>),
    /// No match, nor any after it.
    NoMore,
}

impl<'a> FilterScan<'a> {
    pub(super) fn new(filter: &'a TopicFilter) -> Self {
        let mut levels: Vec<Level<'a>> = filter
            .as_bytes()
            .split(|&byte| byte == b'/')
            .map(|level| if level == b"+" { Level::Plus } else { Level::Literal(level) })
            .collect();
        let ends_with_hash = levels.pop_if(|last| matches!(last, Level::Literal(b"#"))).is_some();
        Self { levels, ends_with_hash }
    }

    /// The least key that may match.
    pub(super) fn first(&self) -> Vec<u8> {
        self.least(Vec::new(), 0)
    }

    pub(super) fn judge(&self, key: &[u8]) -> Verdict {
        if key.starts_with(b"$") && !matches!(self.levels.first(), Some(Level::Literal(_))) {
            return Verdict::SeekTo(vec![b'$' + 1]); // [MQTT-4.7.2-1]
        }
        let mut level_start = 0;
        let mut last_plus_end = None;
        for (index, level) in self.levels.iter().enumerate() {
            let Some(rest) = key.get(level_start..) else {
                return Verdict::SeekTo(self.least(key.to_vec(), index)); // the topic ends first: look below it
            };
            let topic_level = rest.split(|&byte| byte == SEPARATOR).next().unwrap_or_default();
            match level {
                Level::Plus => last_plus_end = Some(level_start + topic_level.len()),
                Level::Literal(wanted) if topic_level == *wanted => {}
                Level::Literal(wanted) if topic_level < *wanted => {
                    let parent = key.get(..level_start.saturating_sub(1)).unwrap_or_default();
                    return Verdict::SeekTo(self.least(parent.to_vec(), index));
                }
                Level::Literal(_) => return beyond(key, last_plus_end),
            }
            level_start += topic_level.len() + 1;
        }
        let has_more_levels = level_start <= key.len();
        if has_more_levels && !self.ends_with_hash { beyond(key, last_plus_end) } else { Verdict::Match }
    }

    /// The least key that may match among those that begin with `key`, which has the levels before `index`.
    fn least(&self, mut key: Vec<u8>, index: usize) -> Vec<u8> {
        for (index, level) in self.levels.iter().enumerate().skip(index) {
            if index > 0 {
                key.push(SEPARATOR);
            }
            // For `+` the least is the empty level.
            if let Level::Literal(wanted) = level {
                key.extend_from_slice(wanted);
            }
        }
        key
    }
}

/// Nothing more matches with these levels: on to the next level that the last `+` may stand for.
fn beyond(key: &[u8], last_plus_end: Option<usize>) -> Verdict {
    match last_plus_end.and_then(|end| key.get(..end)) {
        Some(head) => Verdict::SeekTo([head, &[PAST_SUBTREE]].concat()),
        None => Verdict::NoMore,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaps_to_where_the_next_match_may_be() {
        let verdict = |filter: &str, topic: &str| {
            let filter = TopicFilter::try_from(filter).unwrap();
            FilterScan::new(&filter).judge(topic.replace('/', "\0").as_bytes())
        };
        let seek = |key: &str| Verdict::SeekTo(key.as_bytes().to_vec());
        assert_eq!(verdict("a/+/c", "a/x/c"), Verdict::Match);
        assert_eq!(verdict("a/+/c", "a/x/b/z"), seek("a\0x\0c"));
        assert_eq!(verdict("a/+/c", "a/x/d"), seek("a\0x\u{1}"));
        assert_eq!(verdict("a/+/c", "a/x/c/d"), seek("a\0x\u{1}"));
        assert_eq!(verdict("a/+/c", "a/x"), seek("a\0x\0c"));
        assert_eq!(verdict("a/+/c", "a"), seek("a\0\0c"));
        assert_eq!(verdict("a/+/c", "b"), Verdict::NoMore);
        assert_eq!(verdict("a/b", "a/b/c"), Verdict::NoMore);
        assert_eq!(verdict("b/#", "a/x"), seek("b"));
        assert_eq!(verdict("b/#", "b"), Verdict::Match);
        assert_eq!(verdict("+/c", "$SYS/c"), seek("%"));
        assert_eq!(verdict("#", "$SYS/c"), seek("%"));
        assert_eq!(verdict("$SYS/#", "$SYS/c"), Verdict::Match);
    }
}
