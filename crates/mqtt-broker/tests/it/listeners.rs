//! Several listeners of one broker: hooks tell them apart by name, and each has limits of its own.

use std::{net::SocketAddr, time::Duration};

use mqtt_broker::{
    Broker, ConnectDecision, ConnectRefusal, Listener, ListenerLimits, QoS, RefusalReason, Transport,
};
use mqtt_codec::{Connack, Connect, Packet};

use crate::{
    Q0,
    client::{Client, connect, id, publish},
    journal::{Journal, eventually},
    limits,
};

/// Listens with the default limits, but for what `change` does to them.
async fn listen(broker: &Broker, name: &str, change: impl FnOnce(&mut ListenerLimits)) -> SocketAddr {
    let mut limits = ListenerLimits::default();
    change(&mut limits);
    let listener = Listener::new(name, Transport::tcp()).limits(limits);
    broker.listen_with("127.0.0.1:0", listener).await.expect("a free port")
}

#[tokio::test]
async fn hooks_have_other_rules_for_each() {
    let journal = Journal::default();
    let noted = journal.clone();
    let broker = Broker::builder()
        .on_accept(move |request| {
            noted.note(format!("{} at {}", request.peer, request.listener));
            request.listener != "closed"
        })
        .on_connect(|request| async move {
            match request.client.listener.as_deref() {
                Some("open") => ConnectDecision::Accept,
                _ => ConnectDecision::Refuse(ConnectRefusal::NotAuthorized),
            }
        })
        .build();
    let open = listen(&broker, "open", |_| {}).await;
    let guarded = listen(&broker, "guarded", |_| {}).await;
    let closed = listen(&broker, "closed", |_| {}).await;

    let mut welcome = Client::connected(open, "a").await;
    let peer = welcome.stream.local_addr().unwrap();
    assert_eq!(broker.client("a").unwrap().info().listener.as_deref(), Some("open"));
    let refused = Client::open(guarded).await.connect(connect("b")).await;
    assert_eq!(refused, Connack::Refused(ConnectRefusal::NotAuthorized));
    Client::open(closed).await.expect_end().await;
    welcome.ping().await;
    let lines = journal.lines();
    assert_eq!(lines[0], format!("{peer} at open"));
    assert!(lines[1].ends_with(" at guarded") && lines[2].ends_with(" at closed"), "{lines:?}");
}

#[tokio::test]
async fn a_transport_alone_is_a_listener_named_after_it() {
    let broker = Broker::builder().build();
    Client::connected(broker.listen("127.0.0.1:0").await.unwrap(), "a").await.ping().await;
    assert_eq!(broker.client("a").unwrap().info().listener.as_deref(), Some("tcp"));
}

#[tokio::test]
async fn one_that_is_full_leaves_the_others_their_places() {
    let broker = Broker::builder().limits(crate::limits(|limits| limits.max_connections = 3)).build();
    let small = listen(&broker, "small", |limits| limits.max_connections = Some(1)).await;
    let large = listen(&broker, "large", |_| {}).await;
    let first = Client::connected(small, "first").await;
    for _ in 0..3 {
        Client::open(small).await.expect_end().await;
    }
    Client::connected(large, "second").await.ping().await;
    assert_eq!(broker.counts().connections_refused, 3);
    drop(first);
    eventually("the place", || broker.client("first").is_none()).await;
    eventually("all places", || broker.snapshot().connections == 0).await;

    // What the broker as a whole refuses takes no place of the listener.
    let held = [Client::connected(large, "1").await, Client::connected(large, "2").await];
    let third = Client::connected(large, "3").await;
    Client::open(small).await.expect_end().await;
    drop((held, third));
    eventually("all places", || broker.snapshot().connections == 0).await;
    Client::connected(small, "next").await.ping().await;
}

#[tokio::test]
async fn one_without_a_number_of_its_own_has_that_of_all() {
    let limits = crate::limits(|limits| limits.max_connections_per_listener = Some(1));
    let broker = Broker::builder().limits(limits).build();
    let [first, second] = [listen(&broker, "first", |_| {}).await, listen(&broker, "second", |_| {}).await];
    let large = listen(&broker, "large", |limits| limits.max_connections = Some(2)).await;
    let mut held = Vec::new();
    for (address, places) in [(first, 1), (second, 1), (large, 2)] {
        for place in 0..places {
            held.push(Client::connected(address, &format!("{address} {place}")).await);
        }
        Client::open(address).await.expect_end().await;
    }
    assert_eq!(broker.counts().refused_for(RefusalReason::TooManyOfListener), 3);
}

#[tokio::test]
async fn connect_timeout_and_keep_alive_are_its_own() {
    let broker =
        Broker::builder().limits(crate::limits(|limits| limits.max_keep_alive_secs = Some(60))).build();
    let hasty = listen(&broker, "hasty", |limits| {
        limits.connect_timeout = Some(Duration::from_millis(50));
        limits.max_keep_alive_secs = Some(7);
    })
    .await;
    let patient = listen(&broker, "patient", |_| {}).await;
    let endless = listen(&broker, "endless", |limits| limits.max_keep_alive_secs = Some(0)).await;
    let mut waiting = Client::open(patient).await;
    Client::open(hasty).await.expect_end().await;
    assert_eq!(waiting.connect(connect("a")).await, Connack::Accepted { session_present: false });
    assert_eq!(broker.client("a").unwrap().info().keep_alive_secs, 60);
    let (mut quick, _) = Client::accepted(hasty, Connect { keep_alive_secs: 10, ..connect("b") }).await;
    quick.ping().await;
    assert_eq!(broker.client("b").unwrap().info().keep_alive_secs, 7);
    let _patient = Client::accepted(endless, Connect { keep_alive_secs: 600, ..connect("c") }).await;
    assert_eq!(broker.client("c").unwrap().info().keep_alive_secs, 600);
}

/// A PUBLISH with so long a payload.
fn zeros(len: usize) -> Packet {
    Packet::Publish(publish("t", &"0".repeat(len), Q0, id(1)))
}

#[tokio::test]
async fn packet_sizes_are_its_own() {
    let broker = Broker::builder().build();
    let narrow = listen(&broker, "narrow", |limits| {
        limits.max_connect_packet_size = Some(40);
        limits.max_packet_size = Some(100);
    })
    .await;
    let mut client = Client::connected(narrow, "a").await;
    client.send(zeros(90)).await;
    client.ping().await;
    client.send(zeros(100)).await;
    client.expect_end().await;
    let mut long = Client::open(narrow).await;
    long.send(Packet::Connect(Box::new(connect(&"i".repeat(60))))).await;
    long.expect_end().await;
}

#[tokio::test]
async fn connections_that_come_after_a_replacement_have_the_new_limits_and_no_others() {
    let broker = Broker::builder().build();
    let address = listen(&broker, "a", |_| {}).await;
    let mut before = Client::connected(address, "before").await;
    let limited = |change: &dyn Fn(&mut ListenerLimits)| {
        let mut limits = ListenerLimits::default();
        change(&mut limits);
        Listener::new("a", Transport::tcp()).limits(limits)
    };
    assert!(broker.replace_listener(limited(&|limits| limits.max_packet_size = Some(100))));
    assert!(!broker.replace_listener(Listener::new("b", Transport::tcp())));
    let payload = "x".repeat(200);
    before.publish("t", &payload, QoS::AtLeastOnce).await;
    let mut after = Client::connected(address, "after").await;
    after.send(Packet::Publish(publish("t", &payload, Q0, id(1)))).await;
    after.expect_end().await;

    // Those that are there count, too.
    assert!(broker.replace_listener(limited(&|limits| limits.max_connections = Some(1))));
    eventually("one left", || broker.snapshot().connections == 1).await;
    let refused = Client::open(address).await.connect(connect("c")).await;
    assert_eq!(refused, Connack::Refused(ConnectRefusal::ServerUnavailable));
    assert!(broker.replace_listener(limited(&|_| {})));
    Client::connected(address, "c").await.publish("t", &payload, QoS::AtLeastOnce).await;
}

#[tokio::test]
async fn the_brokers_limits_are_replaced_at_all_listeners_also_those_to_come() {
    let broker = Broker::builder().build();
    let with_its_own = listen(&broker, "a", |limits| limits.max_packet_size = Some(1_000)).await;
    let before = listen(&broker, "b", |_| {}).await;
    broker.replace_limits(limits(|limits| limits.max_packet_size = 100));
    let after = listen(&broker, "c", |_| {}).await;
    let payload = "x".repeat(200);
    for (address, is_served) in [(with_its_own, true), (before, false), (after, false)] {
        let mut client = Client::connected(address, "x").await;
        client.send(Packet::Publish(publish("t", &payload, QoS::AtLeastOnce, id(1)))).await;
        assert_eq!(client.next().await.is_some(), is_served);
    }
}
