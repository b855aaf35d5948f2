//! The embedder's code panics: at every place where the broker calls it, alone and at several at once.
//!
//! The process goes on, or there would be no result of these tests; and nobody but the connection concerned notices.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
    time::Duration,
};

use mqtt_broker::{
    Broker, Builder, ConnectDecision, Event, PublishDecision, SubscribeDecision, WillDecision,
    store::{DeliverPage, Mark, MemoryStore, QueueRead, Record, Store, StoreError},
};
use mqtt_codec::{Packet, Unsubscribe};

use crate::{
    Q0, Q1, Q2,
    client::{Client, connect, id, persistent, publish, subscribe, will},
    filter,
    journal::{Journal, eventually},
    message, start,
};

/// Hooks that panic for the client whose identifier says so.
fn builder(journal: &Journal) -> Builder {
    let noted = journal.clone();
    Broker::builder()
        .on_connect(|request| {
            assert_ne!(&*request.client.client_id, "connect");
            async move {
                assert_ne!(&*request.client.client_id, "connect, later");
                ConnectDecision::Accept
            }
        })
        .on_subscribe(|request| {
            assert_ne!(request.filter.as_str(), "panic");
            async move {
                assert_ne!(request.filter.as_str(), "panic/later");
                SubscribeDecision::Grant(request.qos)
            }
        })
        .on_unsubscribe(|_, filter| assert_ne!(filter.as_str(), "panic"))
        .on_publish(|request| {
            assert_ne!(request.topic, "panic");
            PublishDecision::Pass
        })
        .on_will(|client, _| {
            assert!(!client.client_id.contains("will"));
            WillDecision::Pass
        })
        .on_close(move |client, reason| {
            noted.note(format!("{} {reason:?}", client.client_id));
            assert!(!client.client_id.contains("close"));
        })
}

/// Somebody else finds the broker in order.
async fn others_are_served(address: SocketAddr) {
    let mut other = Client::connected(address, "somebody else").await;
    other.subscribe("fine", Q1).await;
    other.publish("elsewhere", "x", Q2).await;
    other.unsubscribe(&["fine"]).await;
    other.disconnect().await;
}

#[tokio::test]
async fn in_on_accept_the_listener_goes_on() {
    let first = AtomicBool::new(true);
    let (broker, address) = start(Broker::builder().on_accept(move |_| {
        assert!(!first.swap(false, Ordering::Relaxed), "the first one panics");
        true
    }))
    .await;
    Client::open(address).await.expect_end().await;
    others_are_served(address).await;
    assert_eq!(broker.counts().connections_refused, 1);
}

#[tokio::test]
async fn in_on_connect_there_is_no_connack_and_no_session() {
    let (broker, address) = start(builder(&Journal::default())).await;
    for client_id in ["connect", "connect, later"] {
        let mut client = Client::open(address).await;
        client.send(Packet::Connect(Box::new(persistent(client_id)))).await;
        client.expect_end().await;
    }
    others_are_served(address).await;
    eventually("the end of all", || broker.snapshot().connections == 0).await;
    assert_eq!(broker.snapshot().sessions, 0);
}

/// [MQTT-4.8.0-2]
#[tokio::test]
async fn in_a_hook_about_a_packet_the_packet_is_not_answered() {
    let journal = Journal::default();
    let (broker, address) = start(builder(&journal)).await;
    let unsubscribe = Unsubscribe { packet_id: id(1), filters: vec![filter("panic")] };
    let packets = [
        subscribe(id(1), &[("panic", Q0)]),
        subscribe(id(1), &[("fine", Q0), ("panic/later", Q0)]),
        Packet::Unsubscribe(unsubscribe),
        Packet::Publish(publish("panic", "x", Q0, id(1))),
        Packet::Publish(publish("panic", "x", Q1, id(1))),
        Packet::Publish(publish("panic", "x", Q2, id(1))),
    ];
    for packet in packets {
        let mut client = Client::connected(address, "a").await;
        client.send(packet).await;
        client.expect_end().await;
    }
    assert_eq!(journal.lines(), ["a HookFailed"; 6]);
    others_are_served(address).await;
    assert_eq!((broker.snapshot().sessions, broker.snapshot().subscriptions), (0, 0));
}

/// `on_publish`, then `on_will` and `on_close` while that connection ends.
#[tokio::test]
async fn at_every_place_at_once() {
    let journal = Journal::default();
    let events = journal.clone();
    let observed = builder(&journal).observer(move |event: &Event<'_>| {
        if let Event::Disconnected { client, .. } = event {
            events.note(format!("{} is disconnected", client.client_id));
            assert!(!client.client_id.contains("observer"));
        }
    });
    let (broker, address) = start(observed).await;
    let request = mqtt_codec::Connect { will: will("w", b"", Q1, true), ..connect("will close observer") };
    let (mut client, _) = Client::accepted(address, request).await;
    client.subscribe("#", Q1).await;
    client.send(Packet::Publish(publish("panic", "x", Q1, id(1)))).await;
    client.expect_end().await;
    others_are_served(address).await;
    let lines = journal.lines();
    assert_eq!(lines[..2], ["will close observer HookFailed", "will close observer is disconnected"]);
    eventually("the end of all", || broker.snapshot().connections == 0).await;
    let now = broker.snapshot();
    assert_eq!((now.sessions, now.subscriptions, now.retained_messages), (0, 0, 0));
}

/// The Will of the client that loses its session is settled by the one that takes it: whom that hook's panic must not harm.
#[tokio::test]
async fn in_on_will_a_take_over_goes_on() {
    let journal = Journal::default();
    let (broker, address) = start(builder(&journal)).await;
    let request = mqtt_codec::Connect { will: will("w", b"", Q1, false), ..persistent("will") };
    let (mut first, _) = Client::accepted(address, request.clone()).await;
    let (mut second, session_present) = Client::accepted(address, request).await;
    assert!(session_present);
    first.expect_end().await;
    assert_eq!(journal.lines(), ["will TakenOver"]);
    second.ping().await;

    assert!(broker.end_session("will"));
    second.expect_end().await;
    assert_eq!(journal.lines(), ["will TakenOver", "will Kicked"]);
    others_are_served(address).await;
    assert_eq!(broker.snapshot().sessions, 0);
}

#[tokio::test]
async fn in_an_observer_nobody_notices() {
    let journal = Journal::default();
    let events = journal.clone();
    let (broker, address) = start(
        Broker::builder()
            .observer(|_: &Event<'_>| panic!("at every event"))
            .observer(move |event: &Event<'_>| events.note(format!("{event:?}"))),
    )
    .await;
    let (mut client, _) = Client::accepted(address, persistent("a")).await;
    client.subscribe("t", Q2).await;
    let (mut again, _) = Client::accepted(address, persistent("a")).await;
    client.expect_end().await;
    broker.publish(&message("t", "x", Q2));
    assert_eq!(again.message().await, "t x");
    again.unsubscribe(&["t"]).await;
    others_are_served(address).await;
    for event in ["Connected", "Subscribed", "SessionTakenOver", "Delivered", "Acknowledged", "Disconnected"]
    {
        assert_ne!(journal.count(event), 0, "the other observer sees {event}");
    }
}

#[tokio::test]
async fn in_on_stop_and_in_all_that_a_shutdown_calls() {
    let journal = Journal::default();
    let (broker, address) = start(builder(&journal).on_stop(|| panic!("at the very end"))).await;
    let request = mqtt_codec::Connect { will: will("w", b"", Q1, false), ..connect("will close") };
    let (mut client, _) = Client::accepted(address, request).await;
    assert_eq!(broker.shutdown(Duration::from_secs(10)).await, Ok(()));
    client.expect_end().await;
    assert_eq!(journal.lines(), ["will close Shutdown"]);
    assert_eq!(broker.snapshot().connections, 0);
}

/// A store that panics while it is told to.
#[derive(Clone, Default)]
struct BrokenStore {
    is_broken: Arc<AtomicBool>,
    inner: MemoryStore,
}

impl Store for BrokenStore {
    fn append(&self, group: Vec<Record>) -> Mark {
        assert!(!self.is_broken.load(Ordering::Relaxed), "the store is broken");
        self.inner.append(group)
    }

    fn durable(&self) -> Mark {
        self.inner.durable()
    }

    fn wake_at(&self, mark: Mark, waker: &Waker) {
        self.inner.wake_at(mark, waker);
    }

    fn failure(&self) -> Option<StoreError> {
        self.inner.failure()
    }

    fn recover(&self, visit: &mut dyn FnMut(Record)) -> Result<(), StoreError> {
        self.inner.recover(visit)
    }

    fn read_queue(&self, read: QueueRead, deliver: DeliverPage) {
        self.inner.read_queue(read, deliver);
    }
}

/// What runs in a connection panics without being a hook, and panics again while that connection is torn down.
#[tokio::test]
async fn in_a_store_once_while_serving_and_once_while_tearing_down() {
    let store = BrokenStore::default();
    let is_broken = Arc::clone(&store.is_broken);
    let broker = Broker::builder().build_on(store).unwrap();
    let address = broker.listen("127.0.0.1:0").await.unwrap();
    let mut witness = Client::connected(address, "witness").await;
    witness.subscribe("seen", Q0).await;
    let (mut client, _) = Client::accepted(address, persistent("a")).await;
    client.subscribe("t", Q1).await;

    is_broken.store(true, Ordering::Relaxed);
    client.send(Packet::Publish(publish("t", "x", Q1, id(7)))).await;
    client.expect_end().await;
    let mut other = Client::connected(address, "other").await;
    other.publish("seen", "all the same", Q0).await;
    assert_eq!(witness.message().await, "seen all the same");
    eventually("the end of it", || broker.snapshot().connections == 2).await;

    is_broken.store(false, Ordering::Relaxed);
    let (mut client, session_present) = Client::accepted(address, persistent("a")).await;
    assert!(session_present);
    client.publish("t", "again", Q1).await;
    assert_eq!(client.message().await, "t again");
}
