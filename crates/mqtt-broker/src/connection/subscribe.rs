//! SUBSCRIBE (3.8, 3.9), and the retained messages that follow it.

use std::{sync::Arc, task::Waker, time::Instant};

use mqtt_codec::{Frame, PacketId, PacketType, QoS, Suback, Subscribe, SubscribeReturnCode, TopicFilter};
use mqtt_router::RetainedScan;

use super::{
    Connection,
    filters::{WORK_A_FILTER, check_count},
    owned_body,
    phase::{Deciding, Phase},
};
use crate::{
    burst::Burst,
    client::{ClientInfo, Peer},
    close_reason::CloseReason,
    core::Core,
    event::DropReason,
    hooks::{HookFuture, SubscribeDecision, SubscribeRequest},
    message::Message,
    session::{Attachment, Gate, Lookup},
};

/// Filters that a hook decides about, one after the other.
pub(crate) struct Filters {
    pub(super) question: Option<HookFuture<SubscribeDecision>>,
    asked_for: Vec<(TopicFilter, QoS)>,
    /// Of the SUBSCRIBE that they came in; `None` if they are subscriptions that are there already.
    packet_id: Option<PacketId>,
    return_codes: Vec<SubscribeReturnCode>,
}

/// How many retained messages are looked up at a time: few, for those that find no room are looked up again.
const RETAINED_CHUNK: usize = 16;
/// How many such look-ups are made before others have their turn: a filter may match nothing among millions of topics.
const CHUNKS_A_TURN: usize = 16;

impl Connection {
    pub(super) fn handle_subscribe(
        &mut self,
        frame: &Frame<'_>,
        burst: &mut Burst<'_>,
    ) -> Result<(), CloseReason> {
        check_count(frame.packet_type, frame.body, self.limits().max_filters_per_packet)?;
        let subscribe = Subscribe::decode(&owned_body(frame))?;
        let Subscribe { packet_id, filters } = subscribe;
        let return_codes = Vec::with_capacity(filters.len());
        if self.place.core.hooks.on_subscribe.is_some() {
            let filters =
                Filters { question: None, asked_for: filters, packet_id: Some(packet_id), return_codes };
            return self.ask_next(filters, burst);
        }
        let mut return_codes = return_codes;
        // [MQTT-3.8.4-4]: one after the other, as if each had come in a packet of its own.
        for (filter, qos) in &filters {
            return_codes.push(self.subscribe(filter, SubscribeDecision::Grant(*qos), *qos, burst)?);
        }
        self.answer_subscribe(packet_id, return_codes, burst)
    }

    /// Begins to ask about the subscriptions that there are already, if rights may have changed since they were granted.
    pub(super) fn recheck_if_due(&mut self) {
        let Phase::Open(open) = &mut self.phase else { return };
        let recheck = self.place.core.recheck();
        if open.rechecked == recheck || open.deciding.is_some() {
            return;
        }
        open.rechecked = recheck;
        if self.place.core.hooks.on_subscribe.is_none() {
            return;
        }
        let own = open.attachment.session.subscriptions.lock();
        let asked_for: Vec<_> = own.iter().map(|granted| (granted.filter, granted.qos)).collect();
        drop(own);
        let mut filters = Filters { question: None, asked_for, packet_id: None, return_codes: Vec::new() };
        if filters.ask(&self.place.core, &open.attachment.info) {
            open.deciding = Some(Box::new(Deciding::Filters(filters)));
        }
    }

    pub(super) fn subscribe_decided(
        &mut self,
        decision: SubscribeDecision,
        burst: &mut Burst<'_>,
    ) -> Result<(), CloseReason> {
        let deciding = self.open()?.deciding.take().map(|deciding| *deciding);
        let Some(Deciding::Filters(mut filters)) = deciding else { return Err(CloseReason::Internal) };
        let Some((filter, qos)) = filters.asked_for.get(filters.return_codes.len()) else {
            return Err(CloseReason::Internal);
        };
        let return_code = match filters.packet_id {
            Some(_) => self.subscribe(filter, decision, *qos, burst)?,
            None => self.keep_subscription(filter, decision)?,
        };
        filters.return_codes.push(return_code);
        self.ask_next(filters, burst)
    }

    /// Asks the hook about the next filter, or answers the client if all are decided.
    fn ask_next(&mut self, mut filters: Filters, burst: &mut Burst<'_>) -> Result<(), CloseReason> {
        let core = Arc::clone(&self.place.core);
        let open = self.open()?;
        if filters.ask(&core, &open.attachment.info) {
            open.deciding = Some(Box::new(Deciding::Filters(filters)));
            return Ok(());
        }
        let Filters { packet_id, return_codes, .. } = filters;
        packet_id.map_or(Ok(()), |packet_id| self.answer_subscribe(packet_id, return_codes, burst))
    }

    /// Of a subscription that is there already, the hook says only whether it stays.
    fn keep_subscription(
        &mut self,
        filter: &TopicFilter,
        decision: SubscribeDecision,
    ) -> Result<SubscribeReturnCode, CloseReason> {
        let attachment = self.attachment()?;
        attachment.check()?;
        match decision {
            SubscribeDecision::Grant(granted) => Ok(SubscribeReturnCode::Granted(granted)),
            SubscribeDecision::Refuse => self.take_away(filter),
            SubscribeDecision::Disconnect => Err(CloseReason::Hook),
        }
    }

    /// What a client may not have it does not keep either.
    fn take_away(&mut self, filter: &TopicFilter) -> Result<SubscribeReturnCode, CloseReason> {
        let attachment = self.attachment()?;
        if let Some(mark) = self.place.core.unsubscribe(&attachment.session, filter) {
            let client_id = &*attachment.info.client_id;
            tracing::info!(client_id, filter = filter.as_str(), "no longer allowed: unsubscribed");
            self.hold_until(mark);
        }
        Ok(SubscribeReturnCode::Failure)
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
        let granted = match decision {
            SubscribeDecision::Grant(granted) => granted,
            SubscribeDecision::Refuse => return self.take_away(filter),
            SubscribeDecision::Disconnect => return Err(CloseReason::Hook),
        };
        let granted = granted.min(requested);
        burst.spend(WORK_A_FILTER);
        match self.place.core.subscribe(&attachment.session, filter, granted, burst.now) {
            Ok(mark) => {
                self.hold_until(mark);
                Ok(SubscribeReturnCode::Granted(granted))
            }
            Err(refusal) => {
                self.attachment()?.check()?; // It may have been refused for that.
                let client_id = &*self.attachment()?.info.client_id;
                tracing::debug!(client_id, %filter, ?refusal, "filter refused");
                burst.totals.filters_refused.one();
                Ok(SubscribeReturnCode::Failure)
            }
        }
    }

    /// [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-3.8.4-5] [MQTT-3.9.3-1] [MQTT-3.9.3-2] [MQTT-2.3.1-7]
    fn answer_subscribe(
        &mut self,
        packet_id: PacketId,
        return_codes: Vec<SubscribeReturnCode>,
        burst: &mut Burst<'_>,
    ) -> Result<(), CloseReason> {
        let suback = Suback { packet_id, return_codes };
        self.answer(PacketType::Suback, burst, |out| suback.encode(out))
    }
}

impl Filters {
    /// Prepares the question about the next filter; `false` if all are decided.
    fn ask(&mut self, core: &Arc<Core>, client: &Arc<ClientInfo>) -> bool {
        let Some((filter, qos)) = self.asked_for.get(self.return_codes.len()) else { return false };
        let (client, filter, is_recheck) = (Arc::clone(client), filter.clone(), self.packet_id.is_none());
        let request = SubscribeRequest { client, filter, qos: *qos, is_recheck };
        let core = Arc::clone(core);
        // Called when it is first polled, where a panic of it is expected.
        self.question = Some(Box::pin(async move {
            match &core.hooks.on_subscribe {
                Some(hook) => hook(request).await,
                None => SubscribeDecision::Grant(request.qos),
            }
        }));
        true
    }
}

/// Hands retained messages of new subscriptions over, as far as there is room: they never crowd a queue, however many
/// they are, and however large. What does not fit now is looked up when there is room again; what takes too long, after others had their turn.
pub(crate) fn deliver_retained(
    core: &Core,
    attachment: &Attachment,
    now: Instant,
    waker: &Waker,
    burst: &mut Burst<'_>,
) -> Result<(), CloseReason> {
    for _ in 0..CHUNKS_A_TURN {
        if !attachment.lock()?.has_retained_due() {
            return Ok(());
        }
        // Nobody else has the session before what the hook lets this client have is handed over.
        let _turn = attachment.session.turn();
        let (mut due, room) = {
            let mut state = attachment.lock()?;
            let room = state.outbox.room(&core.limits).min(RETAINED_CHUNK);
            let next =
                if room == 0 { None } else { state.seldom.change_if_any(|parts| parts.retained_due.take()) };
            let Some(due) = next else { return Ok(()) };
            (due, room)
        };
        let had_room = hand_over_chunk(core, attachment, now, &mut due, room, burst);
        if !due.scan.is_finished() && attachment.session.subscriptions.lock().contains(&due.filter) {
            keep_due(attachment, due);
        }
        if !had_room {
            return Ok(()); // Something is on its way out then, and this is called again behind it.
        }
    }
    waker.wake_by_ref();
    Ok(())
}

/// Hands the next few messages of a look-up over; `false` if one of them finds no room, and then the look-up goes on with that one.
fn hand_over_chunk(
    core: &Core,
    attachment: &Attachment,
    now: Instant,
    due: &mut Lookup,
    room: usize,
    burst: &mut Burst<'_>,
) -> bool {
    let begun_at = due.scan.clone();
    let mut last = None;
    for (topic, message) in core.next_retained(now, &mut due.scan, room) {
        // [MQTT-3.3.1-6] [MQTT-3.3.1-8] [MQTT-3.8.4-6]
        let qos = message.qos().min(due.granted);
        // Before the store hears of it: there may be very many that this client may not have.
        if let Some(reason) = never_gets(core, attachment, &message, qos) {
            attachment.session.lock().lose(reason, Some(now));
            core.dropped(&attachment.session.client_id, &message, reason, burst);
        } else if !core.hand_over_retained(&attachment.session, (&topic, &message), qos, now, burst) {
            let behind = |topic| RetainedScan::new_after(&due.filter, Some(topic));
            due.scan = last.as_ref().map_or(begun_at, behind);
            return false;
        }
        last = Some(topic);
    }
    true
}

/// Why a retained message is not handed over, nor will be. In the process there is no other way than the queue, and one that this has no
/// room for is treated as if it were published now; but that nobody is ended for it, who has only subscribed.
fn never_gets(core: &Core, attachment: &Attachment, message: &Message, qos: QoS) -> Option<DropReason> {
    let client = &attachment.info;
    if !Gate::new(&core.hooks, Some(client)).lets_pass(message, qos, true) {
        return Some(DropReason::Withheld);
    }
    let has_no_room = client.peer == Peer::InProcess && message.size() > core.limits.max_queued_bytes;
    has_no_room.then_some(DropReason::QueueFull)
}

/// Puts back what is still due. If this connection has lost the session or has to end, the next one delivers it.
fn keep_due(attachment: &Attachment, due: Lookup) {
    let mut state = attachment.session.lock();
    if !state.has_ended() {
        state.seldom.change(|parts| parts.retained_due.put_back(due));
    }
    drop(state);
    if attachment.check().is_err() {
        attachment.session.wake(); // The next one may be there already, and have found nothing due.
    }
}
