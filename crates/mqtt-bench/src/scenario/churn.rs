//! Clients that subscribe and unsubscribe without end, beside traffic that must notice nothing.

use std::time::Instant;

use mqtt_codec::QoS;

use super::Bench;
use crate::{
    BenchError,
    args::ChurnArgs,
    client::Client,
    frames::{self, packet_type},
    net::{ConnId, Event, Net},
    report::Report,
    traffic::{self, Bystanders, Routing},
};

pub(super) fn run(args: &ChurnArgs) -> Result<Report, BenchError> {
    let mut bench = Bench::new(&args.server)?;
    let churners: Vec<_> =
        (0..args.churners).map(|index| Client::new(format!("bench-churn-{index}"))).collect();
    let conns = bench.connect(&churners)?.conns;
    let topics: Vec<String> = (0..args.pairs).map(|pair| format!("bench/churn/traffic/{pair}")).collect();
    let subscribers: Vec<_> = (0..)
        .zip(&topics)
        .map(|(index, topic): (usize, _)| {
            Client::new(format!("bench-sub-{index}")).subscribed(vec![topic.clone()], args.traffic.qos)
        })
        .collect();
    let subscribers = bench.connect(&subscribers)?.conns;
    let publishers: Vec<_> = (0..args.pairs).map(|index| Client::new(format!("bench-pub-{index}"))).collect();
    let publishers = bench.connect(&publishers)?.conns;
    let plan = bench.plan(&args.traffic, topics, subscribers.len(), Routing::Pairs);
    let mut churn = Churn::new(&conns);
    let began = Instant::now();
    churn.begin(&mut bench.net);
    let measured =
        traffic::run(&mut bench.net, &plan, &publishers, &subscribers, &mut churn, &bench.progress)?;
    let time = began.elapsed();
    bench.disconnect();
    let mut report = bench.report("churn");
    report.setting("pairs", args.pairs);
    report.setting("churners", args.churners);
    report.set_traffic(&args.traffic);
    report.add_traffic(&measured);
    report.add_rate("subscribed or unsubscribed", churn.answered, time);
    for error in churn.errors {
        report.faults().error(error);
    }
    Ok(report)
}

struct Churn {
    /// The churner of each connection and how many of its requests were answered.
    churners: Vec<Option<(ConnId, u64)>>,
    answered: u64,
    errors: Vec<String>,
}

impl Churn {
    fn new(conns: &[ConnId]) -> Self {
        let mut churners = vec![None; conns.iter().max().map_or(0, |highest| highest + 1)];
        for &conn in conns {
            churners[conn] = Some((conn, 0));
        }
        Self { churners, answered: 0, errors: Vec::new() }
    }

    fn begin(&mut self, net: &mut Net) {
        for &(conn, answers) in self.churners.iter().flatten() {
            Self::ask(net, conn, answers);
        }
    }

    /// In turn a subscription and its end; wildcards among the traffic's neighbours, but never matching it.
    fn ask(net: &mut Net, conn: ConnId, answers: u64) {
        let filter = [format!("bench/churn/{conn}/{}/+", answers / 2 % 100)];
        if answers.is_multiple_of(2) {
            frames::subscribe(net.out(conn), 1, &filter, QoS::AtLeastOnce);
        } else {
            frames::unsubscribe(net.out(conn), 1, &filter);
        }
    }
}

impl Bystanders for Churn {
    fn on_event(&mut self, net: &mut Net, conn: ConnId, event: Event<'_>) {
        let Some(Some((_, answers))) = self.churners.get_mut(conn) else { return };
        match event {
            Event::Frame { head, .. } if matches!(head >> 4, packet_type::SUBACK | packet_type::UNSUBACK) => {
                *answers += 1;
                self.answered += 1;
                Self::ask(net, conn, *answers);
            }
            Event::Closed(error) => self.errors.push(format!("a churner's connection ended: {error}")),
            Event::Frame { .. } | Event::Written => {}
        }
    }
}
