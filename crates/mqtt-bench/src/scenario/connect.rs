//! Connections: how fast they are made, what they cost at rest, how they come back.

use std::time::{Duration, Instant};

use mqtt_codec::QoS;

use super::Bench;
use crate::{
    BenchError,
    args::{ConnectArgs, IdleArgs, ReconnectArgs, TlsArgs, TransportKind},
    client::{self, Client},
    latency::Latency,
    link::{Tls, Transport},
    net::{Event, Net},
    report::{LatencySummary, Report, Unit},
    server_process::{self, Sample},
};

/// A storm, or a ramp if a rate or an interval is given.
pub(super) fn connect(args: &ConnectArgs) -> Result<Report, BenchError> {
    let mut bench = Bench::new(&args.server)?;
    bench.server.per_second = args.rate.or(per_second(args.connect_interval));
    bench.give_up_after(args.timeout);
    let clients: Vec<_> = (0..args.clients)
        .map(|index| {
            let filters = if args.subscribe { vec![format!("bench/connect/{index}")] } else { Vec::new() };
            let client = Client::new(format!("bench-connect-{index}")).subscribed(filters, QoS::AtLeastOnce);
            Client { clean_session: args.clean_session, ..client }
        })
        .collect();
    let before = Sample::now(bench.server_pid);
    let connected = bench.connect(&clients)?;
    let spent = Sample::now(bench.server_pid).since(&before);
    let ready = connected.ready as u64;
    let mut report = bench.report("connect");
    report.setting("clients", args.clients);
    report.setting("subscriptions", if args.subscribe { "one each" } else { "none" });
    match bench.server.per_second {
        Some(rate) => report.setting("ramp", format!("{rate} a second")),
        None => report.setting("storm", format!("{} at a time", bench.server.concurrency)),
    }
    report.add_rate("connected", ready, spent.time);
    report.add_spent(&spent, ready);
    report.latency = LatencySummary::of(&connected.latency);
    report.note_given_up(args.timeout, connected.ready, args.clients, "clients connected");
    hold(&mut bench.net, args.hold, &mut report)?;
    if args.clean_session {
        bench.disconnect();
    } else {
        bench.forget_sessions(&clients, &mut report);
    }
    Ok(report)
}

/// Handshakes, each for a connection of its own; the few before them, from which they resume, do not count.
pub(super) fn handshakes(args: &TlsArgs) -> Result<Report, BenchError> {
    let transport = Transport::new(TransportKind::Tls, &Tls::new(args.resume)?, "");
    let mut bench = Bench::over(&args.server, transport)?;
    bench.transport = TransportKind::Tls;
    let clients = |name: &str, count: usize| -> Vec<_> {
        (0..count).map(|index| Client::new(format!("bench-tls-{name}-{index}"))).collect()
    };
    if args.resume {
        bench.connect(&clients("first", args.server.concurrency.max(1)))?;
    }
    let before = Sample::now(bench.server_pid);
    let connected = bench.connect(&clients("then", args.clients))?;
    let spent = Sample::now(bench.server_pid).since(&before);
    let resumed = bench.net.resumed();
    let mut report = bench.report("tls");
    report.setting("handshakes", args.clients);
    report.setting("resumed", resumed);
    report.add_rate("handshakes", args.clients as u64, spent.time);
    report.add_spent(&spent, args.clients as u64);
    report.latency = LatencySummary::of(&connected.latency);
    if args.resume && resumed == 0 {
        report.faults().error("the server resumed no session".into());
    }
    bench.disconnect();
    Ok(report)
}

/// Resident bytes of a connection, without a subscription and with one.
pub(super) fn idle(args: &IdleArgs) -> Result<Report, BenchError> {
    let mut bench = Bench::new(&args.server)?;
    let clients: Vec<_> = (0..args.clients).map(|index| Client::new(format!("bench-idle-{index}"))).collect();
    let pid = bench
        .server_pid
        .ok_or_else(|| BenchError::Usage("memory is read of a process: give --server-pid".into()))?;
    let resident = |bench: &mut Bench| bench.resident(args.settle)?.ok_or(BenchError::NoProcess(pid));
    let empty = resident(&mut bench)?;
    let conns = bench.connect(&clients)?.conns;
    let connected = resident(&mut bench)?;
    let work = super::subscribe::Work {
        per_client: 1,
        batch: 1,
        interval: Duration::ZERO,
        qos: QoS::AtLeastOnce,
        filter: &|client, _| format!("bench/idle/{client}"),
    };
    super::subscribe::drive(&mut bench, &conns, &work)?;
    let subscribed = resident(&mut bench)?;
    let mut report = bench.report("idle");
    report.setting("connections", args.clients);
    let each = |more: u64, less: u64| (more as f64 - less as f64) / args.clients as f64;
    report.add("a connection", each(connected, empty), Unit::Bytes);
    report.add("a connection with one subscription", each(subscribed, empty), Unit::Bytes);
    report.add("server memory before", empty as f64, Unit::Bytes);
    report.add("server memory with all", subscribed as f64, Unit::Bytes);
    report
        .notes
        .push("resident memory of the process; what the kernel keeps for a socket is not in it".into());
    hold(&mut bench.net, Duration::from_millis(10), &mut report)?;
    bench.disconnect();
    Ok(report)
}

/// Every connection breaks at once, again and again, and every client must find its session.
pub(super) fn reconnect(args: &ReconnectArgs) -> Result<Report, BenchError> {
    let mut bench = Bench::new(&args.server)?;
    let clients: Vec<_> = (0..args.clients)
        .map(|index| {
            Client { clean_session: false, ..Client::new(format!("bench-reconnect-{index}")) }
                .subscribed(vec![format!("bench/reconnect/{index}")], QoS::AtLeastOnce)
        })
        .collect();
    let conns = bench.connect(&clients)?.conns;
    let returning: Vec<_> =
        clients.iter().map(|client| Client { filters: Vec::new(), ..client.clone() }).collect();
    let before = Sample::now(bench.server_pid);
    let (mut resumed, mut slowest, mut latency) = (0, Duration::ZERO, Latency::new());
    for _ in 0..args.rounds {
        let began = Instant::now();
        let back = client::connect(&mut bench.net, &bench.server, &returning, &conns, &bench.progress)?;
        slowest = slowest.max(began.elapsed());
        resumed += back.resumed;
        latency.merge(back.latency);
    }
    let spent = Sample::now(bench.server_pid).since(&before);
    let all = args.clients * args.rounds;
    let mut report = bench.report("reconnect");
    report.setting("clients", args.clients);
    report.setting("rounds", args.rounds);
    report.add_rate("reconnected", all as u64, spent.time);
    report.add("slowest round", slowest.as_secs_f64(), Unit::Secs);
    report.add_spent(&spent, all as u64);
    report.latency = LatencySummary::of(&latency);
    if resumed != all {
        report.faults().error(format!("{} of {all} clients did not find their session", all - resumed));
    }
    bench.forget_sessions(&clients, &mut report);
    Ok(report)
}

/// A fault for every connection that does not last.
fn hold(net: &mut Net, time: Duration, report: &mut Report) -> Result<(), BenchError> {
    let began = Instant::now();
    let mut lost = 0;
    while began.elapsed() < time {
        net.turn(time.saturating_sub(began.elapsed()), &mut |_, _, event| {
            lost += usize::from(matches!(event, Event::Closed(_)));
        })?;
    }
    if lost > 0 {
        report.faults().error(format!("{lost} connections did not last"));
    }
    Ok(())
}

/// An interval in milliseconds as a rate; none if it is zero.
pub(super) fn per_second(interval_ms: u64) -> Option<f64> {
    (interval_ms > 0).then(|| 1000.0 / interval_ms as f64)
}

impl Bench {
    /// Resident bytes of the server, after a rest; none without a process that can be read.
    pub(super) fn resident(&mut self, settle: Duration) -> Result<Option<u64>, BenchError> {
        let Some(pid) = self.server_pid else { return Ok(None) };
        self.rest(settle)?;
        Ok(server_process::read(pid).map(|reading| reading.resident_bytes))
    }

    /// Nothing but what keeps the connections alive; one that ends is an error.
    fn rest(&mut self, time: Duration) -> Result<(), BenchError> {
        let (began, mut ended) = (Instant::now(), None);
        while began.elapsed() < time && ended.is_none() {
            self.net.turn(time.saturating_sub(began.elapsed()), &mut |_, conn, event| {
                if let Event::Closed(error) = event {
                    ended = Some(BenchError::Closed { client: format!("number {conn}, at rest"), error });
                }
            })?;
        }
        ended.map_or(Ok(()), Err)
    }
}
