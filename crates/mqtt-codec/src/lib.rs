//! A sans-IO MQTT 3.1.1 codec.
//!
//! No sockets, no runtime, no clock and no locks: bytes in, values out, and back.

mod packet_id;
mod qos;
pub mod topic;

pub use packet_id::PacketId;
pub use qos::QoS;
pub use topic::{FilterError, TopicFilter, TopicName, TopicNameError};
