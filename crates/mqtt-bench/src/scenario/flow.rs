//! Publishers and subscribers in the shapes that traffic takes: pairs, fan-out, fan-in, shared.
//!
//! Each shape says only who publishes and who listens; the engine below does the rest.

use super::Bench;
use crate::{
    BenchError,
    args::{FaninArgs, FanoutArgs, P2pArgs, RateArgs, ServerArgs, SharedArgs, TrafficArgs},
    client::Client,
    report::Report,
    traffic::{self, Routing},
};

/// One shape of traffic.
struct Flow {
    scenario: &'static str,
    /// The topic of each publisher.
    topics: Vec<String>,
    /// The filters of each subscriber.
    filters: Vec<Vec<String>>,
    routing: Routing,
}

/// N publishers to N subscribers, each pair over a topic of its own.
pub(super) fn p2p(args: &P2pArgs) -> Result<Report, BenchError> {
    Flow::pairs("p2p", args.pairs).run(&args.server, &args.traffic)
}

/// Pairs again, but at a given rate: what is asked is the latency.
pub(super) fn rate(args: &RateArgs) -> Result<Report, BenchError> {
    let traffic = TrafficArgs { rate: args.traffic.rate.or(Some(5000.0)), ..args.traffic.clone() };
    Flow::pairs("rate", args.pairs).run(&args.server, &traffic)
}

/// Every subscriber hears every publisher, by exact filters.
pub(super) fn fanout(args: &FanoutArgs) -> Result<Report, BenchError> {
    let topics = topics("fanout", args.publishers);
    let filters = vec![topics.clone(); args.subscribers];
    Flow { scenario: "fanout", topics, filters, routing: Routing::All }.run(&args.server, &args.traffic)
}

/// Few subscribers hear many publishers, by a wildcard.
pub(super) fn fanin(args: &FaninArgs) -> Result<Report, BenchError> {
    let filters = vec![vec!["bench/fanin/#".into()]; args.subscribers];
    Flow { scenario: "fanin", topics: topics("fanin", args.publishers), filters, routing: Routing::All }
        .run(&args.server, &args.traffic)
}

/// Subscribers that share the messages among them.
pub(super) fn shared(args: &SharedArgs) -> Result<Report, BenchError> {
    let filters = vec![vec!["$share/bench/bench/shared/#".into()]; args.subscribers];
    Flow { scenario: "shared", topics: topics("shared", args.publishers), filters, routing: Routing::AnyOne }
        .run(&args.server, &args.traffic)
}

fn topics(scenario: &str, count: usize) -> Vec<String> {
    (0..count).map(|index| format!("bench/{scenario}/{index}")).collect()
}

impl Flow {
    fn pairs(scenario: &'static str, count: usize) -> Self {
        let topics = topics(scenario, count);
        let filters = topics.iter().map(|topic| vec![topic.clone()]).collect();
        Self { scenario, topics, filters, routing: Routing::Pairs }
    }

    fn run(self, server: &ServerArgs, traffic: &TrafficArgs) -> Result<Report, BenchError> {
        let mut bench = Bench::new(server)?;
        let subscribers: Vec<_> = (0..)
            .zip(self.filters)
            .map(|(index, filters): (usize, _)| {
                Client::new(format!("bench-sub-{index}"))
                    .subscribed(filters, traffic.subscribe_qos.unwrap_or(traffic.qos))
            })
            .collect();
        let publishers: Vec<_> =
            (0..self.topics.len()).map(|index| Client::new(format!("bench-pub-{index}"))).collect();
        let idle: Vec<_> =
            (0..traffic.idle).map(|index| Client::new(format!("bench-idle-{index}"))).collect();
        bench.connect(&idle)?;
        let subscribers = bench.connect(&subscribers)?.conns;
        let publishers = bench.connect(&publishers)?.conns;
        let plan = bench.plan(traffic, self.topics, subscribers.len(), self.routing);
        let measured =
            traffic::run(&mut bench.net, &plan, &publishers, &subscribers, &mut (), &bench.progress)?;
        bench.disconnect();
        let mut report = bench.report(self.scenario);
        report.setting("publishers", publishers.len());
        report.setting("subscribers", subscribers.len());
        report.set_traffic(traffic);
        report.add_traffic(&measured);
        Ok(report)
    }
}
