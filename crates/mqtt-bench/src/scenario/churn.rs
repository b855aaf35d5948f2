//! Clients that subscribe and unsubscribe without end, beside traffic that must notice nothing.

use std::time::{Duration, Instant};

use mqtt_codec::QoS;

use super::Bench;
use crate::{
    BenchError,
    args::ChurnArgs,
    client::{self, Client},
    frames::{self, packet_type},
    net::{ConnId, Event, Net},
    report::Report,
    traffic::{Bystanders, Faults, Routing},
};

pub(super) fn run(args: &ChurnArgs) -> Result<Report, BenchError> {
    let mut bench = Bench::new(&args.server)?;
    let churners: Vec<_> = (0..args.churners).map(|index| Client::new(name(index))).collect();
    let conns = bench.connect(&churners)?.conns;
    bench.connect_idle(&args.traffic)?;
    let topics: Vec<String> = (0..args.pairs).map(|pair| format!("bench/churn/traffic/{pair}")).collect();
    let subscribers: Vec<_> = (0..)
        .zip(&topics)
        .map(|(index, topic): (usize, _)| {
            Client::new(format!("bench-sub-{index}"))
                .subscribed(vec![topic.clone()], args.traffic.subscribe_qos.unwrap_or(args.traffic.qos))
        })
        .collect();
    let subscribers = bench.connect(&subscribers)?.conns;
    let publishers: Vec<_> = (0..args.pairs).map(|index| Client::new(format!("bench-pub-{index}"))).collect();
    let publishers = bench.connect(&publishers)?.conns;
    let plan = bench.plan(&args.traffic, topics, subscribers.len(), Routing::Pairs);
    let mut churn = Churn::new(&conns);
    let began = Instant::now();
    churn.begin(&mut bench.net);
    let measured = bench.run(&plan, &publishers, &subscribers, &mut churn)?;
    let (answered, time) = (churn.answered, began.elapsed());
    churn.end(&mut bench)?;
    bench.disconnect();
    let mut report = bench.report("churn");
    report.setting("pairs", args.pairs);
    report.setting("churners", args.churners);
    report.set_traffic(&args.traffic);
    report.add_traffic(&measured);
    report.add_rate("subscribed or unsubscribed", answered, time);
    report.faults().merge(churn.faults);
    Ok(report)
}

fn name(churner: usize) -> String {
    format!("bench-churn-{churner}")
}

#[derive(Default)]
struct Churn {
    /// The churner of each connection.
    churners: Vec<Option<Churner>>,
    /// Requests that the server granted.
    answered: u64,
    /// Nothing more is asked for.
    is_over: bool,
    faults: Faults,
}

#[derive(Clone)]
struct Churner {
    conn: ConnId,
    index: usize,
    answers: u64,
    is_waiting: bool,
}

impl Churn {
    fn new(conns: &[ConnId]) -> Self {
        let mut churners = vec![None; conns.iter().max().map_or(0, |highest| highest + 1)];
        for (index, &conn) in conns.iter().enumerate() {
            churners[conn] = Some(Churner { conn, index, answers: 0, is_waiting: false });
        }
        Self { churners, ..Self::default() }
    }

    fn begin(&mut self, net: &mut Net) {
        self.churners.iter_mut().flatten().for_each(|churner| churner.ask(net));
    }

    /// Waits for the last answers, and no longer than the server's patience: who gets none has been forgotten.
    fn end(&mut self, bench: &mut Bench) -> Result<(), BenchError> {
        self.is_over = true;
        let (began, patience) = (Instant::now(), bench.server.patience);
        while self.waiting() > 0 && began.elapsed() < patience {
            bench.net.turn(Duration::from_millis(50), &mut |net, conn, event| {
                self.on_event(net, conn, event);
            })?;
        }
        let waiting = self.waiting();
        if waiting > 0 {
            self.faults
                .error(format!("{waiting} churners had no answer within {} s", patience.as_secs_f64()));
        }
        Ok(())
    }

    fn waiting(&self) -> usize {
        self.churners.iter().flatten().filter(|churner| churner.is_waiting).count()
    }
}

impl Churner {
    /// In turn a subscription and its end; wildcards among the traffic's neighbours, but never matching it.
    fn ask(&mut self, net: &mut Net) {
        let filter = [format!("bench/churn/{}/{}/+", self.conn, self.answers / 2 % 100)];
        if self.answers.is_multiple_of(2) {
            frames::subscribe(net.out(self.conn), 1, &filter, QoS::AtLeastOnce);
        } else {
            frames::unsubscribe(net.out(self.conn), 1, &filter);
        }
        self.is_waiting = true;
    }
}

impl Bystanders for Churn {
    fn on_event(&mut self, net: &mut Net, conn: ConnId, event: Event<'_>) {
        let Some(Some(churner)) = self.churners.get_mut(conn) else { return };
        let answer = match event {
            Event::Frame { head, body } if head >> 4 == packet_type::SUBACK => {
                client::granted(&name(churner.index), body, 1, QoS::AtLeastOnce)
            }
            Event::Frame { head, .. } if head >> 4 == packet_type::UNSUBACK => Ok(()),
            Event::Closed(error) => {
                churner.is_waiting = false;
                self.faults.error(format!("a churner's connection ended: {error}"));
                return;
            }
            Event::Frame { .. } | Event::Written => return,
        };
        match answer {
            Ok(()) => self.answered += 1,
            Err(error) => self.faults.error(error.to_string()),
        }
        churner.is_waiting = false;
        churner.answers += 1;
        if !self.is_over {
            churner.ask(net);
        }
    }
}
