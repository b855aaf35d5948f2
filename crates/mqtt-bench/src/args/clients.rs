//! Arguments of the scenarios about connections, sessions and subscriptions.

use std::time::Duration;

use clap::{Args, ValueEnum};
use mqtt_codec::QoS;

use super::{ServerArgs, TrafficArgs, count, count_or_none, duration, numbered, qos, rate};

/// Arguments of `connect`.
#[derive(Clone, Debug, Args)]
pub struct ConnectArgs {
    /// The server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// Clients.
    #[arg(short = 'c', long, default_value_t = 1000, value_parser = count)]
    pub clients: usize,
    /// Connections begun a second; without it a storm, held back by `--concurrency` alone.
    #[arg(long, value_name = "PER_SECOND", value_parser = rate, conflicts_with = "connect_interval")]
    pub rate: Option<f64>,
    /// Milliseconds from one connection to the next.
    #[arg(long, alias = "ci", value_name = "MS", default_value_t = 0)]
    pub connect_interval: u64,
    /// Clean sessions.
    #[arg(short = 'C', long, default_value_t = true, action = clap::ArgAction::Set)]
    pub clean_session: bool,
    /// Each client subscribes to a topic of its own as well.
    #[arg(long)]
    pub subscribe: bool,
    /// How long to hold the connections.
    #[arg(long, default_value = "0s", value_parser = duration)]
    pub hold: Duration,
    /// Give up on clients that are not connected after this many seconds; 0 is never.
    #[arg(short = 't', long, default_value_t = 0)]
    pub timeout: u64,
}

impl ConnectArgs {
    /// Clean sessions without subscriptions, begun at a rate.
    pub(crate) fn ramp(server: &ServerArgs, clients: usize, per_second: f64) -> Self {
        Self {
            server: server.clone(),
            clients,
            rate: Some(per_second),
            connect_interval: 0,
            clean_session: true,
            subscribe: false,
            hold: Duration::ZERO,
            timeout: 0,
        }
    }
}

/// Arguments of `tls`.
#[derive(Clone, Debug, Args)]
pub struct TlsArgs {
    /// The server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// Handshakes.
    #[arg(short = 'c', long, default_value_t = 2000, value_parser = count)]
    pub clients: usize,
    /// Resume the sessions of earlier connections.
    #[arg(long)]
    pub resume: bool,
}

/// Arguments of `idle`.
#[derive(Clone, Debug, Args)]
pub struct IdleArgs {
    /// The server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// Connections.
    #[arg(short = 'c', long, default_value_t = 10_000, value_parser = count)]
    pub clients: usize,
    /// Rest before memory is read.
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub settle: Duration,
}

/// Arguments of `reconnect`.
#[derive(Clone, Debug, Args)]
pub struct ReconnectArgs {
    /// The server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// Clients, each with a session that lasts and one subscription.
    #[arg(short = 'c', long, default_value_t = 1000, value_parser = count)]
    pub clients: usize,
    /// How often all of them lose their connection.
    #[arg(long, default_value_t = 3, value_parser = count)]
    pub rounds: usize,
}

/// Arguments of `subscribe`.
#[derive(Clone, Debug, Args)]
pub struct SubscribeArgs {
    /// The server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// Clients.
    #[arg(short = 'c', long, default_value_t = 1000, value_parser = count)]
    pub clients: usize,
    /// Milliseconds from one connection to the next.
    #[arg(long, alias = "ci", value_name = "MS", default_value_t = 0)]
    pub connect_interval: u64,
    /// Clean sessions.
    #[arg(short = 'C', long, default_value_t = true, action = clap::ArgAction::Set)]
    pub clean_session: bool,
    /// QoS asked for.
    #[arg(long, default_value = "1", value_parser = qos)]
    pub qos: QoS,
    /// What the topics begin with; a number follows.
    #[arg(long, default_value = "topic_name")]
    pub topic: String,
    /// Milliseconds from the answer to one SUBSCRIBE to the next.
    #[arg(short = 'i', long, value_name = "MS", default_value_t = 100)]
    pub interval: u64,
    /// Subscriptions of each client.
    #[arg(short = 'n', long, default_value_t = 200, value_parser = count)]
    pub count: usize,
    /// Give up after this many seconds; 0 is never.
    #[arg(short = 't', long, default_value_t = 0)]
    pub timeout: u64,
}

/// Arguments of `subscriptions`.
#[derive(Clone, Debug, Args)]
pub struct SubscriptionsArgs {
    /// The server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// The traffic among the subscriptions.
    #[command(flatten)]
    pub traffic: TrafficArgs,
    /// Subscriptions, all different.
    #[arg(short = 'n', long, default_value_t = 100_000, value_parser = numbered)]
    pub count: usize,
    /// How many of them get messages, the same number of each client; the others only exist [default: all].
    #[arg(long, value_parser = numbered)]
    pub receiving: Option<usize>,
    /// Clients that hold them.
    #[arg(short = 'c', long, default_value_t = 100, value_parser = count)]
    pub clients: usize,
    /// Filters in one SUBSCRIBE.
    #[arg(long, default_value_t = 100, value_parser = count)]
    pub batch: usize,
    /// What the filters look like.
    #[arg(long, value_enum, default_value_t = FilterKind::Mixed)]
    pub kind: FilterKind,
    /// Publishers.
    #[arg(long, default_value_t = 10, value_parser = count)]
    pub publishers: usize,
}

/// What filters look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FilterKind {
    /// No wildcard.
    Exact,
    /// A `+` in the middle.
    Plus,
    /// A `#` at the end.
    Hash,
    /// 70 % without a wildcard, 20 % with `+`, 10 % with `#`.
    Mixed,
}

/// Arguments of `churn`.
#[derive(Clone, Debug, Args)]
pub struct ChurnArgs {
    /// The server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// The traffic meanwhile.
    #[command(flatten)]
    pub traffic: TrafficArgs,
    /// Publishers, and as many subscribers, that are to notice nothing.
    #[arg(short = 'n', long, default_value_t = 10, value_parser = count_or_none)]
    pub pairs: usize,
    /// Clients that subscribe and unsubscribe, each as fast as it is answered.
    #[arg(short = 'c', long, default_value_t = 10, value_parser = count_or_none)]
    pub churners: usize,
}
