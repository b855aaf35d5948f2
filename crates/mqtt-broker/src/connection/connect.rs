//! CONNECT: who is there, whose session it is, and the CONNACK (3.1, 3.2).

use std::{sync::Arc, time::Instant};

use mqtt_codec::{Connack, Connect, ConnectRefusal, DecodeError, Frame, PacketType};

use super::{
    Connection, owned_body,
    phase::{Open, Phase, Retry, Terms},
    publish_rate::PublishRate,
};
use crate::{
    admission::{RefusalReason, UserPlace},
    burst::Burst,
    client::{ClientInfo, Peer},
    close_reason::CloseReason,
    core::Core,
    counters::Authentication,
    event::{Event, SessionEnd},
    hooks::{ConnectDecision, ConnectRequest, HookFuture, survive},
    limits::Limits,
    message::Message,
    session::{Attached, Detached},
    store::Mark,
    trace::Traced,
};

/// A CONNECT that a hook decides about.
pub(crate) struct Pending {
    pub(super) question: Option<HookFuture<ConnectDecision>>,
    info: Arc<ClientInfo>,
    will: Option<Message>,
    pub(super) bytes_received: u64,
}

impl Connection {
    pub(super) fn handle_connect(
        &mut self,
        now: Instant,
        peer: Peer,
        certificate_user_name: Option<Arc<str>>,
        frame: &Frame<'_>,
        burst: &mut Burst<'_>,
    ) -> Result<(), CloseReason> {
        let connect = match Connect::decode(&owned_body(frame)) {
            Ok(connect) => connect,
            // [MQTT-3.1.2-2]; anything else that is wrong gets no CONNACK [MQTT-3.1.4-1] [MQTT-3.2.2-6].
            Err(DecodeError::UnsupportedProtocolLevel(_)) => {
                return Err(self.refuse(ConnectRefusal::UnacceptableProtocolVersion, burst));
            }
            Err(error) => return Err(error.into()),
        };
        if connect.client_id.as_bytes().is_empty() && !connect.clean_session {
            // [MQTT-3.1.3-8] [MQTT-3.1.3-9]
            return Err(self.refuse(ConnectRefusal::IdentifierRejected, burst));
        }
        if let Some(reason) = too_long(&connect, self.limits()) {
            // Its line, unlike those of others, tells nothing that the client has chosen.
            tracing::debug!(%peer, listener = self.place.entrance.name.as_deref(), %reason, "refused");
            burst.totals.refused(reason);
            return Err(self.refuse(reason.return_code(), burst));
        }
        if let Some(will) = &connect.will {
            self.place.core.limits.check_topic(will.topic.as_str())?;
        }
        let info = Arc::new(self.client_info(now, peer, certificate_user_name.as_ref(), &connect));
        let will = connect
            .will
            .as_ref()
            .map(|will| Message::from_parts(will.topic.as_bytes(), &will.message, will.qos, will.retain));
        if self.place.core.admission.forbids(now, &info) {
            return Err(self.turn_away(&info, RefusalReason::Banned, burst));
        }
        let Some(hook) = &self.place.core.hooks.on_connect else {
            return self.accept(now, info, None, will, burst);
        };
        let request = ConnectRequest {
            client: Arc::clone(&info),
            password: connect.credentials.and_then(|credentials| credentials.password),
            will: will.clone(),
            certificate_user_name,
        };
        let Some(question) = survive("on_connect", || hook(request)) else {
            burst.totals.authentication(Authentication::Failed);
            return Err(CloseReason::HookFailed);
        };
        let (question, bytes_received) = (Some(question), self.phase.bytes_received());
        self.phase = Phase::Authenticating(Box::new(Pending { question, info, will, bytes_received }));
        Ok(())
    }

    pub(super) fn connect_decided(
        &mut self,
        now: Instant,
        decision: ConnectDecision,
        burst: &mut Burst<'_>,
    ) -> Result<(), CloseReason> {
        let Phase::Authenticating(pending) = &mut self.phase else { return Err(CloseReason::Internal) };
        let (info, will) = (Arc::clone(&pending.info), pending.will.take());
        burst.totals.authentication(match decision {
            ConnectDecision::Refuse(_) => Authentication::Refused,
            _ => Authentication::Accepted,
        });
        match decision {
            ConnectDecision::Accept => self.accept(now, info, None, will, burst),
            ConnectDecision::AcceptAs(admission) => {
                let (info, ends_at) = admission.admit(&info);
                self.accept(now, Arc::new(info), ends_at, will, burst)
            }
            ConnectDecision::Refuse(refusal) => Err(self.refuse(refusal, burst)), // [MQTT-3.1.4-5]
        }
    }

    fn accept(
        &mut self,
        now: Instant,
        info: Arc<ClientInfo>,
        ends_at: Option<Instant>,
        will: Option<Message>,
        burst: &mut Burst<'_>,
    ) -> Result<(), CloseReason> {
        let user_place = match self.admit(now, &info) {
            Ok(place) => place,
            Err(reason) => return Err(self.turn_away(&info, reason, burst)),
        };
        let core = Arc::clone(&self.place.core);
        let Core { limits, hooks, durability, .. } = &*core;
        let opened = core.sessions.attach(&info, will, limits, hooks, durability, |attached| {
            self.open_with(now, attached, user_place, ends_at, burst)
        });
        opened.unwrap_or_else(|refusal| Err(self.turn_away(&info, refusal.into(), burst)))
    }

    /// The session is this connection's. Nobody else has it before it is open.
    fn open_with(
        &mut self,
        now: Instant,
        attached: Attached,
        user_place: Option<UserPlace>,
        ends_at: Option<Instant>,
        burst: &mut Burst<'_>,
    ) -> Result<(), CloseReason> {
        let info = Arc::clone(&attached.attachment.info);
        if self.place.core.admission.forbids(now, &info) {
            // Banned in this very moment: whoever did it may not have found the session yet.
            attached.attachment.session.close_connection_of(&info, CloseReason::Banned);
        }
        let settled = self.settle_earlier(now, &attached, burst);
        let mark = attached.mark.max(settled);
        self.hold_until(mark);
        // Not by the attachment's own lock: others may have told this connection to end already. Then it does so as one
        // that has the session, and gives it back.
        let mut state = attached.attachment.session.lock();
        state.outbox.hold_until(mark);
        state.traffic.bytes_received += self.phase.bytes_received();
        drop(state);
        // [MQTT-3.1.4-4] [MQTT-3.2.0-1] [MQTT-3.2.2-1] [MQTT-3.2.2-2] [MQTT-3.2.2-3]
        let session_present = attached.session_present;
        self.answer(PacketType::Connack, burst, |out| Connack::Accepted { session_present }.encode(out))?;
        self.announce(&info, session_present, burst);
        self.place.core.withheld(&info.client_id, &attached.withheld, burst);
        let terms = Terms {
            retry: self.limits().retry_interval.map(|interval| Retry::every(interval, now)),
            publish_rate: PublishRate::of(&info.client_id, &self.place.core.admission, self.limits(), now),
            user_place,
            ends_at,
        };
        let Attached { attachment, .. } = attached;
        self.phase = Phase::Open(Open {
            attachment,
            terms: terms.unless_none(),
            // What an earlier connection subscribed to, perhaps another user's, is this one's only if it may.
            rechecked: if session_present { 0 } else { self.place.core.recheck() },
            is_interrupted: true, // What came with CONNECT is handled in the session's turn.
            deciding: None,
        });
        Ok(())
    }

    /// What is known only now: what the hook took time for may have changed, so the bans are asked again.
    fn admit(&self, now: Instant, info: &ClientInfo) -> Result<Option<UserPlace>, RefusalReason> {
        let core = &self.place.core;
        if core.admission.forbids(now, info) {
            return Err(RefusalReason::Banned);
        }
        if core.admission.flaps(now, info, &core.limits) {
            return Err(RefusalReason::Flapping);
        }
        UserPlace::take(core, info, self.limits().max_connections_per_user)
    }

    /// There is no place for this client, or none any more.
    fn turn_away(&mut self, info: &ClientInfo, reason: RefusalReason, burst: &mut Burst<'_>) -> CloseReason {
        burst.totals.refused(reason);
        let (user_name, listener) = (info.user_name.as_deref(), info.listener.as_deref());
        // One line a second and reason tells of all of them.
        tracing::debug!(client_id = &*info.client_id, peer = %info.peer, user_name, listener, %reason, "refused");
        self.refuse(reason.return_code(), burst)
    }

    /// A live connection that lost its session has its Will published; a session that was discarded is forgotten.
    fn settle_earlier(&self, now: Instant, attached: &Attached, burst: &mut Burst<'_>) -> Mark {
        let core = &self.place.core;
        if let Some(detached) = &attached.taken_over {
            core.left_behind(detached, burst);
        }
        if let Some(session) = &attached.discarded {
            core.forget(session, SessionEnd::Discarded, burst);
        }
        if let Some(Detached { info, will, waker, .. }) = &attached.taken_over {
            burst.totals.sessions_taken_over.one();
            core.observe(&Event::SessionTakenOver { client_id: &info.client_id });
            burst.wake(waker.clone());
            if let Some(will) = will.clone() {
                return core.publish_will(now, info, will, Vec::new(), burst);
            }
        }
        Mark::NOTHING
    }

    fn announce(&self, info: &ClientInfo, session_present: bool, burst: &mut Burst<'_>) {
        burst.totals.connack(None);
        if self.place.core.traces.is_on() {
            self.place.core.traces.client(burst.now, info, Traced::Connected);
        }
        let (client_id, user_name) = (&*info.client_id, info.user_name.as_deref());
        let listener = info.listener.as_deref();
        tracing::info!(client_id, peer = %info.peer, user_name, listener, session_present, "connected");
        if session_present {
            burst.totals.sessions_resumed.one();
            self.place.core.observe(&Event::SessionResumed { client_id });
        } else {
            burst.totals.sessions_created.one();
            self.place.core.observe(&Event::SessionCreated { client_id });
        }
        self.place.core.observe(&Event::Connected { client: info, session_present });
    }

    /// CONNACK with a code that is not zero; the connection ends after it [MQTT-3.2.2-4] [MQTT-3.2.2-5].
    pub(super) fn refuse(&mut self, refusal: ConnectRefusal, burst: &mut Burst<'_>) -> CloseReason {
        burst.totals.connack(Some(refusal));
        let answered = self.answer(PacketType::Connack, burst, |out| Connack::Refused(refusal).encode(out));
        answered.err().unwrap_or(CloseReason::Refused(refusal))
    }

    fn client_info(
        &self,
        now: Instant,
        peer: Peer,
        certified: Option<&Arc<str>>,
        connect: &Connect,
    ) -> ClientInfo {
        let claimed = connect.credentials.as_ref().map(|credentials| &credentials.user_name);
        let client_id = if connect.client_id.as_bytes().is_empty() {
            ClientInfo::assigned_id() // [MQTT-3.1.3-6]
        } else {
            connect.client_id.as_str().into()
        };
        let keep_alive_secs = match self.limits().max_keep_alive_secs {
            Some(most) if connect.keep_alive_secs == 0 => most,
            Some(most) => connect.keep_alive_secs.min(most),
            None => connect.keep_alive_secs,
        };
        ClientInfo {
            client_id,
            user_name: certified.cloned().or_else(|| claimed.map(|user_name| user_name.as_str().into())),
            peer,
            listener: self.place.entrance.name.clone(),
            clean_session: connect.clean_session,
            keep_alive_secs,
            connected_at: now,
            attached: crate::client::Attached::default(),
        }
    }
}

/// What names a client is kept for as long as it is connected, and written into the log with each of its connections.
fn too_long(connect: &Connect, limits: &Limits) -> Option<RefusalReason> {
    if connect.client_id.as_bytes().len() > limits.max_client_id_len {
        return Some(RefusalReason::ClientIdTooLong);
    }
    let user_name = connect.credentials.as_ref().map(|credentials| &credentials.user_name);
    user_name
        .is_some_and(|user_name| user_name.as_bytes().len() > limits.max_user_name_len)
        .then_some(RefusalReason::UserNameTooLong)
}
