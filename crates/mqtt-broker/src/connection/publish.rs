//! PUBLISH from a client (3.3): decide, retain, hand out, answer.

use std::time::Instant;

use mqtt_codec::{Delivery, Frame, PacketId, PacketType, Puback, PublishRef, Pubrec};

use super::{Connection, phase::Deciding};
use crate::{
    burst::Burst,
    close_reason::{CloseReason, ProtocolViolation},
    event::DropReason,
    hooks::{HookFuture, PublishDecision, PublishRequest, survive},
    message::Outgoing,
    session::{Received, SessionRef, TooManyUnreleased},
    store::Record,
};

/// A PUBLISH about which somebody else is asked.
pub(crate) struct HeldPublish {
    pub(super) question: Option<HookFuture<PublishDecision>>,
    topic: Box<str>,
    payload: Box<[u8]>,
    retain: bool,
    delivery: Delivery,
}

/// What became of a PUBLISH.
#[derive(PartialEq)]
enum Outcome {
    /// It was passed on or dropped: its sender may be told that it has come.
    Settled,
    /// The decision is still to come.
    Held,
}

impl Connection {
    pub(super) fn handle_publish(
        &mut self,
        now: Instant,
        frame: &Frame<'_>,
        burst: &mut Burst<'_>,
    ) -> Result<(), CloseReason> {
        let publish = PublishRef::decode(frame)?;
        burst.tally.publish_received(publish.delivery.qos());
        self.place.core.limits.check_topic(publish.topic)?;
        self.meter(now, frame.len, burst)?;
        // [MQTT-4.3.2-2] [MQTT-4.3.3-2]: QoS 2 is passed on at the first arrival of its identifier.
        if let Delivery::ExactlyOnce { packet_id, .. } = publish.delivery
            && !self.is_new(packet_id)?
        {
            return self.acknowledge(publish.delivery, burst);
        }
        let outcome = self.decide(now, &publish, burst)?;
        self.conclude(publish.delivery, outcome, burst)
    }

    /// A decision has come about a PUBLISH that had to wait for it.
    pub(super) fn publish_decided(
        &mut self,
        now: Instant,
        decision: PublishDecision,
        burst: &mut Burst<'_>,
    ) -> Result<(), CloseReason> {
        let deciding = self.open()?.deciding.take().map(|deciding| *deciding);
        let Some(Deciding::Publish(held)) = deciding else { return Err(CloseReason::Internal) };
        let HeldPublish { topic, payload, retain, delivery, .. } = held;
        let publish = PublishRef { delivery, retain, topic: &topic, payload: &payload };
        let outcome = self.carry_out(now, &publish, decision, burst)?;
        self.conclude(delivery, outcome, burst)
    }

    /// Acknowledges what is settled.
    fn conclude(
        &mut self,
        delivery: Delivery,
        outcome: Outcome,
        burst: &mut Burst<'_>,
    ) -> Result<(), CloseReason> {
        if outcome == Outcome::Settled { self.acknowledge(delivery, burst) } else { Ok(()) }
    }

    /// Whether the message with this QoS 2 identifier was not passed on yet.
    fn is_new(&self, packet_id: PacketId) -> Result<bool, CloseReason> {
        let max_unreleased = self.limits().max_unreleased;
        let state = self.attachment()?.lock()?;
        let none = Received::default();
        let received = state.seldom.get().map_or(&none, |parts| &parts.received);
        let is_new = received.is_new(packet_id, max_unreleased);
        is_new.map_err(|TooManyUnreleased| ProtocolViolation::TooManyUnreleased.into())
    }

    /// Takes note of a QoS 2 identifier, once it is clear what becomes of its message: until then the client may be cut off, or another
    /// connection of it may come, and then the message that it repeats is a new one.
    fn receive(&self, delivery: Delivery) -> Result<(), CloseReason> {
        let Delivery::ExactlyOnce { packet_id, .. } = delivery else { return Ok(()) };
        let mut state = self.attachment()?.lock()?;
        state.seldom.change(|parts| parts.received.insert(packet_id));
        Ok(())
    }

    /// Asks the hook before anything is retained, delivered or acknowledged.
    fn decide(
        &mut self,
        now: Instant,
        publish: &PublishRef<'_>,
        burst: &mut Burst<'_>,
    ) -> Result<Outcome, CloseReason> {
        let qos = publish.delivery.qos();
        let outgoing = Outgoing::new(publish.topic.as_bytes(), publish.payload, qos, publish.retain);
        if self.place.core.limits.reserves(outgoing.topic) {
            self.receive(publish.delivery)?;
            self.place.core.dropped("", outgoing.message(), DropReason::ReservedTopic, burst); // [MQTT-3.3.5-2]
            return Ok(Outcome::Settled);
        }
        let Some(hook) = &self.place.core.hooks.on_publish else {
            self.deliver(now, &outgoing, publish.retain, publish.delivery, burst)?;
            return Ok(Outcome::Settled);
        };
        let client = &*self.attachment()?.info;
        let PublishRef { topic, payload, retain, .. } = *publish;
        let request = PublishRequest { client, topic, payload, qos, retain };
        let decision = survive("on_publish", || hook(request)).ok_or(CloseReason::HookFailed)?;
        self.carry_out(now, publish, decision, burst)
    }

    fn carry_out(
        &mut self,
        now: Instant,
        publish: &PublishRef<'_>,
        decision: PublishDecision,
        burst: &mut Burst<'_>,
    ) -> Result<Outcome, CloseReason> {
        let PublishRef { topic, payload, retain, delivery } = *publish;
        let outgoing = Outgoing::new(topic.as_bytes(), payload, delivery.qos(), retain);
        match decision {
            PublishDecision::Pass => self.deliver(now, &outgoing, retain, delivery, burst)?,
            PublishDecision::Change(message) if self.place.core.drops_too_long(&message, burst) => {
                self.receive(delivery)?;
            }
            PublishDecision::Change(message) => {
                self.deliver(now, &Outgoing::of(&message), message.retain(), delivery, burst)?;
            }
            PublishDecision::Drop => {
                self.receive(delivery)?;
                self.place.core.dropped("", outgoing.message(), DropReason::Refused, burst); // [MQTT-3.3.5-2]
            }
            PublishDecision::Disconnect => return Err(CloseReason::Hook),
            PublishDecision::Later(question) => {
                let (topic, payload) = (topic.into(), payload.into());
                let held = HeldPublish { question: Some(question), topic, payload, retain, delivery };
                self.open()?.deciding = Some(Box::new(Deciding::Publish(held)));
                return Ok(Outcome::Held);
            }
        }
        Ok(Outcome::Settled)
    }

    fn deliver(
        &mut self,
        now: Instant,
        outgoing: &Outgoing<'_>,
        retain: bool,
        delivery: Delivery,
        burst: &mut Burst<'_>,
    ) -> Result<(), CloseReason> {
        self.receive(delivery)?;
        let session = &self.attachment()?.session;
        let (publisher, group) = (session.serial, self.received_record(session, delivery));
        if retain {
            let mark = self.place.core.retain(now, outgoing, burst); // [MQTT-3.3.1-12]: and only then.
            self.hold_message_until(mark, outgoing.size());
        }
        let routes = &mut self.inbound.get_or_insert_default().routes;
        let mark = self.place.core.publish(outgoing, publisher, group, routes, burst);
        self.hold_message_until(mark, outgoing.size());
        Ok(())
    }

    /// What the store has to know together with the message: that a repetition of it is none.
    fn received_record(&self, session: &SessionRef, delivery: Delivery) -> Vec<Record> {
        match delivery {
            Delivery::ExactlyOnce { packet_id, .. }
                if !session.clean && self.place.core.durability.is_on() =>
            {
                vec![Record::Received { session: session.serial, packet_id }]
            }
            _ => Vec::new(),
        }
    }

    /// [MQTT-3.3.4-1] [MQTT-2.3.1-6] [MQTT-4.6.0-2] [MQTT-4.6.0-3]
    fn acknowledge(&mut self, delivery: Delivery, burst: &mut Burst<'_>) -> Result<(), CloseReason> {
        match delivery {
            Delivery::AtMostOnce => Ok(()),
            Delivery::AtLeastOnce { packet_id, .. } => {
                self.answer(PacketType::Puback, burst, |out| Puback { packet_id }.encode(out))
            }
            Delivery::ExactlyOnce { packet_id, .. } => {
                self.answer(PacketType::Pubrec, burst, |out| Pubrec { packet_id }.encode(out))
            }
        }
    }
}
