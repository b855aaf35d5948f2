//! [`Inflight`]: what was sent with QoS 1 or 2 and is not yet acknowledged to the end (4.3.2 and 4.3.3, sender).
//!
//! The only place where an outgoing packet identifier exists.

use mqtt_codec::{PacketId, QoS};

use crate::{message::Message, store::MessageKey};

/// Deliveries under way, found by packet identifier in one step.
///
/// A delivery sits in the slot of its identifier modulo the number of slots (a power of two). An identifier whose slot is
/// taken is passed over, and so an identifier that is in flight can never be given out a second time.
#[derive(Default)]
pub(crate) struct Inflight {
    slots: Vec<Option<Delivery>>,
    len: usize,
    /// Topics and payloads of those whose receiver does not have them yet.
    bytes: usize,
    /// The identifier to try next, less one.
    last_id: u16,
    /// Counts deliveries begun, so that they can be repeated in their order.
    next_order: u64,
    /// Deliveries begun before this one were there at the previous retry already.
    retry_mark: u64,
}

/// One delivery under way.
#[derive(Clone)]
pub(crate) struct Delivery {
    pub(crate) packet_id: PacketId,
    pub(crate) stage: Stage,
    /// Its key in the store, or 0.
    pub(crate) key: MessageKey,
    order: u64,
}

/// How far a delivery is.
#[derive(Clone)]
pub(crate) enum Stage {
    /// PUBLISH sent with QoS 1, PUBACK awaited.
    Published1 { message: Message, retain: bool },
    /// PUBLISH sent with QoS 2, PUBREC awaited.
    Published2 { message: Message, retain: bool },
    /// PUBREL sent, PUBCOMP awaited; the message is the receiver's now.
    Released,
}

/// What an acknowledgement did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Acknowledged {
    /// The delivery is complete, its identifier free.
    Complete,
    /// PUBREC: answer with PUBREL. Also for a repeated PUBREC, and for an unknown one: the receiver waits for it.
    Release,
    /// No such delivery: it was completed before.
    Unknown,
    /// The delivery is under way, but this is not the acknowledgement that it waits for.
    WrongKind,
}

const FEWEST_SLOTS: usize = 4;
/// So many are kept when nothing is under way any more; beyond, a burst's memory is given back after it.
const KEPT_SLOTS: usize = 32;

impl Stage {
    /// Bytes of the message, as long as it may have to be sent again.
    fn size(&self) -> usize {
        match self {
            Self::Published1 { message, .. } | Self::Published2 { message, .. } => message.size(),
            Self::Released => 0,
        }
    }
}

impl Inflight {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes under way: topics and payloads that may have to be sent again.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Begins a delivery and gives it an identifier that no other delivery uses [MQTT-2.3.1-4].
    ///
    /// The caller's window is 16 bits wide and so is closed before all 65,535 identifiers are taken.
    pub(crate) fn begin(&mut self, message: Message, key: MessageKey, qos: QoS, retain: bool) -> PacketId {
        if self.len == self.slots.len() {
            self.grow();
        }
        let packet_id = self.free_id();
        let stage = match qos {
            QoS::ExactlyOnce => Stage::Published2 { message, retain },
            _ => Stage::Published1 { message, retain },
        };
        self.put(packet_id, stage, key);
        packet_id
    }

    /// Puts a delivery back that an earlier process began.
    pub(crate) fn restore(&mut self, packet_id: PacketId, stage: Stage, key: MessageKey) {
        if self.find(packet_id).is_some() {
            return; // The store names it twice, and no table is large enough to hold both.
        }
        while self.slots.is_empty() || self.slots[self.slot_of(packet_id)].is_some() {
            self.grow();
        }
        self.put(packet_id, stage, key);
        self.last_id = packet_id.get();
    }

    /// The key of the message that is being sent under this identifier; 0 if it is in no store, or there is none.
    pub(crate) fn key_of(&mut self, id: PacketId) -> MessageKey {
        self.find(id).map_or(0, |delivery| delivery.key)
    }

    /// Gives up a delivery that its receiver may not have; its identifier is free. The key of its message.
    pub(crate) fn give_up(&mut self, packet_id: PacketId) -> MessageKey {
        let key = self.find(packet_id).map(|delivery| delivery.key);
        if key.is_some() {
            self.complete(packet_id);
        }
        key.unwrap_or_default()
    }

    fn put(&mut self, packet_id: PacketId, stage: Stage, key: MessageKey) {
        let slot = self.slot_of(packet_id);
        self.bytes += stage.size();
        self.slots[slot] = Some(Delivery { packet_id, stage, key, order: self.next_order });
        self.next_order += 1;
        self.len += 1;
    }

    /// PUBACK ends a QoS 1 delivery.
    pub(crate) fn puback(&mut self, id: PacketId) -> Acknowledged {
        match self.find(id).map(|delivery| &delivery.stage) {
            Some(Stage::Published1 { .. }) => self.complete(id),
            Some(_) => Acknowledged::WrongKind,
            None => Acknowledged::Unknown,
        }
    }

    /// PUBREC hands a QoS 2 message over; from here on only PUBREL is repeated [MQTT-4.3.3-1].
    pub(crate) fn pubrec(&mut self, id: PacketId) -> Acknowledged {
        let order = self.next_order;
        match self.find(id) {
            Some(Delivery { stage: Stage::Published1 { .. }, .. }) => Acknowledged::WrongKind,
            Some(delivery) => {
                if !matches!(delivery.stage, Stage::Released) {
                    let size = delivery.stage.size();
                    delivery.stage = Stage::Released;
                    // From here on it is repeated in the order of the PUBRECs [MQTT-4.6.0-4].
                    delivery.order = order;
                    self.next_order += 1;
                    self.bytes -= size;
                }
                Acknowledged::Release
            }
            None => Acknowledged::Release,
        }
    }

    /// PUBCOMP ends a QoS 2 delivery.
    pub(crate) fn pubcomp(&mut self, id: PacketId) -> Acknowledged {
        match self.find(id).map(|delivery| &delivery.stage) {
            Some(Stage::Released) => self.complete(id),
            Some(_) => Acknowledged::WrongKind,
            None => Acknowledged::Unknown,
        }
    }

    /// Everything under way, in the order in which it was begun: what a reconnect repeats [MQTT-4.6.0-1].
    pub(crate) fn in_order(&self) -> Vec<Delivery> {
        let mut all: Vec<Delivery> = self.slots.iter().flatten().cloned().collect();
        all.sort_unstable_by_key(|delivery| delivery.order);
        all
    }

    /// What was under way at the previous call already, in order: called once a retry interval, it names what waited
    /// for at least one whole interval.
    pub(crate) fn overdue(&mut self) -> Vec<Delivery> {
        let mark = std::mem::replace(&mut self.retry_mark, self.next_order);
        let mut all = self.in_order();
        all.retain(|delivery| delivery.order < mark);
        all
    }

    fn find(&mut self, id: PacketId) -> Option<&mut Delivery> {
        if self.slots.is_empty() {
            return None;
        }
        let slot = self.slot_of(id);
        self.slots[slot].as_mut().filter(|delivery| delivery.packet_id == id)
    }

    fn complete(&mut self, id: PacketId) -> Acknowledged {
        let slot = self.slot_of(id);
        let completed = self.slots[slot].take();
        self.bytes -= completed.map_or(0, |delivery| delivery.stage.size());
        self.len -= 1;
        if self.len == 0 && self.slots.len() > KEPT_SLOTS {
            self.slots = Vec::new();
        }
        Acknowledged::Complete
    }

    /// At least one slot is free, and every slot is some identifier's within `slots.len()` steps.
    fn free_id(&mut self) -> PacketId {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if let Some(id) = PacketId::new(self.last_id)
                && self.slots[self.slot_of(id)].is_none()
            {
                return id;
            }
        }
    }

    fn slot_of(&self, id: PacketId) -> usize {
        usize::from(id.get()) & (self.slots.len() - 1)
    }

    fn grow(&mut self) {
        let slots = (self.slots.len() * 2).max(FEWEST_SLOTS);
        let old = std::mem::replace(&mut self.slots, vec![None; slots]);
        for delivery in old.into_iter().flatten() {
            let slot = self.slot_of(delivery.packet_id);
            self.slots[slot] = Some(delivery);
        }
    }
}

#[cfg(test)]
mod tests {
    use mqtt_codec::TopicName;

    use super::*;

    fn message(n: usize) -> Message {
        Message::new(&TopicName::try_from("t").unwrap(), n.to_string().as_bytes(), QoS::AtLeastOnce)
    }

    fn begin(inflight: &mut Inflight, n: usize, qos: QoS) -> PacketId {
        inflight.begin(message(n), 0, qos, false)
    }

    /// [MQTT-4.3.2-1] [MQTT-4.3.3-1]
    #[test]
    fn only_the_right_acknowledgement_completes_a_delivery() {
        let mut inflight = Inflight::default();
        let one = begin(&mut inflight, 1, QoS::AtLeastOnce);
        let two = begin(&mut inflight, 2, QoS::ExactlyOnce);
        assert_eq!(inflight.pubrec(one), Acknowledged::WrongKind);
        assert_eq!(inflight.pubcomp(one), Acknowledged::WrongKind);
        assert_eq!(inflight.puback(two), Acknowledged::WrongKind);
        assert_eq!(inflight.pubcomp(two), Acknowledged::WrongKind);
        assert_eq!(inflight.len(), 2);
        assert_eq!(inflight.puback(one), Acknowledged::Complete);
        assert_eq!(inflight.puback(one), Acknowledged::Unknown);
        assert_eq!(inflight.pubrec(two), Acknowledged::Release);
        assert_eq!(inflight.pubrec(two), Acknowledged::Release, "a repeated PUBREC gets its PUBREL again");
        assert_eq!(inflight.pubcomp(two), Acknowledged::Complete);
        assert_eq!((inflight.pubcomp(two), inflight.len()), (Acknowledged::Unknown, 0));
    }

    /// The 2018 system could give out an identifier that was still in flight after the wrap. [MQTT-2.3.1-4]
    #[test]
    fn an_identifier_in_flight_is_not_given_out_again() {
        let mut inflight = Inflight::default();
        let stuck = begin(&mut inflight, 0, QoS::AtLeastOnce);
        for n in 1..200_000 {
            let id = begin(&mut inflight, n, QoS::AtLeastOnce);
            assert_ne!(id, stuck);
            assert_eq!(inflight.puback(id), Acknowledged::Complete);
        }
        assert_eq!((inflight.len(), inflight.slots.len()), (1, FEWEST_SLOTS));
    }

    #[test]
    fn every_identifier_can_be_in_flight_at_once() {
        let mut inflight = Inflight::default();
        let mut ids: Vec<u16> =
            (0..65_535).map(|n| begin(&mut inflight, n, QoS::AtLeastOnce).get()).collect();
        ids.sort_unstable();
        assert_eq!(ids, (1..=65_535).collect::<Vec<u16>>());
    }

    /// [MQTT-4.6.0-1]
    #[test]
    fn order_survives_the_wrap_and_growth() {
        let mut inflight = Inflight { last_id: 65_530, ..Inflight::default() };
        let ids: Vec<PacketId> = (0..20).map(|n| begin(&mut inflight, n, QoS::ExactlyOnce)).collect();
        let repeated: Vec<PacketId> = inflight.in_order().iter().map(|delivery| delivery.packet_id).collect();
        assert_eq!(repeated, ids);
    }

    /// [MQTT-4.6.0-1] [MQTT-4.6.0-4]
    #[test]
    fn releases_are_repeated_in_the_order_of_their_pubrecs() {
        let mut inflight = Inflight::default();
        let [one, two, three] = [1, 2, 3].map(|n| begin(&mut inflight, n, QoS::ExactlyOnce));
        for id in [three, one, three] {
            inflight.pubrec(id);
        }
        let repeated: Vec<PacketId> = inflight.in_order().iter().map(|delivery| delivery.packet_id).collect();
        assert_eq!(repeated, [two, three, one]);
    }

    /// Ten thousand clients that were once sent a burst must not keep the tables of it.
    #[test]
    fn bytes_are_counted_and_a_large_table_is_given_back() {
        let mut inflight = Inflight::default();
        let ids: Vec<PacketId> = (0..500).map(|n| begin(&mut inflight, n, QoS::ExactlyOnce)).collect();
        assert_eq!(inflight.bytes(), (0..500).map(|n| message(n).size()).sum::<usize>());
        for &id in &ids {
            inflight.pubrec(id);
        }
        assert_eq!(inflight.bytes(), 0, "the receiver has them");
        for &id in &ids {
            assert_eq!(inflight.pubcomp(id), Acknowledged::Complete);
        }
        assert_eq!((inflight.len(), inflight.slots.capacity()), (0, 0));
        let id = begin(&mut inflight, 1, QoS::AtLeastOnce);
        assert_eq!(Some(id), ids.last().map(|last| last.next()), "identifiers go on from where they were");
        assert_eq!((inflight.puback(id), inflight.bytes()), (Acknowledged::Complete, 0));
    }

    #[test]
    fn overdue_names_what_waited_a_whole_interval() {
        let mut inflight = Inflight::default();
        let old = begin(&mut inflight, 1, QoS::AtLeastOnce);
        assert!(inflight.overdue().is_empty());
        begin(&mut inflight, 2, QoS::AtLeastOnce);
        let overdue: Vec<PacketId> = inflight.overdue().iter().map(|delivery| delivery.packet_id).collect();
        assert_eq!(overdue, [old]);
        assert_eq!(inflight.overdue().len(), 2);
    }
}
