//! A disk that takes its time, hangs or fails: who waits for it, and who does not.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use mqtt_broker::{
    Broker, QoS, SansIoConnection,
    store::{DeliverPage, Mark, MemoryStore, QueueRead, Record, Store, StoreError},
};
use mqtt_codec::{Connack, Packet};
use tokio::runtime;

use crate::{
    client::{Client, connect, id, persistent, publish},
    durability::start_on,
    filter,
    journal::{eventually, soon},
    message,
};

/// A store whose disk is as fast as the test says.
#[derive(Clone, Default)]
struct SlowDisk {
    kept: MemoryStore,
    durable: Arc<AtomicU64>,
    failed: Arc<AtomicBool>,
    /// All that is not durable yet is too much.
    has_much: Arc<AtomicBool>,
    /// How often somebody wished to be woken.
    wishes: Arc<AtomicU64>,
    /// It hangs with whoever asks it to write.
    hangs: Arc<(Mutex<bool>, Condvar)>,
}

impl SlowDisk {
    /// It begins with a disk that needs no time.
    fn new() -> Self {
        let disk = Self::default();
        disk.durable.store(u64::MAX - 1, Ordering::SeqCst);
        disk
    }

    /// What is durable stays so; nothing more becomes it.
    fn stop(&self) {
        self.durable.store(self.kept.durable().0, Ordering::SeqCst);
    }

    fn hang(&self) {
        self.stop();
        *self.hangs.0.lock().unwrap() = true;
    }

    fn go_on(&self) {
        self.durable.store(u64::MAX - 1, Ordering::SeqCst);
        *self.hangs.0.lock().unwrap() = false;
        self.hangs.1.notify_all();
    }
}

impl Store for SlowDisk {
    fn append(&self, group: Vec<Record>) -> Mark {
        self.kept.append(group)
    }

    fn durable(&self) -> Mark {
        Mark(self.durable.load(Ordering::SeqCst))
    }

    fn congested_until(&self) -> Mark {
        if self.has_much.load(Ordering::SeqCst) { self.kept.durable() } else { Mark::NOTHING }
    }

    fn wake_at(&self, mark: Mark, waker: &Waker) {
        self.wishes.fetch_add(1, Ordering::SeqCst);
        // Who waits for a failure has nothing to write.
        if mark.0 != u64::MAX {
            drop(self.hangs.1.wait_while(self.hangs.0.lock().unwrap(), |hangs| *hangs).unwrap());
        }
        let (disk, waker) = (self.clone(), waker.clone());
        std::thread::spawn(move || {
            while disk.durable() < mark && disk.failure().is_none() {
                std::thread::sleep(Duration::from_millis(1));
            }
            waker.wake();
        });
    }

    fn failure(&self) -> Option<StoreError> {
        self.failed.load(Ordering::SeqCst).then(|| StoreError::new("the disk is gone"))
    }

    fn recover(&self, visit: &mut dyn FnMut(Record)) -> Result<(), StoreError> {
        self.kept.recover(visit)
    }

    fn read_queue(&self, read: QueueRead, deliver: DeliverPage) {
        self.kept.read_queue(read, deliver);
    }
}

/// Nothing that promises something is sent before it is true; what needs no store does not wait for it.
#[tokio::test]
async fn acknowledgements_wait_for_the_disk() {
    let disk = SlowDisk::new();
    let (_broker, address) = start_on(disk.clone()).await;
    let mut subscriber = Client::accepted(address, persistent("s")).await.0;
    subscriber.subscribe("kept", QoS::AtLeastOnce).await;
    let mut publisher = Client::connected(address, "p").await;
    disk.stop();

    publisher.publish("nobody", "free", QoS::AtLeastOnce).await; // Its PUBACK comes: nobody durable wants it.
    publisher.send(Packet::Publish(publish("kept", "held", QoS::AtLeastOnce, id(9)))).await;
    assert_eq!(subscriber.message().await, "kept held", "a delivery promises nothing, and does not wait");
    publisher.send(Packet::Pingreq).await;
    let early = tokio::time::timeout(Duration::from_millis(200), publisher.recv()).await;
    assert!(early.is_err(), "answered before it was durable: {early:?}");
    disk.go_on();
    assert_eq!(publisher.recv().await, Packet::Puback(mqtt_codec::Puback { packet_id: id(9) }));
    assert_eq!(publisher.recv().await, Packet::Pingresp);
}

fn sans_io(broker: &Broker, connect: mqtt_codec::Connect, now: Instant) -> SansIoConnection {
    let mut connection = SansIoConnection::new(broker, ([192, 0, 2, 1], 4711).into(), now);
    connection.handle_bytes(now, &encoded(&Packet::Connect(Box::new(connect))));
    while connection.poll_transmit(now, Waker::noop(), &mut Vec::new()) {}
    connection
}

fn encoded(packet: &Packet) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(&mut bytes).unwrap();
    bytes
}

/// Only who had a socket was held back: all that others published waited for the disk in memory.
#[tokio::test]
async fn a_connection_without_a_socket_wants_nothing_while_the_disk_is_behind() {
    let (disk, now) = (SlowDisk::new(), Instant::now());
    let broker = Broker::builder().build_on(disk.clone()).unwrap();
    sans_io(&broker, persistent("s"), now).handle_loss(now);
    broker.subscribe("s", &filter("t"), QoS::AtLeastOnce).unwrap();
    let keep_alive = mqtt_codec::Connect { keep_alive_secs: 10, ..connect("p") };
    let mut publisher = sans_io(&broker, keep_alive, now);
    disk.stop();
    let text = "x".repeat(1024 * 1024);
    for n in 1..=3 {
        assert!(publisher.wants_bytes() || n > 1);
        publisher.handle_bytes(now, &encoded(&Packet::Publish(publish("t", &text, QoS::AtLeastOnce, id(n)))));
        while publisher.poll_transmit(now, Waker::noop(), &mut Vec::new()) {}
    }
    assert!(!publisher.wants_bytes());
    publisher.handle_timeout(now + Duration::from_secs(15));
    assert_eq!(publisher.closed(), None, "nobody listens, so nobody can tell whether it is silent");
    disk.go_on();
    let wants_bytes = poll_fn(|cx| {
        while publisher.poll_transmit(now, cx.waker(), &mut Vec::new()) {}
        if publisher.wants_bytes() { Poll::Ready(()) } else { Poll::Pending }
    });
    soon("the disk", wants_bytes).await;
}

/// Who publishes from inside had no way to learn of it.
#[tokio::test]
async fn who_publishes_from_inside_can_wait_for_the_disk() {
    let disk = SlowDisk::new();
    let (broker, _) = start_on(disk.clone()).await;
    disk.has_much.store(true, Ordering::SeqCst);
    soon("a store that is idle", broker.store_keeps_up()).await;
    disk.stop();
    broker.publish(&message("t", "x", QoS::AtLeastOnce).retained());
    let mut waits = pin!(broker.store_keeps_up());
    assert!(waits.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    disk.go_on();
    soon("the disk", waits).await;
}

/// A QoS 2 identifier that was used must survive before it is: else a restart would use another, and deliver twice.
#[tokio::test]
async fn a_qos_2_delivery_waits_for_its_identifier() {
    let disk = SlowDisk::new();
    let (broker, address) = start_on(disk.clone()).await;
    let mut subscriber = Client::accepted(address, persistent("s")).await.0;
    subscriber.subscribe("t", QoS::ExactlyOnce).await;
    let mut publisher = Client::connected(address, "p").await;
    disk.stop();
    publisher.send(Packet::Publish(publish("t", "held", QoS::ExactlyOnce, id(3)))).await;
    let early = tokio::time::timeout(Duration::from_millis(200), subscriber.recv()).await;
    assert!(early.is_err(), "sent before its identifier was durable: {early:?}");
    let sent = || broker.session("s").unwrap().messages_sent;
    assert_eq!(sent(), 0, "what waits is not with the socket");
    disk.go_on();
    assert_eq!(subscriber.message().await, "t held");
    assert_eq!(sent(), 1);
}

/// [MQTT-3.2.0-1]: CONNACK waits for the store, and what the session has to be sent again does not come before it.
#[tokio::test]
async fn connack_is_the_first_packet_however_slow_the_disk_is() {
    let disk = SlowDisk::new();
    let (_broker, address) = start_on(disk.clone()).await;
    let mut subscriber = Client::accepted(address, persistent("s")).await.0;
    subscriber.subscribe("t", QoS::AtLeastOnce).await;
    subscriber.disconnect().await;
    Client::connected(address, "p").await.publish("t", "waits", QoS::AtLeastOnce).await;

    disk.stop();
    let mut subscriber = Client::open(address).await;
    subscriber.send(Packet::Connect(Box::new(persistent("s")))).await;
    let early = tokio::time::timeout(Duration::from_millis(200), subscriber.recv()).await;
    assert!(early.is_err(), "sent before CONNACK may be: {early:?}");
    disk.go_on();
    assert_eq!(subscriber.recv().await, Packet::Connack(Connack::Accepted { session_present: true }));
    assert_eq!(subscriber.message().await, "t waits");
}

/// Nothing more is acknowledged, whoever runs the broker is told, and nobody asks the store again and again.
#[tokio::test]
async fn a_store_that_has_failed_is_left_alone() {
    let disk = SlowDisk::new();
    let (broker, address) = start_on(disk.clone()).await;
    let mut subscriber = Client::accepted(address, persistent("s")).await.0;
    subscriber.subscribe("t", QoS::AtLeastOnce).await;
    let mut publisher = Client::connected(address, "p").await;
    disk.stop();
    publisher.send(Packet::Publish(publish("t", "lost", QoS::AtLeastOnce, id(1)))).await;
    assert_eq!(subscriber.message().await, "t lost");
    let wishes = disk.wishes.load(Ordering::SeqCst);
    disk.failed.store(true, Ordering::SeqCst);

    assert_eq!(broker.store_failed().await.message, "the disk is gone");
    for _ in 0..100 {
        subscriber.ping().await; // Needs no store, and gives the others their turns.
    }
    assert_eq!(disk.wishes.load(Ordering::SeqCst), wishes);
    let acknowledged = tokio::time::timeout(Duration::from_millis(200), publisher.recv()).await;
    assert!(acknowledged.is_err(), "{acknowledged:?}");
}

/// Whoever writes waits for a disk that hangs, and nobody else: neither who has something for the same client, nor a shutdown.
#[test]
fn a_disk_that_hangs_is_waited_for_by_who_writes_alone() {
    let runtime =
        |threads| runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap();
    let (inside, outside) = (runtime(1), runtime(2));
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let disk = SlowDisk::new();
        let (broker, address) = inside.block_on(inside.spawn(start_on(disk.clone()))).unwrap();
        outside.block_on(async {
            let mut writer = Client::accepted(address, persistent("w")).await.0;
            writer.subscribe("t", qos).await;
            disk.hang();
            let wishes = disk.wishes.load(Ordering::SeqCst);
            writer.send(Packet::Publish(publish("t", "to itself", qos, id(9)))).await;
            eventually("somebody who writes", || disk.wishes.load(Ordering::SeqCst) > wishes).await;

            let (told, hears) = mpsc::channel();
            let inner = (broker.clone(), told.clone());
            std::thread::spawn(move || {
                inner.0.publish(&message("t", "beside", QoS::AtMostOnce));
                let _ = inner.1.send("published");
            });
            let patience = Duration::from_secs(5);
            let published = hears.recv_timeout(patience);
            tokio::spawn(async move {
                let _ = broker.shutdown(Duration::from_secs(1)).await;
                let _ = told.send("shut down");
            });
            let shut_down = hears.recv_timeout(patience);
            disk.go_on();
            assert_eq!(published, Ok("published"), "to a client whose messages wait for the disk, {qos:?}");
            assert_eq!(shut_down, Ok("shut down"), "{qos:?}");
        });
    }
}
