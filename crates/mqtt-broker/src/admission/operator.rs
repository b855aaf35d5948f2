//! What an operator may do about peers: ban them, look, and forgive.

use std::{sync::atomic::Ordering, time::Duration};

use super::{Ban, BanError, BanOrigin, BanTarget, bans::CONFIGURED};
use crate::{broker::Broker, close_reason::CloseReason, net};

impl Broker {
    /// Bans an address, a client identifier or a user for a time, or (`None`) until the broker stops. Connected clients that
    /// it names are disconnected, and their Wills published. A ban on the same target is replaced.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use mqtt_broker::{BanTarget, Broker};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let broker = Broker::builder().build();
    /// let network = BanTarget::Network("192.0.2.0/24".parse()?);
    /// broker.ban(network.clone(), "a flood of connections", Some(Duration::from_secs(600)))?;
    /// assert_eq!(broker.bans().len(), 1);
    /// assert!(broker.unban(&network));
    /// # Ok(())
    /// # }
    /// ```
    pub fn ban(&self, target: BanTarget, reason: &str, time: Option<Duration>) -> Result<(), BanError> {
        let (core, now) = (self.core(), net::now());
        let mut bans = core.admission.bans.write();
        bans.add(now, target.clone(), reason, BanOrigin::Operator, time, core.limits.max_bans)?;
        core.admission.has_bans.store(true, Ordering::SeqCst);
        drop(bans);
        tracing::warn!(%target, reason, "banned");
        // Who is connecting just now looks at the bans again once it has its session.
        for session in core.sessions.all() {
            if let Some(client) = session.client().filter(|client| target.names(client)) {
                session.close_connection_of(&client, CloseReason::Banned);
            }
        }
        Ok(())
    }

    /// Bans these for as long as they are named: in place of those of the last such call, and beside all others. It is for what
    /// stands in a configuration. Connected clients that are named now are disconnected, and their Wills published. A ban on the
    /// same target is replaced, as [`Broker::ban`] does.
    ///
    /// An error changes nothing.
    pub fn replace_configured_bans(&self, targets: &[BanTarget]) -> Result<(), BanError> {
        let (core, now) = (self.core(), net::now());
        let mut bans = core.admission.bans.write();
        let new = bans.configure(now, targets, core.limits.max_bans)?;
        core.admission.has_bans.store(!bans.is_empty(), Ordering::SeqCst);
        drop(bans);
        if new.is_empty() {
            return Ok(());
        }
        for target in &new {
            tracing::warn!(%target, reason = CONFIGURED, "banned");
        }
        for session in core.sessions.all() {
            if let Some(client) = session.client().filter(|client| core.admission.forbids(now, client)) {
                session.close_connection_of(&client, CloseReason::Banned);
            }
        }
        Ok(())
    }

    /// Ends a ban; `false` if there is none on just this target. What the configuration names is banned again when it is read.
    pub fn unban(&self, target: &BanTarget) -> bool {
        self.core().admission.bans.write().remove(target)
    }

    /// The bans in force, addresses first.
    pub fn bans(&self) -> Vec<Ban> {
        self.core().admission.bans.read().list(net::now())
    }
}
