//! [`Turn`]: who is at a client's packets.

use std::cell::Cell;

use crate::sync::{Mutex, MutexGuard};

thread_local! {
    static HAS_TURN: Cell<bool> = const { Cell::new(false) };
}

/// Held by a connection while it handles what its client sent, hands retained messages over or ends, and by whoever takes the session from
/// it or ends it. A client may come a second time at any moment: what it sends then never comes between, or ahead of, packets that its first
/// connection is still at, or that one's Will.
pub(crate) struct Turn<'s> {
    _guard: Option<MutexGuard<'s, ()>>,
    /// Nobody further up on this thread has one.
    is_outermost: bool,
}

impl<'s> Turn<'s> {
    pub(super) fn wait_for(turns: &'s Mutex<()>) -> Self {
        // A hook acts within somebody's turn. It must not wait for one: that might be its own, or wait for its own.
        let is_outermost = !HAS_TURN.replace(true);
        Self { _guard: is_outermost.then(|| turns.lock()), is_outermost }
    }

    /// The same without waiting, so within another turn too: for a session that nobody else knows yet.
    pub(super) fn begin(turns: &'s Mutex<()>) -> Self {
        Self { _guard: turns.try_lock(), is_outermost: !HAS_TURN.replace(true) }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.is_outermost {
            HAS_TURN.set(false);
        }
    }
}
