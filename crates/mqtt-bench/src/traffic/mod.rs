//! Publishers, subscribers and what flows between them: the one engine below every scenario with messages.
//!
//! A [`Plan`] says who publishes what to whom and how fast; [`run`] drives it over connections that stand already, and
//! gives a [`Measured`]. No scenario's name is known here.

mod checks;
mod pace;
mod publisher;
mod receive;
mod run;

use std::time::Duration;

use mqtt_codec::QoS;

pub(crate) use self::{
    checks::{Checks, Faults},
    receive::{acknowledge, receive},
    run::{Bystanders, run},
};
use crate::{latency::Latency, server_process::Spent};

/// As many packet identifiers as there are.
pub(crate) const MAX_INFLIGHT: u64 = u16::MAX as u64;

/// Digits of a number in a topic.
pub(crate) const DIGITS: usize = 7;
/// As many numbers as these digits tell apart.
pub(crate) const MAX_NUMBERED: usize = 10_usize.pow(DIGITS as u32);

/// Who is to receive what a publisher sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Routing {
    /// Publisher `i` is heard by subscriber `i` alone.
    Pairs,
    /// Each subscriber hears each publisher.
    All,
    /// Each message goes to one of the subscribers, whichever.
    AnyOne,
    /// Nobody listens: only acknowledgements are awaited.
    Nobody,
}

/// How fast a publisher sends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// As fast as its receivers keep up: never more than `window` messages of one publisher on their way.
    Closed { window: u64 },
    /// All publishers together at this many messages a second, come what may.
    Open { per_second: f64 },
    /// One message of each publisher at a time, the next one `interval` after it was acknowledged.
    Spaced { interval: Duration },
}

/// When to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Measure for `duration`, after `warmup` that does not count.
    Time { warmup: Duration, duration: Duration },
    /// This many messages from each publisher, all of which count.
    Messages(u64),
}

/// Digits in the topic that change with every message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Digits {
    pub(crate) offset: usize,
    pub(crate) width: usize,
    pub(crate) numbers: Numbers,
}

/// Which numbers the digits show.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Numbers {
    /// That of the message: 0, 1, 2 …
    Counted,
    /// At random, below `all`: the first `each` are the first subscriber's, the next the second's, and so on.
    Below { all: usize, each: usize },
}

impl Digits {
    /// The number in `topic`; whatever stands there if those are no digits.
    pub(crate) fn read(&self, topic: &[u8]) -> usize {
        let digits = topic.iter().skip(self.offset).take(self.width);
        digits.fold(0, |number, digit| number * 10 + usize::from(digit.wrapping_sub(b'0')))
    }
}

/// All that the engine needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The topic of each publisher.
    pub(crate) topics: Vec<String>,
    pub(crate) digits: Option<Digits>,
    pub(crate) subscribers: usize,
    pub(crate) routing: Routing,
    pub(crate) qos: QoS,
    /// With which a message is to come: that of publishing or of subscribing, whichever is lower.
    pub(crate) delivery_qos: QoS,
    pub(crate) retain: bool,
    pub(crate) payload_bytes: usize,
    /// Unacknowledged QoS 1 and 2 messages of one publisher.
    pub(crate) inflight: u64,
    pub(crate) pace: Pace,
    pub(crate) extent: Extent,
    /// How long to wait for a message before it is called lost.
    pub(crate) patience: Duration,
    /// Publish no longer than this, whatever the extent.
    pub(crate) at_most: Option<Duration>,
    pub(crate) server_pid: Option<u32>,
}

impl Plan {
    /// Receivers of one message.
    pub(crate) fn receivers(&self) -> u64 {
        match self.routing {
            Routing::Pairs | Routing::AnyOne => 1,
            Routing::All => self.subscribers as u64,
            Routing::Nobody => 0,
        }
    }

    /// The longest time in which nothing is due, though it publishes.
    pub(crate) fn pause(&self) -> Duration {
        match self.pace {
            Pace::Closed { .. } => Duration::ZERO,
            Pace::Open { per_second } => {
                Duration::try_from_secs_f64(per_second.recip()).unwrap_or(Duration::MAX)
            }
            Pace::Spaced { interval } => interval,
        }
    }
}

impl Plan {
    /// `count` messages from each topic to nobody, as fast as they are acknowledged.
    pub(crate) fn store(topics: Vec<String>, qos: QoS, payload_bytes: usize, count: u64) -> Self {
        Self {
            topics,
            digits: None,
            subscribers: 0,
            routing: Routing::Nobody,
            qos,
            delivery_qos: qos,
            retain: false,
            payload_bytes,
            inflight: 16,
            pace: Pace::Closed { window: 512 },
            extent: Extent::Messages(count),
            patience: Duration::from_secs(5),
            at_most: None,
            server_pid: None,
        }
    }
}

/// What a run showed.
#[derive(Debug)]
pub(crate) struct Measured {
    /// What the time that the figures below are about has cost.
    pub(crate) spent: Spent,
    pub(crate) published: u64,
    pub(crate) delivered: u64,
    pub(crate) latency: Latency,
    pub(crate) faults: Faults,
    /// Open loop: the most that the generator itself was late.
    pub(crate) most_late: Duration,
}
