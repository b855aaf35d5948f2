//! What it costs to find out who gets a message, and to find retained messages, beside up to a million others.
//!
//! Each case is measured on one topic over and over (`hot`) and on thousands in turn (`spread`), which shows what the
//! caches of the machine hide: the same steps, on memory that is not at hand.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mqtt_codec::{QoS, TopicFilter, TopicName};
use mqtt_router::{
    DeliveryMode, Retained, RetainedLimits, RetainedScan, Route, SharedStrategy, Subscriber, Subscriptions,
};

const SIZES: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// How many topics a `spread` case goes through: too many for the first caches to hold what they lead to.
const SPREAD: u64 = 4_096;

struct Session(u64);

impl Subscriber for Session {
    fn id(&self) -> u64 {
        self.0
    }

    fn is_online(&self) -> bool {
        true
    }
}

/// What the subscriptions are like. Every topic published matches one of them (in `mixed`: one too).
#[derive(Clone, Copy)]
enum Kind {
    Exact,
    Plus,
    Hash,
    Mixed,
}

const KINDS: [(&str, Kind); 4] =
    [("exact", Kind::Exact), ("plus", Kind::Plus), ("hash", Kind::Hash), ("mixed", Kind::Mixed)];

/// How the topics begin: the shallow ones have 4 levels and about 30 bytes, the deep ones 16 levels.
const SHAPES: [(&str, &str); 2] =
    [("shallow", "building/floor"), ("deep", "eu/north/site/4/building/7/floor/2/wing/b/room/14/rack")];

fn topic(shape: &str, n: u64) -> String {
    format!("{shape}/device-{n:07}/status")
}

fn filter(shape: &str, kind: Kind, n: u64) -> String {
    match kind {
        Kind::Exact => topic(shape, n),
        Kind::Plus => format!("{shape}/device-{n:07}/+"),
        Kind::Hash => format!("{shape}/device-{n:07}/#"),
        Kind::Mixed => filter(shape, [Kind::Exact, Kind::Plus, Kind::Hash][(n % 3) as usize], n),
    }
}

fn subscribed(shape: &str, kind: Kind, count: u64) -> Subscriptions<Arc<Session>> {
    let mut subscriptions = Subscriptions::new(128, SharedStrategy::RoundRobin);
    for n in 0..count {
        let filter = TopicFilter::new(filter(shape, kind, n)).expect("a filter");
        subscriptions.subscribe(&filter, &Arc::new(Session(n)), QoS::AtLeastOnce).expect("allowed");
    }
    subscriptions
}

/// Numbers all over the range, the same in each run.
fn scattered(below: u64) -> impl Iterator<Item = u64> {
    (0..SPREAD).map(move |n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % below)
}

fn route(criterion: &mut Criterion) {
    for (shape_name, shape) in SHAPES {
        for (kind_name, kind) in KINDS {
            let mut group = criterion.benchmark_group(format!("route/{shape_name}/{kind_name}"));
            for count in SIZES {
                let subscriptions = subscribed(shape, kind, count);
                let topics: Vec<String> = scattered(count).map(|n| topic(shape, n)).collect();
                let mut route = Route::new();
                for (name, topics) in [("hot", &topics[..1]), ("spread", &topics[..])] {
                    let mut topics = topics.iter().cycle();
                    group.bench_function(BenchmarkId::new(name, count), |bencher| {
                        bencher.iter(|| {
                            let topic = topics.next().expect("endless");
                            subscriptions.route(black_box(topic.as_bytes()), DeliveryMode::Once, &mut route);
                            assert_eq!(route.direct.len(), 1);
                        });
                    });
                }
            }
            group.finish();
        }
    }
}

/// Many receivers of one message, from one filter and from two that overlap.
fn fan_out(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fan_out");
    for count in [1, 10, 100, 1_000, 10_000] {
        let mut subscriptions = Subscriptions::new(128, SharedStrategy::RoundRobin);
        let sessions: Vec<Arc<Session>> = (0..count).map(|id| Arc::new(Session(id))).collect();
        let subscribe = |subscriptions: &mut Subscriptions<_>, text: &str, sessions: &[Arc<Session>]| {
            let filter = TopicFilter::try_from(text).expect("a filter");
            for session in sessions {
                subscriptions.subscribe(&filter, session, QoS::AtLeastOnce).expect("allowed");
            }
        };
        subscribe(&mut subscriptions, "news/today", &sessions);
        let mut route = Route::new();
        group.throughput(Throughput::Elements(count));
        group.bench_function(BenchmarkId::new("one_filter", count), |bencher| {
            bencher.iter(|| subscriptions.route(black_box(b"news/today"), DeliveryMode::Once, &mut route));
        });
        subscribe(&mut subscriptions, "news/#", &sessions[..sessions.len().div_ceil(2)]);
        group.bench_function(BenchmarkId::new("half_of_them_twice", count), |bencher| {
            bencher.iter(|| subscriptions.route(black_box(b"news/today"), DeliveryMode::Once, &mut route));
        });
    }
    group.finish();
}

/// One subscription comes and goes beside a million others, and beside ten thousand of the same filter.
fn subscribe(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("subscribe_unsubscribe");
    let session = Arc::new(Session(u64::MAX));
    for (kind_name, kind) in &KINDS[..3] {
        let mut subscriptions = subscribed(SHAPES[0].1, *kind, 1_000_000);
        let own = TopicFilter::new(filter("building/mine", *kind, 1)).expect("a filter");
        group.bench_function(BenchmarkId::new(*kind_name, "of_1000000"), |bencher| {
            bencher.iter(|| {
                subscriptions.subscribe(&own, &session, QoS::AtMostOnce).expect("allowed");
                assert!(subscriptions.unsubscribe(&own, u64::MAX));
            });
        });
    }
    let mut subscriptions = Subscriptions::new(128, SharedStrategy::RoundRobin);
    let same = TopicFilter::try_from("news/today").expect("a filter");
    for id in 0..10_000 {
        subscriptions.subscribe(&same, &Arc::new(Session(id)), QoS::AtMostOnce).expect("allowed");
    }
    group.bench_function("same_filter/of_10000", |bencher| {
        bencher.iter(|| {
            subscriptions.subscribe(&same, &session, QoS::AtMostOnce).expect("allowed");
            assert!(subscriptions.unsubscribe(&same, u64::MAX));
        });
    });
    group.finish();
}

fn retained(criterion: &mut Criterion) {
    const COUNT: u64 = 1_000_000;
    let now = Instant::now();
    let shape = SHAPES[0].1;
    let mut store = Retained::new(RetainedLimits { max_messages: usize::MAX, max_bytes: usize::MAX });
    let name = |n: u64| TopicName::new(topic(shape, n)).expect("a topic");
    for n in 0..COUNT {
        store.set(&name(n), Arc::new(n), 100, None).expect("there is room");
    }
    let mut group = criterion.benchmark_group("retained/of_1000000");
    let names: Vec<TopicName> = scattered(COUNT).map(name).collect();
    for (case, names) in [("hot", &names[..1]), ("spread", &names[..])] {
        let mut turns = names.iter().cycle();
        group.bench_function(BenchmarkId::new("get", case), |bencher| {
            bencher.iter(|| store.get(turns.next().expect("endless"), now).is_some());
        });
        let filters: Vec<TopicFilter> = names.iter().cloned().map(TopicFilter::from).collect();
        let mut turns = filters.iter().cycle();
        group.bench_function(BenchmarkId::new("one_topic_by_filter", case), |bencher| {
            bencher.iter(|| store.matching(turns.next().expect("endless"), None, 64, now));
        });
        let plus =
            |topic: &TopicName| TopicFilter::new(topic.as_str().replace("status", "+")).expect("a filter");
        let filters: Vec<TopicFilter> = names.iter().map(plus).collect();
        let mut turns = filters.iter().cycle();
        group.bench_function(BenchmarkId::new("one_topic_by_plus", case), |bencher| {
            bencher.iter(|| store.matching(turns.next().expect("endless"), None, 64, now));
        });
        let mut turns = names.iter().cycle();
        group.bench_function(BenchmarkId::new("replace", case), |bencher| {
            let message = Arc::new(0);
            bencher.iter(|| store.set(turns.next().expect("endless"), message.clone(), 100, None));
        });
    }
    for limit in [64, 1_024] {
        let all = TopicFilter::try_from("#").expect("a filter");
        let mut scan = RetainedScan::new(&all);
        group.throughput(Throughput::Elements(limit as u64));
        group.bench_function(BenchmarkId::new("chunk_of_all", limit), |bencher| {
            bencher.iter(|| {
                if scan.is_finished() {
                    scan = RetainedScan::new(&all);
                }
                store.next_chunk(&mut scan, limit, now)
            });
        });
    }
    let nothing = TopicFilter::try_from("building/floor/+/no").expect("a filter");
    let mut scan = RetainedScan::new(&nothing);
    group.throughput(Throughput::Elements(1));
    group.bench_function("chunk_without_a_match", |bencher| {
        bencher.iter(|| {
            if scan.is_finished() {
                scan = RetainedScan::new(&nothing);
            }
            store.next_chunk(&mut scan, 64, now)
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600));
    targets = route, fan_out, subscribe, retained
}
criterion_main!(benches);
