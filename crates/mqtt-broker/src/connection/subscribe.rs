//! SUBSCRIBE (3.8, 3.9), and the retained messages that follow it.

use std::{sync::Arc, task::Waker, time::Instant};

use mqtt_codec::{Frame, PacketType, QoS, Suback, Subscribe, SubscribeReturnCode, TopicFilter};

use super::{Connection, filters::check_count, owned_body};
use crate::{
    burst::Burst,
    close_reason::CloseReason,
    core::Core,
    hooks::{HookFuture, SubscribeDecision, SubscribeRequest, survive},
    message::Outgoing,
    session::{Attachment, Lookup},
};

/// A SUBSCRIBE whose filters a hook decides about, one after the other.
pub(crate) struct Deciding {
    pub(super) question: Option<HookFuture<SubscribeDecision>>,
    subscribe: Subscribe,
    return_codes: Vec<SubscribeReturnCode>,
}

/// How many retained messages are looked up at a time: few, so that a queue has room for them whatever their size.
const RETAINED_CHUNK: usize = 16;
/// How many such look-ups are made before others have their turn: a filter may match nothing among millions of topics.
const CHUNKS_A_TURN: usize = 16;

impl Connection {
    pub(super) fn handle_subscribe(
        &mut self,
        frame: &Frame<'_>,
        burst: &mut Burst<'_>,
    ) -> Result<(), CloseReason> {
        check_count(frame.packet_type, frame.body, self.core.limits.max_filters_per_packet)?;
        let subscribe = Subscribe::decode(&owned_body(frame))?;
        let return_codes = Vec::with_capacity(subscribe.filters.len());
        if self.core.hooks.on_subscribe.is_some() {
            let deciding = Deciding { question: None, subscribe, return_codes };
            self.open()?.deciding = Some(Box::new(deciding));
            return self.ask_next(burst);
        }
        let mut return_codes = return_codes;
        // [MQTT-3.8.4-4]: one after the other, as if each had come in a packet of its own.
        for (filter, qos) in &subscribe.filters {
            return_codes.push(self.subscribe(filter, SubscribeDecision::Grant(*qos), *qos, burst)?);
        }
        self.answer_subscribe(&subscribe, return_codes, burst)
    }

    pub(super) fn subscribe_decided(
        &mut self,
        decision: SubscribeDecision,
        burst: &mut Burst<'_>,
    ) -> Result<(), CloseReason> {
        let Some(mut deciding) = self.open()?.deciding.take() else { return Err(CloseReason::Internal) };
        let Some((filter, qos)) = deciding.subscribe.filters.get(deciding.return_codes.len()) else {
            return Err(CloseReason::Internal);
        };
        let return_code = self.subscribe(filter, decision, *qos, burst)?;
        deciding.return_codes.push(return_code);
        self.open()?.deciding = Some(deciding);
        self.ask_next(burst)
    }

    /// Asks the hook about the next filter, or answers the client if all are decided.
    fn ask_next(&mut self, burst: &mut Burst<'_>) -> Result<(), CloseReason> {
        let core = Arc::clone(&self.core);
        let client = Arc::clone(&self.attachment()?.info);
        let Some(mut deciding) = self.open()?.deciding.take() else { return Err(CloseReason::Internal) };
        let next = deciding.subscribe.filters.get(deciding.return_codes.len());
        let (Some((filter, qos)), Some(hook)) = (next, &core.hooks.on_subscribe) else {
            let Deciding { subscribe, return_codes, .. } = *deciding;
            return self.answer_subscribe(&subscribe, return_codes, burst);
        };
        let request = SubscribeRequest { client, filter: filter.clone(), qos: *qos };
        let question = survive("on_subscribe", || hook(request)).ok_or(CloseReason::HookFailed)?;
        deciding.question = Some(question);
        self.open()?.deciding = Some(deciding);
        Ok(())
    }

    fn subscribe(
        &mut self,
        filter: &TopicFilter,
        decision: SubscribeDecision,
        requested: QoS,
        burst: &mut Burst<'_>,
    ) -> Result<SubscribeReturnCode, CloseReason> {
        let attachment = self.attachment()?;
        attachment.check()?;
        let SubscribeDecision::Grant(granted) = decision else { return Ok(SubscribeReturnCode::Failure) };
        let granted = granted.min(requested);
        match self.core.subscribe(&attachment.session, filter, granted) {
            Ok(mark) => {
                self.answers.hold_until(mark);
                Ok(SubscribeReturnCode::Granted(granted))
            }
            Err(refusal) => {
                let client_id = &*self.attachment()?.info.client_id;
                tracing::debug!(client_id, %filter, ?refusal, "filter refused");
                burst.counts.filters_refused += 1;
                Ok(SubscribeReturnCode::Failure)
            }
        }
    }

    /// [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-3.8.4-5] [MQTT-3.9.3-1] [MQTT-3.9.3-2] [MQTT-2.3.1-7]
    fn answer_subscribe(
        &mut self,
        subscribe: &Subscribe,
        return_codes: Vec<SubscribeReturnCode>,
        burst: &mut Burst<'_>,
    ) -> Result<(), CloseReason> {
        let suback = Suback { packet_id: subscribe.packet_id, return_codes };
        self.answer(PacketType::Suback, burst, |out| suback.encode(out))
    }
}

/// Hands retained messages of new subscriptions over, as far as there is room: they never crowd a queue, however many
/// they are. What does not fit now is looked up when there is room again; what takes too long, after others had their turn.
pub(crate) fn deliver_retained(
    core: &Core,
    attachment: &Attachment,
    now: Instant,
    waker: &Waker,
    burst: &mut Burst<'_>,
) -> Result<(), CloseReason> {
    for _ in 0..CHUNKS_A_TURN {
        let (mut due, room) = {
            let mut state = attachment.lock()?;
            let room = state.outbox.room(&core.limits).min(RETAINED_CHUNK);
            let next = if room == 0 { None } else { state.retained_due.take() };
            let Some(due) = next else { return Ok(()) };
            (due, room)
        };
        for (_, message) in core.next_retained(now, &mut due.scan, room) {
            // [MQTT-3.3.1-6] [MQTT-3.3.1-8] [MQTT-3.8.4-6]
            let qos = message.qos().min(due.granted);
            core.hand_over_alone(&attachment.session, &Outgoing::of(&message), qos, true, burst);
        }
        if !due.scan.is_finished() && attachment.session.subscriptions.lock().contains(&due.filter) {
            keep_due(attachment, due);
        }
    }
    waker.wake_by_ref();
    Ok(())
}

/// Puts back what is still due. If this connection has lost the session or has to end, the next one delivers it.
fn keep_due(attachment: &Attachment, due: Lookup) {
    let mut state = attachment.session.lock();
    if !state.has_ended() {
        state.retained_due.put_back(due);
    }
    drop(state);
    if attachment.check().is_err() {
        attachment.session.wake(); // The next one may be there already, and have found nothing due.
    }
}
