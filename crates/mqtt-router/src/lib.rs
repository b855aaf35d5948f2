//! The subscriptions and the retained messages of an MQTT broker: who gets a message, and what a newcomer is told.
//!
//! Two stores, [`Subscriptions`] and [`Retained`], both plain data: `&self` to look something up, `&mut self` to
//! change it. There is no lock, no clock (time is an argument), no runtime, no session and no packet identifier in
//! here; the caller brings its own, and puts its own lock around.
//!
//! ```
//! use std::sync::Arc;
//! use mqtt_codec::{QoS, TopicFilter};
//! use mqtt_router::{DEFAULT_MAX_TOPIC_LEVELS, DeliveryMode, Route, SharedStrategy, Subscriber, Subscriptions};
//!
//! struct Session { id: u64 }
//! impl Subscriber for Session {
//!     fn id(&self) -> u64 { self.id }
//!     fn is_online(&self) -> bool { true }
//! }
//!
//! let mut subscriptions = Subscriptions::new(DEFAULT_MAX_TOPIC_LEVELS, SharedStrategy::RoundRobin);
//! let session = Arc::new(Session { id: 1 });
//! subscriptions.subscribe(&TopicFilter::try_from("room/+/light").unwrap(), &session, QoS::AtLeastOnce).unwrap();
//!
//! let mut route = Route::new();
//! subscriptions.route(b"room/12/light", DeliveryMode::Once, &mut route);
//! assert_eq!(route.direct.len(), 1);
//! ```

mod mix;
mod retained;
mod sharded;
mod subscriptions;

pub use retained::{Retained, RetainedFilling, RetainedFull, RetainedLimits, RetainedScan};
pub use subscriptions::{
    DEFAULT_MAX_TOPIC_LEVELS, DeliveryMode, Route, SharedGroup, SharedStrategy, SubscribeError, Subscriber,
    Subscriptions, split_shared,
};
