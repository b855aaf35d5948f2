//! The broker as an embedder and a client see it: its public API, over real sockets.
//!
//! One target, a file a subject. Nothing here judges the protocol as such: that is what `tests/conformance` is for.

mod admission;
mod api;
mod backpressure;
mod client;
mod close_reasons;
mod durability;
mod events;
mod examples;
mod hooks;
mod hostile;
mod in_between;
mod journal;
mod limits;
mod listeners;
mod local;
mod log_lines;
mod panics;
mod proxies;
mod publish_hooks;
mod put_off;
mod queue;
mod regressions_2018;
mod rights;
mod sans_io;
mod session_limits;
mod shutdown;
mod slow_disk;
#[cfg(feature = "tls")]
mod tls;
#[cfg(unix)]
mod unix;
#[cfg(all(feature = "tls", feature = "websocket"))]
mod unwanted;
#[cfg(feature = "websocket")]
mod websocket;
mod workers;

use std::net::SocketAddr;

use mqtt_broker::{
    Broker, Builder, Limits, LocalMessage, LocalSubscriber, Message, QoS, TopicFilter, TopicName,
};

/// A broker on a free port.
async fn start(builder: Builder) -> (Broker, SocketAddr) {
    let broker = builder.build();
    let address = broker.listen("127.0.0.1:0").await.expect("a free port");
    (broker, address)
}

/// The default limits, but for what `change` does to them.
fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

/// The next message of a subscriber in this process.
async fn local_message(subscriber: &mut LocalSubscriber) -> LocalMessage {
    journal::soon("a message", subscriber.recv()).await.expect("a message, and not the end")
}

fn filter(text: &str) -> TopicFilter {
    TopicFilter::try_from(text).expect("a topic filter")
}

fn topic(text: &str) -> TopicName {
    TopicName::try_from(text).expect("a topic name")
}

fn message(topic_name: &str, payload: &str, qos: QoS) -> Message {
    Message::new(&topic(topic_name), payload.as_bytes(), qos)
}

const Q0: QoS = QoS::AtMostOnce;
const Q1: QoS = QoS::AtLeastOnce;
const Q2: QoS = QoS::ExactlyOnce;
