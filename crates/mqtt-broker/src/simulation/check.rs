//! The invariants that the broker's own state must keep, after each step, at rest, and at the end.
//!
//! What must reach the clients is the oracle's affair.

use mqtt_codec::TopicFilter;
use mqtt_router::RetainedScan;

use super::{
    client::Client,
    oracle::mark_of,
    plan::is_roomy,
    task::Task,
    world::{Record, World},
};
use crate::{
    close_reason::CloseReason,
    event::DropReason,
    limits::{Limits, QueueFullPolicy},
    session::SessionState,
};

/// A PUBLISH is at most so much longer than its payload, with the topics of a world.
const LONGEST_HEAD: usize = 20;

impl World {
    /// After each step: every task that could go on has gone on.
    pub(super) fn check(&mut self) -> Result<(), String> {
        let failure = self.oracle.lock().failure.take();
        failure.map_or(Ok(()), Err)?;
        self.check_connections()?;
        for number in 0..self.clients.len() {
            self.check_session(number).map_err(|why| format!("{}: {why}", self.clients[number].0.name))?;
        }
        let oracle = self.oracle.lock();
        let (sessions, subscriptions) = (self.core.sessions.len(), self.core.subscriptions_len());
        if (sessions, subscriptions) != (oracle.sessions_kept(), oracle.subscriptions_kept()) {
            return Err(format!("there are {sessions} sessions and {subscriptions} subscriptions"));
        }
        drop(oracle);
        if self.rng.chance(50) { self.check_retained() } else { Ok(()) }
    }

    /// A client has one connection that is open, and an end has a reason that the world knows of.
    fn check_connections(&mut self) -> Result<(), String> {
        let mut open = vec![None; self.clients.len()];
        for (number, record) in self.records.iter().enumerate() {
            if let Some(reason) = &record.ended {
                if !self.is_explained(record, reason) {
                    return Err(format!("connection {number} was ended for no reason: {reason}"));
                }
            } else if self.tasks[number].as_ref().is_some_and(Task::is_open) {
                if let Some(other) = open[record.client].replace(number) {
                    return Err(format!("connections {other} and {number} are of one client, and both open"));
                }
                if record.is_kicked {
                    return Err(format!("connection {number} was to be closed, and is open"));
                }
            }
        }
        Ok(())
    }

    fn is_explained(&self, record: &Record, reason: &CloseReason) -> bool {
        match reason {
            CloseReason::Disconnected => record.has_sent_disconnect,
            CloseReason::Kicked => record.is_kicked,
            CloseReason::SlowConsumer => {
                !is_roomy(&self.plan.limits) && self.plan.limits.queue_full == QueueFullPolicy::Disconnect
            }
            CloseReason::Hook | CloseReason::HookFailed => self.plan.marks,
            CloseReason::TakenOver => {
                self.records.iter().filter(|other| other.client == record.client).count() > 1
            }
            CloseReason::ConnectionLost
            | CloseReason::KeepAliveTimeout
            | CloseReason::ConnectTimeout
            | CloseReason::Shutdown => true,
            _ => false,
        }
    }

    /// Limits are kept, and nothing waits that could go.
    fn check_session(&self, number: usize) -> Result<(), String> {
        let Some(session) = self.core.sessions.get(&self.clients[number].0.name) else { return Ok(()) };
        let state = session.lock();
        let limits = &self.plan.limits;
        check_limits(&state, limits, self.plan.longest_payload)?;
        let owner = self.records.iter().zip(&self.tasks).rev().find_map(|(record, task)| {
            task.as_ref().filter(|task| record.client == number && task.is_open())
        });
        if owner.is_some() != state.is_connected() {
            return Err("the session does not know whether it has a connection".into());
        }
        // What is held for the store: then the task looks again when it is let go.
        if owner.is_none_or(|task| !task.has_written_all() || task.holds_messages()) {
            return Ok(());
        }
        if state.outbox.can_move(limits, &self.core.durability) {
            return Err("a message waits, and could go".into());
        }
        let is_held = state.outbox.pending_bytes() > 0; // For the store: then the task looks again when it is let go.
        if !is_held && state.has_retained_due() && state.outbox.room(limits) > 0 {
            return Err("retained messages wait, and could go".into());
        }
        Ok(())
    }

    /// [MQTT-3.3.1-5] [MQTT-3.3.1-7] [MQTT-3.3.1-10] [MQTT-3.3.1-11]
    fn check_retained(&self) -> Result<(), String> {
        let mut stored = std::collections::BTreeMap::new();
        for filter in ["#", "$x/#"] {
            let mut scan = RetainedScan::new(&TopicFilter::try_from(filter).unwrap());
            while !scan.is_finished() {
                let chunk = self.core.next_retained(self.instant(), &mut scan, 100);
                let marked = |(topic, message): (mqtt_codec::TopicName, crate::message::Message)| {
                    (topic.as_str().to_owned(), mark_of(message.payload()).unwrap_or_default())
                };
                stored.extend(chunk.into_iter().map(marked));
            }
        }
        let oracle = self.oracle.lock();
        if stored == *oracle.retained() {
            return Ok(());
        }
        Err(format!("retained are {stored:x?}, and not {:x?}", oracle.retained()))
    }

    /// Who is not connected, or has something to send, to answer or to read; nobody when the world is at rest.
    pub(super) fn unrest(&self) -> Vec<String> {
        let is_at_rest = |client: &Client| {
            client.is_at_rest()
                && client.link.is_some_and(|link| {
                    self.links[link].to_client.is_empty() && self.links[link].to_broker.is_empty()
                })
        };
        let restless = self.clients.iter().filter(|(client, _)| !is_at_rest(client));
        let store = self.store.as_ref().filter(|store| store.is_busy()).map(|_| "the store".to_owned());
        restless.map(|(client, _)| client.to_string()).chain(store).collect()
    }

    pub(super) fn check_rest(&mut self) -> Result<(), String> {
        let failure = self.oracle.lock().failure.take();
        failure.map_or(Ok(()), Err)?;
        for (client, _) in &self.clients {
            let Some(session) = self.core.sessions.get(&client.name) else {
                return Err(format!("{} has no session", client.name));
            };
            let state = session.lock();
            let waiting = (state.outbox.inflight_messages(), state.outbox.queued_messages());
            if waiting != (0, 0) || state.unreleased_messages() != 0 {
                return Err(format!("{} is at rest, and (inflight, queued) are {waiting:?}", client.name));
            }
        }
        self.check_retained()?;
        let counts = self.core.counters.snapshot();
        let dropped =
            counts.dropped_for(DropReason::QueueFull) + counts.dropped_for(DropReason::Qos0WhileAbsent);
        let told = self.oracle.lock().stats.dropped;
        if dropped != told {
            return Err(format!("{dropped} messages were counted as dropped, {told} told"));
        }
        Ok(())
    }

    /// All connections end; each Will was published once, or not at all after a DISCONNECT. [MQTT-3.1.2-8]
    pub(super) fn shut_down(&mut self) -> Result<(), String> {
        for session in self.core.sessions.all() {
            session.close(CloseReason::Shutdown);
        }
        self.run_tasks()?;
        let open = self.tasks.iter().flatten().filter(|task| task.is_open()).count();
        if open > 0 {
            return Err(format!("{open} connections are open after the shutdown"));
        }
        let oracle = self.oracle.lock();
        for (number, record) in self.records.iter().enumerate() {
            let Some(mark) = record.will else { continue };
            let is_due =
                oracle.session_of(number).is_some() && record.ended != Some(CloseReason::Disconnected);
            let published = oracle.wills_published(mark);
            if published != u32::from(is_due) {
                return Err(format!(
                    "connection {number} ended with {:?}: its Will was published {published} times",
                    record.ended
                ));
            }
        }
        Ok(())
    }
}

fn check_limits(state: &SessionState, limits: &Limits, longest_payload: usize) -> Result<(), String> {
    let outbox = &state.outbox;
    let (inflight, queued) = (outbox.inflight_messages(), outbox.queued_messages());
    if inflight > usize::from(limits.max_inflight) {
        return Err(format!("{inflight} messages are inflight"));
    }
    // What is too much may be in the store, and has to be read before it can be dropped.
    let is_over = queued > limits.max_queued_messages || outbox.queued_bytes() > limits.max_queued_bytes;
    if is_over && !outbox.waits_for_a_read() {
        return Err(format!("{queued} messages of {} bytes are queued", outbox.queued_bytes()));
    }
    let longest = longest_payload.max(40) + LONGEST_HEAD;
    // A page may be a message too long, and what came while it was read is put behind it.
    let most = 2 * (limits.queue_window_bytes + longest);
    if outbox.stored_bytes_in_memory() > most {
        let kept = outbox.stored_bytes_in_memory();
        return Err(format!("{kept} bytes are in memory that the store has, and {most} allowed"));
    }
    // One message may cross the limit, and whatever is inflight may be repeated beyond it.
    let most = limits.max_pending_bytes.saturating_add((1 + usize::from(limits.max_inflight)) * longest);
    if outbox.pending_bytes() > most {
        return Err(format!("{} bytes are pending, and {most} allowed", outbox.pending_bytes()));
    }
    Ok(())
}
