//! Messages for sessions that are away: how fast they are stored, what they weigh, how fast they come out.

use super::{Bench, drain::Drain};
use crate::{
    BenchError,
    args::OfflineArgs,
    client::Client,
    report::{Report, Unit},
    traffic::{Plan, Routing},
};

pub(super) fn run(args: &OfflineArgs) -> Result<Report, BenchError> {
    if args.qos.as_u8() == 0 {
        return Err(BenchError::Usage(
            "QoS 0 need not be kept for a session that is away: ask for 1 or 2".into(),
        ));
    }
    let mut bench = Bench::new(&args.server)?;
    let topics: Vec<String> = (0..args.sessions).map(|index| format!("bench/offline/{index}")).collect();
    let sessions: Vec<_> = (0..)
        .zip(&topics)
        .map(|(index, topic): (usize, _)| {
            Client { clean_session: false, ..Client::new(format!("bench-away-{index}")) }
                .subscribed(vec![topic.clone()], args.qos)
        })
        .collect();
    bench.connect(&sessions)?;
    bench.disconnect();
    let publishers: Vec<_> =
        (0..args.sessions).map(|index| Client::new(format!("bench-pub-{index}"))).collect();
    let publishers = bench.connect(&publishers)?.conns;
    let before = bench.resident(args.settle)?;
    let plan = Plan {
        server_pid: bench.server_pid,
        patience: bench.server.patience,
        ..Plan::store(topics, args.qos, args.payload, args.messages)
    };
    let stored = bench.run(&plan, &publishers, &[], &mut ())?;
    let after = bench.resident(args.settle)?;
    let all = args.messages * args.sessions as u64;

    let mut report = bench.report("offline");
    report.setting("sessions", args.sessions);
    report.setting("messages of each", args.messages);
    report.setting("QoS", args.qos);
    report.setting("payload", format!("{} bytes", args.payload));
    report.add_rate("stored", stored.published, stored.spent.time);
    if let Some(server) = stored.spent.server {
        report.add(
            "server CPU a stored message",
            server.cpu_secs * 1e6 / stored.published as f64,
            Unit::Micros,
        );
    }
    if let Some((before, after)) = before.zip(after) {
        report.add("a queued message", (after as f64 - before as f64) / stored.published as f64, Unit::Bytes);
        report.note_memory();
    }

    let plan = Plan { routing: Routing::Pairs, subscribers: args.sessions, ..plan };
    let mut drain = Drain::begin(&mut bench, &plan);
    for (index, client) in sessions.iter().enumerate() {
        let conn = bench.net.open(bench.server.address)?;
        bench.server.greet(&client.id, false, bench.net.out(conn));
        drain.add(conn, index);
    }
    let drained = drain.run(&mut bench, all)?;
    report.add_rate("drained", drained.delivered, drained.spent.time);
    report.add_spent(&drained.spent, drained.delivered);
    *report.faults() = stored.faults;
    report.faults().merge(drained.faults);

    bench.forget_sessions(&sessions, &mut report);
    Ok(report)
}
