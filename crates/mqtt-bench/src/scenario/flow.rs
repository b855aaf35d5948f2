//! Publishers and subscribers in the shapes that traffic takes: pairs, fan-out, fan-in, shared.
//!
//! Each shape says only who publishes and who listens; the engine below does the rest.

use mqtt_codec::QoS;

use super::Bench;
use crate::{
    BenchError,
    args::{
        ConnectArgs, FaninArgs, FanoutArgs, P2pArgs, PresetArgs, RateArgs, ServerArgs, SharedArgs,
        TrafficArgs,
    },
    client::Client,
    preset::{self, Case},
    report::Report,
    stream::STAMP_BYTES,
    traffic::Routing,
};

/// One shape of traffic.
struct Flow {
    scenario: &'static str,
    /// The topic of each publisher.
    topics: Vec<String>,
    /// The filters of each subscriber.
    filters: Vec<Vec<String>>,
    routing: Routing,
    /// Whether the subscribers' sessions last beyond their connections.
    keep_sessions: bool,
}

/// N publishers to N subscribers, each pair over a topic of its own.
pub(super) fn p2p(args: &P2pArgs) -> Result<Report, BenchError> {
    Flow { keep_sessions: args.keep_sessions, ..Flow::pairs("p2p", args.pairs) }
        .run(&args.server, &args.traffic)
}

/// Pairs again, but at a given rate: what is asked is the latency.
pub(super) fn rate(args: &RateArgs) -> Result<Report, BenchError> {
    let traffic = TrafficArgs { rate: args.traffic.rate.or(Some(5000.0)), ..args.traffic.clone() };
    Flow::pairs("rate", args.pairs).run(&args.server, &traffic)
}

/// Every subscriber hears every publisher, by exact filters.
pub(super) fn fanout(args: &FanoutArgs) -> Result<Report, BenchError> {
    Flow::fan_out(args.publishers, args.subscribers).run(&args.server, &args.traffic)
}

/// Few subscribers hear many publishers, by a wildcard.
pub(super) fn fanin(args: &FaninArgs) -> Result<Report, BenchError> {
    let filters = vec![vec!["bench/fanin/#".into()]; args.subscribers];
    let (topics, routing) = (topics("fanin", args.publishers), Routing::All);
    Flow { scenario: "fanin", topics, filters, routing, keep_sessions: false }
        .run(&args.server, &args.traffic)
}

/// Subscribers that share the messages among them.
pub(super) fn shared(args: &SharedArgs) -> Result<Report, BenchError> {
    Flow::shared(args.publishers, args.subscribers).run(&args.server, &args.traffic)
}

/// A case of the open MQTT benchmark suite, divided by a factor that the report states.
pub(super) fn preset(args: &PresetArgs) -> Result<Report, BenchError> {
    let (preset, scale) = preset::find(&args.name, args.scale)?;
    let case = preset.case.divided(scale);
    let traffic = |rate| TrafficArgs {
        qos: QoS::AtLeastOnce,
        payload: STAMP_BYTES,
        rate: Some(rate),
        duration: args.duration,
        ..TrafficArgs::default()
    };
    let mut report = match case {
        Case::Connect { clients, per_second } => {
            super::connect::connect(&ConnectArgs::ramp(&args.server, clients, per_second))
        }
        Case::FanOut { publishers, subscribers, rate } => {
            Flow::fan_out(publishers, subscribers).run(&args.server, &traffic(rate))
        }
        Case::Pairs { pairs, rate } => Flow::pairs("p2p", pairs).run(&args.server, &traffic(rate)),
        Case::Shared { publishers, subscribers, rate } => {
            Flow::shared(publishers, subscribers).run(&args.server, &traffic(rate))
        }
    }?;
    report.scenario = preset.name.into();
    report
        .notes
        .push(format!("{} at 1/{scale} of its size: {case:?} in place of {:?}", preset.name, preset.case));
    Ok(report)
}

fn topics(scenario: &str, count: usize) -> Vec<String> {
    (0..count).map(|index| format!("bench/{scenario}/{index}")).collect()
}

impl Flow {
    fn pairs(scenario: &'static str, count: usize) -> Self {
        let topics = topics(scenario, count);
        let filters = topics.iter().map(|topic| vec![topic.clone()]).collect();
        Self { scenario, topics, filters, routing: Routing::Pairs, keep_sessions: false }
    }

    fn fan_out(publishers: usize, subscribers: usize) -> Self {
        let topics = topics("fanout", publishers);
        let filters = vec![topics.clone(); subscribers];
        Self { scenario: "fanout", topics, filters, routing: Routing::All, keep_sessions: false }
    }

    fn shared(publishers: usize, subscribers: usize) -> Self {
        let filters = vec![vec!["$share/bench/bench/shared/#".into()]; subscribers];
        let (topics, routing) = (topics("shared", publishers), Routing::AnyOne);
        Self { scenario: "shared", topics, filters, routing, keep_sessions: false }
    }

    fn run(self, server: &ServerArgs, traffic: &TrafficArgs) -> Result<Report, BenchError> {
        let mut bench = Bench::new(server)?;
        let subscribers: Vec<_> = (0..)
            .zip(self.filters)
            .map(|(index, filters): (usize, _)| {
                Client { clean_session: !self.keep_sessions, ..Client::new(format!("bench-sub-{index}")) }
                    .subscribed(filters, traffic.subscribe_qos.unwrap_or(traffic.qos))
            })
            .collect();
        let publishers: Vec<_> =
            (0..self.topics.len()).map(|index| Client::new(format!("bench-pub-{index}"))).collect();
        bench.connect_idle(traffic)?;
        let receivers = bench.connect(&subscribers)?.conns;
        let publishers = bench.connect(&publishers)?.conns;
        let plan = bench.plan(traffic, self.topics, receivers.len(), self.routing);
        let measured = bench.run(&plan, &publishers, &receivers, &mut ())?;
        bench.disconnect();
        let mut report = bench.report(self.scenario);
        report.setting("publishers", publishers.len());
        report.setting("subscribers", subscribers.len());
        if self.keep_sessions {
            report.setting("sessions", "kept");
        }
        report.set_traffic(traffic);
        report.add_traffic(&measured);
        if self.keep_sessions {
            bench.forget_sessions(&subscribers, &mut report);
        }
        Ok(report)
    }
}
