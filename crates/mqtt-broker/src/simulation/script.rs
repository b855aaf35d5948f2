//! What the clients of a world do of their own accord, and what befalls them.

use bytes::Bytes;
use mqtt_codec::{QoS, TopicFilter, TopicName, Will};

use super::{
    client::{Client, Phase, Surroundings},
    oracle::payload,
    plan::Plan,
    rng::Rng,
};
use crate::limits::QueueFullPolicy;

const TOPICS: [&str; 7] = ["a", "a/0", "a/1", "b/0", "b/1/c", "/", "$x/0"];
const FILTERS: [&str; 11] = ["a/0", "a/1", "a/+", "a/#", "#", "+/0", "b/1/c", "b/#", "/", "$x/#", "+/+/+"];
const LEVELS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
const MOST_OUTGOING: usize = 8;

/// What a client is for.
#[derive(Clone, Copy)]
pub(super) struct Role {
    pub(super) publishes: bool,
    pub(super) subscribes: bool,
    /// Its connection may be lost, or it may leave.
    pub(super) is_unsteady: bool,
}

impl Role {
    /// Whoever may be cut off repeats what it published with QoS 1. Where such a message could not be told from the
    /// first one, those who publish stay.
    ///
    /// Where a full queue ends the connection, nobody publishes to itself: what it repeats after a reconnect could fill its
    /// own queue, again and again.
    pub(super) fn draw(number: usize, plan: &Plan, rng: &mut Rng) -> Self {
        if !plan.marks || plan.limits.queue_full == QueueFullPolicy::Disconnect {
            let publishes = number.is_multiple_of(2);
            return Self { publishes, subscribes: !publishes, is_unsteady: !publishes || plan.marks };
        }
        Self {
            publishes: rng.chance(700) || number == 0,
            subscribes: rng.chance(700) || number == 1,
            is_unsteady: true,
        }
    }
}

/// What happens to a client in one step.
#[derive(Clone, Copy)]
pub(super) enum Act {
    Nothing,
    Connect,
    /// It says something of its own accord.
    Talk,
    /// The network fails.
    Cut,
    /// The client is gone, and the broker is not told.
    Vanish,
    Disconnect,
    /// The operator closes its connection.
    Kick,
}

pub(super) fn draw_topic(rng: &mut Rng) -> TopicName {
    TopicName::try_from(rng.pick(&TOPICS)).unwrap()
}

pub(super) fn draw_qos(rng: &mut Rng) -> QoS {
    rng.pick(&LEVELS)
}

fn draw_filter(rng: &mut Rng) -> TopicFilter {
    TopicFilter::try_from(rng.pick(&FILTERS)).unwrap()
}

pub(super) fn draw_will(mark: u64, rng: &mut Rng) -> Will {
    Will {
        topic: draw_topic(rng),
        message: payload(mark, rng.size(8, 40)).into(),
        qos: draw_qos(rng),
        retain: rng.chance(200),
    }
}

/// How a client is disposed when it connects.
pub(super) fn dispose(client: &mut Client, role: Role, rng: &mut Rng) {
    client.is_silent = false;
    if role.is_unsteady {
        if rng.chance(100) {
            client.clean = !client.clean;
        }
        client.keep_alive_secs = rng.pick(&[0, 0, 5, 60]);
    }
    client.pace = rng.pick(&[2, 12, 60, usize::MAX]);
    client.hesitation = rng.pick(&[0, 0, 30, 300, 2000]);
}

/// What a client does next, or what befalls it.
pub(super) fn draw_act(client: &mut Client, role: Role, cuts: u64, rng: &mut Rng) -> Act {
    if let Phase::Away { .. } = client.phase {
        return Act::Nothing;
    }
    if role.is_unsteady {
        if rng.chance(cuts) {
            return rng.pick(&[Act::Cut, Act::Vanish, Act::Disconnect]);
        }
        if rng.chance(3) {
            return Act::Kick;
        }
        client.is_silent |= rng.chance(2);
    }
    if rng.chance(10) {
        client.pace = rng.pick(&[1, 10, 500, usize::MAX]);
    }
    if client.phase == Phase::Online && !client.is_silent { Act::Talk } else { Act::Nothing }
}

/// Subscribes, unsubscribes, publishes: each once in a while.
pub(super) fn talk(
    client: &mut Client,
    role: Role,
    next_mark: &mut u64,
    longest_payload: usize,
    around: &mut Surroundings<'_>,
) {
    if role.subscribes && client.request.is_none() {
        if around.rng.chance(30) {
            let count = around.rng.size(1, 3);
            let filters = (0..count).map(|_| (draw_filter(around.rng), draw_qos(around.rng))).collect();
            client.subscribe(filters, around);
        } else if around.rng.chance(6) {
            let filters = vec![draw_filter(around.rng), draw_filter(around.rng)];
            client.unsubscribe(filters, around);
        }
    }
    if role.publishes && around.rng.chance(200) {
        for _ in 0..around.rng.size(1, 4) {
            publish(client, next_mark, longest_payload, around);
        }
    }
}

fn publish(client: &mut Client, next_mark: &mut u64, longest_payload: usize, around: &mut Surroundings<'_>) {
    let rng = &mut *around.rng;
    let topic = draw_topic(rng);
    let mut qos = draw_qos(rng);
    if client.outgoing.len() >= MOST_OUTGOING {
        qos = QoS::AtMostOnce;
    }
    let retain = rng.chance(100);
    let clears = retain && rng.chance(200);
    *next_mark += 1;
    let bytes = if clears { Bytes::new() } else { payload(*next_mark, rng.size(8, longest_payload)).into() };
    if clears {
        qos = QoS::AtMostOnce;
    }
    client.publish(*next_mark, (topic, bytes), qos, retain, around);
}
