//! What is due by the clock and belongs to no connection: sessions, retained messages and bans expire; refusals are told.

use std::{
    mem,
    sync::atomic::Ordering,
    task::Waker,
    time::{Instant, SystemTime},
};

use super::Core;
use crate::{admission::RefusalReason, event::SessionEnd, session::Walk};

/// How many sessions or retained messages expire before others have their turn: sessions with many subscriptions sooner.
pub(super) const EXPIRED_AT_A_TIME: usize = 256;

impl Core {
    /// One moment on both clocks. If the wall clock was set meanwhile, the store is told anew since when clients are absent: the
    /// next start reckons by it. A retained message keeps the end that it was given.
    pub(crate) fn note_clocks(&self, clocks: (Instant, SystemTime)) {
        if self.durability.note_clocks(clocks) {
            tracing::info!("the wall clock was set: the store is told anew since when clients are absent");
            *self.to_date_anew.lock() = Some(Walk::default());
        }
    }

    /// A part of it; says whether there may be more. What takes no long time is done once, in the last part.
    pub(crate) fn tick(&self, now: Instant) -> bool {
        if self.expire(now) || self.date_anew() {
            return true;
        }
        self.admission.tick(now, &self.limits);
        self.routes.tidy(self.generation.load(Ordering::Acquire));
        self.tell_of_refusals();
        false
    }

    /// Tells the store of a few sessions. One that does not keep up hears of them later.
    fn date_anew(&self) -> bool {
        let mut walk = self.to_date_anew.lock();
        let Some(met) = walk.as_mut().map(|walk| self.sessions.walk(walk)) else { return false };
        for session in met.iter().filter(|session| !session.clean) {
            // Under the lock, as when a client comes or goes: the store hears of them in their order.
            let state = session.lock();
            if let Some(since) = state.absent_since() {
                self.durability.write(|| self.durability.detached(session.serial, since));
            }
        }
        if met.is_empty() {
            *walk = None;
        }
        !met.is_empty() && self.durability.keeps_up(Waker::noop())
    }

    fn expire(&self, now: Instant) -> bool {
        let mut burst = self.burst();
        for _ in 0..EXPIRED_AT_A_TIME {
            if burst.is_spent() {
                break;
            }
            let Some(session) = self.sessions.next_due(now) else {
                return self.expire_retained(now) == EXPIRED_AT_A_TIME;
            };
            let _turn = session.turn();
            if self.sessions.expire(&session, now, &self.limits) {
                self.forget(&session, SessionEnd::Expired, &mut burst);
                self.durability.append(self.end_record(&session));
                self.sessions.let_go(&session);
            }
        }
        true
    }

    /// One line a second and reason, however many were refused: a flood must not become one of the log.
    fn tell_of_refusals(&self) {
        let counts = self.counters.snapshot();
        let told = mem::replace(&mut *self.told.lock(), counts.clone());
        for &reason in RefusalReason::ALL {
            // Two may look at the same time, and the later one come first.
            let more = counts.refused_for(reason).saturating_sub(told.refused_for(reason));
            if more > 0 {
                tracing::warn!(connections = more, reason = reason.as_str(), "refused: {reason}");
            }
        }
    }
}

#[cfg(all(test, not(gmqtt_loom)))]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{
        client::{Attached, ClientInfo, Peer},
        durability::Durability,
        hooks::HookSet,
        limits::Limits,
        net,
        store::{MemoryStore, Record, Store},
    };

    /// A start after the clock was set took who had left a moment ago for absent for years.
    #[test]
    fn who_is_absent_is_so_by_the_clock_as_it_was_set() {
        let (store, start, hour) = (MemoryStore::default(), net::now(), Duration::from_hours(1));
        let durability = Durability::on(Arc::new(store.clone()), (start, SystemTime::UNIX_EPOCH));
        let core = Core::new(Limits::default(), HookSet::default(), Vec::new(), durability, start);
        let attach = |client_id: &str| {
            let info = ClientInfo {
                client_id: client_id.into(),
                user_name: None,
                peer: Peer::Unknown,
                listener: None,
                clean_session: false,
                keep_alive_secs: 0,
                connected_at: start,
                attached: Attached::default(),
            };
            let Core { sessions, limits, hooks, durability, .. } = &*core;
            let attached =
                sessions.attach(&Arc::new(info), None, limits, hooks, durability, |new| new.attachment);
            attached.unwrap()
        };
        let [_connected, absent, leaves] = ["connected", "absent", "leaves"].map(attach);
        let leave = |client: crate::session::Attachment, at| {
            client.release(at, &core.limits, &core.durability, true).unwrap();
        };
        leave(absent, start);
        core.note_clocks((start + hour, SystemTime::UNIX_EPOCH + 9 * hour));
        while core.tick(start) {}
        leave(leaves, start + 2 * hour);
        let mut detached = Vec::new();
        let told = store.recover(&mut |record| {
            if let Record::SessionDetached { session, at } = record {
                detached.push((session, at.duration_since(SystemTime::UNIX_EPOCH).unwrap()));
            }
        });
        told.unwrap();
        assert_eq!(detached, [(2, 8 * hour), (3, 10 * hour)]);
    }
}
