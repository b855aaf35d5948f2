//! [`Throttle`]: how often an address, and a user, may fail to prove who they are before nobody listens to them for a while.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    net::{IpAddr, Ipv6Addr},
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant},
};

use lru::LruCache;
use mqtt_broker::Peer;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// How many failed attempts are borne.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ThrottleLimits {
    /// Failed attempts a minute from one address; of IPv6, from one /64. As many may come at once; of further ones nobody hears
    /// before it is known what became of those. Default 10.
    pub failures_per_address: u32,
    /// Failed attempts a minute for one user name, from addresses where that user has not connected of late. Default 30.
    pub failures_per_user: u32,
    /// Addresses, users, and pairs of them that are remembered; the ones longest not seen are forgotten. Default 10,000.
    pub most_remembered: NonZeroUsize,
}

/// Counts failures. Its size is bounded, however many addresses and names there are.
pub(crate) struct Throttle {
    hasher: RandomState,
    tables: Mutex<Tables>,
}

/// By hashes: a user name may have 64 KiB, and who asks chooses it.
struct Tables {
    addresses: Table,
    users: Table,
    /// Where a user has proved who he is: nobody else can lock him out there.
    at_home: LruCache<u64, ()>,
}

/// Of one address, or of one user.
struct Table {
    accounts: LruCache<u64, Account>,
    a_minute: u32,
}

struct Account {
    /// When all failures will be forgotten.
    owed_until: Instant,
    /// Attempts that are under way, any of which may fail.
    trying: u32,
    /// One of them is over.
    is_over: Arc<Notify>,
}

/// Whether there is credit for one more attempt.
enum Credit {
    Enough,
    /// Unless all that are under way fail.
    Perhaps,
    None,
}

/// An attempt that is under way, until it is dropped.
pub(crate) struct Attempt<'t> {
    _address: Option<Hold<'t>>,
    _user: Option<Hold<'t>>,
}

/// A part of somebody's credit.
struct Hold<'t> {
    throttle: &'t Throttle,
    of: fn(&mut Tables) -> &mut Table,
    key: u64,
    is_over: Arc<Notify>,
}

const MINUTE: Duration = Duration::from_mins(1);
/// So many may wait for each that may be under way.
const WAITING_FOR_EACH: u32 = 64;

impl Throttle {
    pub(crate) fn new(limits: ThrottleLimits) -> Self {
        let tables = Tables {
            addresses: Table::new(limits.most_remembered, limits.failures_per_address),
            users: Table::new(limits.most_remembered, limits.failures_per_user),
            at_home: LruCache::new(limits.most_remembered),
        };
        Self { hasher: RandomState::new(), tables: Mutex::new(tables) }
    }

    /// Begins an attempt, if that may be made. Where it depends on what becomes of others, waits for that: whoever tries very often at
    /// once fails no more often than who tries again and again.
    pub(crate) async fn attempt(
        &self,
        now: Instant,
        peer: Peer,
        user_name: Option<&str>,
    ) -> Option<Attempt<'_>> {
        let address = address(peer);
        if user_name.is_some_and(|user_name| self.is_at_home(address, user_name)) {
            // Many behind one address come back at once when their broker, or their network, does.
            let mut tables = self.tables.lock();
            let may = address.is_none_or(|address| tables.addresses.has_credit(self.key(address), now));
            return may.then_some(Attempt { _address: None, _user: None });
        }
        let address = match address {
            Some(address) => Some(self.hold(|tables| &mut tables.addresses, self.key(address), now).await?),
            None => None,
        };
        let user = match user_name {
            Some(user_name) => Some(self.hold(|tables| &mut tables.users, self.key(user_name), now).await?),
            None => None,
        };
        Some(Attempt { _address: address, _user: user })
    }

    fn is_at_home(&self, address: Option<IpAddr>, user_name: &str) -> bool {
        self.tables.lock().at_home.get(&self.key((address, user_name))).is_some()
    }

    async fn hold(&self, of: fn(&mut Tables) -> &mut Table, key: u64, now: Instant) -> Option<Hold<'_>> {
        let mut awaited: Option<Arc<Notify>> = None;
        loop {
            let is_over = {
                let mut tables = self.tables.lock();
                let table = of(&mut tables);
                let most_waiting = table.a_minute.saturating_mul(WAITING_FOR_EACH) as usize;
                let account = table.accounts.get_or_insert_mut(key, || Account::new(now));
                let is_over = Arc::clone(&account.is_over);
                // The account was forgotten meanwhile: whoever else waits for it has to come here, too.
                if let Some(gone) = awaited.filter(|awaited| !Arc::ptr_eq(awaited, &is_over)) {
                    gone.notify_one();
                }
                match account.credit(table.a_minute, now) {
                    Credit::Enough => {
                        account.trying += 1;
                        return Some(Hold { throttle: self, of, key, is_over });
                    }
                    // Each of them, and each attempt, has a share in it.
                    Credit::Perhaps if Arc::strong_count(&is_over) <= most_waiting => is_over,
                    Credit::Perhaps => return None,
                    Credit::None => {
                        is_over.notify_one(); // The next one that waits will not do so in vain.
                        return None;
                    }
                }
            };
            is_over.notified().await;
            awaited = Some(is_over);
        }
    }

    pub(crate) fn failed(&self, now: Instant, peer: Peer, user_name: Option<&str>) {
        let mut tables = self.tables.lock();
        if let Some(address) = address(peer) {
            tables.addresses.charge(self.key(address), now);
        }
        if let Some(user_name) = user_name {
            tables.users.charge(self.key(user_name), now);
        }
    }

    pub(crate) fn succeeded(&self, peer: Peer, user_name: &str) {
        let key = self.key((address(peer), user_name));
        self.tables.lock().at_home.put(key, ());
    }

    fn key(&self, of: impl Hash) -> u64 {
        self.hasher.hash_one(of)
    }
}

impl Table {
    fn new(most: NonZeroUsize, a_minute: u32) -> Self {
        Self { accounts: LruCache::new(most), a_minute: a_minute.max(1) }
    }

    fn has_credit(&mut self, key: u64, now: Instant) -> bool {
        let credit = self.accounts.peek(&key).map(|account| account.credit(self.a_minute, now));
        !matches!(credit, Some(Credit::None))
    }

    /// A failure costs the time in which one is forgiven; whoever owes more than a minute has to wait.
    fn charge(&mut self, key: u64, now: Instant) {
        let account = self.accounts.get_or_insert_mut(key, || Account::new(now));
        let owed = account.owed_until.max(now);
        let grown = owed.checked_add(MINUTE / self.a_minute).unwrap_or(owed);
        // Attempts that were under way at once may all fail; the wait does not grow without end for that.
        account.owed_until = grown.min(now + 2 * MINUTE);
    }
}

impl Account {
    fn new(now: Instant) -> Self {
        Self { owed_until: now, trying: 0, is_over: Arc::default() }
    }

    fn credit(&self, a_minute: u32, now: Instant) -> Credit {
        let owed = self.owed_until.saturating_duration_since(now);
        let one = MINUTE / a_minute;
        match () {
            () if owed + one > MINUTE => Credit::None,
            () if owed + one * (self.trying + 1) > MINUTE => Credit::Perhaps,
            () => Credit::Enough,
        }
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let mut tables = self.throttle.tables.lock();
        let accounts = &mut (self.of)(&mut tables).accounts;
        // It may have been forgotten meanwhile, for others.
        if let Some(account) = accounts.peek_mut(&self.key) {
            account.trying = account.trying.saturating_sub(1);
            if account.trying == 0 && account.owed_until <= Instant::now() {
                accounts.pop(&self.key); // Who never fails takes no place of those who do.
            }
        }
        drop(tables);
        self.is_over.notify_one();
    }
}

/// Who has one IPv6 address has all of its /64. A peer on this machine or in this process has no address.
fn address(peer: Peer) -> Option<IpAddr> {
    match peer {
        Peer::Inet(address) => Some(match address.ip().to_canonical() {
            IpAddr::V6(address) => {
                let network = u128::from(address) >> 64 << 64;
                IpAddr::V6(Ipv6Addr::from(network))
            }
            v4 @ IpAddr::V4(_) => v4,
        }),
        _ => None,
    }
}

impl Default for ThrottleLimits {
    fn default() -> Self {
        Self {
            failures_per_address: 10,
            failures_per_user: 30,
            most_remembered: NonZeroUsize::new(10_000).unwrap_or(NonZeroUsize::MIN),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use super::*;

    fn peer(address: &str) -> Peer {
        Peer::Inet((address.parse::<IpAddr>().unwrap(), 1).into())
    }

    fn fail(throttle: &Throttle, times: u32, now: Instant, from: &str, user_name: &str) {
        (0..times).for_each(|_| throttle.failed(now, peer(from), Some(user_name)));
    }

    /// Whether an attempt may be made at once.
    fn may_try(throttle: &Throttle, now: Instant, peer: Peer, user_name: Option<&str>) -> bool {
        let attempt = pin!(throttle.attempt(now, peer, user_name));
        let Poll::Ready(attempt) = attempt.poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("it waits");
        };
        attempt.is_some()
    }

    #[test]
    fn an_address_that_fails_too_often_waits_and_no_other_does() {
        let (throttle, now) = (Throttle::new(ThrottleLimits::default()), Instant::now());
        let may = |at, from| may_try(&throttle, at, peer(from), Some("anna"));
        fail(&throttle, 9, now, "192.0.2.1", "x");
        assert!(may(now, "192.0.2.1"));
        fail(&throttle, 1, now, "192.0.2.1", "x");
        assert!(!may(now, "192.0.2.1") && may(now, "192.0.2.2"));
        assert!(
            !may(now + Duration::from_secs(5), "192.0.2.1") && may(now + Duration::from_secs(6), "192.0.2.1")
        );
        assert!(!may_try(&throttle, now, peer("::ffff:192.0.2.1"), None), "the same address in other words");
        fail(&throttle, 1_000_000, now, "192.0.2.1", "x");
        assert!(may(now + 3 * MINUTE, "192.0.2.1"), "it does not wait for ever");
        fail(&throttle, 10, now, "2001:db8::1", "x");
        assert!(!may(now, "2001:db8::ffff:1") && may(now, "2001:db8:0:1::1"));
    }

    #[test]
    fn a_user_is_guarded_everywhere_but_not_locked_out_where_he_is_at_home() {
        let (throttle, now) = (Throttle::new(ThrottleLimits::default()), Instant::now());
        throttle.succeeded(peer("192.0.2.200"), "anna");
        for n in 0..30 {
            fail(&throttle, 1, now, &format!("192.0.2.{n}"), "anna");
        }
        assert!(!may_try(&throttle, now, peer("192.0.2.100"), Some("anna")));
        assert!(may_try(&throttle, now, peer("192.0.2.100"), Some("berta")));
        assert!(may_try(&throttle, now, peer("192.0.2.200"), Some("anna")));
        assert!(may_try(&throttle, now + MINUTE, peer("192.0.2.100"), Some("anna")));
    }

    #[test]
    fn the_tables_do_not_grow_without_end() {
        let limits =
            ThrottleLimits { most_remembered: NonZeroUsize::new(100).unwrap(), ..Default::default() };
        let (throttle, now) = (Throttle::new(limits), Instant::now());
        for n in 0..10_000_u32 {
            let from = Peer::Inet((IpAddr::V4(n.into()), 1).into());
            throttle.failed(now, from, Some(&n.to_string()));
            throttle.succeeded(from, &n.to_string());
        }
        let tables = throttle.tables.lock();
        let len = |table: &Table| table.accounts.len();
        assert_eq!((len(&tables.addresses), len(&tables.users), tables.at_home.len()), (100, 100, 100));
    }

    #[tokio::test]
    async fn who_tries_very_often_at_once_fails_no_more_often_for_that() {
        let (throttle, now) = (Arc::new(Throttle::new(ThrottleLimits::default())), Instant::now());
        let attempts: Vec<_> = (0..1_000)
            .map(|_| {
                let throttle = Arc::clone(&throttle);
                tokio::spawn(async move {
                    let attempt = throttle.attempt(now, peer("192.0.2.1"), Some("anna")).await;
                    tokio::task::yield_now().await;
                    attempt.map(|_| throttle.failed(now, peer("192.0.2.1"), Some("anna"))).is_some()
                })
            })
            .collect();
        let mut failed = 0;
        for attempt in attempts {
            failed += u32::from(attempt.await.unwrap());
        }
        assert_eq!(failed, 10);
    }

    #[tokio::test]
    async fn who_is_right_has_to_wait_at_most_and_is_not_remembered() {
        let (throttle, now) = (Arc::new(Throttle::new(ThrottleLimits::default())), Instant::now());
        let attempts: Vec<_> = (0..500_u32)
            .map(|n| {
                let throttle = Arc::clone(&throttle);
                tokio::spawn(async move {
                    let user = n.to_string();
                    let attempt = throttle.attempt(now, peer("192.0.2.1"), Some(&user)).await;
                    tokio::task::yield_now().await;
                    throttle.succeeded(peer("192.0.2.1"), &user);
                    attempt.is_some()
                })
            })
            .collect();
        for attempt in attempts {
            assert!(attempt.await.unwrap());
        }
        let tables = throttle.tables.lock();
        assert_eq!((tables.addresses.accounts.len(), tables.users.accounts.len()), (0, 0));
    }

    /// Who waits does not wait for ever for an account that was forgotten for another one.
    #[tokio::test]
    async fn nobody_waits_for_an_account_that_is_forgotten() {
        let limits = ThrottleLimits { most_remembered: NonZeroUsize::MIN, ..Default::default() };
        let (throttle, now) = (Arc::new(Throttle::new(limits)), Instant::now());
        let attempts: Vec<_> = (0..300_u32)
            .map(|n| {
                let throttle = Arc::clone(&throttle);
                tokio::spawn(async move {
                    let from = peer(["192.0.2.1", "192.0.2.2"][usize::from(n % 50 == 49)]);
                    let attempt = throttle.attempt(now, from, None).await;
                    tokio::task::yield_now().await;
                    attempt.is_some()
                })
            })
            .collect();
        for attempt in attempts {
            assert!(attempt.await.unwrap());
        }
    }

    /// At home nobody waits: not even when all who are there come back at once.
    #[test]
    fn at_home_nobody_waits_for_others() {
        let (throttle, now) = (Throttle::new(ThrottleLimits::default()), Instant::now());
        throttle.succeeded(peer("192.0.2.1"), "anna");
        let begin = |user_name| {
            let mut attempt = Box::pin(throttle.attempt(now, peer("192.0.2.1"), Some(user_name)));
            let polled = attempt.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            matches!(polled, Poll::Ready(Some(_))).then_some(polled)
        };
        let under_way: Vec<_> = (0..10).map(|n| begin(["x", "y"][n % 2])).collect();
        assert!(under_way.iter().all(Option::is_some));
        assert!(begin("z").is_none() && begin("anna").is_some());
    }
}
