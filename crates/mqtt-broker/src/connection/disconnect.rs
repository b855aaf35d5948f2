//! DISCONNECT, and every other end of a connection.

use std::{mem, time::Instant};

use mqtt_codec::{Disconnect, Frame};

use super::{Connection, phase::Phase};
use crate::{
    burst::Burst,
    client::ClientInfo,
    close_reason::CloseReason,
    core::Core,
    event::{Event, SessionEnd},
    hooks::survive,
    session::Attachment,
    trace::Traced,
};

/// A DISCONNECT as the standard spells it is a reason of its own; any other is malformed and counts as a loss
/// [MQTT-3.14.1-1].
pub(super) fn reason(frame: &Frame<'_>) -> CloseReason {
    match Disconnect::decode(frame.body) {
        Ok(_) => CloseReason::Disconnected,
        Err(error) => error.into(),
    }
}

impl Connection {
    /// Ends the connection, once: gives the session back, and publishes the Will if it is due.
    pub(super) fn end(&mut self, now: Instant, reason: CloseReason, burst: &mut Burst<'_>) {
        if self.closed().is_some() {
            return;
        }
        if let Some(inbound) = &mut self.inbound {
            inbound.partial = Vec::new();
            inbound.held = None; // They are inflight, if they have to be sent again.
            inbound.routes.clear();
        }
        burst.now = Some(now);
        burst.totals.closed(&reason);
        if let Phase::Open(open) = mem::replace(&mut self.phase, Phase::Closed(reason.clone())) {
            leave(&self.place.core, &open.attachment, now, &reason, burst);
        }
    }
}

fn leave(core: &Core, attachment: &Attachment, now: Instant, reason: &CloseReason, burst: &mut Burst<'_>) {
    let session = &attachment.session;
    // Its client may be back already. It is let in when the Will is published, and not before: what it publishes is newer. Who has the
    // session no more has nothing to settle, and does not wait for whoever took it.
    let _turn = attachment.has_session().then(|| session.turn());
    // If the session was taken over, the connection that took it has published the Will already.
    // [MQTT-3.14.4-3] [MQTT-3.1.2-10] [MQTT-3.1.2-12]
    let is_orderly = *reason == CloseReason::Disconnected;
    if let Some(detached) = attachment.release(now, &core.limits, &core.durability, is_orderly) {
        core.left_behind(&detached, burst);
        // [MQTT-3.1.2-6] [MQTT-4.1.0-2]
        let is_over = session.clean && core.sessions.end(session, &core.limits).is_some();
        if is_over {
            core.forget(session, SessionEnd::Clean, burst);
        } else {
            core.sessions.schedule(session);
        }
        // [MQTT-3.1.2-8]
        if let Some(will) = detached.will {
            core.publish_will(now, &attachment.info, will, Vec::new(), burst);
        }
        if is_over {
            core.sessions.let_go(session);
        }
    }
    closed(core, &attachment.info, reason, now);
}

fn closed(core: &Core, client: &ClientInfo, reason: &CloseReason, now: Instant) {
    if core.traces.is_on() {
        core.traces.client(Some(now), client, Traced::Closed(reason.clone()));
    }
    if let Some(hook) = &core.hooks.on_close {
        survive("on_close", || hook(client, reason));
    }
    let (client_id, user_name) = (&*client.client_id, client.user_name.as_deref());
    let listener = client.listener.as_deref();
    tracing::info!(client_id, peer = %client.peer, user_name, listener, %reason, "disconnected");
    core.observe(&Event::Disconnected { client, reason });
}
