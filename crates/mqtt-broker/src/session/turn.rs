//! [`Turn`]: who is at a client's packets.

use std::cell::Cell;

use crate::sync::{Mutex, MutexGuard};

thread_local! {
    static HAS_TURN: Cell<bool> = const { Cell::new(false) };
}

/// Held by a connection while it handles what its client sent, and by whoever takes the session from it or ends it. A client may come a
/// second time at any moment: what it sends then never comes between, or ahead of, packets that its first connection is still at.
pub(crate) struct Turn<'s>(Option<MutexGuard<'s, ()>>);

impl<'s> Turn<'s> {
    pub(super) fn wait_for(turns: &'s Mutex<()>) -> Self {
        // A hook acts within somebody's turn. It must not wait for one: that might be its own, or wait for its own.
        let has_turn = HAS_TURN.replace(true);
        Self((!has_turn).then(|| turns.lock()))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.0.is_some() {
            HAS_TURN.set(false);
        }
    }
}
