//! Retained messages: stored under many topics, then all of them read by clients that subscribe with `#`.

use std::time::{Duration, Instant};

use mqtt_codec::QoS;

use super::{Bench, drain::Drain};
use crate::{
    BenchError,
    args::RetainedArgs,
    client::Client,
    frames::{self, packet_type},
    net::{ConnId, Event},
    report::{Report, Unit},
    traffic::{DIGITS, Digits, Numbers, Plan, Routing},
};

const PREFIX: &str = "bench/retained/";
/// Unacknowledged clearing messages.
const CLEARING: usize = 16;
/// From the SUBACK on: the time in which what was not cleared would come.
const LATE: Duration = Duration::from_millis(200);

pub(super) fn run(args: &RetainedArgs) -> Result<Report, BenchError> {
    let mut bench = Bench::new(&args.server)?;
    let publisher = bench.connect(&[Client::new("bench-pub".into())])?.conns;
    let subscribers: Vec<_> =
        (0..args.subscribers).map(|index| Client::new(format!("bench-sub-{index}"))).collect();
    let subscribers = bench.connect(&subscribers)?.conns;
    let before = bench.resident(args.settle)?;
    let plan = Plan {
        digits: Some(Digits { offset: PREFIX.len(), width: DIGITS, numbers: Numbers::Counted }),
        retain: true,
        server_pid: bench.server_pid,
        patience: bench.server.patience,
        ..Plan::store(vec![topic(0)], args.qos, args.payload, args.topics)
    };
    let stored = bench.run(&plan, &publisher, &[], &mut ())?;
    let after = bench.resident(args.settle)?;

    let plan = Plan { routing: Routing::All, subscribers: subscribers.len(), ..plan };
    let mut drain = Drain::begin(&mut bench, &plan);
    for (index, &conn) in subscribers.iter().enumerate() {
        frames::subscribe(bench.net.out(conn), 1, &[format!("{PREFIX}#")], args.qos);
        drain.add(conn, index);
    }
    let read = drain.run(&mut bench, args.topics * subscribers.len() as u64)?;
    clear(&mut bench, &publisher, args.topics)?;
    let left = left_behind(&mut bench)?;
    bench.disconnect();

    let mut report = bench.report("retained");
    report.setting("topics", args.topics);
    report.setting("subscribers", args.subscribers);
    report.setting("QoS", args.qos);
    report.setting("payload", format!("{} bytes", args.payload));
    report.add_rate("stored", stored.published, stored.spent.time);
    if let Some((before, after)) = before.zip(after) {
        report.add("a retained message", (after as f64 - before as f64) / args.topics as f64, Unit::Bytes);
        report.note_memory();
    }
    report.add_rate("read", read.delivered, read.spent.time);
    report.add_spent(&read.spent, read.delivered);
    *report.faults() = stored.faults;
    report.faults().merge(read.faults);
    if read.not_retained > 0 {
        report.faults().error(format!("{} came without the retain flag", read.not_retained));
    }
    if left > 0 {
        report.faults().error(format!("{left} retained messages outlived an empty payload"));
    }
    Ok(report)
}

fn topic(number: u64) -> String {
    format!("{PREFIX}{number:0DIGITS$}")
}

/// Takes back what was retained.
fn clear(bench: &mut Bench, publisher: &[ConnId], topics: u64) -> Result<(), BenchError> {
    let Some(&conn) = publisher.first() else { return Ok(()) };
    let (mut sent, mut acknowledged) = (0, 0);
    let mut last_step = Instant::now();
    while acknowledged < topics {
        while sent < topics && sent - acknowledged < CLEARING as u64 {
            let packet_id = (sent % u64::from(u16::MAX)) as u16 + 1;
            frames::clear_retained(bench.net.out(conn), &topic(sent), packet_id);
            sent += 1;
        }
        let before = acknowledged;
        bench.net.turn(Duration::from_millis(50), &mut |_, from, event| {
            let is_puback = matches!(event, Event::Frame { head, .. } if head >> 4 == packet_type::PUBACK);
            acknowledged += u64::from(from == conn && is_puback);
        })?;
        if before != acknowledged {
            last_step = Instant::now();
        } else if last_step.elapsed() > bench.server.patience {
            return Err(BenchError::Silence { waiting_for: "PUBACK".into(), after: bench.server.patience });
        }
    }
    Ok(())
}

/// How many are still there for a client that comes now.
fn left_behind(bench: &mut Bench) -> Result<u64, BenchError> {
    // It asks once it stands: what comes in one go with the SUBACK counts, too.
    let late = bench.connect(&[Client::new("bench-late".into())])?.conns;
    let Some(&conn) = late.first() else { return Ok(0) };
    frames::subscribe(bench.net.out(conn), 1, &[format!("{PREFIX}#")], QoS::AtMostOnce);
    let (mut left, mut granted, mut since) = (0, false, Instant::now());
    while since.elapsed() < if granted { LATE } else { bench.server.patience } {
        bench.net.turn(Duration::from_millis(50), &mut |_, from, event| match event {
            Event::Frame { head, .. } if from == conn => match head >> 4 {
                packet_type::PUBLISH => left += 1,
                packet_type::SUBACK => (granted, since) = (true, Instant::now()),
                _ => {}
            },
            _ => {}
        })?;
    }
    if granted {
        return Ok(left);
    }
    Err(BenchError::Silence { waiting_for: "SUBACK".into(), after: bench.server.patience })
}
