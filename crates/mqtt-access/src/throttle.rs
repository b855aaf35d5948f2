//! [`Throttle`]: how often an address, and a user, may fail to prove who they are before nobody listens to them for a while.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    net::{IpAddr, Ipv6Addr},
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use lru::LruCache;
use mqtt_broker::Peer;
use parking_lot::Mutex;

/// How many failed attempts are borne.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ThrottleLimits {
    /// Failed attempts a minute from one address; of IPv6, from one /64. As many may come at once. Default 10.
    pub failures_per_address: u32,
    /// Failed attempts a minute for one user name, from addresses where that user has not connected of late. Default 30.
    pub failures_per_user: u32,
    /// Addresses, users, and pairs of them that are remembered; the ones longest not seen are forgotten. Default 10,000.
    pub most_remembered: NonZeroUsize,
}

/// Counts failures. Its size is bounded, however many addresses and names there are.
pub(crate) struct Throttle {
    limits: ThrottleLimits,
    hasher: RandomState,
    tables: Mutex<Tables>,
}

/// By hashes: a user name may have 64 KiB, and who asks chooses it.
struct Tables {
    addresses: LruCache<u64, Debt>,
    users: LruCache<u64, Debt>,
    /// Where a user has proved who he is: nobody else can lock him out there.
    at_home: LruCache<u64, ()>,
}

/// When all of one's failures will be forgotten.
#[derive(Clone, Copy)]
struct Debt(Instant);

const MINUTE: Duration = Duration::from_mins(1);

impl Throttle {
    pub(crate) fn new(limits: ThrottleLimits) -> Self {
        let tables = Tables {
            addresses: LruCache::new(limits.most_remembered),
            users: LruCache::new(limits.most_remembered),
            at_home: LruCache::new(limits.most_remembered),
        };
        Self { limits, hasher: RandomState::new(), tables: Mutex::new(tables) }
    }

    /// Whether an attempt may be made.
    pub(crate) fn may_try(&self, now: Instant, peer: Peer, user_name: Option<&str>) -> bool {
        let address = address(peer);
        let mut tables = self.tables.lock();
        if let Some(address) = address
            && !has_credit(&mut tables.addresses, self.key(address), self.limits.failures_per_address, now)
        {
            return false;
        }
        let Some(user_name) = user_name else { return true };
        tables.at_home.get(&self.key((address, user_name))).is_some()
            || has_credit(&mut tables.users, self.key(user_name), self.limits.failures_per_user, now)
    }

    pub(crate) fn failed(&self, now: Instant, peer: Peer, user_name: Option<&str>) {
        let address = address(peer);
        let mut tables = self.tables.lock();
        if let Some(address) = address {
            charge(&mut tables.addresses, self.key(address), self.limits.failures_per_address, now);
        }
        if let Some(user_name) = user_name {
            charge(&mut tables.users, self.key(user_name), self.limits.failures_per_user, now);
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

/// A failure costs the time in which one is forgiven; whoever owes more than a minute has to wait.
fn charge(table: &mut LruCache<u64, Debt>, key: u64, a_minute: u32, now: Instant) {
    let owed = table.get(&key).map_or(now, |debt| debt.0.max(now));
    let grown = owed.checked_add(MINUTE / a_minute.max(1)).unwrap_or(owed);
    // Attempts that were under way at once may all fail; the wait does not grow without end for that.
    table.put(key, Debt(grown.min(now + 2 * MINUTE)));
}

fn has_credit(table: &mut LruCache<u64, Debt>, key: u64, a_minute: u32, now: Instant) -> bool {
    let owed = table.peek(&key).map_or(Duration::ZERO, |debt| debt.0.saturating_duration_since(now));
    owed + MINUTE / a_minute.max(1) <= MINUTE
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
    use super::*;

    fn peer(address: &str) -> Peer {
        Peer::Inet((address.parse::<IpAddr>().unwrap(), 1).into())
    }

    fn fail(throttle: &Throttle, times: u32, now: Instant, from: &str, user_name: &str) {
        (0..times).for_each(|_| throttle.failed(now, peer(from), Some(user_name)));
    }

    #[test]
    fn an_address_that_fails_too_often_waits_and_no_other_does() {
        let (throttle, now) = (Throttle::new(ThrottleLimits::default()), Instant::now());
        let may = |at, from| throttle.may_try(at, peer(from), Some("anna"));
        fail(&throttle, 9, now, "192.0.2.1", "x");
        assert!(may(now, "192.0.2.1"));
        fail(&throttle, 1, now, "192.0.2.1", "x");
        assert!(!may(now, "192.0.2.1") && may(now, "192.0.2.2"));
        assert!(
            !may(now + Duration::from_secs(5), "192.0.2.1") && may(now + Duration::from_secs(6), "192.0.2.1")
        );
        assert!(!throttle.may_try(now, peer("::ffff:192.0.2.1"), None), "the same address in other words");
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
        assert!(!throttle.may_try(now, peer("192.0.2.100"), Some("anna")));
        assert!(throttle.may_try(now, peer("192.0.2.100"), Some("berta")));
        assert!(throttle.may_try(now, peer("192.0.2.200"), Some("anna")));
        assert!(throttle.may_try(now + MINUTE, peer("192.0.2.100"), Some("anna")));
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
        assert_eq!((tables.addresses.len(), tables.users.len(), tables.at_home.len()), (100, 100, 100));
    }
}
