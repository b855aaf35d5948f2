//! [`BanList`]: who may not connect, why, and for how long.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::Network;
use crate::client::{ClientInfo, Peer};

/// The longest reason, in bytes.
const MAX_REASON_LEN: usize = 256;
/// Why a target that the configuration names is banned.
pub(super) const CONFIGURED: &str = "it stands in the configuration";

/// Who a ban is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum BanTarget {
    /// Every connection from there, closed before a byte is read.
    Network(Network),
    /// Every CONNECT with this client identifier.
    ClientId(Arc<str>),
    /// Every CONNECT with this user name.
    User(Arc<str>),
}

/// Who made a ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BanOrigin {
    /// Whoever called [`crate::Broker::ban`].
    Operator,
    /// Whoever called [`crate::Broker::replace_configured_bans`] last.
    Configuration,
    /// The broker: a client connected more often than [`crate::Limits::flapping_connects`].
    Flapping,
}

/// A ban that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ban {
    /// Who may not connect.
    pub target: BanTarget,
    /// Why, in the words of who made it.
    pub reason: Arc<str>,
    /// Who made it.
    pub origin: BanOrigin,
    /// How long it will last; `None` is until the broker stops.
    pub time_left: Option<Duration>,
}

/// A ban that was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BanError {
    /// There are [`crate::Limits::max_bans`] already.
    ListFull,
    /// The reason is longer than 256 bytes, or the name longer than the protocol's 65,535.
    TooLong,
}

/// All bans. Those that are over stay until [`BanList::expire`], and forbid nothing.
#[derive(Default)]
pub(super) struct BanList {
    entries: HashMap<BanTarget, Entry>,
    /// How many networks there are of each shape: so many look-ups an address takes.
    shapes: BTreeMap<(bool, u8), usize>,
}

struct Entry {
    reason: Arc<str>,
    origin: BanOrigin,
    until: Option<Instant>,
}

impl BanTarget {
    /// Whether it is about this client.
    pub fn names(&self, client: &ClientInfo) -> bool {
        match self {
            Self::Network(network) => {
                address_of(client.peer).is_some_and(|address| network.contains(address))
            }
            Self::ClientId(client_id) => *client_id == client.client_id,
            Self::User(user_name) => client.user_name.as_ref() == Some(user_name),
        }
    }

    fn is_too_long(&self) -> bool {
        match self {
            Self::Network(_) => false,
            Self::ClientId(name) | Self::User(name) => name.len() > usize::from(u16::MAX),
        }
    }
}

/// The address that limits and bans go by: a Unix socket has none.
pub(super) fn address_of(peer: Peer) -> Option<IpAddr> {
    match peer {
        Peer::Inet(address) => Some(address.ip()),
        _ => None,
    }
}

impl BanList {
    /// Adds a ban, or replaces the one on the same target. `time` is `None` for ever.
    ///
    /// If the list is full, any other ban takes the place of the broker's own that would end first.
    pub(super) fn add(
        &mut self,
        now: Instant,
        target: BanTarget,
        reason: &str,
        origin: BanOrigin,
        time: Option<Duration>,
        max_bans: usize,
    ) -> Result<(), BanError> {
        if reason.len() > MAX_REASON_LEN || target.is_too_long() {
            return Err(BanError::TooLong);
        }
        if !self.entries.contains_key(&target) && self.entries.len() >= max_bans {
            self.expire(now);
            if self.entries.len() >= max_bans && !(origin != BanOrigin::Flapping && self.make_room()) {
                return Err(BanError::ListFull);
            }
        }
        let until = time.and_then(|time| now.checked_add(time));
        let shape = if let BanTarget::Network(network) = &target { Some(network.shape()) } else { None };
        let entry = Entry { reason: reason.into(), origin, until };
        if self.entries.insert(target, entry).is_none()
            && let Some(shape) = shape
        {
            *self.shapes.entry(shape).or_default() += 1;
        }
        Ok(())
    }

    /// Makes these the bans of the configuration, and those that were and are not named any more none. If there is no room for
    /// them beside the operator's, all stays as it was. Returns whom nothing has forbidden before.
    pub(super) fn configure(
        &mut self,
        now: Instant,
        targets: &[BanTarget],
        max_bans: usize,
    ) -> Result<Vec<BanTarget>, BanError> {
        let wanted: HashSet<&BanTarget> = targets.iter().collect();
        let others = self.entries.iter().filter(|(target, entry)| {
            entry.origin == BanOrigin::Operator && entry.is_in_force(now) && !wanted.contains(target)
        });
        if others.count() + wanted.len() > max_bans {
            return Err(BanError::ListFull);
        }
        if targets.iter().any(BanTarget::is_too_long) {
            return Err(BanError::TooLong);
        }
        let of_before = self.entries.iter().filter(|(_, entry)| entry.origin == BanOrigin::Configuration);
        let gone: Vec<BanTarget> =
            of_before.map(|(target, _)| target).filter(|target| !wanted.contains(target)).cloned().collect();
        for target in &gone {
            self.remove(target);
        }
        let new = wanted.iter().filter(|target| !self.is_in_force(now, target));
        let new: Vec<BanTarget> = new.copied().cloned().collect();
        for target in wanted {
            self.add(now, target.clone(), CONFIGURED, BanOrigin::Configuration, None, max_bans)?;
        }
        Ok(new)
    }

    /// `false` if there is none.
    pub(super) fn remove(&mut self, target: &BanTarget) -> bool {
        if self.entries.remove(target).is_none() {
            return false;
        }
        if let BanTarget::Network(network) = target
            && let Some(count) = self.shapes.get_mut(&network.shape())
        {
            *count -= 1;
            if *count == 0 {
                self.shapes.remove(&network.shape());
            }
        }
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn forbids_address(&self, now: Instant, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.shapes.keys().any(|&(is_ipv6, prefix_len)| {
            address.is_ipv6() == is_ipv6
                && self.is_in_force(now, &BanTarget::Network(Network::new(address, prefix_len)))
        })
    }

    pub(super) fn forbids(&self, now: Instant, client: &ClientInfo) -> bool {
        address_of(client.peer).is_some_and(|address| self.forbids_address(now, address))
            || self.is_in_force(now, &BanTarget::ClientId(Arc::clone(&client.client_id)))
            || client
                .user_name
                .as_ref()
                .is_some_and(|user_name| self.is_in_force(now, &BanTarget::User(Arc::clone(user_name))))
    }

    /// In the order of their targets.
    pub(super) fn list(&self, now: Instant) -> Vec<Ban> {
        let in_force = self.entries.iter().filter(|(_, entry)| entry.is_in_force(now));
        let mut bans: Vec<Ban> = in_force
            .map(|(target, entry)| Ban {
                target: target.clone(),
                reason: Arc::clone(&entry.reason),
                origin: entry.origin,
                time_left: entry.until.map(|until| until.saturating_duration_since(now)),
            })
            .collect();
        bans.sort_unstable_by(|a, b| a.target.cmp(&b.target));
        bans
    }

    /// Removes what is over.
    pub(super) fn expire(&mut self, now: Instant) {
        let over = self.entries.iter().filter(|(_, entry)| !entry.is_in_force(now));
        let over: Vec<BanTarget> = over.map(|(target, _)| target.clone()).collect();
        for target in over {
            self.remove(&target);
        }
    }

    fn is_in_force(&self, now: Instant, target: &BanTarget) -> bool {
        self.entries.get(target).is_some_and(|entry| entry.is_in_force(now))
    }

    /// Removes the broker's own ban that would end first; `false` if it has none.
    fn make_room(&mut self) -> bool {
        let own = self.entries.iter().filter(|(_, entry)| entry.origin == BanOrigin::Flapping);
        let first = own.min_by_key(|(_, entry)| entry.until).map(|(target, _)| target.clone());
        first.is_some_and(|target| self.remove(&target))
    }
}

impl Entry {
    fn is_in_force(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

impl fmt::Display for BanTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => write!(f, "address {network}"),
            Self::ClientId(client_id) => write!(f, "client {client_id:?}"),
            Self::User(user_name) => write!(f, "user {user_name:?}"),
        }
    }
}

impl fmt::Display for BanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ListFull => "the list of bans is full: remove one first, or raise max_bans",
            Self::TooLong => "a reason has at most 256 bytes, and a name at most 65,535",
        })
    }
}

impl std::error::Error for BanError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net;

    const MINUTE: Duration = Duration::from_mins(1);

    fn client(name: &str) -> BanTarget {
        BanTarget::ClientId(name.into())
    }

    fn network(text: &str) -> BanTarget {
        BanTarget::Network(text.parse().unwrap())
    }

    fn add(list: &mut BanList, now: Instant, target: BanTarget, origin: BanOrigin) -> Result<(), BanError> {
        list.add(now, target, "why", origin, Some(MINUTE), 3)
    }

    #[test]
    fn a_ban_ends_by_itself() {
        let (mut list, start) = (BanList::default(), net::now());
        add(&mut list, start, network("192.0.2.0/24"), BanOrigin::Operator).unwrap();
        list.add(start, client("a"), "for ever", BanOrigin::Operator, None, 3).unwrap();
        let address = "192.0.2.9".parse().unwrap();
        assert!(list.forbids_address(start, address));
        assert_eq!(list.list(start)[0].time_left, Some(MINUTE));
        assert!(!list.forbids_address(start + MINUTE, address));
        assert_eq!(list.list(start + MINUTE).len(), 1);
        list.expire(start + MINUTE);
        assert!(list.shapes.is_empty());
        assert!(!list.is_empty());
        assert!(list.remove(&client("a")) && !list.remove(&client("a")));
        assert!(list.is_empty());
    }

    #[test]
    fn networks_of_several_lengths_are_all_looked_up() {
        let (mut list, now) = (BanList::default(), net::now());
        for text in ["192.0.2.7", "10.0.0.0/8", "2001:db8::/32"] {
            add(&mut list, now, network(text), BanOrigin::Operator).unwrap();
        }
        let forbids = |text: &str| list.forbids_address(now, text.parse().unwrap());
        assert!(["192.0.2.7", "::ffff:192.0.2.7", "10.9.9.9", "2001:db8:1::"].into_iter().all(forbids));
        assert!(!["192.0.2.8", "11.0.0.1", "2001:db9::"].into_iter().any(forbids));
        // Replaced, and removed once: its shape is not counted twice.
        add(&mut list, now, network("10.0.0.0/8"), BanOrigin::Operator).unwrap();
        assert!(list.remove(&network("10.0.0.0/8")));
        assert!(!list.forbids_address(now, "10.9.9.9".parse().unwrap()));
        assert_eq!(list.shapes.len(), 2);
    }

    #[test]
    fn a_full_list_has_room_for_the_operator_alone() {
        let (mut list, now) = (BanList::default(), net::now());
        for name in ["a", "b"] {
            add(&mut list, now, client(name), BanOrigin::Flapping).unwrap();
        }
        add(&mut list, now, client("c"), BanOrigin::Operator).unwrap();
        assert_eq!(add(&mut list, now, client("d"), BanOrigin::Flapping), Err(BanError::ListFull));
        assert_eq!(
            add(&mut list, now, client("a"), BanOrigin::Flapping),
            Ok(()),
            "one that is there is prolonged"
        );
        for name in ["d", "e"] {
            add(&mut list, now, client(name), BanOrigin::Operator).unwrap();
        }
        assert_eq!(add(&mut list, now, client("f"), BanOrigin::Operator), Err(BanError::ListFull));
        let later = now + MINUTE;
        assert_eq!(
            add(&mut list, later, client("f"), BanOrigin::Operator),
            Ok(()),
            "what is over makes room"
        );
        assert_eq!(list.list(later).len(), 1);
    }

    #[test]
    fn what_is_too_long_is_refused() {
        let (mut list, now) = (BanList::default(), net::now());
        let mut add = |target, reason: &str| list.add(now, target, reason, BanOrigin::Operator, None, 3);
        assert_eq!(add(client("a"), &"x".repeat(257)), Err(BanError::TooLong));
        assert_eq!(add(client(&"x".repeat(65_536)), ""), Err(BanError::TooLong));
        assert_eq!(add(client(&"x".repeat(65_535)), &"x".repeat(256)), Ok(()));
    }
}
