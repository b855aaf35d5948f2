//! An embeddable MQTT 3.1.1 broker.
//!
//! ```
//! use mqtt_broker::{Broker, ConnectDecision, Limits};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut limits = Limits::default();
//! limits.max_inflight = 100;
//!
//! let broker = Broker::builder()
//!     .limits(limits)
//!     .on_connect(|request| async move {
//!         println!("{} connects from {}", request.client.client_id, request.client.peer);
//!         ConnectDecision::Accept
//!     })
//!     .build();
//! let address = broker.listen("127.0.0.1:0").await?;
//! println!("listening on {address}");
//!
//! broker.shutdown(std::time::Duration::from_secs(5)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Inside, calls go down on the publisher's own task, from a socket (`net`) through the protocol (`connection`) and what
//! all share (`core`) into the receivers' outboxes (`session`). Below `net` there is no tokio, no clock and no await.

mod admission;
mod broker;
mod burst;
mod client;
mod close_reason;
mod complaints;
mod connection;
mod core;
mod counters;
mod durability;
mod entrance;
mod event;
mod hooks;
mod inspection;
mod limits;
mod local;
mod message;
mod net;
mod place;
mod recovery;
mod route_cache;
mod sans_io;
mod session;
#[cfg(test)]
mod simulation;
mod snapshot;
pub mod store;
mod sync;
mod sys_topics;
mod token_bucket;
mod trace;

pub use mqtt_codec::{ConnectRefusal, DecodeError, PacketId, PacketType, QoS, TopicFilter, TopicName};
pub use mqtt_router::SubscribeError;

pub use self::{
    admission::{Ban, BanError, BanOrigin, BanTarget, Network, NotANetwork, RefusalReason},
    broker::{Broker, Builder, Client, ShutdownTimeout},
    client::{ClientInfo, Peer},
    close_reason::{CloseReason, ProtocolViolation},
    core::SubscribeRefusal,
    counters::Counts,
    entrance::ListenerLimits,
    event::{DropReason, Event, Observer, SessionEnd},
    hooks::{
        AcceptRequest, Admission, ConnectDecision, ConnectRequest, DeliverRequest, HookFuture, Hooks,
        PublishDecision, PublishRequest, SubscribeDecision, SubscribeRequest, WillDecision,
    },
    inspection::QueuedMessage,
    limits::{DeliveryMode, Limits, PublishRatePolicy, QueueFullPolicy, SharedStrategy},
    local::{LocalMessage, LocalSubscriber},
    message::Message,
    net::{InvalidSource, Listener, Transport, TrustedSources},
    sans_io::SansIoConnection,
    snapshot::{BrokerSnapshot, Page, SessionSnapshot, SessionTotals, SubscriptionSnapshot},
    trace::{Trace, TraceFilter, TraceRecord, Traced, TracedMessage},
};

#[cfg(feature = "websocket")]
pub use self::net::WebSocketOptions;
#[cfg(feature = "tls")]
pub use self::net::{CertificateField, ClientCertificates, Tls, TlsError, TlsOptions};

/// The examples of the READMEs and of the guide to hooks, so that they compile.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../README.md")]
    mod readme {}
    #[doc = include_str!("../../../README.md")]
    mod readme_of_the_project {}
    #[doc = include_str!("../../../docs/hooks-by-example.md")]
    mod hooks_by_example {}
}
