//! [`Plan`]: which world it is, drawn from the seed: its limits, its clients' habits, its weather.

use std::time::Duration;

use super::rng::Rng;
use crate::limits::{Limits, QueueFullPolicy};

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) limits: Limits,
    /// The hook gives each message that is taken a mark of its own, so that two takings of one message (QoS 1) differ.
    /// Without it, publishers are never cut off, and so bring no message twice.
    pub(super) marks: bool,
    pub(super) clients: usize,
    pub(super) rounds: usize,
    pub(super) steps_a_round: usize,
    pub(super) longest_delay: u64,
    pub(super) link_capacity: usize,
    pub(super) longest_payload: usize,
    /// Times in a thousand steps that a client is cut off.
    pub(super) cuts: u64,
    pub(super) asks_hooks: bool,
    /// How long its store takes at most, if it has one.
    pub(super) store_delay: Option<u64>,
}

impl Plan {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let roomy = rng.chance(600);
        let longest_payload = rng.pick(&[16, 64, 3000]);
        let limits = if roomy { wide(rng) } else { tight(rng, longest_payload) };
        Self {
            limits,
            marks: rng.chance(700),
            clients: rng.size(2, 7),
            rounds: 2,
            steps_a_round: rng.size(100, 400),
            longest_delay: rng.pick(&[0, 5, 60]),
            link_capacity: rng.pick(&[50, 700, 20_000]),
            longest_payload,
            cuts: rng.pick(&[2, 10, 40]),
            asks_hooks: rng.chance(400),
            store_delay: rng.pick(&[None, None, Some(5), Some(100), Some(1000)]),
        }
    }
}

/// Whether no queue may ever drop a message.
pub(super) fn is_roomy(limits: &Limits) -> bool {
    limits.max_queued_messages == usize::MAX
}

fn any(rng: &mut Rng) -> Limits {
    Limits {
        max_inflight: rng.pick(&[1, 2, 3, 20]),
        max_pending_bytes: rng.pick(&[1, 100, 4000, 256 * 1024]),
        queue_window_bytes: rng.pick(&[0, 200, 1000, 256 * 1024]),
        session_expiry: Some(Duration::from_secs(rng.between(5, 60))),
        retry_interval: rng.chance(300).then(|| Duration::from_millis(rng.between(200, 3000))),
        queue_qos0_messages: rng.chance(600),
        allow_dollar_topics: true,
        ..Limits::default()
    }
}

fn wide(rng: &mut Rng) -> Limits {
    Limits { max_queued_messages: usize::MAX, max_queued_bytes: usize::MAX, ..any(rng) }
}

fn tight(rng: &mut Rng, longest_payload: usize) -> Limits {
    let policies = [QueueFullPolicy::DropOldest, QueueFullPolicy::DropNewest, QueueFullPolicy::Disconnect];
    Limits {
        max_queued_messages: rng.pick(&[0, 1, 2, 5, 20]),
        max_queued_bytes: rng.pick(&[longest_payload / 2, longest_payload * 2, longest_payload * 10]),
        queue_full: rng.pick(&policies),
        ..any(rng)
    }
}
