//! What it costs to make messages durable, by how many may wait for the disk at a time: one publisher with one message, up
//! to a thousand with sixteen each. Beside it, in the same run, what the disk itself takes for one sync.
//!
//! The store alone: no socket, no broker. `cargo xtask bench durable` measures the whole.

use std::{
    collections::VecDeque,
    fs::File,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mqtt_broker::{
    Message,
    store::{Mark, MemoryStore, Record, Store},
};
use mqtt_codec::{QoS, TopicName};
use mqtt_store::{Durability, FjallStore, StoreOptions};

const SESSION: u64 = 1;
const WINDOWS: [usize; 5] = [1, 16, 160, 1_600, 16_000];
const PAYLOAD: [u8; 64] = [7; 64];

/// A QoS 1 message comes, is made durable for an absent session, is sent when that comes, and is done with.
fn through_a_queue(c: &mut Criterion) {
    let mut group = c.benchmark_group("store/queued");
    group.throughput(Throughput::Elements(1)).sample_size(10).measurement_time(Duration::from_secs(3));
    for window in WINDOWS {
        let memory = MemoryStore::default();
        let mut queue = Queue::new(&memory);
        group.bench_function(BenchmarkId::new("memory", window), |b| {
            b.iter_custom(|messages| queue.pass(messages, window, |_| {}));
        });
        for durability in [Durability::Os, Durability::Sync] {
            let folder = tempfile::tempdir().expect("a place for the store");
            let store =
                FjallStore::open(StoreOptions::new(folder.path().join("data")).durability(durability))
                    .expect("an empty store opens");
            store.recover(&mut |_| {}).expect("an empty store");
            let mut queue = Queue::new(&store);
            group.bench_function(BenchmarkId::new(durability.to_string(), window), |b| {
                b.iter_custom(|messages| {
                    queue.pass(messages, window, |mark| {
                        store.wait_until_durable(mark).expect("the disk takes it");
                    })
                });
            });
        }
    }
    group.finish();
}

/// What nothing that waits for the disk can be faster than, alone.
fn one_sync(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a place for a file");
    let mut file = File::create(Path::new(folder.path()).join("file")).expect("a file");
    c.bench_function("store/fdatasync of 200 B", |b| {
        b.iter(|| {
            file.write_all(&[7; 200]).expect("the disk takes it");
            file.sync_data().expect("the disk syncs");
        });
    });
}

/// A session's queue, and the messages in it that may not be durable yet.
struct Queue<'a> {
    store: &'a dyn Store,
    message: Message,
    next_key: u64,
    waiting: VecDeque<(Mark, u64)>,
}

impl<'a> Queue<'a> {
    fn new(store: &'a dyn Store) -> Self {
        store.append(vec![Record::SessionStarted { session: SESSION, client_id: "absent".into() }]);
        let topic = TopicName::try_from("building/floor/device-1/status").expect("a topic");
        let message = Message::new(&topic, &PAYLOAD, QoS::AtLeastOnce);
        Self { store, message, next_key: 1, waiting: VecDeque::new() }
    }

    /// How long so many messages take, with `window` of them on their way at a time.
    fn pass(&mut self, messages: u64, window: usize, wait: impl Fn(Mark)) -> Duration {
        let begun = Instant::now();
        for _ in 0..messages {
            if self.waiting.len() >= window {
                self.finish_one(&wait);
            }
            let (key, message) = (self.next_key, self.message.clone());
            self.next_key += 1;
            let queued =
                Record::Queued { session: SESSION, key, qos: QoS::AtLeastOnce, retain: false, message };
            self.waiting.push_back((self.store.append(vec![queued]), key));
        }
        while !self.waiting.is_empty() {
            self.finish_one(&wait);
        }
        begun.elapsed()
    }

    fn finish_one(&mut self, wait: &impl Fn(Mark)) {
        let Some((mark, key)) = self.waiting.pop_front() else { return };
        wait(mark);
        self.store.append(vec![Record::Done { session: SESSION, key }]);
    }
}

criterion_group!(benches, through_a_queue, one_sync);
criterion_main!(benches);
