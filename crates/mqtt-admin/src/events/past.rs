//! [`Row`]: what happened to one client, in as many bytes as it takes to say it: ten thousand clients have a row each.
//!
//! An event is a time, a number for what happened, and what cannot be said by that number; [`Past`] is the same for people.

use std::{
    iter, mem,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mqtt_broker::QoS;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::clock::rfc3339;

/// Events, oldest first, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Row(Box<[u8]>);

/// Something that happened.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Past {
    #[serde(serialize_with = "as_rfc3339")]
    #[schema(value_type = String)]
    at: SystemTime,
    /// `connected`, `disconnected`, `subscribed` and so on.
    #[schema(value_type = String)]
    event: &'static str,
    /// From where, why, or to what.
    detail: String,
}

macro_rules! what {
    ($($name:ident = $code:literal: $event:literal, $before:literal, $after:literal;)+) => {
        /// What can happen, and the words that are the same each time: the event, and what stands before and after the text.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum What {
            $($name = $code,)+
        }

        impl What {
            fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)+
                    _ => None,
                }
            }

            fn words(self) -> (&'static str, &'static str, &'static str) {
                match self {
                    $(Self::$name => ($event, $before, $after),)+
                }
            }
        }
    };
}

what! {
    ConnectedAnew = 0: "connected", "from ", ", with a new session";
    ConnectedAgain = 1: "connected", "from ", ", resuming its session";
    Disconnected = 2: "disconnected", "from ", "";
    TakenOver = 3: "taken_over", "by a newer connection", "";
    SessionEnded = 4: "session_ended", "", "";
    Subscribed0 = 5: "subscribed", "", " with QoS 0";
    Subscribed1 = 6: "subscribed", "", " with QoS 1";
    Subscribed2 = 7: "subscribed", "", " with QoS 2";
    Unsubscribed = 8: "unsubscribed", "", "";
    Decided = 9: "decided", "", "";
}

const EVENTS_A_CLIENT: usize = 32;
/// Of these; anybody can have one more made.
const DECISIONS_A_CLIENT: usize = 8;
/// A topic filter may have 64 KiB.
const LONGEST_TEXT: usize = 256;
/// What stands before the text: microseconds since 1970, what it is, and the length of the text.
const HEAD: usize = 11;

impl What {
    pub(super) fn subscribed(granted: QoS) -> Self {
        match granted {
            QoS::AtMostOnce => Self::Subscribed0,
            QoS::AtLeastOnce => Self::Subscribed1,
            QoS::ExactlyOnce => Self::Subscribed2,
        }
    }
}

impl Row {
    /// Appends what happens now. If there are too many, the oldest goes: of a kind that there are too many of, or of all.
    pub(super) fn push(&mut self, what: What, text: &str) {
        let (text, cut_off) = text.split_at(text.floor_char_boundary(LONGEST_TEXT));
        let end = if cut_off.is_empty() { "" } else { "…" };
        let kept = mem::take(&mut self.0);
        let (before, after) = match one_to_go(&kept, what) {
            Some((start, end)) => (kept.get(..start), kept.get(end..)),
            None => (Some(&*kept), None),
        };
        let len = text.len() + end.len();
        let mut row = Vec::with_capacity(kept.len() + HEAD + len);
        row.extend(before.unwrap_or_default());
        row.extend(after.unwrap_or_default());
        let micros = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64;
        row.extend(micros.to_le_bytes());
        row.push(what as u8);
        row.extend((len as u16).to_le_bytes());
        row.extend(text.as_bytes());
        row.extend(end.as_bytes());
        self.0 = row.into();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Past> {
        entries(&self.0).map(|entry| {
            let (event, before, after) = entry.what.words();
            let detail = format!("{before}{}{after}", String::from_utf8_lossy(entry.text));
            Past { at: UNIX_EPOCH + Duration::from_micros(entry.micros), event, detail }
        })
    }
}

#[cfg(test)]
impl Past {
    pub(super) fn event(&self) -> &'static str {
        self.event
    }

    pub(super) fn detail(&self) -> &str {
        &self.detail
    }
}

/// One event of a row.
struct Entry<'a> {
    micros: u64,
    what: What,
    text: &'a [u8],
}

/// From where to where the event is that makes room for one of this kind, if any has to.
fn one_to_go(row: &[u8], what: What) -> Option<(usize, usize)> {
    let is_decision = |entry: &Entry<'_>| entry.what == What::Decided;
    let decisions = what == What::Decided && entries(row).filter(is_decision).count() >= DECISIONS_A_CLIENT;
    if !decisions && entries(row).count() < EVENTS_A_CLIENT {
        return None;
    }
    let mut start = 0;
    for entry in entries(row) {
        let end = start + HEAD + entry.text.len();
        if !decisions || is_decision(&entry) {
            return Some((start, end));
        }
        start = end;
    }
    None
}

fn entries(mut row: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    iter::from_fn(move || {
        let (entry, rest) = split_entry(row)?;
        row = rest;
        Some(entry)
    })
}

fn split_entry(row: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let (micros, rest) = row.split_first_chunk()?;
    let ([what, len @ ..], rest) = rest.split_first_chunk::<3>()?;
    let (text, rest) = rest.split_at_checked(u16::from_le_bytes(*len).into())?;
    let entry = Entry { micros: u64::from_le_bytes(*micros), what: What::from_code(*what)?, text };
    Some((entry, rest))
}

fn as_rfc3339<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_when_what_happened_and_no_more_than_the_latest() {
        let mut row = Row::default();
        let before = SystemTime::now();
        row.push(What::ConnectedAnew, "10.0.0.1:5");
        assert_eq!(row.0.len(), HEAD + 10);
        let only = row.iter().next().unwrap();
        assert!(only.at + Duration::from_micros(1) > before && only.at <= SystemTime::now());
        assert_eq!((only.event, &*only.detail), ("connected", "from 10.0.0.1:5, with a new session"));
        for n in 0..100 {
            row.push(What::subscribed(QoS::ExactlyOnce), &n.to_string());
        }
        assert_eq!((row.iter().count(), &*row.iter().next().unwrap().detail), (32, "68 with QoS 2"));
    }

    #[test]
    fn a_long_text_is_cut_between_two_characters() {
        let mut row = Row::default();
        row.push(What::Unsubscribed, &"x".repeat(LONGEST_TEXT));
        row.push(What::Unsubscribed, &format!("x{}", "ü".repeat(1_000)));
        let details: Vec<String> = row.iter().map(|past| past.detail).collect();
        assert_eq!(details, ["x".repeat(256), format!("x{}…", "ü".repeat(127))]);
    }
}
