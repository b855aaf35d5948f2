//! What a session has sent, received and lost: for whoever looks.

use std::time::Instant;

use super::Sent;
use crate::event::DropReason;

/// Bytes and messages of a session since it began, over all its connections.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) messages_sent: u64,
}

/// The messages that a session has lost.
///
/// Owns memory only once there is one.
#[derive(Debug, Default)]
pub(crate) struct Losses(Option<Box<Counted>>);

#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    by_reason: [u64; DropReason::ALL.len()],
    last: Option<(DropReason, Option<Instant>)>,
}

impl Traffic {
    pub(crate) fn sent(&mut self, sent: &Sent, bytes: usize) {
        self.bytes_sent += bytes as u64;
        self.messages_sent += u64::from(sent.publishes.iter().sum::<u32>());
    }
}

impl Losses {
    pub(crate) fn add(&mut self, reason: DropReason, now: Option<Instant>) {
        let counted = self.0.get_or_insert_default();
        if let Some(count) = counted.by_reason.get_mut(reason as usize) {
            *count += 1;
        }
        counted.last = Some((reason, now));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn by_reason(&self) -> [u64; DropReason::ALL.len()] {
        self.0.as_ref().map(|counted| counted.by_reason).unwrap_or_default()
    }

    /// Why the last one was lost, and when if that is known.
    pub(crate) fn last(&self) -> Option<(DropReason, Option<Instant>)> {
        self.0.as_ref().and_then(|counted| counted.last)
    }
}
