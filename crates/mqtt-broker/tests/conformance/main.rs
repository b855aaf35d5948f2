//! The server's side of MQTT 3.1.1, judged from outside: plain bytes over a socket, a module a chapter of the standard.
//!
//! The tests know neither the broker's nor the codec's Rust API, so they judge any broker: `MQTT_ADDR=host:port` points
//! them at another one. Each names the statements it proves. They share one broker and run in parallel, so every client
//! identifier and topic is unique; that something does *not* arrive is shown by what is sent after it arriving first.

mod broker;
mod names;
mod packets;
mod unacknowledged;
mod wire;

mod connack;
mod connect;
mod connect_fields;
mod connect_malformed;
mod corpus;
mod disconnect;
mod framing;
mod keep_alive;
mod malformed;
mod ordering;
mod overlap;
mod overload;
mod ping;
mod publish;
mod qos1;
mod qos2;
mod qos2_sender;
mod retain;
mod session;
mod subscribe;
mod topics;
mod unsubscribe;
mod will;
mod will_end;
