//! `$SYS/broker/…`: the broker in numbers, as retained messages, under the names that mosquitto gives them.
//!
//! For those who already graph another broker so, and for who has an MQTT client and nothing else. Only what has changed is
//! published. Nothing of it goes to a store. Who may read it is a matter of access control; clients cannot write it.

use std::{collections::HashMap, time::Instant};

use mqtt_codec::{PacketType, QoS, TopicName};

use crate::{
    core::Core,
    counters::Counts,
    message::{Message, Outgoing},
    snapshot::SessionTotals,
};

/// What was published last, and what the averages go on from.
#[derive(Default)]
pub(crate) struct SysTopics {
    published: HashMap<&'static str, String>,
    most_connected: usize,
    loads: Vec<Load>,
    last: Option<(Instant, [u64; LOADS.len()])>,
}

/// A number that only grows, as it is shown in averages for a minute: over one, five and fifteen of them.
#[derive(Clone, Copy, Default)]
struct Load {
    averages: [f64; 3],
}

/// The spans of the averages, in minutes.
const SPANS: [f64; 3] = [1.0, 5.0, 15.0];

macro_rules! load_topics {
    ($what:literal) => {
        [
            concat!("$SYS/broker/load/", $what, "/1min"),
            concat!("$SYS/broker/load/", $what, "/5min"),
            concat!("$SYS/broker/load/", $what, "/15min"),
        ]
    };
}

/// The topics of the averages; what each counts is in [`counted`].
const LOADS: [[&str; 3]; 9] = [
    load_topics!("messages/received"),
    load_topics!("messages/sent"),
    load_topics!("publish/received"),
    load_topics!("publish/sent"),
    load_topics!("publish/dropped"),
    load_topics!("bytes/received"),
    load_topics!("bytes/sent"),
    load_topics!("connections"),
    load_topics!("sockets"),
];

/// In the order of [`LOADS`].
fn counted(counts: &Counts) -> [u64; LOADS.len()] {
    [
        counts.packets_received.iter().sum(),
        counts.packets_sent.iter().sum(),
        counts.publishes_received.iter().sum(),
        counts.publishes_sent.iter().sum(),
        counts.dropped.iter().sum(),
        counts.bytes_received,
        counts.bytes_sent,
        counts.packets_received[PacketType::Connect as usize],
        counts.connections_accepted,
    ]
}

impl SysTopics {
    /// Publishes what has changed. `totals` were made just before.
    pub(crate) fn publish(&mut self, core: &Core, totals: &SessionTotals, now: Instant) {
        self.most_connected = self.most_connected.max(totals.connected);
        let counts = core.counters.snapshot();
        for (topic, value) in self.figures(core, totals, &counts, now) {
            self.say(core, topic, value, now);
        }
        self.weigh(&counts, now);
        for (topics, load) in LOADS.into_iter().zip(self.loads.clone()) {
            for (topic, average) in topics.into_iter().zip(load.averages) {
                self.say(core, topic, format!("{average:.2}"), now);
            }
        }
    }

    fn figures(
        &self,
        core: &Core,
        totals: &SessionTotals,
        counts: &Counts,
        now: Instant,
    ) -> Vec<(&'static str, String)> {
        let payload_bytes = |bytes: &[u64; 16]| bytes[PacketType::Publish as usize];
        let numbers: [(&'static str, u64); 25] = [
            ("$SYS/broker/clients/connected", totals.connected as u64),
            ("$SYS/broker/clients/active", totals.connected as u64),
            ("$SYS/broker/clients/disconnected", (totals.sessions - totals.connected) as u64),
            ("$SYS/broker/clients/inactive", (totals.sessions - totals.connected) as u64),
            ("$SYS/broker/clients/total", totals.sessions as u64),
            ("$SYS/broker/clients/maximum", self.most_connected as u64),
            ("$SYS/broker/clients/expired", counts.sessions_expired),
            ("$SYS/broker/messages/received", counts.packets_received.iter().sum()),
            ("$SYS/broker/messages/sent", counts.packets_sent.iter().sum()),
            ("$SYS/broker/messages/inflight", totals.inflight_messages as u64),
            ("$SYS/broker/messages/stored", (core.retained_len() + totals.queued_messages) as u64),
            ("$SYS/broker/store/messages/count", (core.retained_len() + totals.queued_messages) as u64),
            ("$SYS/broker/store/messages/bytes", (core.retained_bytes() + totals.queued_bytes) as u64),
            ("$SYS/broker/publish/messages/received", counts.publishes_received.iter().sum()),
            ("$SYS/broker/publish/messages/sent", counts.publishes_sent.iter().sum()),
            ("$SYS/broker/publish/messages/dropped", counts.dropped.iter().sum()),
            ("$SYS/broker/publish/bytes/received", payload_bytes(&counts.packet_bytes_received)),
            ("$SYS/broker/publish/bytes/sent", payload_bytes(&counts.packet_bytes_sent)),
            ("$SYS/broker/bytes/received", counts.bytes_received),
            ("$SYS/broker/bytes/sent", counts.bytes_sent),
            ("$SYS/broker/subscriptions/count", core.subscriptions_len() as u64),
            ("$SYS/broker/retained messages/count", core.retained_len() as u64),
            ("$SYS/broker/connections/socket/count", counts.connections_accepted),
            ("$SYS/broker/packet/out/count", totals.queued_messages as u64),
            ("$SYS/broker/packet/out/bytes", totals.queued_bytes as u64),
        ];
        let uptime = now.saturating_duration_since(core.started_at).as_secs();
        let texts = [
            ("$SYS/broker/uptime", format!("{uptime} seconds")),
            ("$SYS/broker/version", concat!("gmqtt ", env!("CARGO_PKG_VERSION")).to_owned()),
        ];
        numbers.into_iter().map(|(topic, number)| (topic, number.to_string())).chain(texts).collect()
    }

    /// Moves the averages on to this moment.
    fn weigh(&mut self, counts: &Counts, now: Instant) {
        let counted = counted(counts);
        self.loads.resize(LOADS.len(), Load::default());
        if let Some((at, before)) = self.last.replace((now, counted)) {
            let minutes = now.saturating_duration_since(at).as_secs_f64() / 60.0;
            for (load, (now, before)) in self.loads.iter_mut().zip(counted.into_iter().zip(before)) {
                load.weigh(now - before, minutes);
            }
        }
    }

    fn say(&mut self, core: &Core, topic: &'static str, value: String, now: Instant) {
        let Ok(name) = TopicName::try_from(topic) else { return };
        let has_changed = self.published.get(topic) != Some(&value);
        // There may have been no room for it, or somebody may have cleared it.
        if !has_changed && core.retained_message(&name, now).is_some() {
            return;
        }
        let message = Message::new(&name, value.as_bytes(), QoS::AtMostOnce).retained();
        core.retain_for_now(&name, message.clone());
        if !has_changed {
            return;
        }
        let mut burst = core.burst();
        burst.now = Some(now);
        core.publish_to(&Outgoing::of(&message), Vec::new(), &mut burst, |_| true);
        self.published.insert(topic, value);
    }
}

impl Load {
    fn weigh(&mut self, more: u64, minutes: f64) {
        if minutes <= 0.0 {
            return;
        }
        #[allow(clippy::cast_precision_loss, reason = "an average is not exact")]
        let rate = more as f64 / minutes;
        for (average, span) in self.averages.iter_mut().zip(SPANS) {
            let kept = (-minutes / span).exp();
            *average = rate + kept * (*average - rate);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use mqtt_codec::TopicFilter;

    use super::*;
    use crate::{broker::Broker, limits::Limits, net};

    /// One that never changes would otherwise be gone until the next start.
    #[test]
    fn a_topic_that_was_cleared_or_found_no_room_is_retained_again_but_not_published() {
        let limits = Limits { max_retained_messages: 1, ..Limits::default() };
        let (broker, now) = (Broker::builder().limits(limits).build(), net::now());
        let mut subscriber = broker.subscriber(&[TopicFilter::try_from("$SYS/#").unwrap()]).unwrap();
        let [other, name] = ["other", "$SYS/version"].map(|topic| TopicName::try_from(topic).unwrap());
        broker.publish(&Message::new(&other, b"full", QoS::AtMostOnce).retained());
        let mut topics = SysTopics::default();
        let mut say = || topics.say(broker.core(), "$SYS/version", "1".into(), now);
        let is_retained = || broker.core().retained_message(&name, now).is_some();
        say();
        assert!(!is_retained());
        for cleared in [&other, &name] {
            assert!(broker.core().clear_retained(cleared));
            say();
            assert!(is_retained());
        }
        let mut poll = || subscriber.poll_recv(&mut Context::from_waker(Waker::noop()));
        assert!(poll().is_ready() && poll().is_pending(), "it has not changed");
    }

    #[test]
    fn an_average_comes_to_a_steady_rate_and_falls_after_it() {
        let mut load = Load::default();
        for _ in 0..6 * 60 {
            load.weigh(100, 1.0 / 6.0);
        }
        assert!(load.averages.iter().all(|average| (average - 600.0).abs() < 15.0), "{:?}", load.averages);
        for _ in 0..6 {
            load.weigh(0, 1.0 / 6.0);
        }
        let [one, five, fifteen] = load.averages;
        assert!((one - 600.0 / std::f64::consts::E).abs() < 1.0 && one < five && five < fifteen);
        load.weigh(7, 0.0);
        assert!(load.averages.iter().all(|average| average.is_finite()));
    }
}
