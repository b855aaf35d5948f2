//! [`Registry`]: from a client identifier to its session; ends and expiry.

mod attaching;
mod restoring;

use std::{
    borrow::Borrow,
    cmp,
    collections::{BTreeMap, BTreeSet, btree_map::OccupiedEntry},
    hash::{BuildHasher, RandomState},
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use parking_lot::Mutex;

pub(crate) use self::{
    attaching::{AttachRefusal, Attached},
    restoring::Restoring,
};
use super::{Detached, SessionRef, SessionState};
use crate::{close_reason::CloseReason, limits::Limits};

/// All sessions. Sharded, so that connecting clients do not wait for each other. Lock order: shard, session state, expiry.
pub(crate) struct Registry {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    sessions: AtomicUsize,
    next_serial: AtomicU64,
    /// Absent persistent sessions by the moment at which they have been absent for too long.
    expiring: Mutex<BTreeMap<(Instant, u64), SessionRef>>,
    is_closed: AtomicBool,
}

/// In the order of client identifiers, for lists. [MQTT-3.1.3-2]
type Shard = BTreeSet<ByClientId>;

/// A session, found by its client identifier, which it has itself.
struct ByClientId(SessionRef);

const SHARDS: usize = 64;

/// How far [`Registry::walk`] has come.
#[derive(Default)]
pub(crate) struct Walk {
    shard: usize,
    after: Option<Arc<str>>,
}

/// So many sessions of a shard a walk takes under one lock: some microseconds.
const WALK_STEP: usize = 64;

/// A session that is over.
pub(crate) struct Ended {
    /// The live connection that it had.
    pub(crate) detached: Option<Detached>,
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            sessions: AtomicUsize::new(0),
            next_serial: AtomicU64::new(1),
            expiring: Mutex::default(),
            is_closed: AtomicBool::new(false),
        }
    }

    /// Nobody gets a session from here on: who walks over [`Registry::all`] afterwards meets everybody that has one.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    /// An absent persistent session will end at this moment, unless its client comes back.
    pub(crate) fn schedule(&self, session: &SessionRef) {
        // The client may be back already; under the lock of its state that cannot change meanwhile.
        let state = session.lock();
        if let Some(at) = state.expires_at().filter(|_| !state.has_ended()) {
            self.expiring.lock().insert((at, session.serial), session.clone());
        }
    }

    /// New sessions and Wills have numbers greater than this one, which an earlier process gave out.
    pub(crate) fn skip_serial(&self, serial: u64) {
        self.next_serial.fetch_max(serial.saturating_add(1), Ordering::Relaxed);
    }

    /// The next session that has been absent for too long, unless its client comes back before [`Registry::expire`].
    pub(crate) fn next_due(&self, now: Instant) -> Option<SessionRef> {
        let mut expiring = self.expiring.lock();
        let first = expiring.first_entry().filter(|first| first.key().0 <= now);
        first.map(OccupiedEntry::remove)
    }

    /// Ends a session if it has been absent for too long.
    pub(crate) fn expire(&self, session: &SessionRef, now: Instant, limits: &Limits) -> bool {
        self.end_if(session, limits, |state| state.has_expired(now)).is_some()
    }

    /// Ends a session, connected or not; `None` if it was replaced or over before. The router still has to forget it, and then it is to
    /// be [let go](Registry::let_go): who comes for it until then waits for its turn.
    pub(crate) fn end(&self, session: &SessionRef, limits: &Limits) -> Option<Ended> {
        self.end_if(session, limits, |_| true)
    }

    /// Takes out a session that is over.
    pub(crate) fn let_go(&self, session: &SessionRef) {
        let mut shard = self.shard(&session.client_id).lock();
        if shard.get(&*session.client_id).is_some_and(|current| current.0.is(session)) {
            shard.remove(&*session.client_id);
            self.sessions.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn get(&self, client_id: &str) -> Option<SessionRef> {
        self.shard(client_id).lock().get(client_id).map(|found| found.0.clone())
    }

    pub(crate) fn len(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    /// All sessions, in no order.
    pub(crate) fn all(&self) -> Vec<SessionRef> {
        self.in_parts().flatten().collect()
    }

    /// The same in parts, for work that others need not wait for.
    pub(crate) fn in_parts(&self) -> impl Iterator<Item = Vec<SessionRef>> {
        self.shards.iter().map(|shard| shard.lock().iter().map(|found| found.0.clone()).collect())
    }

    /// The next sessions of a walk over all, in no order; empty at its end. Who is there all the time is met once, whoever comes
    /// and goes: a client identifier belongs to one shard, and has its place in the order there. Costs far less than
    /// [`Registry::next_after`], which asks all shards each time.
    pub(crate) fn walk(&self, walk: &mut Walk) -> Vec<SessionRef> {
        let mut met = Vec::new();
        while let Some(shard) = self.shards.get(walk.shard).filter(|_| met.is_empty()) {
            let start = walk.after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let next = shard.lock();
            let next = next.range::<str, _>((start, Bound::Unbounded)).take(WALK_STEP);
            met.extend(next.map(|found| found.0.clone()));
            let is_over = met.len() < WALK_STEP;
            walk.after = met.last().filter(|_| !is_over).map(|session| Arc::clone(&session.client_id));
            walk.shard += usize::from(is_over);
        }
        met
    }

    /// The next sessions after a client identifier, in the order of these: about as many as asked for, at least one unless
    /// there is none. Each shard is locked for a few of them only, however many there are.
    pub(crate) fn next_after(&self, after: Option<&str>, about: usize) -> Vec<SessionRef> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let portion = about / SHARDS + 2;
        let (mut found, mut complete_to) = (Vec::new(), None::<Arc<str>>);
        for shard in &self.shards {
            let shard = shard.lock();
            let mut few = shard.range::<str, _>((start, Bound::Unbounded)).map(|found| found.0.clone());
            found.extend(few.by_ref().take(portion));
            // Beyond the last one that was taken this shard has more, which come before what others have there.
            if few.next().is_some() {
                let last = found.last().map(|session: &SessionRef| Arc::clone(&session.client_id));
                complete_to = complete_to.into_iter().chain(last).min();
            }
        }
        found.retain(|session| complete_to.as_ref().is_none_or(|end| session.client_id <= *end));
        found.sort_unstable_by(|a, b| a.client_id.cmp(&b.client_id));
        found
    }

    fn end_if(
        &self,
        session: &SessionRef,
        limits: &Limits,
        condition: impl Fn(&SessionState) -> bool,
    ) -> Option<Ended> {
        let shard = self.shard(&session.client_id).lock();
        let is_current = shard.get(&*session.client_id).is_some_and(|current| current.0.is(session));
        let may_end = |state: &SessionState| !state.has_ended() && condition(state);
        if !is_current || !may_end(&session.lock()) {
            return None;
        }
        let detached = session.end(CloseReason::Kicked, limits);
        self.unschedule(session);
        drop(shard); // A waker is somebody else's: it may ask for what is locked here.
        if let Some(waker) = detached.as_ref().and_then(|detached| detached.waker.as_ref()) {
            waker.wake_by_ref();
        }
        Some(Ended { detached })
    }

    /// A session that ends does so before this: from its end on nobody schedules it again.
    fn unschedule(&self, session: &SessionRef) {
        let state = session.lock();
        if let Some(at) = state.expires_at() {
            self.expiring.lock().remove(&(at, session.serial));
        }
    }

    fn next_serial(&self) -> u64 {
        self.next_serial.fetch_add(1, Ordering::Relaxed)
    }

    fn shard(&self, client_id: &str) -> &Mutex<Shard> {
        &self.shards[self.shard_of(client_id)]
    }

    fn shard_of(&self, client_id: &str) -> usize {
        self.hasher.hash_one(client_id) as usize % SHARDS
    }
}

impl Borrow<str> for ByClientId {
    fn borrow(&self) -> &str {
        &self.0.client_id
    }
}

impl PartialEq for ByClientId {
    fn eq(&self, other: &Self) -> bool {
        self.0.client_id == other.0.client_id
    }
}

impl Eq for ByClientId {}

impl PartialOrd for ByClientId {
    fn partial_cmp(&self, other: &Self) -> Option<cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByClientId {
    fn cmp(&self, other: &Self) -> cmp::Ordering {
        self.0.client_id.cmp(&other.0.client_id)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use super::*;
    use crate::{
        client::{ClientInfo, Peer},
        durability::Durability,
        hooks::HookSet,
        net,
        session::Attachment,
    };

    fn info() -> ClientInfo {
        ClientInfo {
            client_id: "a".into(),
            user_name: None,
            peer: Peer::Inet(([127, 0, 0, 1], 1883).into()),
            listener: None,
            clean_session: false,
            keep_alive_secs: 0,
            connected_at: net::now(),
            attached: crate::client::Attached::default(),
        }
    }

    fn attach(registry: &Registry, limits: &Limits) -> Attachment {
        join(registry, info(), limits)
    }

    fn join(registry: &Registry, info: ClientInfo, limits: &Limits) -> Attachment {
        let (hooks, durability) = (HookSet::default(), Durability::default());
        let attached =
            registry.attach(&Arc::new(info), None, limits, &hooks, &durability, |attached| attached);
        attached.unwrap().attachment
    }

    fn remove(registry: &Registry, session: &SessionRef, limits: &Limits) {
        assert!(registry.end(session, limits).is_some());
        registry.let_go(session);
    }

    /// Each is found once and in order, in chunks of any size, while others come and go.
    #[test]
    fn sessions_are_listed_in_chunks_that_miss_none() {
        let (registry, limits) = (Registry::new(), Limits::default());
        let join =
            |name: String| join(&registry, ClientInfo { client_id: name.into(), ..info() }, &limits).session;
        for n in 0..1_000 {
            join(format!("stays/{n:04}"));
        }
        for about in [1, 7, 500, 5_000] {
            let comers: Vec<_> = (0..300).map(|n| join(format!("stays/{:04}/goes", n * 3))).collect();
            let (mut after, mut found, mut leaving) = (None::<Arc<str>>, Vec::new(), comers.iter());
            loop {
                let next = registry.next_after(after.as_deref(), about);
                let Some(last) = next.last() else { break };
                assert!(next.len() <= about + 3 * SHARDS, "{}", next.len());
                after = Some(Arc::clone(&last.client_id));
                found.extend(next.iter().map(|session| session.client_id.to_string()));
                if let Some(session) = leaving.next() {
                    remove(&registry, session, &limits);
                }
            }
            assert!(found.is_sorted());
            found.retain(|name| !name.ends_with("goes"));
            assert!(found.into_iter().eq((0..1_000).map(|n| format!("stays/{n:04}"))), "{about}");
            leaving.for_each(|session| remove(&registry, session, &limits));
        }
    }

    /// The same without the order, and with more sessions than a walk takes at a time.
    #[test]
    fn a_walk_meets_each_session_that_stays_once() {
        let (registry, limits) = (Registry::new(), Limits::default());
        let join =
            |name: String| join(&registry, ClientInfo { client_id: name.into(), ..info() }, &limits).session;
        let stays = 3 * WALK_STEP * SHARDS;
        for n in 0..stays {
            join(format!("stays/{n:05}"));
        }
        let goers: Vec<_> = (0..300).map(|n| join(format!("stays/{:05}/goes", n * 3))).collect();
        let (mut walk, mut met, mut leaving) = (Walk::default(), Vec::new(), goers.iter());
        loop {
            let next = registry.walk(&mut walk);
            if next.is_empty() {
                break;
            }
            assert!(next.len() <= WALK_STEP, "{}", next.len());
            met.extend(next.iter().map(|session| session.client_id.to_string()));
            if let Some(session) = leaving.next() {
                remove(&registry, session, &limits);
            }
            join(format!("comes/{}", met.len()));
        }
        met.retain(|name| name.starts_with("stays") && !name.ends_with("goes"));
        met.sort_unstable();
        assert!(met.into_iter().eq((0..stays).map(|n| format!("stays/{n:05}"))));
        assert!(registry.walk(&mut walk).is_empty());
    }

    /// Between the look at the clock and the end of the session: it had its whole time before it again, and ended.
    #[test]
    fn who_comes_back_for_a_moment_just_when_the_session_is_due_keeps_it() {
        let (registry, limits) = (Registry::new(), Limits::default());
        let start = net::now();
        let later = start + limits.session_expiry.unwrap();
        let leave = |attachment: &Attachment, at| {
            attachment.release(at, &limits, &Durability::default(), false).unwrap();
            registry.schedule(&attachment.session);
        };
        leave(&attach(&registry, &limits), start);
        assert!(registry.next_due(start).is_none());
        let due = registry.next_due(later).unwrap();
        leave(&attach(&registry, &limits), later);
        assert!(!registry.expire(&due, later, &limits));
        let at_last = later + limits.session_expiry.unwrap();
        let due = registry.next_due(at_last).unwrap();
        assert!(registry.expire(&due, at_last, &limits));
        registry.let_go(&due);
        assert_eq!(registry.len(), 0);
    }

    /// Its shard was locked: one that asks for the session would have waited for itself.
    #[test]
    fn who_is_woken_by_the_end_of_a_session_may_ask_for_it() {
        struct Asks(Arc<Registry>, AtomicUsize);
        impl Wake for Asks {
            fn wake(self: Arc<Self>) {
                self.1.fetch_add(usize::from(self.0.shard("a").try_lock().is_some()), Ordering::Relaxed);
            }
        }
        let (registry, limits) = (Arc::new(Registry::new()), Limits::default());
        let session = attach(&registry, &limits).session;
        let asks = Arc::new(Asks(Arc::clone(&registry), AtomicUsize::new(0)));
        session.lock().outbox.keep_waker(&Arc::clone(&asks).into());
        assert!(registry.end(&session, &limits).is_some());
        assert_eq!(asks.1.load(Ordering::Relaxed), 1);
    }

    /// Removed between the end of its connection and its place among those that expire: it stayed there for a week.
    #[test]
    fn a_session_that_has_ended_is_not_kept_for_its_expiry() {
        let (registry, limits) = (Registry::new(), Limits::default());
        let attachment = attach(&registry, &limits);
        attachment.release(net::now(), &limits, &Durability::default(), false).unwrap();
        remove(&registry, &attachment.session, &limits);
        registry.schedule(&attachment.session);
        assert!(registry.expiring.lock().is_empty());
    }
}
