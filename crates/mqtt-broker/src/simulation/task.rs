//! [`Task`]: drives a `Connection` as the network's task does, with a [`Link`] for its socket and a number for its clock.
//!
//! It runs only when its waker was called, its timer is due, or the socket that it waits for is ready: what the real one
//! would sleep through, this one sleeps through.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use super::{link::Link, rng::Rng};
use crate::{
    burst::Burst,
    close_reason::CloseReason,
    connection::{Answer, Connection, Question},
    core::Core,
    hooks::HookFuture,
};

const READS_A_TURN: usize = 8;
const MOST_UNSENT_ANSWERS: usize = 512;

/// The broker's end of one network connection.
pub(super) struct Task {
    connection: Connection,
    output: Vec<u8>,
    written: usize,
    /// A question, and when its hook has decided.
    asked: Option<(u64, Question)>,
    timer: Option<u64>,
    alarm: Arc<Alarm>,
    waits_to_read: bool,
    waits_to_write: bool,
}

/// The task's waker: remembers that it was called.
struct Alarm(AtomicBool);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

/// What a task has around it while it runs.
pub(super) struct Turn<'a> {
    pub(super) start: Instant,
    pub(super) now: u64,
    pub(super) core: &'a Core,
    pub(super) link: &'a mut Link,
    pub(super) rng: &'a mut Rng,
    /// How long a byte travels, and how long a hook decides, at most.
    pub(super) longest_delay: u64,
    pub(super) hooks_fail: bool,
}

impl Turn<'_> {
    fn instant(&self) -> Instant {
        self.start + Duration::from_millis(self.now)
    }

    fn later(&mut self) -> u64 {
        self.now + self.rng.between(0, self.longest_delay)
    }
}

#[derive(PartialEq)]
enum Step {
    Progress,
    Idle,
}

impl Task {
    /// A new task runs at once.
    pub(super) fn new(connection: Connection) -> Self {
        Self {
            connection,
            output: Vec::new(),
            written: 0,
            asked: None,
            timer: None,
            alarm: Arc::new(Alarm(AtomicBool::new(true))),
            waits_to_read: false,
            waits_to_write: false,
        }
    }

    /// The socket became ready for what the task waits for, if it does.
    pub(super) fn notice(&mut self, link: &Link) {
        if self.waits_to_read && link.to_broker.is_readable()
            || self.waits_to_write && link.to_client.has_room()
        {
            self.alarm.0.store(true, Relaxed);
        }
    }

    pub(super) fn is_due(&self, now: u64) -> bool {
        self.alarm.0.load(Relaxed)
            || self.timer.is_some_and(|at| at <= now)
            || self.asked.as_ref().is_some_and(|(at, _)| *at <= now)
    }

    pub(super) fn is_open(&self) -> bool {
        self.connection.is_open()
    }

    /// Whether all that it took from the outbox is with the socket.
    pub(super) fn has_written_all(&self) -> bool {
        self.written == self.output.len()
    }

    pub(super) fn holds_messages(&self) -> bool {
        self.connection.holds_messages()
    }

    /// Runs until nothing moves; tells why the connection has ended, once it has.
    pub(super) fn run(&mut self, turn: &mut Turn<'_>) -> Option<CloseReason> {
        self.alarm.0.store(false, Relaxed);
        let mut burst = turn.core.burst();
        if self.timer.is_some_and(|at| at <= turn.now) {
            self.timer = None;
            self.connection.handle_timeout(turn.instant(), &mut burst);
        }
        for _ in 0..READS_A_TURN {
            let written = self.write(turn, &mut burst);
            let answered = self.answer(turn, &mut burst);
            let read = self.read(turn, &mut burst);
            burst.settle();
            if let Some(reason) = self.connection.closed().cloned() {
                self.say_farewell(turn, &mut burst);
                return Some(reason);
            }
            if [written, answered, read] == [Step::Idle, Step::Idle, Step::Idle] {
                self.arm_timer(turn);
                return None;
            }
            if burst.is_spent() || burst.gives_way() {
                break;
            }
        }
        self.alarm.0.store(true, Relaxed);
        None
    }

    fn write(&mut self, turn: &mut Turn<'_>, burst: &mut Burst<'_>) -> Step {
        let waker = Waker::from(Arc::clone(&self.alarm));
        let mut step = Step::Idle;
        self.waits_to_write = false;
        loop {
            if self.has_written_all() {
                self.output.clear();
                self.written = 0;
                if !self.connection.poll_transmit(turn.instant(), &waker, &mut self.output, burst) {
                    return step;
                }
            }
            let at = turn.later();
            let count = turn.link.to_client.write(&self.output[self.written..], at);
            if count == 0 {
                self.waits_to_write = true;
                let waker = Waker::from(Arc::clone(&self.alarm));
                self.connection.handle_wake(turn.instant(), &waker, burst);
                return step;
            }
            self.written += count;
            if self.connection.closed().is_some() {
                return Step::Progress;
            }
            step = Step::Progress;
        }
    }

    fn answer(&mut self, turn: &mut Turn<'_>, burst: &mut Burst<'_>) -> Step {
        if self.connection.closed().is_some() {
            return Step::Idle; // Whatever is decided now, nobody hears of it.
        }
        if self.asked.is_none() {
            self.asked = self.connection.poll_question().map(|question| (turn.later(), question));
        }
        let Some((_, question)) = self.asked.take_if(|(at, _)| *at <= turn.now) else { return Step::Idle };
        let fails = turn.hooks_fail && turn.rng.chance(20);
        let answer = match question {
            _ if fails => Answer::Failed,
            Question::Connect(future) => Answer::Connect(decided(future)),
            Question::Subscribe(future) => Answer::Subscribe(decided(future)),
            Question::Publish(future) => Answer::Publish(decided(future)),
        };
        self.connection.handle_answer(turn.instant(), answer, burst);
        Step::Progress
    }

    fn read(&mut self, turn: &mut Turn<'_>, burst: &mut Burst<'_>) -> Step {
        self.waits_to_read = false;
        if self.connection.unsent_answers() > MOST_UNSENT_ANSWERS {
            return Step::Idle;
        }
        if self.connection.is_interrupted() {
            self.connection.handle_held(turn.instant(), burst);
            return Step::Progress;
        }
        let waker = Waker::from(Arc::clone(&self.alarm));
        if !self.connection.wants_bytes() || !self.connection.store_keeps_up(turn.instant(), &waker) {
            return Step::Idle;
        }
        let most = if turn.rng.chance(300) { turn.rng.size(1, 40) } else { usize::MAX };
        let bytes = turn.link.to_broker.read(most);
        if !bytes.is_empty() {
            self.connection.handle_bytes(turn.instant(), &bytes, burst);
        } else if turn.link.to_broker.is_at_end() {
            self.connection.handle_loss(turn.instant(), CloseReason::ConnectionLost, burst);
        } else {
            self.waits_to_read = true;
            return Step::Idle;
        }
        Step::Progress
    }

    fn arm_timer(&mut self, turn: &Turn<'_>) {
        let at = self.connection.poll_timeout().map(|at| (at - turn.start).as_millis() as u64);
        self.timer = at.map(|at| self.timer.map_or(at, |timer| timer.min(at)));
    }

    fn say_farewell(&mut self, turn: &mut Turn<'_>, burst: &mut Burst<'_>) {
        let mut rest = self.output.split_off(self.written);
        self.connection.poll_transmit(turn.instant(), Waker::noop(), &mut rest, burst);
        let at = turn.later();
        turn.link.to_client.write(&rest, at);
        turn.link.to_client.close();
        turn.link.to_broker.close();
    }
}

/// The hooks of a world decide at once; their delay is the task's.
fn decided<T>(mut future: HookFuture<T>) -> T {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(decision) => decision,
        Poll::Pending => unreachable!("a hook of the simulation never waits"),
    }
}
