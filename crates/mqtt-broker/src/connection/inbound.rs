//! [`Inbound`]: what a connection has for a while: of its client's own packets until it is done with them, and of messages that the store
//! holds back.

use super::{answers::Answers, transmit::Held};
use crate::route_cache::RouteCache;

/// Made when there is something to put into it, and let go when the client rests; a publisher, which has routes, keeps it.
#[derive(Default)]
pub(super) struct Inbound {
    /// The beginning of a packet whose end has not arrived, or packets on hold behind a hook's decision.
    pub(super) partial: Vec<u8>,
    /// Answers to this client's own packets, in their order.
    pub(super) answers: Answers,
    /// Messages for this client, on their way to the socket.
    pub(super) held: Option<Box<Held>>,
    /// Where its messages go.
    pub(super) routes: RouteCache,
}

impl Inbound {
    pub(super) fn is_empty(&self) -> bool {
        self.partial.is_empty() && self.answers.is_settled() && self.held.is_none() && self.routes.is_empty()
    }
}
