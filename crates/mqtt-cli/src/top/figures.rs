//! [`Figures`]: a broker as `gmqtt top` knows it, and how answers of the API and values of `$SYS` become one.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use serde_json::Value;

/// As many rates as the widest terminal shows.
const KEPT: usize = 300;
/// More topics than anybody looks at; what comes first stays.
const MAX_TOPICS: usize = 10_000;
/// What is shown, and the column of the history that has it.
const GAUGES: [(&str, &str); 6] = [
    ("connections", "connections"),
    ("sessions", "sessions"),
    ("subscriptions", "subscriptions"),
    ("retained", "retained_messages"),
    ("waiting", "queued_messages"),
    ("waiting bytes", "queued_bytes"),
];

/// All that is shown. What the source does not tell is absent.
#[derive(Default)]
pub(super) struct Figures {
    pub(super) version: Option<String>,
    pub(super) received: Rates,
    pub(super) sent: Rates,
    pub(super) dropped: Rates,
    pub(super) bytes_received: Rates,
    pub(super) bytes_sent: Rates,
    /// By name, in the order in which they are shown.
    pub(super) gauges: Vec<(&'static str, u64)>,
    pub(super) drops: Vec<Drops>,
    pub(super) clients: Vec<ClientRow>,
    pub(super) topics: HashMap<String, TopicRow>,
    last_ms: u64,
}

/// A counter, and how fast it grew.
#[derive(Default)]
pub(super) struct Rates {
    pub(super) total: Option<u64>,
    /// Per second, the newest last.
    pub(super) per_second: VecDeque<f64>,
    at: Option<Duration>,
}

/// Messages dropped for one reason.
#[derive(Default)]
pub(super) struct Drops {
    pub(super) reason: String,
    pub(super) rates: Rates,
}

/// A connected client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ClientRow {
    pub(super) client_id: String,
    pub(super) user: String,
    pub(super) address: String,
    pub(super) inflight: u64,
    pub(super) queued: u64,
    pub(super) bytes: u64,
    pub(super) dropped: u64,
}

/// A topic that is published to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct TopicRow {
    pub(super) messages: u64,
    pub(super) per_second: f64,
    pub(super) bytes_per_second: f64,
    /// Since the last settlement.
    pending: (u64, u64),
}

impl Rates {
    /// The counter stood at `total` at this moment, on any clock.
    pub(super) fn note(&mut self, at: Duration, total: u64) {
        if let (Some(before), Some(earlier)) = (self.total, self.at) {
            let secs = at.saturating_sub(earlier).as_secs_f64();
            if secs <= 0.0 {
                return;
            }
            // A broker that was started anew counts from 0.
            self.per_second.push_back(as_f64(total.saturating_sub(before)) / secs);
            if self.per_second.len() > KEPT {
                self.per_second.pop_front();
            }
        }
        (self.total, self.at) = (Some(total), Some(at));
    }

    /// The newest; `None` until two values came.
    pub(super) fn now(&self) -> Option<f64> {
        self.per_second.back().copied()
    }
}

impl Figures {
    /// Takes an answer of `/api/v1/history`.
    pub(super) fn add_history(&mut self, history: &Value) {
        let column = |name: &str| history.get(name).and_then(Value::as_array);
        let at = |values: Option<&Vec<Value>>, index: usize| values?.get(index)?.as_u64();
        let reasons: Vec<&str> =
            column("drop_reasons").into_iter().flatten().filter_map(Value::as_str).collect();
        if self.drops.len() != reasons.len() {
            let empty = |reason: &&str| Drops { reason: (*reason).to_owned(), rates: Rates::default() };
            self.drops = reasons.iter().map(empty).collect();
        }
        for (index, moment) in column("at_ms").into_iter().flatten().enumerate() {
            let Some(moment) = moment.as_u64().filter(|&moment| moment > self.last_ms) else { continue };
            self.last_ms = moment;
            let now = Duration::from_millis(moment);
            let counters = [
                ("messages_received", &mut self.received),
                ("messages_sent", &mut self.sent),
                ("bytes_received", &mut self.bytes_received),
                ("bytes_sent", &mut self.bytes_sent),
            ];
            for (name, rates) in counters {
                if let Some(total) = at(column(name), index) {
                    rates.note(now, total);
                }
            }
            let mut all = 0;
            for (row, drops) in column("dropped").into_iter().flatten().zip(&mut self.drops) {
                let total = at(row.as_array(), index).unwrap_or_default();
                drops.rates.note(now, total);
                all += total;
            }
            self.dropped.note(now, all);
        }
        let newest = |field: &str| column(field)?.last()?.as_u64();
        for (name, field) in GAUGES {
            if let Some(value) = newest(field) {
                self.gauge(name, value);
            }
        }
    }

    /// Takes an answer of `/api/v1/clients`.
    pub(super) fn set_clients(&mut self, page: &Value) {
        let rows = page.get("list").and_then(Value::as_array);
        self.clients = rows.into_iter().flatten().map(ClientRow::of).collect();
    }

    /// Takes an event of `/api/v1/watch/topics`.
    pub(super) fn add_topics(&mut self, second: &Value) {
        for topic in second.get("topics").and_then(Value::as_array).into_iter().flatten() {
            let number = |name: &str| topic.get(name).and_then(Value::as_u64).unwrap_or_default();
            let name = topic.get("topic").and_then(Value::as_str).unwrap_or_default();
            self.count_topic(name, number("messages"), number("bytes"));
        }
        self.settle_topics(1.0);
    }

    /// Messages were published to a topic.
    pub(super) fn count_topic(&mut self, topic: &str, messages: u64, bytes: u64) {
        if !self.topics.contains_key(topic) && self.topics.len() >= MAX_TOPICS {
            return;
        }
        let row = self.topics.entry(topic.to_owned()).or_default();
        row.messages += messages;
        row.pending.0 += messages;
        row.pending.1 += bytes;
    }

    /// So many seconds are over: what came becomes a rate, a mean over some of them.
    pub(super) fn settle_topics(&mut self, secs: f64) {
        for row in self.topics.values_mut() {
            let (messages, bytes) = std::mem::take(&mut row.pending);
            // What comes first is no mean yet.
            let weight = if row.messages == messages { 1.0 } else { 0.3 };
            let mean = |before: f64, now: u64| before * (1.0 - weight) + as_f64(now) / secs * weight;
            row.per_second = mean(row.per_second, messages);
            row.bytes_per_second = mean(row.bytes_per_second, bytes);
        }
    }

    /// Takes a value of `$SYS`, under the names that mosquitto gives them.
    pub(super) fn add_sys(&mut self, started: Instant, topic: &str, value: &str) {
        let Some(name) = topic.strip_prefix("$SYS/broker/") else { return };
        let (now, number) = (started.elapsed(), value.split_whitespace().next().and_then(|n| n.parse().ok()));
        if name == "version" {
            self.version = Some(value.to_owned());
        }
        let Some(number) = number else { return };
        match name {
            "publish/messages/received" => self.received.note(now, number),
            "publish/messages/sent" => self.sent.note(now, number),
            "publish/messages/dropped" => self.dropped.note(now, number),
            "bytes/received" => self.bytes_received.note(now, number),
            "bytes/sent" => self.bytes_sent.note(now, number),
            "clients/connected" => self.gauge("connections", number),
            "clients/total" => self.gauge("sessions", number),
            "subscriptions/count" => self.gauge("subscriptions", number),
            "retained messages/count" => self.gauge("retained", number),
            "store/messages/count" => self.gauge("stored", number),
            "store/messages/bytes" => self.gauge("stored bytes", number),
            _ => {}
        }
    }

    fn gauge(&mut self, name: &'static str, value: u64) {
        match self.gauges.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.gauges.push((name, value)),
        }
    }
}

impl ClientRow {
    fn of(row: &Value) -> Self {
        let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let number = |name: &str| row.get(name).and_then(Value::as_u64).unwrap_or_default();
        Self {
            client_id: text("client_id"),
            user: text("username"),
            address: text("remote_addr"),
            inflight: number("inflight_len"),
            queued: number("msg_queue_len"),
            bytes: number("msg_queue_bytes"),
            dropped: number("msg_queue_dropped"),
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "a rate needs no 53 bits")]
pub(super) fn as_f64(n: u64) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn history_becomes_rates() {
        let mut figures = Figures::default();
        let history = json!({
            "at_ms": [1000, 2000, 4000], "messages_received": [10, 20, 60], "connections": [1, 2, 3],
            "dropped": [[0, 1, 2], [5, 5, 5]], "drop_reasons": ["queue_full", "refused"],
        });
        figures.add_history(&history);
        figures.add_history(&history); // What is known already changes nothing.
        assert_eq!(figures.received.per_second, [10.0, 20.0]);
        assert_eq!((figures.received.total, figures.received.now()), (Some(60), Some(20.0)));
        assert_eq!(figures.gauges, [("connections", 3)]);
        assert_eq!(figures.drops[0].rates.per_second, [1.0, 0.5]);
        assert_eq!((figures.dropped.total, figures.last_ms), (Some(7), 4000));
        figures.add_history(&json!({"at_ms": [5000], "messages_received": [3]}));
        assert_eq!(figures.received.now(), Some(0.0), "the broker was started anew");
        figures.add_history(&json!({"at_ms": "x", "dropped": [1], "drop_reasons": [{}]}));
    }

    #[test]
    fn sys_topics_become_figures() {
        let (mut figures, started) = (Figures::default(), Instant::now());
        for (topic, value) in [
            ("$SYS/broker/version", "mosquitto version 2.0.11"),
            ("$SYS/broker/clients/connected", "7"),
            ("$SYS/broker/publish/messages/received", "100"),
            ("$SYS/broker/uptime", "3 seconds"),
            ("other", "1"),
        ] {
            figures.add_sys(started, topic, value);
        }
        assert_eq!(figures.version.as_deref(), Some("mosquitto version 2.0.11"));
        assert_eq!(
            (figures.gauges.as_slice(), figures.received.total),
            (&[("connections", 7)][..], Some(100))
        );
    }

    #[test]
    fn topics_have_a_rate_that_fades() {
        let mut figures = Figures::default();
        figures.add_topics(&json!({"topics": [{"topic": "a", "messages": 10, "bytes": 100}]}));
        let rate = figures.topics["a"].per_second;
        figures.add_topics(&json!({"topics": []}));
        assert!((rate - 10.0).abs() < 1e-9, "{rate}");
        assert!(figures.topics["a"].per_second < rate);
        assert_eq!(figures.topics["a"].messages, 10);
    }
}
