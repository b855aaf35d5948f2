//! What `cargo xtask bench` measures: each case as data, in the words of `gmqtt bench`.
//!
//! What we want of the figures stands in [`super::aims`].

/// One thing to measure.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) steps: &'static [Step],
    /// Each step finds a server that has done nothing yet; else all steps meet the same one.
    pub(super) fresh_each: bool,
    /// The raw relay can play the server.
    pub(super) relay: bool,
    /// Over listeners that only ours is started with.
    pub(super) ours_alone: bool,
    pub(super) metrics: &'static [Metric],
}

/// One run of the generator.
pub(super) struct Step {
    full: &'static str,
    /// Where `--quick` does less than measuring for a shorter time.
    quick: Option<&'static str>,
}

/// One figure of a case.
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) better: Better,
    pub(super) source: Source,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Better {
    Higher,
    Lower,
}

/// Where a figure is found.
pub(super) enum Source {
    /// The figure of this name in the report of the first step.
    Figure(&'static str),
    /// A percentile of the first step's latency.
    Latency(&'static str),
    /// How many times larger this figure is in the second step than in the first.
    Growth(&'static str),
    /// The server's resident memory after all steps, a rest, and one measure of the memory before them.
    Returned,
}

impl Case {
    /// The case of this name.
    pub(super) fn find(name: &str) -> Option<&'static Case> {
        CASES.iter().find(|case| case.name == name)
    }

    /// Whether `--quick` does less of it, and not only for a shorter time.
    pub(super) fn has_sizes(&self) -> bool {
        self.steps.iter().any(|step| step.quick.is_some())
    }

    pub(super) fn returns_memory(&self) -> bool {
        self.metrics.iter().any(|metric| matches!(metric.source, Source::Returned))
    }
}

impl Step {
    const fn new(full: &'static str) -> Step {
        Step { full, quick: None }
    }

    const fn sized(full: &'static str, quick: &'static str) -> Step {
        Step { full, quick: Some(quick) }
    }

    /// The words after `gmqtt bench`.
    pub(super) fn words(&self, quick: bool) -> Vec<String> {
        let text = if quick { self.quick.unwrap_or(self.full) } else { self.full };
        let time = if quick { "1s" } else { "3s" };
        text.split(' ').map(|word| word.replace("{time}", time)).collect()
    }
}

const fn metric(name: &'static str, better: Better, source: Source) -> Metric {
    Metric { name, better, source }
}

const CPU: Metric = metric("CPU µs each", Better::Lower, Source::Figure("server CPU each"));
const DELIVERIES: Metric = metric("deliveries/s", Better::Higher, Source::Figure("delivered"));
const TRAFFIC: &[Metric] = &[DELIVERIES, CPU];

const fn traffic(
    name: &'static str,
    about: &'static str,
    relay: bool,
    steps: &'static [Step],
    metrics: &'static [Metric],
) -> Case {
    Case { name, about, steps, fresh_each: true, relay, ours_alone: false, metrics }
}

/// A case over TLS or WebSocket.
const fn secure(
    name: &'static str,
    about: &'static str,
    steps: &'static [Step],
    metrics: &'static [Metric],
) -> Case {
    Case { name, about, steps, fresh_each: true, relay: false, ours_alone: true, metrics }
}

pub(super) const CASES: &[Case] = &[
    traffic("p2p-qos0", "10 pairs, QoS 0", true, &[Step::new("p2p --qos 0 --duration {time}")], TRAFFIC),
    traffic(
        "p2p-qos1",
        "10 pairs, QoS 1, window 16",
        true,
        &[Step::new("p2p --qos 1 --duration {time}")],
        TRAFFIC,
    ),
    traffic(
        "p2p-qos2",
        "10 pairs, QoS 2, window 16",
        true,
        &[Step::new("p2p --qos 2 --duration {time}")],
        TRAFFIC,
    ),
    traffic(
        "fanout-qos0",
        "1 to 50, QoS 0",
        false,
        &[Step::new("fanout --qos 0 --duration {time}")],
        TRAFFIC,
    ),
    traffic(
        "fanout-qos1",
        "1 to 50, QoS 1",
        false,
        &[Step::new("fanout --qos 1 --duration {time}")],
        TRAFFIC,
    ),
    traffic("fanin-qos1", "50 to 1, QoS 1", false, &[Step::new("fanin --qos 1 --duration {time}")], TRAFFIC),
    traffic(
        "rate",
        "open loop, 5,000/s, QoS 1",
        true,
        &[Step::new("rate --qos 1 --rate 5000 --duration {time}")],
        &[
            metric("p50 µs", Better::Lower, Source::Latency("p50_micros")),
            metric("p99 µs", Better::Lower, Source::Latency("p99_micros")),
            metric("p99.9 µs", Better::Lower, Source::Latency("p999_micros")),
            CPU,
        ],
    ),
    traffic(
        "connect",
        "connect and subscribe, 10,000 clients",
        true,
        &[Step::sized("connect -c 10000 --subscribe", "connect -c 5000 --subscribe")],
        &[metric("clients/s", Better::Higher, Source::Figure("connected")), CPU],
    ),
    traffic(
        "idle",
        "10,000 connections that do nothing",
        false,
        &[Step::new("idle -c 10000")],
        &[
            metric("bytes each", Better::Lower, Source::Figure("a connection")),
            metric(
                "bytes each, subscribed",
                Better::Lower,
                Source::Figure("a connection with one subscription"),
            ),
        ],
    ),
    traffic(
        "offline",
        "QoS 1 for 50 absent sessions, 2,000 messages each",
        false,
        &[Step::new("offline --sessions 50 -n 2000")],
        &[
            metric("stored/s", Better::Higher, Source::Figure("stored")),
            metric("drained/s", Better::Higher, Source::Figure("drained")),
            metric("bytes a queued message", Better::Lower, Source::Figure("a queued message")),
        ],
    ),
    traffic(
        "subscriptions",
        "100,000 subscriptions (70 exact, 20 +, 10 #), then QoS 0 among them",
        false,
        &[Step::new("subscriptions -n 100000 --duration {time}")],
        &[
            DELIVERIES,
            CPU,
            metric("filters/s", Better::Higher, Source::Figure("filters subscribed")),
            metric("bytes a subscription", Better::Lower, Source::Figure("a subscription")),
        ],
    ),
    Case {
        name: "beside-subscriptions",
        about: "CPU a message to 1,000 subscriptions beside 999,000 others, to that without the others",
        steps: &[
            Step::new("subscriptions -n 1000 --duration {time}"),
            Step::sized(
                "subscriptions -n 1000000 --receiving 1000 --duration {time}",
                "subscriptions -n 200000 --receiving 1000 --duration {time}",
            ),
        ],
        fresh_each: true,
        relay: false,
        ours_alone: false,
        metrics: &[metric("times", Better::Lower, Source::Growth("server CPU each"))],
    },
    Case {
        name: "growth",
        about: "CPU a message, each to any of 1,000,000 subscriptions, to that with 1,000",
        steps: &[
            Step::new("subscriptions -n 1000 --duration {time}"),
            Step::sized(
                "subscriptions -n 1000000 --duration {time}",
                "subscriptions -n 200000 --duration {time}",
            ),
        ],
        fresh_each: true,
        relay: false,
        ours_alone: false,
        metrics: &[metric("times", Better::Lower, Source::Growth("server CPU each"))],
    },
    Case {
        name: "beside-idle",
        about: "CPU a QoS 1 message beside 10,000 idle connections, to that without them",
        steps: &[
            Step::new("p2p --qos 1 --duration {time}"),
            Step::sized(
                "p2p --qos 1 --duration {time} --idle 10000",
                "p2p --qos 1 --duration {time} --idle 5000",
            ),
        ],
        fresh_each: true,
        relay: false,
        ours_alone: false,
        metrics: &[metric("times", Better::Lower, Source::Growth("server CPU each"))],
    },
    Case {
        name: "memory-returned",
        about: "resident memory after connections, subscriptions, queues and traffic, to that before",
        steps: &[
            Step::new("connect -c 10000 --subscribe"),
            Step::new("offline --sessions 50 -n 2000"),
            Step::new("subscriptions -n 100000 --duration 1s"),
            Step::new("fanout --qos 1 --duration 1s"),
        ],
        fresh_each: false,
        relay: false,
        ours_alone: false,
        metrics: &[metric("times", Better::Lower, Source::Returned)],
    },
    secure(
        "idle-tls",
        "10,000 connections over TLS that do nothing",
        &[Step::sized("idle -c 10000 --transport tls", "idle -c 5000 --transport tls")],
        &[metric("bytes each", Better::Lower, Source::Figure("a connection"))],
    ),
    secure(
        "idle-ws",
        "10,000 connections over WebSocket that do nothing",
        &[Step::sized("idle -c 10000 --transport ws", "idle -c 5000 --transport ws")],
        &[metric("bytes each", Better::Lower, Source::Figure("a connection"))],
    ),
    secure(
        "tls",
        "CPU a QoS 0 message over TLS, to that over TCP",
        &[
            Step::new("p2p --qos 0 --duration {time}"),
            Step::new("p2p --qos 0 --duration {time} --transport tls"),
        ],
        &[metric("times", Better::Lower, Source::Growth("server CPU each"))],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_every_case_measures_something() {
        let names: HashSet<_> = CASES.iter().map(|case| case.name).collect();
        assert_eq!(names.len(), CASES.len());
        for case in CASES {
            assert!(!case.steps.is_empty() && !case.metrics.is_empty(), "{}", case.name);
            let compares = case.metrics.iter().any(|metric| matches!(metric.source, Source::Growth(_)));
            assert!(!compares || case.steps.len() == 2, "{}", case.name);
        }
    }

    #[test]
    fn quick_measures_for_a_shorter_time() {
        assert_eq!(CASES[0].steps[0].words(true), ["p2p", "--qos", "0", "--duration", "1s"]);
        assert_eq!(CASES[0].steps[0].words(false).last().map(String::as_str), Some("3s"));
    }
}
