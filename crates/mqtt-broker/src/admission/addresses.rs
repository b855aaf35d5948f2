//! [`Addresses`]: how many connections each address has, and how fast it opens them.

use std::{collections::HashMap, time::Instant};

use super::{Network, RefusalReason};
use crate::{limits::Limits, token_bucket::TokenBucket};

/// How many addresses without a connection are remembered, each for the second that its bucket takes to fill.
const MOST_IDLE: usize = 64 * 1024;

/// An account for each address that has connections, or has just opened one.
#[derive(Default)]
pub(super) struct Addresses {
    accounts: HashMap<Network, Account>,
}

struct Account {
    connections: usize,
    accepts: TokenBucket,
}

impl Addresses {
    /// Lets a connection in, or says why not. What is refused takes no token: who goes on trying is let in at the rate.
    pub(super) fn enter(
        &mut self,
        now: Instant,
        network: Network,
        limits: &Limits,
    ) -> Result<(), RefusalReason> {
        let room = limits.max_connections.saturating_add(MOST_IDLE);
        if self.accounts.len() >= room && !self.accounts.contains_key(&network) {
            // So many addresses within a second are a flood, and nobody can tell who is not part of it.
            return Err(RefusalReason::TooFastFromAddress);
        }
        let new = || Account { connections: 0, accepts: TokenBucket::full(now) };
        let account = self.accounts.entry(network).or_insert_with(new);
        if limits
            .max_accept_rate_per_address
            .is_some_and(|rate| !account.accepts.take(now, rate.get().into()))
        {
            return Err(RefusalReason::TooFastFromAddress);
        }
        if limits.max_connections_per_address.is_some_and(|most| account.connections >= most) {
            return Err(RefusalReason::TooManyFromAddress);
        }
        account.connections += 1;
        Ok(())
    }

    /// A connection that was let in has ended.
    pub(super) fn leave(&mut self, network: Network) {
        if let Some(account) = self.accounts.get_mut(&network) {
            account.connections = account.connections.saturating_sub(1);
        }
    }

    /// Forgets who has no connection and would be let in as a stranger is.
    pub(super) fn forget_idle(&mut self, now: Instant) {
        self.accounts.retain(|_, account| account.connections > 0 || !account.accepts.is_full(now));
        if self.accounts.capacity() > 4 * self.accounts.len().max(64) {
            self.accounts.shrink_to_fit();
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.accounts.len()
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, time::Duration};

    use super::*;
    use crate::net;

    #[test]
    fn the_table_is_bounded_and_forgets() {
        let max_accept_rate_per_address = NonZeroU32::new(1);
        let limits = Limits { max_connections: 10, max_accept_rate_per_address, ..Limits::default() };
        let (mut addresses, start) = (Addresses::default(), net::now());
        let address = |n: usize| Network::new(std::net::Ipv4Addr::from_bits(n as u32).into(), 32);
        let room = 10 + MOST_IDLE;
        for n in 0..room {
            assert_eq!(addresses.enter(start, address(n), &limits), Ok(()));
            addresses.leave(address(n));
        }
        assert_eq!(addresses.enter(start, address(room), &limits), Err(RefusalReason::TooFastFromAddress));
        addresses.forget_idle(start);
        assert_eq!(addresses.len(), room, "their buckets are not full yet");
        addresses.forget_idle(start + Duration::from_secs(1));
        assert_eq!(addresses.len(), 0);
        assert_eq!(addresses.enter(start, address(room), &limits), Ok(()));
        addresses.forget_idle(start + Duration::from_secs(9));
        assert_eq!(addresses.len(), 1, "who is connected is remembered");
    }
}
