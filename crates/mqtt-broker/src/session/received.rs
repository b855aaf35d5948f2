//! [`Received`]: identifiers of QoS 2 messages that came in and are not yet released by PUBREL (4.3.3, receiver).

use mqtt_codec::PacketId;
use std::collections::HashSet;

/// The packet identifiers whose message has been passed on already. Survives reconnects with the session.
#[derive(Default)]
pub(crate) struct Received(Option<Box<Ids>>);

/// Behind a pointer, because most sessions never receive QoS 2.
#[derive(Default)]
struct Ids(HashSet<PacketId>);

/// More QoS 2 messages are waiting for their PUBREL than the limit allows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooManyUnreleased;

/// An empty set no larger than this is kept for the next message.
const KEPT_CAPACITY: usize = 64;

impl Received {
    /// `Ok(true)` for a new message, `Ok(false)` for one that was passed on before [MQTT-4.3.3-2].
    pub(crate) fn is_new(&self, id: PacketId, max_unreleased: usize) -> Result<bool, TooManyUnreleased> {
        if self.0.as_ref().is_some_and(|ids| ids.0.contains(&id)) {
            return Ok(false);
        }
        if self.len() >= max_unreleased { Err(TooManyUnreleased) } else { Ok(true) }
    }

    /// The message is passed on.
    pub(crate) fn insert(&mut self, id: PacketId) {
        self.0.get_or_insert_default().0.insert(id);
    }

    /// The sender will not repeat this one: the identifier is free for a new message.
    pub(crate) fn release(&mut self, id: PacketId) {
        let Some(Ids(ids)) = self.0.as_deref_mut() else { return };
        ids.remove(&id);
        if ids.is_empty() && ids.capacity() > KEPT_CAPACITY {
            self.0 = None;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |ids| ids.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [MQTT-4.3.3-2]
    #[test]
    fn a_duplicate_is_known_until_it_is_released() {
        let (mut received, id) = (Received::default(), PacketId::FIRST);
        assert_eq!(received.is_new(id, 1), Ok(true));
        received.insert(id);
        assert_eq!(received.is_new(id, 1), Ok(false), "a duplicate is fine at the limit too");
        assert_eq!(received.is_new(id.next(), 1), Err(TooManyUnreleased));
        received.release(id);
        assert_eq!(received.is_new(id, 1), Ok(true));
    }
}
