//! Facts for observers. Deciding is for [`crate::hooks`]; here everything has happened already.

use std::fmt;

use mqtt_codec::{QoS, TopicFilter};

use crate::{client::ClientInfo, close_reason::CloseReason, message::Message};

/// Sees what happened. Called on the task where it happened, so it must be quick: count, or pass on.
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicUsize, Ordering}};
///
/// use mqtt_broker::{Broker, Event};
///
/// let drops = Arc::new(AtomicUsize::new(0));
/// let counted = Arc::clone(&drops);
/// let broker = Broker::builder()
///     .observer(move |event: &Event<'_>| {
///         if matches!(event, Event::Dropped { .. }) {
///             counted.fetch_add(1, Ordering::Relaxed);
///         }
///     })
///     .build();
/// ```
pub trait Observer: Send + Sync + 'static {
    /// Something happened.
    fn on_event(&self, event: &Event<'_>);

    /// Whether it wants the events of single messages: `Delivered`, `Acknowledged`, `Dropped`. Asked once, when the broker is
    /// built. One that does not want them costs the data path nothing.
    fn wants_messages(&self) -> bool {
        true
    }
}

impl<F: Fn(&Event<'_>) + Send + Sync + 'static> Observer for F {
    fn on_event(&self, event: &Event<'_>) {
        self(event);
    }
}

/// What happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A client is connected: CONNACK 0 is on its way.
    Connected {
        /// The client.
        client: &'a ClientInfo,
        /// Whether it resumed a stored session.
        session_present: bool,
    },
    /// A client's connection has ended.
    Disconnected {
        /// The client.
        client: &'a ClientInfo,
        /// Why.
        reason: &'a CloseReason,
    },
    /// A session began.
    SessionCreated {
        /// Whose.
        client_id: &'a str,
    },
    /// A stored session goes on.
    SessionResumed {
        /// Whose.
        client_id: &'a str,
    },
    /// A new connection with the same client identifier took over from a live one.
    SessionTakenOver {
        /// Whose.
        client_id: &'a str,
    },
    /// A session is over.
    SessionEnded {
        /// Whose.
        client_id: &'a str,
        /// Why.
        reason: SessionEnd,
    },
    /// A topic filter was granted.
    Subscribed {
        /// To whom.
        client_id: &'a str,
        /// The filter as it was asked for, `$share/group/` included.
        filter: &'a TopicFilter,
        /// With which QoS.
        granted: QoS,
    },
    /// A topic filter was removed.
    Unsubscribed {
        /// Whose.
        client_id: &'a str,
        /// Which.
        filter: &'a TopicFilter,
    },
    /// A message was handed to a client's outbox.
    Delivered {
        /// Whose.
        client_id: &'a str,
        /// What.
        message: &'a Message,
        /// With which QoS.
        qos: QoS,
    },
    /// A client has completed the acknowledgement of a QoS 1 or 2 message.
    Acknowledged {
        /// Who.
        client_id: &'a str,
        /// The identifier of the delivery.
        packet_id: u16,
    },
    /// A message will not reach a client, or will not be retained.
    Dropped {
        /// The receiver; empty if nobody may have it, or the retained store has no room for it.
        client_id: &'a str,
        /// What.
        message: &'a Message,
        /// Why.
        reason: DropReason,
    },
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEnd {
    /// CleanSession 1, and its connection is gone.
    Clean,
    /// A connection with CleanSession 1 discarded it.
    Discarded,
    /// Absent longer than [`crate::Limits::session_expiry`].
    Expired,
    /// Ended through [`crate::Broker`].
    Removed,
}

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// Why a message was dropped: the closed list that log, counters and events share.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum DropReason { $($(#[doc = $doc])+ $variant,)+ }

        impl DropReason {
            /// All of them, in the order of their discriminants.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in metrics and logs.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

drop_reasons! {
    /// The receiver's queue was full, in messages or bytes.
    QueueFull = "queue_full",
    /// QoS 0, the receiver is absent, and [`crate::Limits::queue_qos0_messages`] is off.
    Qos0WhileAbsent = "qos0_while_absent",
    /// A hook refused it.
    Refused = "refused",
    /// A client published to a topic that begins with `$`: see [`crate::Limits::allow_dollar_topics`].
    ReservedTopic = "reserved_topic",
    /// It fits no packet: a topic and a payload of more than 256 MiB, made inside the process.
    TooLong = "too_long",
    /// `on_deliver` did not let its receiver have it.
    Withheld = "withheld",
    /// The retained store was full: it was delivered, but not retained.
    RetainedFull = "retained_full",
    /// The session that it waited for ended.
    SessionEnded = "session_ended",
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
