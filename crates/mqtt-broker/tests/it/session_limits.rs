//! Numbers of `docs/limits.md` on what is kept for clients and handed to them; the others are in `limits.rs`.

use std::time::Duration;

use mqtt_broker::{Broker, DeliveryMode, DropReason, SharedStrategy, SubscribeRefusal};
use mqtt_codec::{Connack, ConnectRefusal, Packet, Pubcomp, Pubrec, Pubrel};

use crate::{
    Q0, Q1, Q2,
    client::{Client, connect, id, persistent, publish},
    journal::{Journal, eventually},
    limits,
    limits::start_with,
    message, start,
};

#[tokio::test]
async fn max_sessions_makes_the_server_unavailable_for_a_new_one() {
    let (broker, address) = start_with(|limits| limits.max_sessions = 2).await;
    let (absent, _) = Client::accepted(address, persistent("absent")).await;
    absent.disconnect().await;
    let mut present = Client::connected(address, "present").await;
    let mut refused = Client::open(address).await;
    let unavailable = Connack::Refused(ConnectRefusal::ServerUnavailable);
    assert_eq!(refused.connect(connect("new")).await, unavailable);
    refused.expect_end().await;
    assert_eq!(broker.subscriber(&[]).err(), Some(SubscribeRefusal::TooManySessions));
    // Those that are there may come back, or be taken over.
    let (_resumed, session_present) = Client::accepted(address, persistent("absent")).await;
    assert!(session_present);
    let again = Client::connected(address, "present").await;
    present.expect_end().await;
    again.disconnect().await;
    eventually("a free place", || broker.snapshot().sessions == 1).await;
    Client::connected(address, "new").await.ping().await;
}

#[tokio::test]
async fn session_expiry_ends_who_is_absent_for_too_long() {
    let journal = Journal::default();
    let events = journal.clone();
    let expiring = Broker::builder()
        .limits(limits(|limits| limits.session_expiry = Some(Duration::from_millis(100))))
        .observer(move |event: &mqtt_broker::Event<'_>| events.note(format!("{event:?}")));
    let (broker, address) = start(expiring).await;
    let (unlimited, unlimited_address) = start_with(|limits| limits.session_expiry = None).await;

    // One that was absent, and came back in time.
    Client::accepted(address, persistent("present")).await.0.disconnect().await;
    let (mut present, _) = Client::accepted(address, persistent("present")).await;
    for address in [address, unlimited_address] {
        let (mut absent, _) = Client::accepted(address, persistent("absent")).await;
        absent.subscribe("t", Q1).await;
        absent.disconnect().await;
    }
    broker.publish(&message("t", "x", Q1));
    journal.until(1, "SessionEnded").await;
    assert_eq!(journal.count("SessionEnded { client_id: \"absent\", reason: Expired }"), 1);
    let counts = broker.counts();
    assert_eq!((counts.sessions_expired, counts.dropped_for(DropReason::SessionEnded)), (1, 1));
    let now = broker.snapshot();
    assert_eq!((now.sessions, now.subscriptions), (1, 0));
    present.ping().await;
    assert!(!Client::accepted(address, persistent("absent")).await.1);
    assert!(Client::accepted(unlimited_address, persistent("absent")).await.1);
    assert_eq!(unlimited.snapshot().subscriptions, 1);
}

#[tokio::test]
async fn max_inflight_is_a_window() {
    let (broker, address) = start_with(|limits| limits.max_inflight = 3).await;
    let mut client = Client::connected(address, "a").await;
    client.subscribe("#", Q2).await;
    for n in 0..5 {
        broker.publish(&message("t", &n.to_string(), Q2));
    }
    broker.publish(&message("t0", "needs no window", Q0));
    let session = broker.session("a").unwrap();
    assert_eq!((session.inflight_messages, session.queued_messages), (3, 2));
    let mut ids = Vec::new();
    for n in 0..3 {
        let publish = client.recv_publish().await;
        assert_eq!(publish.payload, n.to_string());
        ids.push(publish.delivery.packet_id().unwrap());
    }
    assert_eq!(client.recv_publish().await.topic.as_str(), "t0");
    // PUBREC does not open the window, PUBCOMP does.
    client.send(Packet::Pubrec(Pubrec { packet_id: ids[0] })).await;
    assert_eq!(client.recv().await, Packet::Pubrel(Pubrel { packet_id: ids[0] }));
    client.ping().await;
    assert_eq!(broker.session("a").unwrap().queued_messages, 2);
    client.send(Packet::Pubcomp(Pubcomp { packet_id: ids[0] })).await;
    assert_eq!(client.recv_publish().await.payload, "3");
    let session = broker.session("a").unwrap();
    assert_eq!((session.inflight_messages, session.queued_messages), (3, 1));
}

#[tokio::test]
async fn max_unreleased_counts_identifiers_and_not_repetitions() {
    let (broker, address) = start_with(|limits| limits.max_unreleased = 2).await;
    let mut client = Client::connected(address, "a").await;
    for value in [1, 2, 1, 2] {
        client.send(Packet::Publish(publish("t", "", Q2, id(value)))).await;
        assert_eq!(client.recv().await, Packet::Pubrec(Pubrec { packet_id: id(value) }));
    }
    assert_eq!(broker.session("a").unwrap().unreleased_messages, 2);
    client.send(Packet::Pubrel(Pubrel { packet_id: id(1) })).await;
    assert_eq!(client.recv().await, Packet::Pubcomp(Pubcomp { packet_id: id(1) }));
    client.send(Packet::Publish(publish("t", "", Q2, id(3)))).await;
    assert_eq!(client.recv().await, Packet::Pubrec(Pubrec { packet_id: id(3) }));
    client.send(Packet::Publish(publish("t", "", Q2, id(4)))).await;
    client.expect_end().await;
}

/// While the connection's task cannot run, so much is made ready for its socket, and the rest waits in the queue.
#[tokio::test]
async fn max_pending_bytes_is_where_the_queue_begins() {
    let whole = Packet::Publish(publish("t", "0", Q0, id(1))).encoded_len();
    for (max_pending_bytes, ready) in [(1, 1), (3 * whole, 3), (3 * whole + 1, 4)] {
        let (broker, address) = start_with(|limits| limits.max_pending_bytes = max_pending_bytes).await;
        let mut client = Client::connected(address, "a").await;
        client.subscribe("t", Q0).await;
        for n in 0..10 {
            broker.publish(&message("t", &n.to_string(), Q0));
        }
        assert_eq!(broker.session("a").unwrap().queued_messages, 10 - ready);
        for n in 0..10 {
            assert_eq!(client.message().await, format!("t {n}"));
        }
    }
}

#[tokio::test]
async fn max_retained_messages_and_bytes() {
    for by_bytes in [false, true] {
        let (broker, address) = start_with(|limits| {
            (limits.max_retained_messages, limits.max_retained_bytes) =
                if by_bytes { (100, 2 * "a1".len()) } else { (2, 1_000) };
        })
        .await;
        let mut receiver = Client::connected(address, "receiver").await;
        receiver.subscribe("#", Q0).await;
        let mut publisher = Client::connected(address, "publisher").await;
        for (topic, payload) in [("a", "1"), ("b", "1"), ("c", "1"), ("b", "2")] {
            publisher.retain(topic, payload, Q1).await;
            assert_eq!(receiver.message().await, format!("{topic} {payload}"), "delivered all the same");
        }
        assert_eq!(broker.counts().dropped_for(DropReason::RetainedFull), 1);
        let now = broker.snapshot();
        assert_eq!((now.retained_messages, now.retained_bytes), (2, 4));
        publisher.retain("a", "", Q1).await;
        publisher.retain("c", "3", Q1).await;
        let mut late = Client::connected(address, "late").await;
        late.subscribe("#", Q0).await;
        assert_eq!([late.message().await, late.message().await], ["b 2", "c 3"]);
    }
}

#[tokio::test]
async fn retained_expiry_removes_what_is_old() {
    let (broker, address) =
        start_with(|limits| limits.retained_expiry = Some(Duration::from_millis(100))).await;
    let mut client = Client::connected(address, "a").await;
    client.retain("t", "x", Q1).await;
    assert_eq!(broker.snapshot().retained_messages, 1);
    eventually("the store's next look", || broker.snapshot().retained_messages == 0).await;
    client.subscribe("t", Q1).await;
    client.publish("elsewhere", "", Q1).await;
    broker.publish(&message("t", "marker", Q0));
    assert_eq!(client.message().await, "t marker");
}

#[tokio::test]
async fn retry_interval_repeats_on_a_live_connection() {
    for qos in [Q1, Q2] {
        let (broker, address) =
            start_with(|limits| limits.retry_interval = Some(Duration::from_millis(30))).await;
        let mut client = Client::connected(address, "a").await;
        client.subscribe("t", Q2).await;
        broker.publish(&message("t", "x", qos));
        let original = client.recv_publish().await;
        assert!(!original.delivery.dup());
        for _ in 0..2 {
            let repeated = client.recv_publish().await;
            assert!(repeated.delivery.dup());
            assert_eq!(repeated.delivery.packet_id(), original.delivery.packet_id());
            assert_eq!(repeated.payload, original.payload);
        }
        if qos == Q2 {
            // After PUBREC it is PUBREL that is repeated, and the message no more.
            let packet_id = until_pubrel(&mut client).await;
            for _ in 0..2 {
                assert_eq!(client.recv().await, Packet::Pubrel(Pubrel { packet_id }));
            }
            client.send(Packet::Pubcomp(Pubcomp { packet_id })).await;
        } else {
            client.acknowledge(&original).await;
        }
        eventually("the end of it", || broker.session("a").unwrap().inflight_messages == 0).await;
    }
}

/// Acknowledges the next message with PUBREC, and waits for the PUBREL.
async fn until_pubrel(client: &mut Client) -> mqtt_codec::PacketId {
    let packet_id = client.recv_publish().await.delivery.packet_id().unwrap();
    client.send(Packet::Pubrec(Pubrec { packet_id })).await;
    loop {
        match client.recv().await {
            Packet::Pubrel(Pubrel { packet_id }) => return packet_id,
            Packet::Publish(_) => {} // Repeated before the PUBREC came.
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn without_retry_interval_nothing_is_repeated() {
    let (broker, address) = start_with(|_| {}).await;
    let (retrying, retrying_address) =
        start_with(|limits| limits.retry_interval = Some(Duration::from_millis(20))).await;
    let mut client = Client::connected(address, "a").await;
    let mut witness = Client::connected(retrying_address, "a").await;
    for (broker, client) in [(&broker, &mut client), (&retrying, &mut witness)] {
        client.subscribe("t", Q1).await;
        broker.publish(&message("t", "x", Q1));
    }
    for _ in 0..10 {
        witness.recv_publish().await;
    }
    client.recv_publish().await;
    client.ping().await;
}

#[tokio::test]
async fn delivery_mode_once_and_overlap() {
    for (mode, expected) in [(DeliveryMode::Once, vec![Q2]), (DeliveryMode::Overlap, vec![Q0, Q1, Q2])] {
        let (broker, address) = start_with(|limits| limits.delivery_mode = mode).await;
        let mut client = Client::connected(address, "a").await;
        client.subscribe_all(&[("#", Q1), ("t", Q0), ("+", Q2)]).await;
        broker.publish(&message("t", "x", Q2));
        let mut received = Vec::new();
        for _ in &expected {
            received.push(client.recv_publish().await.delivery.qos());
        }
        received.sort();
        assert_eq!(received, expected);
        client.ping().await;
    }
}

#[tokio::test]
async fn shared_strategy_chooses_the_member() {
    for strategy in [SharedStrategy::RoundRobin, SharedStrategy::Sticky] {
        let (broker, address) = start_with(|limits| limits.shared_strategy = strategy).await;
        let mut members = Vec::new();
        for name in ["a", "b"] {
            let mut member = Client::connected(address, name).await;
            member.subscribe("$share/g/t", Q1).await;
            members.push(member);
        }
        for _ in 0..10 {
            broker.publish(&message("t", "x", Q1));
        }
        let held = |name: &str| broker.session(name).unwrap().inflight_messages;
        let mut each = [held("a"), held("b")];
        each.sort_unstable();
        assert_eq!(each, if strategy == SharedStrategy::Sticky { [0, 10] } else { [5, 5] });
    }
}
