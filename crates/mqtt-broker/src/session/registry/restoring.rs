//! [`Restoring`]: the sessions of an earlier process on their way into the registry.

use std::{
    mem,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{ByClientId, Registry, SHARDS};
use crate::{
    limits::Limits,
    session::{Session, SessionRef, seldom::Absence},
    store::{Journal, SessionKey},
};

/// Puts in order at the end, at once, what would cost several times as much put in its place one by one.
pub(crate) struct Restoring<'a> {
    registry: &'a Registry,
    shards: Vec<Vec<ByClientId>>,
    expiring: Vec<((Instant, u64), SessionRef)>,
}

impl<'a> Restoring<'a> {
    pub(crate) fn new(registry: &'a Registry) -> Self {
        Self { registry, shards: (0..SHARDS).map(|_| Vec::new()).collect(), expiring: Vec::new() }
    }

    /// A persistent session, with its key.
    pub(crate) fn add(&mut self, serial: SessionKey, client_id: Arc<str>, journal: Journal) -> SessionRef {
        self.registry.skip_serial(serial);
        let shard = self.registry.shard_of(&client_id);
        let session = SessionRef::new(Session::new(serial, client_id, false));
        session.lock().outbox.set_journal(journal);
        self.shards[shard].push(ByClientId(session.clone()));
        session
    }

    /// The session has no client, and has had none for so long.
    pub(crate) fn be_absent(&mut self, session: &SessionRef, now: Instant, age: Duration, limits: &Limits) {
        let left = limits.session_expiry.map(|expiry| expiry.saturating_sub(age));
        let expires_at = left.and_then(|left| now.checked_add(left));
        session.lock().be_absent(Absence { since: now.checked_sub(age), expires_at });
        self.expiring.extend(expires_at.map(|at| ((at, session.serial), session.clone())));
    }

    /// Gives back those of which the client had another one later: the process ended just when a CONNECT had discarded them.
    pub(crate) fn finish(self) -> Vec<SessionRef> {
        let mut discarded = Vec::new();
        for (sessions, shard) in self.shards.into_iter().zip(&self.registry.shards) {
            let sessions = without_earlier(sessions, &mut discarded);
            self.registry.sessions.fetch_add(sessions.len(), Ordering::Relaxed);
            *shard.lock() = sessions.into_iter().collect();
        }
        *self.registry.expiring.lock() = self.expiring.into_iter().collect();
        discarded
    }
}

fn without_earlier(mut sessions: Vec<ByClientId>, discarded: &mut Vec<SessionRef>) -> Vec<ByClientId> {
    // Of one client's they stay in the order in which they began.
    sessions.sort();
    sessions.dedup_by(|later, kept| {
        let is_another = later == kept;
        if is_another {
            mem::swap(later, kept);
            discarded.push(later.0.clone());
        }
        is_another
    });
    sessions
}

#[cfg(all(test, not(gmqtt_loom)))]
mod tests {
    use super::*;
    use crate::net;

    #[test]
    fn the_latest_session_of_a_client_is_the_one() {
        let (registry, now, limits) = (Registry::new(), net::now(), Limits::default());
        let mut restoring = Restoring::new(&registry);
        for (serial, client_id) in [(1, "a"), (2, "b"), (4, "a"), (5, "a"), (7, "c")] {
            let session = restoring.add(serial, client_id.into(), Journal::default());
            restoring.be_absent(&session, now, Duration::from_secs(serial), &limits);
        }
        let discarded = restoring.finish();
        assert_eq!(discarded.iter().map(|session| session.serial).collect::<Vec<_>>(), [1, 4]);
        let serial_of = |client_id| registry.get(client_id).map(|session| session.serial);
        assert_eq!((serial_of("a"), serial_of("b"), serial_of("c")), (Some(5), Some(2), Some(7)));
        assert_eq!((registry.len(), registry.next_serial()), (3, 8));
    }

    #[test]
    fn who_has_been_absent_the_longest_expires_first() {
        let (registry, now, limits) = (Registry::new(), net::now(), Limits::default());
        let mut restoring = Restoring::new(&registry);
        for (serial, minutes) in [(1, 5), (2, 9), (3, 7)] {
            let session = restoring.add(serial, format!("{serial}").into(), Journal::default());
            restoring.be_absent(&session, now, Duration::from_mins(minutes), &limits);
        }
        restoring.finish();
        assert!(registry.next_due(now).is_none());
        let expiry = limits.session_expiry.unwrap();
        let due = |minutes| registry.next_due(now + expiry.saturating_sub(Duration::from_mins(minutes)));
        assert_eq!(
            [due(9), due(9), due(5), due(5)].map(|due| due.map(|due| due.serial)),
            [Some(2), None, Some(3), Some(1)]
        );
    }
}
