//! Arguments of the scenarios about messages that wait: published by the clock, queued, retained; and of the presets.

use std::time::Duration;

use clap::Args;
use mqtt_codec::QoS;

use super::{ServerArgs, count, count_or_none, duration, payload, qos};
use crate::traffic::MAX_NUMBERED;

/// Arguments of `publish`.
#[derive(Clone, Debug, Args)]
pub struct PublishArgs {
    /// The server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// Clients that publish.
    #[arg(short = 'c', long, default_value_t = 1000, value_parser = count)]
    pub clients: usize,
    /// Milliseconds from one connection to the next.
    #[arg(long, alias = "ci", value_name = "MS", default_value_t = 0)]
    pub connect_interval: u64,
    /// QoS of publishing.
    #[arg(long, default_value = "1", value_parser = qos)]
    pub qos: QoS,
    /// The one topic that all publish to.
    #[arg(long, default_value = "topic_name")]
    pub topic: String,
    /// Milliseconds from the acknowledgement of one message to the next.
    #[arg(short = 'i', long, value_name = "MS", default_value_t = 100)]
    pub interval: u64,
    /// Messages of each client.
    #[arg(short = 'n', long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    pub count: u64,
    /// Payload bytes, from 16 to what a packet has room for.
    #[arg(short = 's', long, default_value_t = 256, value_parser = payload)]
    pub payload: usize,
    /// Subscribers of `#`.
    #[arg(long, alias = "sub", default_value_t = 0, value_parser = count_or_none)]
    pub subscribers: usize,
    /// QoS of those subscribers.
    #[arg(long, alias = "subqos", default_value = "0", value_parser = qos)]
    pub subscribe_qos: QoS,
    /// Stop publishing after this many seconds; 0 is never.
    #[arg(short = 't', long, default_value_t = 0)]
    pub timeout: u64,
}

/// Arguments of `offline`.
#[derive(Clone, Debug, Args)]
pub struct OfflineArgs {
    /// The server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// Sessions that are away, each with a publisher of its own.
    #[arg(long, default_value_t = 10, value_parser = count)]
    pub sessions: usize,
    /// Messages for each of them.
    #[arg(short = 'n', long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub messages: u64,
    /// QoS, 1 or 2.
    #[arg(long, default_value = "1", value_parser = qos)]
    pub qos: QoS,
    /// Payload bytes, from 16 to what a packet has room for.
    #[arg(short = 's', long, default_value_t = 64, value_parser = payload)]
    pub payload: usize,
    /// Rest before memory is read.
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub settle: Duration,
}

/// Arguments of `retained`.
#[derive(Clone, Debug, Args)]
pub struct RetainedArgs {
    /// The server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// Topics, each with one retained message.
    #[arg(short = 'n', long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=MAX_NUMBERED as u64))]
    pub topics: u64,
    /// Clients that then subscribe to all of them.
    #[arg(long, default_value_t = 1, value_parser = count)]
    pub subscribers: usize,
    /// QoS of publishing and subscribing.
    #[arg(long, default_value = "1", value_parser = qos)]
    pub qos: QoS,
    /// Payload bytes, from 16 to what a packet has room for.
    #[arg(short = 's', long, default_value_t = 64, value_parser = payload)]
    pub payload: usize,
    /// Rest before memory is read.
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub settle: Duration,
}

/// Arguments of `preset`.
#[derive(Clone, Debug, Args)]
pub struct PresetArgs {
    /// The server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// A name of the open MQTT benchmark suite, for example `fanout-1-1K-1-1K`; `list` lists them.
    pub name: String,
    /// Divide the clients (and with them the messages) by this; without it a factor that suits one small machine.
    #[arg(long, value_name = "FACTOR", value_parser = scale)]
    pub scale: Option<f64>,
    /// How long to measure.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub duration: Duration,
}

/// What a size is divided by.
fn scale(text: &str) -> Result<f64, String> {
    let scale = text.parse().ok().filter(|&scale: &f64| scale.is_finite() && scale >= 1.0);
    scale.ok_or_else(|| "a preset is divided by 1 or more".into())
}
