//! Clients that subscribe, one SUBSCRIBE at a time each; and traffic among many subscriptions.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    mem,
    time::{Duration, Instant},
};

use mqtt_codec::QoS;

use super::{Bench, connect::per_second};
use crate::{
    BenchError,
    args::{FilterKind, SubscribeArgs, SubscriptionsArgs},
    client::{self, Client},
    frames::{self, packet_type},
    latency::Latency,
    net::{ConnId, Event, Net},
    report::{LatencySummary, Report, Unit},
    server_process::{Sample, Spent},
    traffic::{self, DIGITS, Digits, MAX_NUMBERED, Numbers, Plan, Routing},
};

const PREFIX: &str = "bench/s/";

/// What a fleet is to subscribe.
pub(super) struct Work<'a> {
    pub(super) per_client: usize,
    /// Filters in one SUBSCRIBE.
    pub(super) batch: usize,
    /// From a SUBACK to the next SUBSCRIBE.
    pub(super) interval: Duration,
    pub(super) qos: QoS,
    /// The filter of a client and a number.
    pub(super) filter: &'a dyn Fn(usize, usize) -> String,
}

/// What that took.
pub(super) struct Subscribed {
    pub(super) count: usize,
    pub(super) spent: Spent,
    /// From SUBSCRIBE to SUBACK.
    pub(super) latency: Latency,
}

/// The subscribe tool of 2018: each client its own pace.
pub(super) fn subscribe(args: &SubscribeArgs) -> Result<Report, BenchError> {
    let mut bench = Bench::new(&args.server)?;
    bench.server.per_second = per_second(args.connect_interval);
    let clients: Vec<_> = (0..args.clients)
        .map(|index| Client { clean_session: args.clean_session, ..Client::new(format!("bench-{index}")) })
        .collect();
    let conns = bench.connect(&clients)?.conns;
    let interval = Duration::from_millis(args.interval);
    bench.server.patience = bench.server.patience.saturating_add(interval);
    bench.give_up_after(args.timeout);
    let work = Work {
        per_client: args.count,
        batch: 1,
        interval,
        qos: args.qos,
        filter: &|_, number| format!("{}{number}", args.topic),
    };
    let subscribed = drive(&mut bench, &conns, &work)?;
    let mut report = bench.report("subscribe");
    report.setting("clients", args.clients);
    report.setting("subscriptions of each", args.count);
    report.setting("interval", format!("{} ms", args.interval));
    report.setting("QoS", args.qos);
    report.add_rate("subscribed", subscribed.count as u64, subscribed.spent.time);
    report.add_spent(&subscribed.spent, subscribed.count as u64);
    report.latency = LatencySummary::of(&subscribed.latency);
    report.note_given_up(args.timeout, subscribed.count, args.clients * args.count, "filters subscribed");
    if args.clean_session {
        bench.disconnect();
    } else {
        bench.forget_sessions(&clients, &mut report);
    }
    Ok(report)
}

/// How fast and how large many subscriptions are, and what a message costs among them.
pub(super) fn subscriptions(args: &SubscriptionsArgs) -> Result<Report, BenchError> {
    let per_client = args.count.div_ceil(args.clients.max(1));
    if per_client * args.clients > MAX_NUMBERED {
        let refused = format!("of {} clients {per_client} each are more than {MAX_NUMBERED}", args.clients);
        return Err(BenchError::Usage(refused));
    }
    let mut bench = Bench::new(&args.server)?;
    let clients: Vec<_> = (0..args.clients).map(|index| Client::new(format!("bench-sub-{index}"))).collect();
    let conns = bench.connect(&clients)?.conns;
    bench.connect_idle(&args.traffic)?;
    let rest = Duration::from_millis(500);
    let before = bench.resident(rest)?;
    let receiving_each =
        args.receiving.map_or(per_client, |all| all.div_ceil(args.clients.max(1))).clamp(1, per_client);
    let qos = args.traffic.subscribe_qos.unwrap_or(args.traffic.qos);
    let work = Work {
        per_client,
        batch: args.batch.max(1),
        interval: Duration::ZERO,
        qos,
        filter: &|client, number| {
            filter(args.kind, number_of(client, number, per_client, receiving_each, args.clients))
        },
    };
    let subscribed = drive(&mut bench, &conns, &work)?;
    let after = bench.resident(rest)?;
    let publishers: Vec<_> =
        (0..args.publishers).map(|index| Client::new(format!("bench-pub-{index}"))).collect();
    let publishers = bench.connect(&publishers)?.conns;
    let topics = vec![topic(0); args.publishers];
    let plan = Plan {
        digits: Some(Digits {
            offset: PREFIX.len(),
            width: DIGITS,
            numbers: Numbers::Below { all: (receiving_each * args.clients).max(1), each: receiving_each },
        }),
        ..bench.plan(&args.traffic, topics, conns.len(), Routing::AnyOne)
    };
    let measured = bench.run(&plan, &publishers, &conns, &mut ())?;
    bench.disconnect();
    let mut report = bench.report("subscriptions");
    report.setting("subscriptions", subscribed.count);
    report.setting("receiving", receiving_each * args.clients);
    report.setting("kind", format!("{:?}", args.kind).to_lowercase());
    report.setting("clients", args.clients);
    report.setting("filters in a SUBSCRIBE", args.batch);
    report.setting("publishers", args.publishers);
    report.set_traffic(&args.traffic);
    report.add_rate("filters subscribed", subscribed.count as u64, subscribed.spent.time);
    if let Some(server) = subscribed.spent.server {
        report.add("server CPU a filter", server.cpu_secs * 1e6 / subscribed.count as f64, Unit::Micros);
    }
    if let Some((before, after)) = before.zip(after) {
        report.add("a subscription", (after as f64 - before as f64) / subscribed.count as f64, Unit::Bytes);
        report.note_memory();
    }
    report.add_traffic(&measured);
    Ok(report)
}

/// A topic that exactly one of the filters matches, whatever their kind.
fn topic(number: usize) -> String {
    format!("{PREFIX}{number:0DIGITS$}/a/b")
}

/// The number in a client's filter: those that get messages come first, whosever they are.
fn number_of(client: usize, nth: usize, per_client: usize, receiving_each: usize, clients: usize) -> usize {
    match nth.checked_sub(receiving_each) {
        None => client * receiving_each + nth,
        Some(beyond) => clients * receiving_each + client * (per_client - receiving_each) + beyond,
    }
}

fn filter(kind: FilterKind, number: usize) -> String {
    match (kind, number % 10) {
        (FilterKind::Exact, _) | (FilterKind::Mixed, 0..=6) => topic(number),
        (FilterKind::Plus, _) | (FilterKind::Mixed, 7 | 8) => format!("{PREFIX}{number:0DIGITS$}/+/b"),
        (FilterKind::Hash | FilterKind::Mixed, _) => format!("{PREFIX}{number:0DIGITS$}/#"),
    }
}

/// Subscribes them all, over connections that stand.
pub(super) fn drive(bench: &mut Bench, conns: &[ConnId], work: &Work<'_>) -> Result<Subscribed, BenchError> {
    let mut drive = Drive::new(conns, work, bench.net.refresh_now());
    let before = Sample::now(bench.server_pid);
    let mut last_step = (0, Instant::now());
    while drive.answered < drive.wanted {
        let wait = drive.send(&mut bench.net);
        bench.net.turn(wait, &mut |net, conn, event| drive.on_event(net, conn, event))?;
        if let Some(failed) = drive.failed.take() {
            return Err(failed);
        }
        bench.progress.show(bench.net.now_ns(), || {
            format!("{} of {} filters subscribed", drive.answered, drive.wanted)
        });
        if last_step.0 != drive.answered {
            last_step = (drive.answered, Instant::now());
        } else if last_step.1.elapsed() > bench.server.patience {
            return Err(BenchError::Silence { waiting_for: "SUBACK".into(), after: bench.server.patience });
        }
        if bench.server.is_too_late() {
            break;
        }
    }
    drive.latency.settle();
    Ok(Subscribed {
        count: drive.answered,
        spent: Sample::now(bench.server_pid).since(&before),
        latency: drive.latency,
    })
}

/// What a client has asked for.
#[derive(Clone, Copy, Default)]
struct Asked {
    filters: usize,
    /// Those of them that no SUBACK has been about.
    unanswered: usize,
    last_ns: u64,
}

struct Drive<'a> {
    work: &'a Work<'a>,
    conns: &'a [ConnId],
    /// Which client a connection is of; `usize::MAX` is none.
    client_of: Vec<usize>,
    asked: Vec<Asked>,
    due: BinaryHeap<Reverse<(u64, usize)>>,
    answered: usize,
    wanted: usize,
    latency: Latency,
    failed: Option<BenchError>,
}

impl<'a> Drive<'a> {
    fn new(conns: &'a [ConnId], work: &'a Work<'a>, now_ns: u64) -> Self {
        let mut client_of = vec![usize::MAX; conns.iter().max().map_or(0, |highest| highest + 1)];
        for (client, &conn) in conns.iter().enumerate() {
            client_of[conn] = client;
        }
        Self {
            work,
            conns,
            client_of,
            asked: vec![Asked::default(); conns.len()],
            due: (0..conns.len()).map(|client| Reverse((now_ns, client))).collect(),
            answered: 0,
            wanted: conns.len() * work.per_client,
            latency: Latency::new(),
            failed: None,
        }
    }

    /// Every SUBSCRIBE whose time has come; gives the time until the next.
    fn send(&mut self, net: &mut Net) -> Duration {
        let now_ns = net.refresh_now();
        while let Some(&Reverse((due_ns, client))) = self.due.peek() {
            if due_ns > now_ns {
                return Duration::from_nanos(due_ns - now_ns).min(Duration::from_millis(50));
            }
            self.due.pop();
            let from = self.asked[client].filters;
            let to = self.work.per_client.min(from + self.work.batch);
            if from < to {
                let filters: Vec<_> = (from..to).map(|number| (self.work.filter)(client, number)).collect();
                frames::subscribe(net.out(self.conns[client]), 1, &filters, self.work.qos);
                self.asked[client] = Asked { filters: to, unanswered: to - from, last_ns: now_ns };
            }
        }
        Duration::from_millis(50)
    }

    fn on_event(&mut self, net: &mut Net, conn: ConnId, event: Event<'_>) {
        let Some(&client) = self.client_of.get(conn).filter(|&&client| client != usize::MAX) else { return };
        let name = || format!("number {client}");
        match event {
            Event::Frame { head, body } if head >> 4 == packet_type::SUBACK => {
                let filters = mem::take(&mut self.asked[client].unanswered);
                if let Err(error) = client::granted(&name(), body, filters, self.work.qos) {
                    self.failed.get_or_insert(error);
                }
                self.answered += filters;
                self.latency.record(net.now_ns() - self.asked[client].last_ns);
                let interval_ns = u64::try_from(self.work.interval.as_nanos()).unwrap_or(u64::MAX);
                self.due.push(Reverse((net.now_ns().saturating_add(interval_ns), client)));
            }
            Event::Closed(error) => {
                self.failed.get_or_insert(BenchError::Closed { client: name(), error });
            }
            Event::Frame { head, body } => {
                if let Err(error) = traffic::acknowledge(net, conn, head, body) {
                    self.failed.get_or_insert(error);
                }
            }
            Event::Written => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use mqtt_codec::{TopicFilter, TopicName};

    use super::*;

    #[test]
    fn every_number_is_one_client_s_and_the_first_are_those_that_receive() {
        for receiving_each in [1, 3, 8] {
            let numbers = |nths: std::ops::Range<usize>| {
                let of = |client| nths.clone().map(move |nth| number_of(client, nth, 8, receiving_each, 5));
                let mut all: Vec<usize> = (0..5).flat_map(of).collect();
                all.sort_unstable();
                all
            };
            assert!(numbers(0..8).into_iter().eq(0..40));
            assert!(numbers(0..receiving_each).into_iter().eq(0..receiving_each * 5));
        }
    }

    #[test]
    fn a_topic_matches_its_own_filter_and_no_other() {
        for kind in [FilterKind::Exact, FilterKind::Plus, FilterKind::Hash, FilterKind::Mixed] {
            for number in [0, 7, 9, 123_456] {
                let name = TopicName::new(topic(number)).unwrap();
                for other in [0, 7, 9, 123_456] {
                    let filter = TopicFilter::new(filter(kind, other)).unwrap();
                    assert_eq!(filter.matches(&name), number == other, "{filter:?} {name:?}");
                }
            }
        }
    }
}
