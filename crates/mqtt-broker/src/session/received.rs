//! [`Received`]: identifiers of QoS 2 messages that came in and are not yet released by PUBREL (4.3.3, receiver).

use mqtt_codec::PacketId;
use std::collections::HashSet;

/// The packet identifiers whose message has been passed on already. Survives reconnects with the session.
#[derive(Default)]
pub(crate) struct Received(HashSet<PacketId>);

/// More QoS 2 messages are waiting for their PUBREL than the limit allows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooManyUnreleased;

impl Received {
    /// `Ok(true)` for a new message, `Ok(false)` for one that was passed on before [MQTT-4.3.3-2].
    pub(crate) fn insert(&mut self, id: PacketId, max_unreleased: usize) -> Result<bool, TooManyUnreleased> {
        if self.0.len() >= max_unreleased && !self.0.contains(&id) {
            return Err(TooManyUnreleased);
        }
        Ok(self.0.insert(id))
    }

    /// The sender will not repeat this one: the identifier is free for a new message.
    pub(crate) fn release(&mut self, id: PacketId) {
        self.0.remove(&id);
        if self.0.is_empty() {
            self.0 = HashSet::new(); // An idle session owns no table.
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [MQTT-4.3.3-2]
    #[test]
    fn a_duplicate_is_known_until_it_is_released() {
        let (mut received, id) = (Received::default(), PacketId::FIRST);
        assert_eq!(received.insert(id, 1), Ok(true));
        assert_eq!(received.insert(id, 1), Ok(false), "a duplicate is fine at the limit too");
        assert_eq!(received.insert(id.next(), 1), Err(TooManyUnreleased));
        received.release(id);
        assert_eq!(received.insert(id, 1), Ok(true));
    }
}
