//! The publish tool of 2018: clients that publish one message at a time to one topic, at an interval.

use std::time::Duration;

use mqtt_codec::TopicName;

use super::{Bench, connect::per_second};
use crate::{
    BenchError,
    args::PublishArgs,
    client::Client,
    report::Report,
    traffic::{Pace, Plan, Routing},
};

pub(super) fn run(args: &PublishArgs) -> Result<Report, BenchError> {
    TopicName::check(args.topic.as_bytes()).map_err(|error| BenchError::Usage(error.to_string()))?;
    let mut bench = Bench::new(&args.server)?;
    let subscribers: Vec<_> = (0..args.subscribers)
        .map(|index| {
            Client::new(format!("bench-sub-{index}")).subscribed(vec!["#".into()], args.subscribe_qos)
        })
        .collect();
    let subscribers = bench.connect(&subscribers)?.conns;
    bench.server.per_second = per_second(args.connect_interval);
    let publishers: Vec<_> = (0..args.clients).map(|index| Client::new(format!("bench-{index}"))).collect();
    let publishers = bench.connect(&publishers)?.conns;
    let plan = Plan {
        subscribers: subscribers.len(),
        delivery_qos: args.qos.min(args.subscribe_qos),
        routing: if subscribers.is_empty() { Routing::Nobody } else { Routing::All },
        pace: Pace::Spaced { interval: Duration::from_millis(args.interval) },
        patience: bench.server.patience,
        at_most: (args.timeout > 0).then(|| Duration::from_secs(args.timeout)),
        server_pid: bench.server_pid,
        ..Plan::store(vec![args.topic.clone(); args.clients], args.qos, args.payload, args.count)
    };
    let measured = bench.run(&plan, &publishers, &subscribers, &mut ())?;
    bench.disconnect();
    let mut report = bench.report("publish");
    report.setting("clients", args.clients);
    report.setting("messages of each", args.count);
    report.setting("interval", format!("{} ms from the acknowledgement", args.interval));
    report.setting("QoS", args.qos);
    report.setting("payload", format!("{} bytes", args.payload));
    report.setting("subscribers of #", format!("{} at QoS {}", args.subscribers, args.subscribe_qos));
    report.add_traffic(&measured);
    let all = args.count * args.clients as u64;
    if args.timeout > 0 && measured.published < all {
        let done = measured.published;
        report.notes.push(format!("stopped after {} s: {done} of {all} messages", args.timeout));
    }
    Ok(report)
}
