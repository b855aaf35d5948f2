//! A session's filters as a row of bytes, one behind the other: with a million of them a pointer, a length and an
//! allocation for each would take more than what they say.
//!
//! Not in here: how one of many is found, which is [`super::many`]'s.

use std::iter;

use mqtt_codec::QoS;

/// With which QoS a filter was granted, and when.
#[derive(Clone, Copy)]
pub(super) struct Grant {
    pub(super) qos: QoS,
    /// Seconds of the broker's life, and one more; 0 is not known.
    pub(super) second: u32,
}

/// One filter of a row.
pub(super) struct Entry<'a> {
    pub(super) filter: &'a [u8],
    pub(super) grant: Grant,
}

/// What stands before the filter: its second, its QoS and its length, which fits 16 bits as in a packet.
const HEAD: usize = 7;
/// The part of it that is the grant.
const GRANT: usize = 5;
/// What the router has for a level of a filter with a wildcard: a node of its trie.
const NODE: usize = 64;

impl Entry<'_> {
    pub(super) fn append_to(&self, row: &mut Vec<u8>) {
        row.extend(self.grant.encoded());
        row.extend((self.filter.len() as u16).to_le_bytes());
        row.extend(self.filter);
    }

    /// How many bytes of a row it takes.
    pub(super) fn size(&self) -> usize {
        size_of_entry(self.filter)
    }
}

impl Grant {
    fn encoded(self) -> [u8; GRANT] {
        let [a, b, c, d] = self.second.to_le_bytes();
        [a, b, c, d, self.qos.as_u8()]
    }
}

pub(super) fn size_of_entry(filter: &[u8]) -> usize {
    HEAD + filter.len()
}

/// What a filter counts against the limit of its client: what is kept of it here, and the levels of one with a wildcard, for each of
/// which the router has more than their text.
pub(super) fn cost_of(filter: &[u8]) -> usize {
    let has_wildcard = filter.iter().any(|byte| matches!(byte, b'+' | b'#'));
    let levels = if has_wildcard { filter.split(|&byte| byte == b'/').count() } else { 0 };
    size_of_entry(filter) + levels * NODE
}

/// The entry that begins at this place of a row.
pub(super) fn entry_at(row: &[u8], place: usize) -> Option<Entry<'_>> {
    let (head, rest) = row.get(place..)?.split_first_chunk::<HEAD>()?;
    let [a, b, c, d, qos, len @ ..] = *head;
    let grant = Grant { qos: QoS::from_u8(qos)?, second: u32::from_le_bytes([a, b, c, d]) };
    let filter = rest.get(..usize::from(u16::from_le_bytes(len)))?;
    Some(Entry { filter, grant })
}

/// All entries of a row from which none was removed, each with its place.
pub(super) fn entries(row: &[u8]) -> impl Iterator<Item = (usize, Entry<'_>)> {
    let mut place = 0;
    iter::from_fn(move || {
        let entry = entry_at(row, place)?;
        let at = place;
        place += entry.size();
        Some((at, entry))
    })
}

/// Grants the entry at this place anew.
pub(super) fn set_grant(row: &mut [u8], place: usize, grant: Grant) {
    if let Some(held) = row.get_mut(place..place + GRANT) {
        held.copy_from_slice(&grant.encoded());
    }
}
