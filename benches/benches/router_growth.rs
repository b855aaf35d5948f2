//! The router as it grows to a million entries: what each costs in memory, and how long the slowest addition took, while
//! which everybody else would have waited.
//!
//! Memory is counted at the allocator, in the sizes asked for; an allocator rounds each up to its own. Subscribers are
//! handles of 8 bytes to one shared session, so that only what the router itself holds is counted. A filter's bytes are
//! among it: the router keeps its own copy, one for all subscribers of the filter.
//!
//! The slowest of a million additions also holds whatever else the machine did meanwhile: read it on a quiet one.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mqtt_codec::{QoS, TopicFilter, TopicName};
use mqtt_router::{Retained, RetainedLimits, SharedStrategy, Subscriber, Subscriptions};

struct Session;

impl Subscriber for Session {
    fn id(&self) -> u64 {
        1
    }

    fn is_online(&self) -> bool {
        true
    }
}

/// Adds `count` entries and prints what they cost.
fn measure<T>(name: &str, count: u64, mut store: T, add: impl Fn(&mut T, u64)) {
    let mut slowest = Duration::ZERO;
    let measured = allocation_counter::measure(|| {
        for n in 0..count {
            let start = Instant::now();
            add(&mut store, n);
            slowest = slowest.max(start.elapsed());
        }
    });
    let bytes = measured.bytes_current.unsigned_abs();
    println!("{name:<42} {count:>9} {:>8} B {:>8} us", bytes / count, slowest.as_micros());
}

fn measure_subscriptions(name: &str, count: u64, filter: impl Fn(u64) -> String) {
    let session = Arc::new(Session);
    let subscriptions = Subscriptions::new(128, SharedStrategy::RoundRobin);
    measure(name, count, subscriptions, |subscriptions, n| {
        let filter = TopicFilter::new(filter(n)).expect("a filter");
        subscriptions.subscribe(&filter, &session, QoS::AtLeastOnce).expect("allowed");
    });
}

fn main() {
    println!("{:<42} {:>9} {:>10} {:>11}", "bytes an entry, slowest addition", "of", "asked for", "slowest");
    for count in [1_000, 10_000, 100_000, 1_000_000] {
        measure_subscriptions("exact subscription, filter of 30 bytes", count, |n| {
            format!("floor/device-{n:07}/status/on")
        });
        measure_subscriptions("`+` subscription, filter of 30 bytes", count, |n| {
            format!("floor/device-{n:07}/status1/+")
        });
        measure_subscriptions("`#` subscription, filter of 30 bytes", count, |n| {
            format!("floor/section/device-{n:07}/#")
        });
        let message = Arc::new(());
        let store = Retained::new(RetainedLimits { max_messages: usize::MAX, max_bytes: usize::MAX });
        measure("retained message, topic of 30 bytes", count, store, |store, n| {
            let topic = TopicName::new(format!("floor/device-{n:07}/status/on")).expect("a topic");
            store.set(&topic, message.clone(), 0, None).expect("there is room");
        });
    }
}
