//! The loop: pace the publishers, read the subscribers, account for every message.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    time::{Duration, Instant},
};

use mqtt_codec::QoS;

use crate::{
    BenchError,
    frames::{self, packet_type},
    latency::Latency,
    net::{ConnId, Event, Net},
    pacer::Pacer,
    progress::{self, Progress},
    server_process::Sample,
    traffic::{
        Extent, Measured, Plan,
        checks::Checks,
        publisher::Publisher,
        receive::{Delivery, receive},
    },
};

/// After the last message has come: the time in which a duplicate of it would.
const DUPLICATES_GRACE: Duration = Duration::from_millis(100);
/// Traffic of others over the same [`Net`] while a plan runs, for example subscribers that come and go.
pub(crate) trait Bystanders {
    /// An event of a connection that is not of the plan.
    fn on_event(&mut self, net: &mut Net, conn: ConnId, event: Event<'_>);
}

/// Nobody besides the plan who had anything to say.
impl Bystanders for () {
    fn on_event(&mut self, _: &mut Net, _: ConnId, _: Event<'_>) {}
}

/// Runs `plan` with these connections as its publishers and subscribers.
pub(crate) fn run(
    net: &mut Net,
    plan: &Plan,
    publishers: &[ConnId],
    subscribers: &[ConnId],
    bystanders: &mut impl Bystanders,
    progress: &Progress,
) -> Result<Measured, BenchError> {
    let pacer = Pacer::new(net)?;
    let mut run = Run::new(net, plan, publishers, subscribers);
    while run.phase != Phase::Done {
        let wait = pacer.wait(run.send(net))?;
        net.turn(wait, &mut |net, conn, event| match run.roles.get(conn) {
            Some(&Role::Publisher(index)) => run.on_publisher(net, index, event),
            Some(&Role::Subscriber(index)) => run.on_subscriber(net, conn, index, event),
            _ => bystanders.on_event(net, conn, event),
        })?;
        run.step(net);
        progress.show(net.now_ns(), || run.line());
    }
    Ok(run.finish(net))
}

#[derive(Clone, Copy)]
enum Role {
    Bystander,
    Publisher(usize),
    Subscriber(usize),
}

/// Warmup → Measuring → Draining (nothing more is sent) → Grace (all has come) → Done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Phase {
    Warmup,
    Measuring,
    Draining,
    Grace,
    Done,
}

/// A point in time, with all counters.
#[derive(Clone, Copy)]
struct Mark {
    costs: Sample,
    published: u64,
    delivered: u64,
}

/// One run of a plan. How it paces its publishers stands in `pace.rs`.
pub(super) struct Run<'a> {
    pub(super) plan: &'a Plan,
    pub(super) with_acknowledgement: bool,
    roles: Vec<Role>,
    pub(super) publishers: Vec<Publisher>,
    /// Publishers that may have room to send.
    pub(super) touched: Vec<usize>,
    pub(super) checks: Checks,
    latency: Latency,
    pub(super) published: u64,
    /// Spaced sending: when each publisher may send next, in nanoseconds.
    pub(super) due: BinaryHeap<Reverse<(u64, usize)>>,
    phase: Phase,
    phase_since: Instant,
    began: Mark,
    ended: Option<Mark>,
    /// Where the schedule of open loop begins.
    pub(super) began_ns: u64,
    /// Latency is recorded for what was sent from here on.
    counts_from_ns: u64,
    pub(super) most_late_ns: u64,
    /// What had come when something last did.
    last_step: (u64, Instant),
    /// How much was published by then.
    published_then: u64,
}

impl<'a> Run<'a> {
    pub(super) fn new(net: &mut Net, plan: &'a Plan, publishers: &[ConnId], subscribers: &[ConnId]) -> Self {
        let conns = publishers.iter().chain(subscribers).max().map_or(0, |highest| highest + 1);
        let mut roles = vec![Role::Bystander; conns];
        for (index, &conn) in subscribers.iter().enumerate() {
            roles[conn] = Role::Subscriber(index);
        }
        for (index, &conn) in publishers.iter().enumerate() {
            roles[conn] = Role::Publisher(index);
        }
        let (checks, now) = (Checks::new(plan), Instant::now());
        Self {
            plan,
            with_acknowledgement: plan.qos != QoS::AtMostOnce,
            roles,
            publishers: (0..)
                .zip(publishers)
                .map(|(index, &conn)| Publisher::new(index, conn, plan))
                .collect(),
            touched: (0..publishers.len()).collect(),
            checks,
            latency: Latency::new(),
            published: 0,
            due: BinaryHeap::new(),
            phase: if matches!(plan.extent, Extent::Time { .. }) { Phase::Warmup } else { Phase::Measuring },
            phase_since: now,
            began: Mark { costs: Sample::now(plan.server_pid), published: 0, delivered: 0 },
            ended: None,
            began_ns: net.refresh_now(),
            counts_from_ns: 0,
            most_late_ns: 0,
            last_step: (0, now),
            published_then: 0,
        }
    }

    /// Whether anything more is to be published.
    pub(super) fn is_publishing(&self) -> bool {
        self.phase <= Phase::Measuring
    }

    pub(super) fn touch(&mut self, index: usize) {
        if let Some(publisher) = self.publishers.get_mut(index)
            && !publisher.touched
        {
            publisher.touched = true;
            self.touched.push(index);
        }
    }

    fn on_publisher(&mut self, net: &mut Net, index: usize, event: Event<'_>) {
        match event {
            Event::Frame { head, body } => self.on_acknowledgement(net, index, head >> 4, body),
            Event::Written => self.touch(index),
            Event::Closed(error) => self.fail(format!("a publisher's connection ended: {error}")),
        }
    }

    fn on_acknowledgement(&mut self, net: &mut Net, index: usize, kind: u8, body: &[u8]) {
        if !matches!(kind, packet_type::PUBACK | packet_type::PUBREC | packet_type::PUBCOMP) {
            return;
        }
        let publisher = &mut self.publishers[index];
        if !publisher.acknowledged(kind) {
            self.checks.faults.error("an acknowledgement of nothing".into());
        } else if kind != packet_type::PUBREC {
            self.acknowledged(index, net.now_ns());
        } else if let Some(id) = frames::leading_packet_id(body) {
            frames::acknowledge(net.out(publisher.conn), packet_type::PUBREL, id);
        }
    }

    fn on_subscriber(&mut self, net: &mut Net, conn: ConnId, index: usize, event: Event<'_>) {
        match event {
            Event::Frame { head, body } => match receive(net, conn, head, body) {
                Ok(Some(delivery)) => self.deliver(index, &delivery, net.now_ns()),
                Ok(None) => {}
                Err(error) => self.checks.faults.error(error.to_string()),
            },
            Event::Written => {}
            Event::Closed(error) => self.fail(format!("a subscriber's connection ended: {error}")),
        }
    }

    fn deliver(&mut self, subscriber: usize, delivery: &Delivery<'_>, now_ns: u64) {
        let stamp = delivery.stamp;
        let sent = self.publishers.get(stamp.publisher).map_or(0, |publisher| publisher.sent);
        if self.checks.arrive(subscriber, delivery, sent) {
            if stamp.sent_ns >= self.counts_from_ns {
                self.latency.record(now_ns.saturating_sub(stamp.sent_ns));
            }
            self.touch(stamp.publisher);
        }
    }

    fn fail(&mut self, error: String) {
        self.checks.faults.error(error);
        self.end_measuring();
        self.phase = Phase::Done;
    }

    /// Goes on to the next phase when its time has come.
    fn step(&mut self, net: &Net) {
        let now = Instant::now();
        let progress = self.checks.delivered() + self.acknowledgements(net);
        if progress != self.last_step.0 {
            self.last_step = (progress, now);
            self.published_then = self.published;
        }
        let pause = if self.is_publishing() { self.plan.pause() } else { Duration::ZERO };
        let is_silent = now - self.last_step.1 > self.plan.patience.saturating_add(pause);
        let stalled = is_silent && !self.all_has_come(net);
        let elapsed = now - self.phase_since;
        let is_over = self.plan.at_most.is_some_and(|most| elapsed >= most);
        match (self.phase, self.plan.extent) {
            (Phase::Warmup, Extent::Time { warmup, .. }) if elapsed >= warmup => {
                self.latency = Latency::new();
                self.most_late_ns = 0;
                self.began = self.mark();
                self.counts_from_ns = net.now_ns();
                self.enter(Phase::Measuring);
            }
            (Phase::Measuring, Extent::Time { duration, .. }) if elapsed >= duration || stalled => {
                self.drain(stalled);
            }
            (Phase::Measuring, Extent::Messages(count)) => {
                let all_sent = self.published == count * self.publishers.len() as u64;
                if (all_sent && self.all_has_come(net)) || stalled || is_over {
                    self.drain(stalled);
                }
            }
            (Phase::Draining, _) if self.all_has_come(net) || stalled => self.enter(Phase::Grace),
            (Phase::Grace, _) if elapsed >= DUPLICATES_GRACE => self.phase = Phase::Done,
            _ => {}
        }
    }

    fn drain(&mut self, stalled: bool) {
        self.end_measuring();
        if let Some(ended) = self.ended.as_mut().filter(|_| stalled) {
            // What never came was waited for, and that is not the time that the rest took.
            ended.costs = ended.costs.as_of(self.last_step.1, &self.began.costs);
            ended.published = self.published_then.max(self.began.published);
        }
        self.enter(Phase::Draining);
        if !stalled {
            // What was sent last has not been waited for yet, however long ago the one before it came.
            self.last_step.1 = self.phase_since;
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.phase_since = Instant::now();
    }

    /// Of what nobody receives. Only its change matters: each message is one, or each byte that the server takes.
    fn acknowledgements(&self, net: &Net) -> u64 {
        match self.plan.receivers() {
            0 if self.with_acknowledgement => self.published,
            0 => (self.published << 32).wrapping_sub(self.unsent(net)),
            _ => 0,
        }
    }

    fn all_has_come(&self, net: &Net) -> bool {
        self.checks.delivered() == self.published * self.plan.receivers()
            && self.publishers.iter().all(|publisher| publisher.unacknowledged == 0)
            && self.unsent(net) == 0
    }

    /// Bytes that the server has not taken yet.
    fn unsent(&self, net: &Net) -> u64 {
        self.publishers.iter().map(|publisher| net.unsent(publisher.conn) as u64).sum()
    }

    fn end_measuring(&mut self) {
        if self.ended.is_none() {
            self.ended = Some(self.mark());
        }
    }

    fn mark(&self) -> Mark {
        Mark {
            costs: Sample::now(self.plan.server_pid),
            published: self.published,
            delivered: self.checks.delivered(),
        }
    }

    fn line(&self) -> String {
        let time = self.phase_since.elapsed();
        format!(
            "published {} · delivered {}",
            progress::rate(self.published - self.began.published, time),
            progress::rate(self.checks.delivered() - self.began.delivered, time),
        )
    }

    fn finish(mut self, net: &Net) -> Measured {
        let ended = self.ended.unwrap_or_else(|| self.mark());
        self.latency.settle();
        let unacknowledged: u64 = self.publishers.iter().map(|publisher| publisher.unacknowledged).sum();
        if unacknowledged > 0 {
            self.checks.faults.error(format!("{unacknowledged} messages were never acknowledged"));
        }
        let unsent = self.unsent(net);
        if unsent > 0 {
            self.checks.faults.error(format!("{unsent} bytes were never taken by the server"));
        }
        let sent: Vec<u64> = self.publishers.iter().map(|publisher| publisher.sent).collect();
        Measured {
            spent: ended.costs.since(&self.began.costs),
            published: ended.published - self.began.published,
            delivered: ended.delivered - self.began.delivered,
            latency: self.latency,
            faults: self.checks.finish(&sent),
            most_late: Duration::from_nanos(self.most_late_ns),
        }
    }
}
