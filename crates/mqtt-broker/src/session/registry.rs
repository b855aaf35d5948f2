//! [`Registry`]: from a client identifier to its session; take-over and expiry.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{Attachment, Detached, Session, SessionRef, SessionState};
use crate::{
    client::ClientInfo,
    close_reason::CloseReason,
    durability::Durability,
    limits::Limits,
    message::Message,
    store::{Journal, Mark, Record, SessionKey},
};

/// All sessions. Sharded, so that connecting clients do not wait for each other. Lock order: shard, session state, expiry.
pub(crate) struct Registry {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    sessions: AtomicUsize,
    next_serial: AtomicU64,
    /// Absent persistent sessions by the moment at which they have been absent for too long.
    expiring: Mutex<BTreeMap<(Instant, u64), SessionRef>>,
}

/// [MQTT-3.1.3-2]
type Shard = HashMap<Arc<str>, SessionRef>;

const SHARDS: usize = 64;

/// The outcome of a CONNECT.
pub(crate) struct Attached {
    pub(crate) attachment: Attachment,
    /// An earlier session goes on [MQTT-3.2.2-2] [MQTT-3.2.2-3].
    pub(crate) session_present: bool,
    /// A live connection that lost its session to this one.
    pub(crate) taken_over: Option<Detached>,
    /// An earlier session that CleanSession ended; the router still has to forget it.
    pub(crate) discarded: Option<SessionRef>,
    /// When all of that survives.
    pub(crate) mark: Mark,
}

/// A session of an earlier process.
pub(crate) struct Restored {
    pub(crate) session: SessionRef,
    /// An older one of the same client: the process ended just when a CONNECT had discarded it.
    pub(crate) earlier: Option<SessionRef>,
}

/// A session that is no longer in the registry.
pub(crate) struct Removed {
    /// The live connection that it had.
    pub(crate) detached: Option<Detached>,
}

/// A new session would be one too many.
#[derive(Debug)]
pub(crate) struct TooManySessions;

impl Registry {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            sessions: AtomicUsize::new(0),
            next_serial: AtomicU64::new(1),
            expiring: Mutex::default(),
        }
    }

    /// Finds or makes the session for this CONNECT, and gives it to the new connection.
    pub(crate) fn attach(
        &self,
        info: &Arc<ClientInfo>,
        will: Option<Message>,
        limits: &Limits,
        durability: &Durability,
    ) -> Result<Attached, TooManySessions> {
        let mut shard = self.shard(&info.client_id).lock();
        let earlier = shard.get(&info.client_id).cloned();
        // [MQTT-3.1.2-4] [MQTT-3.1.2-6] [MQTT-3.1.4-3]
        if let Some(session) = earlier.as_ref().filter(|session| !info.clean_session && !session.clean) {
            self.unschedule(session);
            let mark = if durability.is_on() {
                let attached = Record::SessionAttached { session: session.serial };
                durability.append(vec![attached, will_record(session.serial, info, will.as_ref())])
            } else {
                Mark::NOTHING
            };
            let (attachment, taken_over) = session.attach(Arc::clone(info), will, limits);
            return Ok(Attached { attachment, session_present: true, taken_over, discarded: None, mark });
        }
        if earlier.is_none() {
            self.reserve(limits.max_sessions)?;
        }
        let serial = self.next_serial.fetch_add(1, Ordering::Relaxed);
        let session =
            SessionRef(Arc::new(Session::new(serial, Arc::clone(&info.client_id), info.clean_session)));
        let mark = if durability.is_on() {
            durability.append(start_records(&session, info, will.as_ref()))
        } else {
            Mark::NOTHING
        };
        session.lock().outbox.set_journal(durability.journal(serial, info.clean_session));
        let (attachment, _) = session.attach(Arc::clone(info), will, limits);
        shard.insert(Arc::clone(&info.client_id), session);
        if let Some(earlier) = &earlier {
            self.unschedule(earlier);
        }
        let taken_over = earlier.as_ref().and_then(|earlier| earlier.end(CloseReason::TakenOver, limits));
        Ok(Attached { attachment, session_present: false, taken_over, discarded: earlier, mark })
    }

    /// An absent persistent session will end at this moment, unless its client comes back.
    pub(crate) fn schedule(&self, session: &SessionRef) {
        // The client may be back already; under the lock of its state that cannot change meanwhile.
        let state = session.lock();
        if let Some(at) = state.expires_at {
            self.expiring.lock().insert((at, session.serial), session.clone());
        }
    }

    /// Puts a persistent session back that an earlier process had, with its key.
    pub(crate) fn restore(&self, serial: SessionKey, client_id: Arc<str>, journal: Journal) -> Restored {
        self.next_serial.fetch_max(serial + 1, Ordering::Relaxed);
        let session = SessionRef(Arc::new(Session::new(serial, Arc::clone(&client_id), false)));
        session.lock().outbox.set_journal(journal);
        let earlier = self.shard(&client_id).lock().insert(client_id, session.clone());
        if earlier.is_none() {
            self.sessions.fetch_add(1, Ordering::Relaxed);
        }
        Restored { session, earlier }
    }

    /// A restored session has no client, and has had none for so long.
    pub(crate) fn restore_absence(&self, session: &SessionRef, now: Instant, age: Duration, limits: &Limits) {
        let left = limits.session_expiry.map(|expiry| expiry.saturating_sub(age));
        session.lock().expires_at = left.and_then(|left| now.checked_add(left));
        self.schedule(session);
    }

    /// Takes out the sessions that have been absent for too long; the router still has to forget them.
    pub(crate) fn expire(&self, now: Instant, limits: &Limits) -> Vec<SessionRef> {
        let due = {
            let mut expiring = self.expiring.lock();
            let later = expiring.split_off(&(now, u64::MAX));
            std::mem::replace(&mut *expiring, later)
        };
        due.into_values()
            .filter(|session| self.remove_if(session, limits, |state| state.has_expired(now)).is_some())
            .collect()
    }

    /// Takes a session out, connected or not; `None` if it was replaced or taken out before.
    pub(crate) fn remove(&self, session: &SessionRef, limits: &Limits) -> Option<Removed> {
        self.remove_if(session, limits, |_| true)
    }

    pub(crate) fn get(&self, client_id: &str) -> Option<SessionRef> {
        self.shard(client_id).lock().get(client_id).cloned()
    }

    pub(crate) fn len(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    /// All sessions, in no order.
    pub(crate) fn all(&self) -> Vec<SessionRef> {
        self.shards.iter().flat_map(|shard| shard.lock().values().cloned().collect::<Vec<_>>()).collect()
    }

    fn remove_if(
        &self,
        session: &SessionRef,
        limits: &Limits,
        condition: impl Fn(&SessionState) -> bool,
    ) -> Option<Removed> {
        let mut shard = self.shard(&session.client_id).lock();
        let is_current = shard.get(&session.client_id).is_some_and(|current| current.is(session));
        if !is_current || !condition(&session.lock()) {
            return None;
        }
        shard.remove(&session.client_id);
        self.sessions.fetch_sub(1, Ordering::Relaxed);
        self.unschedule(session);
        let detached = session.end(CloseReason::Kicked, limits);
        if let Some(waker) = detached.as_ref().and_then(|detached| detached.waker.as_ref()) {
            waker.wake_by_ref();
        }
        Some(Removed { detached })
    }

    fn unschedule(&self, session: &SessionRef) {
        let state = session.lock();
        if let Some(at) = state.expires_at {
            self.expiring.lock().remove(&(at, session.serial));
        }
    }

    fn reserve(&self, max_sessions: usize) -> Result<(), TooManySessions> {
        let grown = |sessions| (sessions < max_sessions).then_some(sessions + 1);
        match self.sessions.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown) {
            Ok(_) => Ok(()),
            Err(_) => Err(TooManySessions),
        }
    }

    fn shard(&self, client_id: &str) -> &Mutex<Shard> {
        &self.shards[self.hasher.hash_one(client_id) as usize % SHARDS]
    }
}

/// A clean session writes nothing, unless it has a Will.
fn start_records(session: &Session, info: &ClientInfo, will: Option<&Message>) -> Vec<Record> {
    let mut group = Vec::new();
    if !session.clean {
        group.push(Record::SessionStarted {
            session: session.serial,
            client_id: Arc::clone(&session.client_id),
        });
    }
    if will.is_some() {
        group.push(will_record(session.serial, info, will));
    }
    group
}

fn will_record(session: SessionKey, info: &ClientInfo, will: Option<&Message>) -> Record {
    match will {
        Some(will) => Record::WillSet { session, client_id: Arc::clone(&info.client_id), will: will.clone() },
        None => Record::WillCleared { session },
    }
}
