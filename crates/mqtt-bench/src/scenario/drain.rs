//! Reading what a server holds: every message of a known number, once, by whoever it is for.

use std::time::{Duration, Instant};

use super::Bench;
use crate::{
    BenchError,
    net::{ConnId, Event, Net},
    server_process::{Sample, Spent},
    traffic::{Checks, Faults, Plan, receive},
};

/// After the last message: the time in which a duplicate of it would come.
const GRACE: Duration = Duration::from_millis(100);

/// Receivers at work.
pub(super) struct Drain {
    checks: Checks,
    sent: Vec<u64>,
    /// Which subscriber a connection is; `None` is not one of these.
    subscriber_of: Vec<Option<usize>>,
    began: Sample,
    not_retained: u64,
}

/// What came.
pub(super) struct Drained {
    pub(super) delivered: u64,
    pub(super) spent: Spent,
    pub(super) faults: Faults,
    /// Messages without the retain flag.
    pub(super) not_retained: u64,
}

impl Drain {
    /// The clock starts here.
    pub(super) fn begin(bench: &mut Bench, plan: &Plan) -> Self {
        let count = match plan.extent {
            crate::traffic::Extent::Messages(count) => count,
            crate::traffic::Extent::Time { .. } => 0,
        };
        Self {
            checks: Checks::new(plan),
            sent: vec![count; plan.topics.len()],
            subscriber_of: Vec::new(),
            began: Sample::now(bench.server_pid),
            not_retained: 0,
        }
    }

    pub(super) fn add(&mut self, conn: ConnId, subscriber: usize) {
        if self.subscriber_of.len() <= conn {
            self.subscriber_of.resize(conn + 1, None);
        }
        self.subscriber_of[conn] = Some(subscriber);
    }

    /// Reads until `wanted` messages have come, or none for too long.
    pub(super) fn run(mut self, bench: &mut Bench, wanted: u64) -> Result<Drained, BenchError> {
        let mut last_step = (0, Instant::now());
        while self.checks.delivered() < wanted && last_step.1.elapsed() < bench.server.patience {
            bench
                .net
                .turn(Duration::from_millis(50), &mut |net, conn, event| self.on_event(net, conn, event))?;
            let delivered = self.checks.delivered();
            bench.progress.show(bench.net.now_ns(), || format!("{delivered} of {wanted} read"));
            if last_step.0 != delivered {
                last_step = (delivered, Instant::now());
            }
        }
        // What never came was waited for, and that is not the time that reading took.
        let ended = Sample::now(bench.server_pid).as_of(last_step.1, &self.began);
        let delivered = self.checks.delivered();
        let over = Instant::now();
        while over.elapsed() < GRACE {
            bench.net.turn(GRACE, &mut |net, conn, event| self.on_event(net, conn, event))?;
        }
        Ok(Drained {
            delivered,
            spent: ended.since(&self.began),
            faults: self.checks.finish(&self.sent),
            not_retained: self.not_retained,
        })
    }

    fn on_event(&mut self, net: &mut Net, conn: ConnId, event: Event<'_>) {
        let Some(&Some(subscriber)) = self.subscriber_of.get(conn) else { return };
        match event {
            Event::Frame { head, body } => match receive(net, conn, head, body) {
                Ok(Some(delivery)) => {
                    let sent = self.sent.get(delivery.stamp.publisher).copied().unwrap_or(0);
                    self.checks.arrive(subscriber, &delivery, sent);
                    self.not_retained += u64::from(!delivery.retain);
                }
                Ok(None) => {}
                Err(error) => self.checks.faults.error(error.to_string()),
            },
            Event::Closed(error) => {
                self.checks.faults.error(format!("a subscriber's connection ended: {error}"));
            }
            Event::Written => {}
        }
    }
}
