//! [`Strangers`]: connections on which no token was shown yet. Where all places are taken, the one that came first makes room:
//! whoever has no token can hold places, but keep nobody out.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// All of them. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Strangers(Arc<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    /// By the order in which they came.
    all: Mutex<BTreeMap<u64, CancellationToken>>,
    next: AtomicU64,
}

/// A connection, a stranger until it is [known](Guest::is_known). It is in all its requests.
#[derive(Clone, Debug)]
pub(crate) struct Guest(Arc<Place>);

#[derive(Debug)]
struct Place {
    number: u64,
    strangers: Strangers,
    leave: CancellationToken,
}

impl Strangers {
    pub(super) fn welcome(&self) -> Guest {
        let (number, leave) = (self.0.next.fetch_add(1, Ordering::Relaxed), CancellationToken::new());
        self.0.all.lock().insert(number, leave.clone());
        Guest(Arc::new(Place { number, strangers: self.clone(), leave }))
    }

    /// Ends the connection of the one that came first, if there is any.
    pub(super) fn send_one_away(&self) {
        if let Some((_, leave)) = self.0.all.lock().pop_first() {
            leave.cancel();
        }
    }
}

impl Guest {
    /// It has shown a token: from here on it makes room for nobody.
    pub(crate) fn is_known(&self) {
        self.0.strangers.0.all.lock().remove(&self.0.number);
    }

    /// Does this, unless it is sent away.
    pub(super) async fn stays_for(self, connection: impl Future<Output = ()>) {
        self.0.leave.run_until_cancelled(connection).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.strangers.0.all.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_is_not_known_makes_room() {
        let strangers = Strangers::default();
        let [gone, known, first, second] = std::array::from_fn(|_| strangers.welcome());
        known.is_known();
        drop(gone);
        strangers.send_one_away();
        let has_to_go = |guest: &Guest| guest.0.leave.is_cancelled();
        assert!(has_to_go(&first) && !has_to_go(&second) && !has_to_go(&known));
        strangers.send_one_away();
        strangers.send_one_away();
        assert!(has_to_go(&second) && !has_to_go(&known));
        assert!(strangers.0.all.lock().is_empty());
    }
}
