//! A stored session to which the broker is sending: what both guarantees above QoS 0 are tried on.

use crate::names::{SessionId, unique};
use crate::packets::{Connect, Publish, pubrec, pubrel};
use crate::wire::Wire;

/// A session with one subscription, and the messages "0", "1", ... sent to it and not acknowledged.
pub(crate) struct Unacknowledged {
    pub(crate) id: SessionId,
    pub(crate) topic: String,
    pub(crate) wire: Wire,
    pub(crate) messages: Vec<Publish>,
}

impl Unacknowledged {
    /// So many messages at this QoS, 1 or 2.
    #[track_caller]
    pub(crate) fn new(qos: u8, count: usize) -> Self {
        let (id, topic) = (SessionId::new(), unique());
        let mut wire = Wire::connect(&Connect::persistent(&id));
        wire.subscribe(&topic, qos);
        let mut publisher = Wire::client();
        for number in 0..count {
            publisher.publish(&Publish::new(&topic, number.to_string()).qos(qos, 1));
        }
        let messages: Vec<Publish> = (0..count).map(|_| wire.next_publish()).collect();
        assert!(messages.iter().all(|message| message.qos == qos && !message.dup), "{messages:?}");
        Self { id, topic, wire, messages }
    }

    /// Takes the connection over, once the broker has seen what was sent on it.
    #[track_caller]
    pub(crate) fn reconnect(&mut self) {
        self.wire.settle_or_close();
        self.wire = Wire::connect(&Connect::persistent(&self.id));
        assert!(self.wire.session_present);
    }

    /// PUBREC for a message, answered by its PUBREL.
    #[track_caller]
    pub(crate) fn receive(&mut self, index: usize) {
        self.wire.send(pubrec(self.messages[index].id));
        self.wire.expect(pubrel(self.messages[index].id));
    }

    /// Deliveries in flight have identifiers that differ.
    #[track_caller]
    pub(crate) fn expect_identifiers_of_their_own(&self) {
        let mut ids: Vec<u16> = self.messages.iter().map(|message| message.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert!(ids.len() == self.messages.len() && !ids.contains(&0), "{ids:?}");
    }

    /// What was not answered comes again: with DUP 1, the same identifier and content, in the order of the first time, as often
    /// as it takes.
    #[track_caller]
    pub(crate) fn expect_all_again_in_order(&mut self) {
        for _ in 0..3 {
            self.reconnect();
            for message in &self.messages {
                assert_eq!(self.wire.next_publish(), message.clone().dup());
            }
            self.wire.expect_quiet();
        }
    }
}
