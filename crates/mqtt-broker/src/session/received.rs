//! [`Received`]: identifiers of QoS 2 messages that came in and are not yet released by PUBREL (4.3.3, receiver).

use std::{collections::HashSet, sync::Arc};

use mqtt_codec::PacketId;
use parking_lot::Mutex;

use crate::store::Mark;

/// The packet identifiers whose message has been passed on already. Survives reconnects with the session.
#[derive(Default)]
pub(crate) struct Received(Option<Box<Ids>>);

/// Behind a pointer, because most sessions never receive QoS 2.
#[derive(Default)]
struct Ids {
    ids: HashSet<PacketId>,
    turn: Turn,
}

/// Held by whoever passes a message on, from before its identifier is known until all have it. A client may come a second time
/// meanwhile: who finds the identifier known waits for that, and what he answers waits for this mark. Else what the client sends next
/// could overtake the message, here or in the store.
pub(crate) type Turn = Arc<Mutex<Mark>>;

/// More QoS 2 messages are waiting for their PUBREL than the limit allows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooManyUnreleased;

/// An empty set no larger than this is kept for the next message.
const KEPT_CAPACITY: usize = 64;

impl Received {
    /// `None` for a new message, else whose turn it may still be [MQTT-4.3.3-2].
    pub(crate) fn known(
        &self,
        id: PacketId,
        max_unreleased: usize,
    ) -> Result<Option<Turn>, TooManyUnreleased> {
        match &self.0 {
            Some(known) if known.ids.contains(&id) => Ok(Some(Arc::clone(&known.turn))),
            _ if self.len() >= max_unreleased => Err(TooManyUnreleased),
            _ => Ok(None),
        }
    }

    pub(crate) fn turn(&mut self) -> Turn {
        Arc::clone(&self.0.get_or_insert_default().turn)
    }

    /// The message is passed on.
    pub(crate) fn insert(&mut self, id: PacketId) {
        self.0.get_or_insert_default().ids.insert(id);
    }

    /// The sender will not repeat this one: the identifier is free for a new message.
    pub(crate) fn release(&mut self, id: PacketId) {
        let Some(Ids { ids, .. }) = self.0.as_deref_mut() else { return };
        ids.remove(&id);
        if ids.is_empty() && ids.capacity() > KEPT_CAPACITY {
            *ids = HashSet::new(); // Its turn may be somebody's.
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |known| known.ids.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [MQTT-4.3.3-2]
    #[test]
    fn a_duplicate_is_known_until_it_is_released() {
        let (mut received, id) = (Received::default(), PacketId::FIRST);
        let is_known = |received: &Received, id| received.known(id, 1).map(|turn| turn.is_some());
        assert_eq!(is_known(&received, id), Ok(false));
        received.insert(id);
        assert_eq!(is_known(&received, id), Ok(true), "a duplicate is fine at the limit too");
        assert_eq!(is_known(&received, id.next()), Err(TooManyUnreleased));
        received.release(id);
        assert_eq!(is_known(&received, id), Ok(false));
    }
}
