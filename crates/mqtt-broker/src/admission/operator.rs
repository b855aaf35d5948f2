//! What an operator may do about peers: ban them, look, and forgive.

use std::{sync::atomic::Ordering, time::Duration};

use super::{Ban, BanError, BanOrigin, BanTarget};
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

    /// Ends a ban; `false` if there is none on just this target.
    pub fn unban(&self, target: &BanTarget) -> bool {
        self.core().admission.bans.write().remove(target)
    }

    /// The bans in force, addresses first.
    pub fn bans(&self) -> Vec<Ban> {
        self.core().admission.bans.read().list(net::now())
    }
}
