//! N publishers to N subscribers, each pair over a topic of its own.

use super::Bench;
use crate::{
    BenchError,
    args::P2pArgs,
    client::Client,
    report::Report,
    traffic::{self, Routing},
};

pub(super) fn run(args: &P2pArgs) -> Result<Report, BenchError> {
    let mut bench = Bench::new(&args.server)?;
    let topics: Vec<String> = (0..args.pairs).map(|pair| format!("bench/p2p/{pair}")).collect();
    let subscribers: Vec<_> = (0..)
        .zip(&topics)
        .map(|(pair, topic): (usize, _)| {
            Client::new(format!("bench-sub-{pair}")).subscribed(vec![topic.clone()], args.traffic.qos)
        })
        .collect();
    let publishers: Vec<_> = (0..args.pairs).map(|pair| Client::new(format!("bench-pub-{pair}"))).collect();
    bench.connect_idle(args.traffic.idle)?;
    let subscribers = bench.connect(&subscribers)?;
    let publishers = bench.connect(&publishers)?;
    let plan = bench.plan(&args.traffic, topics, subscribers.len(), Routing::Pairs);
    let measured = traffic::run(&mut bench.net, &plan, &publishers, &subscribers, &mut (), &bench.progress)?;
    let mut report = bench.report("p2p");
    report.setting("pairs", args.pairs);
    report.set_traffic(&args.traffic);
    report.add_traffic(&measured);
    Ok(report)
}
