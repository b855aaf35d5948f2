//! [`AdmissionControl`]: who may connect, decided by address, client identifier, user and history, before he can cost anything.
//!
//! Asked twice: when a listener has accepted a connection, before any TLS work, and when a CONNECT has been found good. It
//! also remembers how fast a client publishes, which a later connection of it must not make forgotten.
//! Every table is bounded. Without sockets, and without a clock.

mod addresses;
mod bans;
mod flapping;
mod network;
mod operator;
mod publishers;
mod refusal;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use parking_lot::{Mutex, RwLock};

pub(crate) use self::publishers::Spent;
use self::{addresses::Addresses, bans::BanList, flapping::Flapping, publishers::Publishers};
pub use self::{
    bans::{Ban, BanError, BanOrigin, BanTarget},
    network::{Network, NotANetwork},
    refusal::RefusalReason,
};
use crate::{
    client::{ClientInfo, Peer},
    core::Core,
    limits::Limits,
};

/// What is remembered of peers. Each lock is taken alone.
#[derive(Default)]
pub(crate) struct AdmissionControl {
    bans: RwLock<BanList>,
    /// Whether there are bans: nearly always there are none, and then nobody takes the lock.
    has_bans: AtomicBool,
    addresses: Mutex<Addresses>,
    users: Mutex<HashMap<Arc<str>, usize>>,
    flapping: Mutex<Flapping>,
    publishers: Mutex<Publishers>,
}

/// A connection's entry in the account of its address; it ends when the connection gives it back.
#[derive(Default)]
#[must_use]
pub(crate) struct Entered(Option<Network>);

/// One of the connections that a user may have; given back when dropped.
pub(crate) struct UserPlace {
    core: Arc<Core>,
    user_name: Arc<str>,
}

impl Entered {
    pub(crate) fn is_counted(&self) -> bool {
        self.0.is_some()
    }
}

impl AdmissionControl {
    /// A connection from this peer, of which nothing else is known. What is let in has to [`AdmissionControl::leave`].
    pub(crate) fn enter(&self, now: Instant, peer: Peer, limits: &Limits) -> Result<Entered, RefusalReason> {
        let Some(address) = bans::address_of(peer) else { return Ok(Entered(None)) };
        if self.has_bans() && self.bans.read().forbids_address(now, address) {
            return Err(RefusalReason::Banned);
        }
        if limits.max_connections_per_address.is_none() && limits.max_accept_rate_per_address.is_none() {
            return Ok(Entered(None));
        }
        let network = network::of_one_peer(address, limits.ipv6_prefix_len);
        self.addresses.lock().enter(now, network, limits)?;
        Ok(Entered(Some(network)))
    }

    /// The connection has ended.
    pub(crate) fn leave(&self, entered: &mut Entered) {
        if let Some(network) = entered.0.take() {
            self.addresses.lock().leave(network);
        }
    }

    /// Whether a ban names this client.
    pub(crate) fn forbids(&self, now: Instant, client: &ClientInfo) -> bool {
        self.has_bans() && self.bans.read().forbids(now, client)
    }

    /// Takes note that a client connects. If it does so too often, it is banned for a while, from this time on.
    pub(crate) fn flaps(&self, now: Instant, client: &ClientInfo, limits: &Limits) -> bool {
        let Some(most) = limits.flapping_connects else { return false };
        if !self.flapping.lock().note(now, &client.client_id, most.get(), limits.flapping_window) {
            return false;
        }
        let target = BanTarget::ClientId(Arc::clone(&client.client_id));
        let reason = format!("more than {most} connections within {:?}", limits.flapping_window);
        let time = Some(limits.flapping_ban);
        let mut bans = self.bans.write();
        let added = bans.add(now, target, &reason, BanOrigin::Flapping, time, limits.max_bans);
        self.has_bans.store(!bans.is_empty(), Ordering::SeqCst);
        match added {
            Ok(()) => tracing::warn!(client_id = &*client.client_id, peer = %client.peer, reason, "banned"),
            Err(error) => tracing::warn!(client_id = &*client.client_id, %error, "flaps, but is not banned"),
        }
        true
    }

    /// What this client has published of late, by earlier connections too. Ask only where its rate is limited.
    pub(crate) fn spent_by(&self, now: Instant, client_id: &Arc<str>, limits: &Limits) -> Arc<Mutex<Spent>> {
        self.publishers.lock().spent_by(now, client_id, limits)
    }

    /// Forgets what is over.
    pub(crate) fn tick(&self, now: Instant, limits: &Limits) {
        if self.has_bans() {
            let mut bans = self.bans.write();
            bans.expire(now);
            self.has_bans.store(!bans.is_empty(), Ordering::SeqCst);
        }
        self.addresses.lock().forget_idle(now);
        self.flapping.lock().forget_old(now, limits.flapping_window);
        self.publishers.lock().forget_idle(now);
    }

    fn has_bans(&self) -> bool {
        self.has_bans.load(Ordering::SeqCst)
    }
}

impl UserPlace {
    /// A place for one more connection of this user; `Ok(None)` if none is needed.
    ///
    /// A client that takes over from its own earlier connection is no further one: the earlier one may be half open, and
    /// waiting for its end would lock its client out.
    pub(crate) fn take(
        core: &Arc<Core>,
        client: &ClientInfo,
        most: Option<usize>,
    ) -> Result<Option<Self>, RefusalReason> {
        let Some(most) = most else { return Ok(None) };
        let Some(user_name) = &client.user_name else { return Ok(None) };
        let earlier = core.sessions.get(&client.client_id).and_then(|session| session.client());
        let takes_over = earlier.is_some_and(|earlier| earlier.user_name.as_ref() == Some(user_name));
        let mut users = core.admission.users.lock();
        let connections = users.get(user_name).copied().unwrap_or_default();
        if connections >= most.saturating_add(usize::from(takes_over)) {
            return Err(RefusalReason::TooManyOfUser);
        }
        users.insert(Arc::clone(user_name), connections + 1);
        Ok(Some(Self { core: Arc::clone(core), user_name: Arc::clone(user_name) }))
    }
}

impl Drop for UserPlace {
    fn drop(&mut self) {
        let mut users = self.core.admission.users.lock();
        if let Some(connections) = users.get_mut(&self.user_name) {
            *connections -= 1;
            if *connections == 0 {
                users.remove(&self.user_name);
            }
        }
    }
}
