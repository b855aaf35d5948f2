//! What a store keeps: a broker that is gone, and the next one on the same store.

use std::{
    mem,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::Waker,
    time::{Duration, Instant},
};

use mqtt_broker::{
    Broker, Limits, QoS, SansIoConnection, SubscribeRefusal,
    store::{DeliverPage, Expected, Mark, MemoryStore, QueueRead, Record, Store, StoreError},
};
use mqtt_codec::{Delivery, Packet, Pubrec, Pubrel};

use crate::{
    client::{Client, connect, id, persistent, publish, will},
    filter,
    journal::eventually,
    log_lines::LogLines,
    message,
};

/// A broker on this store. Dropping it is a crash: nothing is told, nobody says farewell.
pub(crate) async fn start_on(store: impl Store) -> (Broker, std::net::SocketAddr) {
    let broker = Broker::builder().build_on(store).expect("a store that can be read");
    let address = broker.listen("127.0.0.1:0").await.expect("a free port");
    (broker, address)
}

#[tokio::test]
async fn a_message_for_an_absent_client_survives() {
    let store = MemoryStore::default();
    let (_broker, address) = start_on(store.clone()).await;
    let mut subscriber = Client::accepted(address, persistent("s")).await.0;
    subscriber.subscribe("t/#", QoS::ExactlyOnce).await;
    subscriber.disconnect().await;
    let mut publisher = Client::connected(address, "p").await;
    publisher.publish("t/1", "one", QoS::AtLeastOnce).await;
    publisher.publish("t/2", "two", QoS::ExactlyOnce).await;

    let (_second, address) = start_on(store).await;
    let (mut subscriber, session_present) = Client::accepted(address, persistent("s")).await;
    assert!(session_present);
    assert_eq!([subscriber.message().await, subscriber.message().await], ["t/1 one", "t/2 two"]);
    let mut publisher = Client::connected(address, "p").await;
    publisher.publish("t/3", "three", QoS::AtLeastOnce).await;
    assert_eq!(subscriber.message().await, "t/3 three", "its subscription survived too");
}

/// [MQTT-4.4.0-1] across a crash of the broker.
#[tokio::test]
async fn a_delivery_goes_on_where_it_was() {
    let store = MemoryStore::default();
    let (_broker, address) = start_on(store.clone()).await;
    let mut subscriber = Client::accepted(address, persistent("s")).await.0;
    subscriber.subscribe("t", QoS::ExactlyOnce).await;
    let mut publisher = Client::connected(address, "p").await;
    for text in ["released", "published"] {
        publisher.publish("t", text, QoS::ExactlyOnce).await;
    }
    let first = subscriber.recv_publish().await;
    let second = subscriber.recv_publish().await;
    let (first_id, second_id) = (first.delivery.packet_id().unwrap(), second.delivery.packet_id().unwrap());
    subscriber.send(Packet::Pubrec(Pubrec { packet_id: first_id })).await;
    assert_eq!(subscriber.recv().await, Packet::Pubrel(Pubrel { packet_id: first_id }));

    let (_second, address) = start_on(store).await;
    let mut subscriber = Client::accepted(address, persistent("s")).await.0;
    assert_eq!(
        subscriber.recv().await,
        Packet::Pubrel(Pubrel { packet_id: first_id }),
        "never PUBLISH again"
    );
    let repeated = subscriber.recv_publish().await;
    assert_eq!(repeated.delivery, Delivery::ExactlyOnce { packet_id: second_id, dup: true });
    assert_eq!(&repeated.payload[..], b"published");
}

/// [MQTT-4.3.3-2] across a crash of the broker.
#[tokio::test]
async fn a_repeated_qos_2_publish_is_not_passed_on_twice() {
    let store = MemoryStore::default();
    let (_broker, address) = start_on(store.clone()).await;
    let mut subscriber = Client::accepted(address, persistent("s")).await.0;
    subscriber.subscribe("t", QoS::ExactlyOnce).await;
    subscriber.disconnect().await;
    let mut publisher = Client::accepted(address, persistent("p")).await.0;
    publisher.send(Packet::Publish(publish("t", "once", QoS::ExactlyOnce, id(7)))).await;
    assert_eq!(publisher.recv().await, Packet::Pubrec(Pubrec { packet_id: id(7) }));

    let (_second, address) = start_on(store).await;
    let mut publisher = Client::accepted(address, persistent("p")).await.0;
    publisher.send(Packet::Publish(publish("t", "once", QoS::ExactlyOnce, id(7)))).await;
    assert_eq!(publisher.recv().await, Packet::Pubrec(Pubrec { packet_id: id(7) }));
    let mut subscriber = Client::accepted(address, persistent("s")).await.0;
    assert_eq!(subscriber.message().await, "t once");
    publisher.publish("t", "last", QoS::AtLeastOnce).await;
    assert_eq!(subscriber.message().await, "t last", "and not the other one again");
}

#[tokio::test]
async fn retained_messages_and_due_wills_survive() {
    let store = MemoryStore::default();
    let (_broker, address) = start_on(store.clone()).await;
    let mut publisher = Client::connected(address, "p").await;
    publisher.retain("r/kept", "kept", QoS::AtLeastOnce).await;
    publisher.retain("r/cleared", "cleared", QoS::AtLeastOnce).await;
    publisher.retain("r/cleared", "", QoS::AtLeastOnce).await;
    let with_will = |name: &str, topic: &str| {
        let mut connect = connect(name);
        connect.will = will(topic, b"gone", QoS::AtLeastOnce, true);
        connect
    };
    let _alive = Client::accepted(address, with_will("alive", "r/will")).await;
    let left = Client::accepted(address, with_will("left", "r/left")).await.0;
    left.disconnect().await;
    publisher.ping().await;

    let (second, address) = start_on(store.clone()).await;
    let retained = |broker: &Broker| broker.snapshot().retained_messages;
    assert_eq!(retained(&second), 2, "r/kept, and the Will of who was connected");
    let mut subscriber = Client::connected(address, "s").await;
    subscriber.subscribe("r/#", QoS::AtMostOnce).await;
    assert_eq!([subscriber.message().await, subscriber.message().await], ["r/kept kept", "r/will gone"]);
}

#[tokio::test]
async fn what_ended_is_not_there_again() {
    let store = MemoryStore::default();
    let (_broker, address) = start_on(store.clone()).await;
    let mut kept = Client::accepted(address, persistent("kept")).await.0;
    kept.subscribe_all(&[("a", QoS::AtLeastOnce), ("b", QoS::AtLeastOnce)]).await;
    kept.unsubscribe(&["a"]).await;
    Client::accepted(address, persistent("discarded")).await.0.disconnect().await;
    Client::connected(address, "discarded").await.ping().await;
    let mut publisher = Client::connected(address, "p").await;
    publisher.publish("b", "acknowledged", QoS::AtLeastOnce).await;
    assert_eq!(kept.message().await, "b acknowledged");
    kept.ping().await;

    let (second, address) = start_on(store).await;
    let subscriptions = second.subscriptions_of("kept");
    assert_eq!(subscriptions.len(), 1);
    assert_eq!(subscriptions[0].filter.as_str(), "b");
    assert!(!Client::accepted(address, persistent("discarded")).await.1, "CleanSession 1 had ended it");
    let mut kept = Client::accepted(address, persistent("kept")).await.0;
    kept.ping().await;
    assert_eq!(second.session("kept").unwrap().inflight_messages, 0, "the acknowledged message is done with");
}

/// A limit that is newer than a session, or lower than it was, takes nothing away from it.
#[tokio::test]
async fn a_stored_session_keeps_more_subscriptions_than_it_could_make_now() {
    let store = MemoryStore::default();
    let (_broker, address) = start_on(store.clone()).await;
    let mut client = Client::accepted(address, persistent("s")).await.0;
    for filter in ["$share/1/t", "$share/2/t", "$share/3/t"] {
        client.subscribe(filter, QoS::AtLeastOnce).await;
    }
    client.disconnect().await;

    let mut limits = Limits::default();
    (limits.max_shared_subscriptions_per_client, limits.max_subscription_bytes_per_client) = (1, 1);
    let second = Broker::builder().limits(limits).build_on(store).unwrap();
    assert_eq!(second.subscriptions_of("s").len(), 3);
    let subscribe = |text: &str| second.subscribe("s", &filter(text), QoS::AtMostOnce);
    assert_eq!(subscribe("$share/3/t"), Ok(()), "it is there");
    assert_eq!(subscribe("$share/4/t"), Err(SubscribeRefusal::TooManyShared));
}

/// What may not be any more is in the store still, and is missed with a word.
#[tokio::test]
async fn what_a_lower_limit_leaves_out_at_a_start_is_told() {
    let store = MemoryStore::default();
    let (_broker, address) = start_on(store.clone()).await;
    let mut client = Client::accepted(address, persistent("s")).await.0;
    for filter in ["a/b/c", "a/b/d", "a"] {
        client.subscribe(filter, QoS::AtLeastOnce).await;
    }
    for topic in ["r/1", "r/2", "r/3"] {
        let topic = mqtt_broker::TopicName::try_from(topic).unwrap();
        let message = mqtt_broker::Message::new(&topic, b"kept", QoS::AtLeastOnce).retained();
        store.append(vec![Record::Retained { message, expires_at: None }]);
    }
    let starts = |change: fn(&mut Limits)| {
        let log = LogLines::collect(tracing::Level::WARN);
        let mut limits = Limits::default();
        change(&mut limits);
        let broker = Broker::builder().limits(limits).build_on(store.clone()).unwrap();
        (broker.snapshot().retained_messages, log.lines())
    };
    let (retained, lines) = starts(|limits| {
        (limits.max_topic_levels, limits.max_retained_messages) = (2, 2);
    });
    assert_eq!((retained, lines.len()), (2, 2), "{lines:?}");
    assert!(lines[0].contains("2 subscriptions") && lines[0].contains("max_topic_levels"), "{lines:?}");
    assert!(lines[1].contains("1 retained") && lines[1].contains("max_retained_messages"), "{lines:?}");
    let (retained, lines) = starts(|limits| limits.max_retained_bytes = 7);
    assert!(retained == 1 && lines[0].contains("2 retained messages"), "{lines:?}");
    assert!(lines[0].contains("max_retained_bytes"), "{lines:?}");
    assert_eq!(starts(|_| {}), (3, Vec::new()));
}

#[tokio::test]
async fn an_absent_session_goes_on_aging() {
    let store = MemoryStore::default();
    let (_broker, address) = start_on(store.clone()).await;
    Client::accepted(address, persistent("s")).await.0.disconnect().await;
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    store.append(vec![Record::SessionDetached { session: 1, at: long_ago }]);
    let second = Broker::builder().limits(Limits::default()).build_on(store).unwrap();
    let address = second.listen("127.0.0.1:0").await.unwrap();
    while second.snapshot().sessions > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!Client::accepted(address, persistent("s")).await.1);
}

/// What a store says of itself.
fn kept(store: &MemoryStore) -> Vec<Record> {
    let mut kept = Vec::new();
    store.recover(&mut |record| kept.push(record)).unwrap();
    kept
}

/// Who was connected when the broker died is gone from the next start on, and that start says so to the one after it.
#[tokio::test]
async fn a_session_that_was_connected_ages_from_the_restart() {
    let is_aging = |record: &Record| matches!(record, Record::SessionDetached { .. });
    let store = MemoryStore::default();
    let (_broker, address) = start_on(store.clone()).await;
    let _connected = Client::accepted(address, persistent("s")).await;
    assert!(!kept(&store).iter().any(is_aging));
    let _second = start_on(store.clone()).await;
    assert!(kept(&store).iter().any(is_aging));
}

/// A retained message that has expired while no broker ran is gone, from the store too, and takes no room from others.
#[tokio::test]
async fn a_retained_message_goes_on_aging() {
    let store = MemoryStore::default();
    let retained = |topic: &str, expires_at| {
        let topic = mqtt_broker::TopicName::try_from(topic).unwrap();
        let message = mqtt_broker::Message::new(&topic, b"kept", QoS::AtLeastOnce).retained();
        store.append(vec![Record::Retained { message, expires_at }]);
    };
    retained("r/expired", Some(std::time::SystemTime::UNIX_EPOCH));
    retained("r/soon", Some(std::time::SystemTime::now() + Duration::from_millis(500)));
    retained("r/kept", None);
    let mut limits = Limits::default();
    limits.max_retained_messages = 2;
    let broker = Broker::builder().limits(limits).build_on(store.clone()).unwrap();
    assert_eq!(kept(&store).len(), 2);
    assert_eq!(broker.snapshot().retained_messages, 2);
    let _address = broker.listen("127.0.0.1:0").await.unwrap();
    eventually("the end of r/soon", || kept(&store).len() == 1).await;
    assert!(matches!(&kept(&store)[..], [Record::Retained { message, .. }] if message.topic() == "r/kept"));
}

/// Neither a clean session nor a message that nobody durable waits for costs a write.
#[tokio::test]
async fn what_needs_no_store_is_not_written() {
    let store = Groups::default();
    let (_broker, address) = start_on(store.clone()).await;
    let mut subscriber = Client::connected(address, "s").await;
    subscriber.subscribe("t", QoS::ExactlyOnce).await;
    let mut publisher = Client::connected(address, "p").await;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        publisher.publish("t", "passes", qos).await;
        publisher.publish("nobody", "is there", qos).await;
        assert_eq!(subscriber.message().await, "t passes");
    }
    subscriber.ping().await;
    subscriber.unsubscribe(&["t"]).await;
    subscriber.disconnect().await;
    publisher.ping().await;
    assert_eq!(store.all.lock().unwrap().iter().flatten().count(), 0);
}

/// Remembers every group, so that a test can have the broker die between any two of them.
#[derive(Clone, Default)]
pub(crate) struct Groups {
    kept: MemoryStore,
    all: Arc<Mutex<Vec<Vec<Record>>>>,
    /// The greatest key that it knows of.
    newest: u64,
}

impl Groups {
    fn len(&self) -> usize {
        self.all.lock().unwrap().len()
    }

    /// Those since the last time.
    pub(crate) fn take(&self) -> Vec<Vec<Record>> {
        mem::take(&mut self.all.lock().unwrap())
    }

    /// What survives if the broker dies after so many.
    fn first(&self, count: usize) -> MemoryStore {
        let survivors = MemoryStore::default();
        for group in self.all.lock().unwrap().iter().take(count) {
            survivors.append(group.clone());
        }
        survivors
    }
}

impl Store for Groups {
    fn append(&self, group: Vec<Record>) -> Mark {
        let mut all = self.all.lock().unwrap();
        all.push(group.clone());
        self.kept.append(group)
    }

    fn durable(&self) -> Mark {
        self.kept.durable()
    }

    fn wake_at(&self, mark: Mark, waker: &Waker) {
        self.kept.wake_at(mark, waker);
    }

    fn failure(&self) -> Option<StoreError> {
        None
    }

    fn recover(&self, visit: &mut dyn FnMut(Record)) -> Result<(), StoreError> {
        self.kept.recover(visit)
    }

    fn expected(&self) -> Expected {
        Expected { newest: self.newest, ..Expected::default() }
    }

    fn read_queue(&self, read: QueueRead, deliver: DeliverPage) {
        self.kept.read_queue(read, deliver);
    }
}

#[tokio::test]
async fn keys_go_on_from_the_greatest_that_the_store_knows_of() {
    let store = Groups { newest: 500, ..Groups::default() };
    let (_broker, address) = start_on(store.clone()).await;
    let mut subscriber = Client::accepted(address, persistent("s")).await.0;
    subscriber.subscribe("t", QoS::AtLeastOnce).await;
    Client::connected(address, "p").await.publish("t", "m", QoS::AtLeastOnce).await;
    let all = store.all.lock().unwrap();
    let keys = all.iter().flatten().filter_map(|record| match record {
        Record::Queued { key, .. } => Some(*key),
        _ => None,
    });
    assert_eq!(keys.collect::<Vec<_>>(), [501]);
}

/// The Will of a connection is published once, whenever the broker dies while the next one takes the session over; and that
/// of a connection that leaves is never published once the next one is there.
#[tokio::test]
async fn a_will_survives_the_connection_that_comes_next() {
    let store = Groups::default();
    let (_broker, address) = start_on(store.clone()).await;
    let mut watcher = Client::accepted(address, persistent("watcher")).await.0;
    watcher.subscribe("w", QoS::AtLeastOnce).await;
    watcher.disconnect().await;
    let with_will = |message: &'static [u8]| {
        let mut connect = persistent("c");
        connect.will = will("w", message, QoS::AtLeastOnce, false);
        connect
    };
    let left = Client::accepted(address, with_will(b"left")).await.0;
    left.disconnect().await;
    let mut taken_over = Client::accepted(address, with_will(b"taken over")).await.0;
    let alive = store.len();
    let _next = Client::accepted(address, with_will(b"next")).await;
    assert_eq!(taken_over.next().await, None, "its connection is closed");

    for count in alive..=store.len() {
        let (_broker, address) = start_on(store.first(count)).await;
        let mut watcher = Client::accepted(address, persistent("watcher")).await.0;
        Client::connected(address, "p").await.publish("w", "end", QoS::AtLeastOnce).await;
        let mut wills = Vec::new();
        loop {
            let message = watcher.message().await;
            if message == "w end" {
                break;
            }
            wills.push(message);
        }
        wills.retain(|will| will != "w next");
        assert_eq!(wills, ["w taken over"], "after {count} groups");
    }
}

/// A store that answers while it is asked, and notes how deep in one another the questions are.
#[derive(Clone, Default)]
struct AtOnce {
    kept: MemoryStore,
    depth: Arc<AtomicUsize>,
    deepest: Arc<AtomicUsize>,
}

impl Store for AtOnce {
    fn append(&self, group: Vec<Record>) -> Mark {
        self.kept.append(group)
    }

    fn durable(&self) -> Mark {
        self.kept.durable()
    }

    fn wake_at(&self, mark: Mark, waker: &Waker) {
        self.kept.wake_at(mark, waker);
    }

    fn failure(&self) -> Option<StoreError> {
        None
    }

    fn recover(&self, visit: &mut dyn FnMut(Record)) -> Result<(), StoreError> {
        self.kept.recover(visit)
    }

    fn read_queue(&self, read: QueueRead, deliver: DeliverPage) {
        self.deepest.fetch_max(self.depth.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.kept.read_queue(read, deliver);
        self.depth.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Each page was asked for from within the one before: a long queue took all of the stack, and the process with it.
#[test]
fn a_queue_is_read_page_by_page_also_from_a_store_that_answers_at_once() {
    let mut limits = Limits::default();
    limits.queue_window_bytes = 0;
    let (store, now) = (AtOnce::default(), Instant::now());
    let broker = Broker::builder().limits(limits).build_on(store.clone()).unwrap();
    let connect = b"\x10\x0d\x00\x04MQTT\x04\x00\x00\x00\x00\x01s";
    let connected = || {
        let mut connection = SansIoConnection::new(&broker, ([192, 0, 2, 1], 4711).into(), now);
        connection.handle_bytes(now, connect);
        connection
    };
    connected().handle_loss(now);
    broker.subscribe("s", &filter("t"), QoS::AtLeastOnce).unwrap();
    for _ in 0..300 {
        broker.publish(&message("t", "x", QoS::AtLeastOnce));
    }
    let (mut subscriber, mut out) = (connected(), Vec::new());
    while subscriber.poll_transmit(now, Waker::noop(), &mut out) {}
    assert_eq!(broker.session("s").unwrap().inflight_messages, 300);
    assert_eq!(store.deepest.load(Ordering::Relaxed), 1);
}
