//! [`Phase`]: where a connection stands.
//!
//! ```text
//!                 CONNECT, no hook                       any error, DISCONNECT,
//!  AwaitConnect ───────────────────────▶ Open ─────────▶ take-over, time-out, loss
//!       │   │                             ▲                        │
//!       │   │ CONNECT, hook   accepted    │                        ▼
//!       │   └────────▶ Authenticating ────┘                     Closed
//!       │                    │ refused                            ▲
//!       └────────────────────┴────────────────────────────────────┘
//! ```
//!
//! In `Open`, a SUBSCRIBE that a hook decides about puts the packets behind it on hold; the phase stays.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{connect::Pending, subscribe::Deciding};
use crate::{client::Peer, close_reason::CloseReason, session::Attachment};

pub(crate) enum Phase {
    /// Nothing but CONNECT may come, and it must come before the deadline.
    AwaitConnect { deadline: Option<Instant>, peer: Peer, certificate_user_name: Option<Arc<str>> },
    /// A hook decides about the CONNECT. What the client sends meanwhile waits.
    Authenticating(Box<Pending>),
    /// CONNACK 0 was sent.
    Open(Open),
    /// Nothing more is read. What is still to be written (a CONNACK that refuses) may be.
    Closed(CloseReason),
}

pub(crate) struct Open {
    pub(crate) attachment: Attachment,
    /// One and a half times what the client asked for, or `None`.
    pub(crate) silence_allowed: Option<Duration>,
    pub(crate) next_retry: Option<Instant>,
    /// The interval is over. What is repeated is encoded only when it leaves at once: earlier, it would pile up, and the
    /// PUBREL of a message could overtake the repeated PUBLISH, or the repeated PUBREL what makes it durable.
    pub(crate) retry_is_due: bool,
    /// A SUBSCRIBE that a hook is deciding about.
    pub(crate) deciding: Option<Box<Deciding>>,
}

impl Open {
    /// When the client will have been silent for too long. While a hook decides nobody listens, so nobody can tell.
    pub(crate) fn silence_ends(&self, last_received: Instant) -> Option<Instant> {
        let allowed = self.silence_allowed.filter(|_| self.deciding.is_none())?;
        last_received.checked_add(allowed)
    }
}
