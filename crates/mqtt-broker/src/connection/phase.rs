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
//! In `Open`, a SUBSCRIBE or a PUBLISH that a hook decides about puts the packets behind it on hold; the phase stays.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{connect::Pending, publish::HeldPublish, publish_rate::PublishRate, subscribe::Filters};
use crate::{admission::UserPlace, client::Peer, close_reason::CloseReason, session::Attachment};

pub(crate) enum Phase {
    /// Nothing but CONNECT may come, and it must come before the deadline. Behind a pointer, because it does not last.
    AwaitConnect(Box<Stranger>),
    /// A hook decides about the CONNECT. What the client sends meanwhile waits.
    Authenticating(Box<Pending>),
    /// CONNACK 0 was sent.
    Open(Open),
    /// Nothing more is read. What is still to be written (a CONNACK that refuses) may be.
    Closed(CloseReason),
}

/// A client that has not said yet who it is.
pub(crate) struct Stranger {
    pub(crate) deadline: Option<Instant>,
    pub(crate) peer: Peer,
    pub(crate) certificate_user_name: Option<Arc<str>>,
    pub(crate) bytes_received: u64,
}

pub(crate) struct Open {
    pub(crate) attachment: Attachment,
    /// Behind a pointer, because most connections have none.
    pub(crate) terms: Option<Box<Terms>>,
    /// [`Core::recheck`](crate::core::Core::recheck) when its subscriptions were last found allowed.
    pub(crate) rechecked: u32,
    /// Whole packets may be among those on hold: those before had made so much work that others had to have their turn. Or the
    /// connection has just been opened.
    pub(crate) is_interrupted: bool,
    /// What a hook is deciding about.
    pub(crate) deciding: Option<Box<Deciding>>,
}

/// What only some brokers ask of a connection.
pub(crate) struct Terms {
    pub(crate) retry: Option<Retry>,
    /// How fast it publishes, if that is limited.
    pub(crate) publish_rate: Option<Box<PublishRate>>,
    /// One of its user's connections, if those are limited.
    pub(crate) user_place: Option<UserPlace>,
    /// When the client has been connected for as long as the hook that let it in allows.
    pub(crate) ends_at: Option<Instant>,
}

/// What waits for a hook's decision.
pub(crate) enum Deciding {
    /// A SUBSCRIBE, or the subscriptions that there are already.
    Filters(Filters),
    /// A PUBLISH.
    Publish(HeldPublish),
}

/// When what is under way is repeated.
pub(crate) struct Retry {
    pub(crate) next: Option<Instant>,
    /// The interval is over. What is repeated is encoded only when it leaves at once: earlier, it would pile up, and the
    /// PUBREL of a message could overtake the repeated PUBLISH, or the repeated PUBREL what makes it durable.
    pub(crate) is_due: bool,
}

impl Phase {
    /// What came before there was a session to take note of it.
    pub(crate) fn bytes_received(&self) -> u64 {
        match self {
            Self::AwaitConnect(stranger) => stranger.bytes_received,
            Self::Authenticating(pending) => pending.bytes_received,
            Self::Open(_) | Self::Closed(_) => 0,
        }
    }
}

impl Terms {
    pub(crate) fn unless_none(self) -> Option<Box<Self>> {
        let Self { retry, publish_rate, user_place, ends_at } = &self;
        let is_any = retry.is_some() || publish_rate.is_some() || user_place.is_some() || ends_at.is_some();
        is_any.then(|| Box::new(self))
    }
}

impl Retry {
    pub(crate) fn every(interval: Duration, now: Instant) -> Self {
        Self { next: now.checked_add(interval), is_due: false }
    }
}

impl Open {
    /// Whether the client's packets are handled: not while a hook decides, nor while it is held back for its haste.
    pub(crate) fn listens(&self) -> bool {
        self.deciding.is_none() && self.paused_until().is_none()
    }

    /// Until when it is held back.
    pub(crate) fn paused_until(&self) -> Option<Instant> {
        self.terms.as_ref()?.publish_rate.as_ref()?.paused_until
    }

    /// When the next interval is over.
    pub(crate) fn next_retry(&self) -> Option<Instant> {
        self.terms.as_ref()?.retry.as_ref()?.next
    }

    /// When the client has been connected for as long as it may.
    pub(crate) fn ends_at(&self) -> Option<Instant> {
        self.terms.as_ref()?.ends_at
    }

    /// When the client will have been silent for too long. While nobody listens, nobody can tell.
    pub(crate) fn silence_ends(&self, last_received: Instant) -> Option<Instant> {
        let keep_alive_secs = self.attachment.info.keep_alive_secs;
        if keep_alive_secs == 0 || !self.listens() {
            return None;
        }
        last_received.checked_add(Duration::from_millis(u64::from(keep_alive_secs) * 1_500)) // [MQTT-3.1.2-24]
    }
}
