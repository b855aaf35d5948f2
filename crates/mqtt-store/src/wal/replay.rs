//! What a log says at a start.

use mqtt_broker::store::{Record, StoreError};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{ALIGNMENT, FILES, HEAD, Head, Medium, record::Groups};

/// A frame that is whole.
struct Found {
    file: usize,
    at: usize,
    head: Head,
}

/// What a log had to say.
pub(crate) struct Replayed {
    /// So many groups there are.
    pub(crate) groups: u64,
    /// There is something behind a hole. It has to be gone before the log is written again.
    pub(crate) has_hole: bool,
}

/// Tells `visit` the groups after the first `known`, in their order, each with how many there are with it.
///
/// A frame that is torn was not written to its end when the process or the machine died: nobody was told of it, and nothing
/// follows. If something does, it depends: what follows a frame that had been synced shows damage; in what was left to
/// the system to write the loss of power makes holes, and what is behind one is dropped.
pub(crate) fn replay<M: Medium>(
    medium: &M,
    known: u64,
    mut visit: impl FnMut(u64, Vec<Record>) -> Result<(), StoreError>,
) -> Result<Replayed, StoreError> {
    let mut frames = Vec::new();
    for file in 0..FILES {
        find(file, &medium.read(file)?, medium.seed(), &mut frames);
    }
    frames.sort_by_key(|frame| frame.head.groups_before);
    let mut groups = known;
    // One file at a time: memory must not depend on how long they have become.
    let (mut open, mut content) = (FILES, Vec::new());
    for (frame, next) in frames.iter().zip((1..).map(|next| frames.get(next))) {
        if next.is_some_and(|next| next.head.groups_before <= groups) {
            continue; // All of it is known.
        }
        if frame.head.groups_before > groups {
            let missing = format!("groups {} to {} cannot be read", groups + 1, frame.head.groups_before);
            if frame.head.synced {
                return Err(medium.damage(frame.file, frame.at as u64, &format!("before it, {missing}")));
            }
            tracing::warn!(
                "the log has a hole, as the loss of power makes them: {missing}; what follows is dropped"
            );
            return Ok(Replayed { groups, has_hole: true });
        }
        if frame.file != open {
            drop(content);
            (open, content) = (frame.file, medium.read(frame.file)?);
        }
        let (mut number, mut read) = (frame.head.groups_before, Groups::new(body(&content, frame)));
        while !read.is_at_end() {
            let group = read.next_group().ok_or_else(|| {
                medium.damage(frame.file, frame.at as u64, "it cannot be read, though its checksum is right")
            })?;
            number += 1;
            if number > groups {
                groups = number;
                visit(groups, group)?;
            }
        }
    }
    Ok(Replayed { groups, has_hole: false })
}

fn body<'a>(content: &'a [u8], frame: &Found) -> &'a [u8] {
    let from = frame.at + HEAD;
    content.get(from..from + frame.head.len as usize).unwrap_or_default()
}

/// Finds all frames that are whole, of whatever round.
fn find(file: usize, content: &[u8], seed: u64, frames: &mut Vec<Found>) {
    let mut at = 0;
    while let Some(rest) = content.get(at..).filter(|rest| rest.len() >= HEAD) {
        let whole = Head::decode(rest, seed).filter(|head| {
            let end = usize::try_from(head.len).ok().and_then(|len| HEAD.checked_add(len));
            let body = end.and_then(|end| rest.get(HEAD..end));
            body.is_some_and(|body| xxh3_64_with_seed(body, seed) == head.checksum)
        });
        let found = at;
        at += whole.as_ref().map_or(ALIGNMENT, |head| (HEAD + head.len as usize).next_multiple_of(ALIGNMENT));
        frames.extend(whole.map(|head| Found { file, at: found, head }));
    }
}
