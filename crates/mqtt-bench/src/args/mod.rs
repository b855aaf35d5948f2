//! What can be asked for, as `clap` structures: `gmqtt bench` and the example program share them.
//!
//! Only the words; what they mean stands in `scenario`.

mod clients;
mod messages;

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{ArgAction, Args, Subcommand, ValueEnum};
use mqtt_codec::QoS;

pub use self::{
    clients::{
        ChurnArgs, ConnectArgs, FilterKind, IdleArgs, ReconnectArgs, SubscribeArgs, SubscriptionsArgs,
        TlsArgs,
    },
    messages::{OfflineArgs, PresetArgs, PublishArgs, RetainedArgs},
};
use crate::{
    frames::MAX_PAYLOAD_BYTES,
    stream::{MAX_PUBLISHERS, STAMP_BYTES},
    traffic::{MAX_INFLIGHT, MAX_NUMBERED},
};

/// Measure an MQTT broker and check every message.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// What to measure.
    #[command(subcommand)]
    pub command: BenchCommand,
}

/// The scenarios.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// N publishers to N subscribers, each pair over a topic of its own.
    #[command(disable_help_flag = true)]
    P2p(P2pArgs),
    /// Few publishers, each heard by all of many subscribers.
    #[command(disable_help_flag = true)]
    Fanout(FanoutArgs),
    /// Many publishers, all heard by few subscribers, by a wildcard.
    #[command(disable_help_flag = true)]
    Fanin(FaninArgs),
    /// Many publishers, and subscribers that share the messages among them.
    #[command(disable_help_flag = true)]
    Shared(SharedArgs),
    /// Pairs at a given rate (open loop): the latency from the intended time of sending.
    #[command(disable_help_flag = true)]
    Rate(RateArgs),
    /// Connections: how many a second, and how long each takes.
    #[command(disable_help_flag = true)]
    Connect(ConnectArgs),
    /// TLS handshakes: how many a second, in full or resumed, each with a CONNECT.
    #[command(disable_help_flag = true)]
    Tls(TlsArgs),
    /// Clients that publish one message at a time, at an interval.
    #[command(disable_help_flag = true)]
    Publish(PublishArgs),
    /// Clients that subscribe one filter at a time, at an interval.
    #[command(disable_help_flag = true)]
    Subscribe(SubscribeArgs),
    /// What a connection that does nothing costs in memory.
    #[command(disable_help_flag = true)]
    Idle(IdleArgs),
    /// Messages for sessions that are away: stored, then drained.
    #[command(disable_help_flag = true)]
    Offline(OfflineArgs),
    /// Retained messages: stored, then all of them read by `#`.
    #[command(disable_help_flag = true)]
    Retained(RetainedArgs),
    /// Many subscriptions: how fast, how much memory, and what publishing among them costs.
    #[command(disable_help_flag = true)]
    Subscriptions(SubscriptionsArgs),
    /// Clients that subscribe and unsubscribe without end beside traffic that must not notice.
    #[command(disable_help_flag = true)]
    Churn(ChurnArgs),
    /// All clients lose their connection at once and come back to their sessions.
    #[command(disable_help_flag = true)]
    Reconnect(ReconnectArgs),
    /// A case of the open MQTT benchmark suite, sized down.
    #[command(disable_help_flag = true)]
    Preset(PresetArgs),
    /// Serve as a raw relay: the limit of this machine, to measure in place of a broker.
    Relay(RelayArgs),
    /// Make one page of several results, those of the same scenario side by side.
    Page(PageArgs),
}

/// The server to measure, and how to show the result.
#[derive(Clone, Debug, Args)]
pub struct ServerArgs {
    /// Name or address of the server.
    #[arg(short = 'h', long, default_value = "localhost")]
    pub host: String,
    /// Port of the server. (A leading colon is allowed.)
    #[arg(short = 'p', long, default_value = "1883", value_parser = port)]
    pub port: u16,
    /// User name.
    #[arg(short = 'u', long)]
    pub user: Option<String>,
    /// Password.
    #[arg(short = 'P', long, alias = "pwd")]
    pub password: Option<String>,
    /// Put before every client identifier: for several runs at the same time.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    pub client_prefix: String,
    /// Keep alive in seconds: who is silent for half of it says PINGREQ; 0 is none.
    #[arg(long, default_value_t = 0)]
    pub keep_alive: u16,
    /// Process of the server on this machine, to tell its CPU time and memory.
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// What is spoken below MQTT. Certificates are not checked.
    #[arg(long, value_enum, default_value_t = TransportKind::Tcp)]
    pub transport: TransportKind,
    /// Path of the upgrade to WebSocket.
    #[arg(long, default_value = "/mqtt", value_name = "PATH")]
    pub ws_path: String,
    /// Connections that may be in the making at the same time.
    #[arg(long, default_value_t = 100)]
    pub concurrency: usize,
    /// How long to wait for something to come before it is called lost.
    #[arg(long, default_value = "5s", value_parser = duration)]
    pub patience: Duration,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
    /// Write the result as a page with plots.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// What to call the server in a comparison.
    #[arg(long, value_name = "NAME")]
    pub label: Option<String>,
    /// No live figures.
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// Print this help.
    #[arg(long, action = ArgAction::Help)]
    pub help: Option<bool>,
}

/// What is spoken below MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TransportKind {
    /// Nothing.
    Tcp,
    /// TLS.
    Tls,
    /// WebSocket.
    Ws,
    /// WebSocket within TLS.
    Wss,
}

impl TransportKind {
    pub(crate) fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    pub(crate) fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }
}

/// How messages flow.
#[derive(Clone, Debug, Args)]
pub struct TrafficArgs {
    /// QoS of publishing, and of subscribing unless that is given too.
    #[arg(long, default_value = "0", value_parser = qos)]
    pub qos: QoS,
    /// QoS of subscribing.
    #[arg(long, alias = "subqos", value_parser = qos, value_name = "QOS")]
    pub subscribe_qos: Option<QoS>,
    /// Payload bytes, from 16 to what a packet has room for.
    #[arg(short = 's', long, default_value_t = 64, value_parser = payload)]
    pub payload: usize,
    /// Messages that may be on their way to one subscriber (closed loop); fewer than common brokers queue.
    #[arg(long, default_value_t = 900)]
    pub window: u64,
    /// Unacknowledged QoS 1 and 2 messages of one publisher, at most as many as there are packet identifiers.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=MAX_INFLIGHT))]
    pub inflight: u64,
    /// Open loop: all publishers together send this many messages a second, whatever comes back.
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    pub rate: Option<f64>,
    /// How long to measure.
    #[arg(long, default_value = "5s", value_parser = duration)]
    pub duration: Duration,
    /// How long to run before measuring.
    #[arg(long, default_value = "500ms", value_parser = duration)]
    pub warmup: Duration,
    /// Send this many messages from each publisher, in place of running for a time.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub messages: Option<u64>,
    /// Further connections that do nothing.
    #[arg(long, default_value_t = 0, value_name = "CONNECTIONS", value_parser = count_or_none)]
    pub idle: usize,
}

impl Default for TrafficArgs {
    /// What the command line gives when it says nothing.
    fn default() -> Self {
        Self {
            qos: QoS::AtMostOnce,
            subscribe_qos: None,
            payload: 64,
            window: 900,
            inflight: 16,
            rate: None,
            duration: Duration::from_secs(5),
            warmup: Duration::from_millis(500),
            messages: None,
            idle: 0,
        }
    }
}

/// Arguments of `p2p`.
#[derive(Clone, Debug, Args)]
pub struct P2pArgs {
    /// The server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// The traffic.
    #[command(flatten)]
    pub traffic: TrafficArgs,
    /// Publishers, and as many subscribers.
    #[arg(short = 'n', long, default_value_t = 10, value_parser = count_or_none)]
    pub pairs: usize,
    /// Subscribers have sessions that last: what the server promises of them, it has to keep.
    #[arg(long)]
    pub keep_sessions: bool,
}

/// Arguments of `fanout`.
#[derive(Clone, Debug, Args)]
pub struct FanoutArgs {
    /// The server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// The traffic.
    #[command(flatten)]
    pub traffic: TrafficArgs,
    /// Publishers.
    #[arg(long, default_value_t = 1, value_parser = count)]
    pub publishers: usize,
    /// Subscribers.
    #[arg(long, default_value_t = 50, value_parser = count)]
    pub subscribers: usize,
}

/// Arguments of `fanin`.
#[derive(Clone, Debug, Args)]
pub struct FaninArgs {
    /// The server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// The traffic.
    #[command(flatten)]
    pub traffic: TrafficArgs,
    /// Publishers.
    #[arg(long, default_value_t = 50, value_parser = count)]
    pub publishers: usize,
    /// Subscribers.
    #[arg(long, default_value_t = 1, value_parser = count)]
    pub subscribers: usize,
}

/// Arguments of `shared`.
#[derive(Clone, Debug, Args)]
pub struct SharedArgs {
    /// The server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// The traffic.
    #[command(flatten)]
    pub traffic: TrafficArgs,
    /// Publishers.
    #[arg(long, default_value_t = 10, value_parser = count)]
    pub publishers: usize,
    /// Subscribers.
    #[arg(long, default_value_t = 5, value_parser = count)]
    pub subscribers: usize,
}

/// Arguments of `rate`.
#[derive(Clone, Debug, Args)]
pub struct RateArgs {
    /// The server.
    #[command(flatten)]
    pub server: ServerArgs,
    /// The traffic; 5,000 messages a second unless a rate is given.
    #[command(flatten)]
    pub traffic: TrafficArgs,
    /// Publishers, and as many subscribers.
    #[arg(short = 'n', long, default_value_t = 10, value_parser = count_or_none)]
    pub pairs: usize,
}

/// Arguments of `relay`.
#[derive(Clone, Debug, Args)]
pub struct RelayArgs {
    /// Where to listen; port 0 takes a free one. The address is printed.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
}

/// Arguments of `page`.
#[derive(Clone, Debug, Args)]
pub struct PageArgs {
    /// Results, as `--json` prints them.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Where to write the page.
    #[arg(long, value_name = "FILE")]
    pub html: PathBuf,
}

/// Words as the stress tools of 2018 took them (`-qos 1`), put as they are taken here (`--qos 1`).
pub fn with_long_flags(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    const LONG: [&str; 6] = ["-ci", "-pwd", "-qos", "-topic", "-sub", "-subqos"];
    let long = |word: OsString| match word.to_str() {
        Some(text) if LONG.contains(&text) => format!("-{text}").into(),
        _ => word,
    };
    words.into_iter().map(long).collect()
}

fn port(text: &str) -> Result<u16, String> {
    text.trim_start_matches(':').parse().map_err(|_| format!("{text:?} is not a port"))
}

fn qos(text: &str) -> Result<QoS, String> {
    text.parse().ok().and_then(QoS::from_u8).ok_or_else(|| "QoS is 0, 1 or 2".into())
}

/// The stamp has to have room in it, and it in a packet.
fn payload(text: &str) -> Result<usize, String> {
    let range = STAMP_BYTES..=MAX_PAYLOAD_BYTES;
    let refused = format!("a payload has {STAMP_BYTES} to {MAX_PAYLOAD_BYTES} bytes");
    text.parse().ok().filter(|bytes| range.contains(bytes)).ok_or(refused)
}

/// One or more, and no more than a stamp can tell apart.
fn count(text: &str) -> Result<usize, String> {
    within(text, 1, MAX_PUBLISHERS)
}

/// [`count`], or none.
fn count_or_none(text: &str) -> Result<usize, String> {
    within(text, 0, MAX_PUBLISHERS)
}

/// As many as have a number in a topic.
fn numbered(text: &str) -> Result<usize, String> {
    within(text, 1, MAX_NUMBERED)
}

fn within(text: &str, least: usize, most: usize) -> Result<usize, String> {
    let refused = format!("it is {least} to {most}");
    text.parse().ok().filter(|count| (least..=most).contains(count)).ok_or(refused)
}

/// A number a second.
fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|&rate: &f64| rate.is_finite() && rate > 0.0);
    rate.ok_or_else(|| "a rate is a number greater than 0".into())
}

/// `5s`, `100ms`, `1m30s`, or a plain number of seconds.
fn duration(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(secs) => Duration::try_from_secs_f64(secs).map_err(|error| error.to_string()),
        Err(_) => humantime::parse_duration(text).map_err(|error| error.to_string()),
    }
}

impl BenchCommand {
    /// The server that it is about; none for the relay.
    pub fn server(&self) -> Option<&ServerArgs> {
        match self {
            Self::P2p(args) => Some(&args.server),
            Self::Fanout(args) => Some(&args.server),
            Self::Fanin(args) => Some(&args.server),
            Self::Shared(args) => Some(&args.server),
            Self::Rate(args) => Some(&args.server),
            Self::Connect(args) => Some(&args.server),
            Self::Tls(args) => Some(&args.server),
            Self::Publish(args) => Some(&args.server),
            Self::Subscribe(args) => Some(&args.server),
            Self::Idle(args) => Some(&args.server),
            Self::Offline(args) => Some(&args.server),
            Self::Retained(args) => Some(&args.server),
            Self::Subscriptions(args) => Some(&args.server),
            Self::Churn(args) => Some(&args.server),
            Self::Reconnect(args) => Some(&args.server),
            Self::Preset(args) => Some(&args.server),
            Self::Relay(_) | Self::Page(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        bench: BenchArgs,
    }

    fn parse(words: &str) -> BenchCommand {
        let words = with_long_flags(words.split_ascii_whitespace().map(OsString::from));
        Program::try_parse_from(words).unwrap().bench.command
    }

    #[test]
    fn the_flags_of_the_earlier_tools_are_understood() {
        let words = "bench publish -h localhost -p :1884 -u me -pwd secret -c 5 -ci 7 -i 3 -n 9 -s 32 -qos 2 \
                     -topic t -sub 1 -subqos 1 -t 60";
        let BenchCommand::Publish(args) = parse(words) else { panic!("not publish") };
        assert_eq!((args.server.port, args.server.password.as_deref()), (1884, Some("secret")));
        assert_eq!((args.clients, args.connect_interval, args.interval, args.count), (5, 7, 3, 9));
        assert_eq!((args.qos, args.subscribe_qos), (QoS::ExactlyOnce, QoS::AtLeastOnce));
        assert_eq!((args.subscribers, args.timeout), (1, 60));
        let BenchCommand::Subscribe(args) = parse("bench subscribe -C false -topic a -i 0") else {
            panic!("not subscribe")
        };
        assert_eq!((args.clean_session, args.topic.as_str(), args.interval), (false, "a", 0));
    }

    #[test]
    fn every_command_has_consistent_arguments() {
        use clap::CommandFactory as _;
        Program::command().debug_assert();
    }

    #[test]
    fn a_payload_has_room_for_the_stamp_and_fits_in_a_packet() {
        for scenario in ["p2p", "publish", "offline", "retained"] {
            for bytes in ["8", "268369917", "many"] {
                let words = ["bench", scenario, "-s", bytes];
                let Err(refused) = Program::try_parse_from(words) else { panic!("{words:?} is taken") };
                let refused = refused.to_string();
                assert!(refused.contains(bytes) && refused.contains("--payload"), "{refused}");
                assert!(refused.contains("16 to 268369916"), "{refused}");
            }
            Program::try_parse_from(["bench", scenario, "-s", "16"]).unwrap();
        }
    }

    #[test]
    fn a_time_has_a_unit_or_is_in_seconds() {
        assert_eq!(duration("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("100ms"), Ok(Duration::from_millis(100)));
        assert!(duration("fast").is_err());
        assert!(qos("3").is_err());
        assert_eq!(rate("0.1"), Ok(0.1));
        assert!(rate("0").is_err());
    }

    #[test]
    fn no_more_is_unacknowledged_than_there_are_packet_identifiers() {
        for (inflight, is_taken) in [("0", false), ("1", true), ("65535", true), ("65536", false)] {
            let parsed = Program::try_parse_from(["bench", "p2p", "--inflight", inflight]);
            assert_eq!(parsed.is_ok(), is_taken, "{inflight}");
        }
    }

    #[test]
    fn there_is_at_least_one_of_each_and_no_more_than_can_be_told_apart() {
        for words in [
            "subscriptions -n 0",
            "subscriptions -n 10000001",
            "subscriptions -c 0",
            "subscriptions --batch 0",
            "subscriptions --receiving 0",
            "subscriptions --publishers 0",
            "retained -n 0",
            "retained -n 10000001",
            "retained --subscribers 0",
            "offline --sessions 0",
            "offline -n 0",
            "idle -c 0",
            "connect -c 0",
            "connect -c 1000000000",
            "tls -c 0",
            "reconnect -c 0",
            "reconnect --rounds 0",
            "subscribe -c 0",
            "subscribe -n 0",
            "publish -c 0",
            "publish -n 0",
            "fanout --subscribers 0",
            "fanout --publishers 0",
            "fanin --subscribers 0",
            "fanin --publishers 0",
            "shared --subscribers 0",
            "shared --publishers 0",
            "p2p -n 1000000000",
            "p2p --messages 0",
            "preset conn-tcp-10K-100 --scale inf",
            "preset conn-tcp-10K-100 --scale 0.5",
        ] {
            let all = format!("bench {words}");
            assert!(Program::try_parse_from(all.split(' ')).is_err(), "{words}");
        }
        parse("bench p2p -n 0 --idle 5");
        parse("bench retained -n 10000000");
    }
}
