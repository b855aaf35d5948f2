//! What was wrong with the system of 2018, one test each, so that it does not come back.
//!
//! What needs more than a test of its own is told elsewhere: hooks that stall the broker in `hooks`, memory and slow
//! clients in `backpressure`, options without effect in `limits` and `queue`, tasks that never end in `shutdown`.

use std::collections::HashSet;

use bytes::Bytes;
use mqtt_broker::{Broker, PublishDecision, QoS, SubscribeRefusal};
use mqtt_codec::{Connect, Delivery, Packet, PacketId, Puback, Pubcomp, Publish, Pubrec, Pubrel, Will};

use crate::{
    Q0, Q1, Q2,
    client::{Client, connect, credentials, id, persistent, will},
    filter,
    journal::eventually,
    limits, message, start, topic,
};

/// 9,000 retained messages and one SUBSCRIBE: the whole broker stood still for good.
#[tokio::test]
async fn many_retained_messages_and_one_subscribe() {
    let (broker, address) = start(Broker::builder()).await;
    for n in 0..9_000 {
        broker.publish(&message(&format!("r/{n:04}"), "x", Q1).retained());
    }
    for qos in [Q0, Q1] {
        let mut client = Client::connected(address, "a").await;
        client.subscribe("r/+", qos).await;
        // Nothing of it is read yet, and others are served.
        let mut other = Client::connected(address, "other").await;
        other.subscribe("r/0000", qos).await;
        assert_eq!(other.message().await, "r/0000 x");
        for n in 0..9_000 {
            let publish = client.recv_publish().await;
            assert_eq!((publish.topic.as_str(), publish.retain), (format!("r/{n:04}").as_str(), true));
            client.acknowledge(&publish).await;
        }
        client.ping().await;
        other.ping().await;
    }
    assert_eq!(broker.counts().dropped.iter().sum::<u64>(), 0, "they crowd no queue");
}

/// One subscriber with QoS 0 that does not read: as soon as its channel was full, nobody got a CONNACK any more.
#[tokio::test]
async fn one_slow_subscriber_and_everybody_else() {
    let (broker, address) = start(Broker::builder()).await;
    let mut slow = Client::open_small(address).await;
    slow.connect(connect("slow")).await;
    slow.subscribe("#", Q0).await;
    let mut publisher = Client::connected(address, "publisher").await;
    let payload = "x".repeat(2_000);
    for _ in 0..6 {
        let burst: Vec<Packet> = (0..1_000)
            .map(|_| Packet::Publish(crate::client::publish("t", &payload, Q0, PacketId::FIRST)))
            .collect();
        publisher.send_all(&burst).await;
        publisher.ping().await;
    }
    assert_ne!(broker.session("slow").unwrap().queued_messages, 0);
    let mut other = Client::connected(address, "other").await;
    other.subscribe("t", Q1).await;
    publisher.publish("t", "y", Q1).await;
    assert_eq!(other.message().await, "t y");
}

/// A new subscription made everybody get the retained messages again.
#[tokio::test]
async fn retained_messages_go_to_the_new_subscriber_alone() {
    let (broker, address) = start(Broker::builder()).await;
    broker.publish(&message("t", "kept", Q1).retained());
    let mut established = Client::connected(address, "established").await;
    established.subscribe("t", Q1).await;
    assert_eq!(established.message().await, "t kept");
    let mut new = Client::connected(address, "new").await;
    new.subscribe("#", Q1).await;
    assert_eq!(new.message().await, "t kept");
    broker.publish(&message("t", "marker", Q0));
    assert_eq!(established.message().await, "t marker");
}

/// SUBSCRIBE to a filter that is there already brought none.
#[tokio::test]
async fn subscribing_again_brings_the_retained_messages_again() {
    let (broker, address) = start(Broker::builder()).await;
    broker.publish(&message("t", "kept", Q1).retained());
    let mut client = Client::connected(address, "a").await;
    for _ in 0..3 {
        client.subscribe("t", Q1).await;
        let publish = client.recv_publish().await;
        assert!(publish.retain);
        client.acknowledge(&publish).await;
    }
    assert_eq!(broker.snapshot().subscriptions, 1);
}

/// The RETAIN of a Will was forgotten. To those who subscribe already it goes without RETAIN.
#[tokio::test]
async fn a_will_is_retained_if_it_says_so() {
    let (_broker, address) = start(Broker::builder()).await;
    let mut established = Client::connected(address, "established").await;
    established.subscribe("#", Q1).await;
    let request = Connect { will: will("will", b"kept", Q1, true), ..connect("a") };
    drop(Client::accepted(address, request).await);
    assert!(!established.recv_publish().await.retain);
    let mut late = Client::connected(address, "late").await;
    late.subscribe("will", Q1).await;
    assert!(late.recv_publish().await.retain);
}

/// A Will whose payload is no text was refused; so were control characters in any string.
#[tokio::test]
async fn a_payload_is_bytes_and_control_characters_are_characters() {
    let (_broker, address) = start(Broker::builder()).await;
    let mut receiver = Client::connected(address, "receiver").await;
    receiver.subscribe("#", Q1).await;
    let payload: Bytes = (0..=255).collect::<Vec<u8>>().into();
    let will =
        Will { topic: topic("will/\u{1}\u{7f}\u{9f}"), message: payload.clone(), qos: Q1, retain: false };
    let request =
        Connect { will: Some(will), credentials: credentials("user\u{2}", "\u{3}\0"), ..connect("id\u{4}") };
    drop(Client::accepted(address, request).await);
    let publish = receiver.recv_publish().await;
    assert_eq!((publish.topic.as_str(), publish.payload), ("will/\u{1}\u{7f}\u{9f}", payload));
}

/// A session that had just begun was listed as offline.
#[tokio::test]
async fn a_live_session_is_online() {
    let (broker, address) = start(Broker::builder()).await;
    for request in [connect("clean"), persistent("new"), persistent("new")] {
        let client_id = request.client_id.as_str().to_owned();
        let (mut client, _) = Client::accepted(address, request).await;
        client.ping().await;
        assert!(broker.session(&client_id).unwrap().client.is_some());
        drop(client);
        eventually("its absence", || {
            broker.session(&client_id).is_none_or(|session| session.client.is_none())
        })
        .await;
    }
}

/// The configured length of the queue was overwritten with "unlimited".
#[tokio::test]
async fn the_queue_is_as_long_as_was_said() {
    let (broker, address) =
        start(Broker::builder().limits(limits(|limits| limits.max_queued_messages = 5))).await;
    let (mut client, _) = Client::accepted(address, persistent("a")).await;
    client.subscribe("t", Q1).await;
    client.disconnect().await;
    eventually("its absence", || broker.client("a").is_none()).await;
    for n in 0..20 {
        broker.publish(&message("t", &n.to_string(), Q1));
    }
    assert_eq!(broker.session("a").unwrap().queued_messages, 5);
}

/// One and a half times more than 43,690 seconds is more than 16 bits hold: it was taken for next to nothing.
#[tokio::test]
async fn a_long_keep_alive_is_long() {
    let (broker, address) = start(Broker::builder()).await;
    let short = Connect { keep_alive_secs: 1, ..connect("short") };
    let (mut witness, _) = Client::accepted(address, short).await;
    let mut long = Vec::new();
    for keep_alive_secs in [43_690, 43_691, u16::MAX] {
        let request = Connect { keep_alive_secs, ..connect(&keep_alive_secs.to_string()) };
        long.push(Client::accepted(address, request).await.0);
        let handle = broker.client(&keep_alive_secs.to_string()).unwrap();
        assert_eq!(handle.info().keep_alive_secs, keep_alive_secs);
    }
    witness.expect_end().await;
    for mut client in long {
        client.ping().await;
    }
}

/// After 65,535 messages an identifier was given out that was still in flight.
#[tokio::test]
async fn identifiers_in_flight_are_not_reused_after_the_wrap() {
    const CHUNK: usize = 1_000;
    let (broker, address) =
        start(Broker::builder().limits(limits(|limits| limits.max_inflight = 2 * CHUNK as u16))).await;
    let mut client = Client::connected(address, "a").await;
    client.subscribe("t", Q1).await;
    broker.publish(&message("t", "never acknowledged", Q1));
    let stuck = client.recv_publish().await.delivery.packet_id().unwrap();
    let mut seen = HashSet::new();
    for _ in 0..=65_535 / CHUNK {
        (0..CHUNK).for_each(|_| broker.publish(&message("t", "x", Q1)));
        let mut acknowledgements = Vec::new();
        for _ in 0..CHUNK {
            let packet_id = client.recv_publish().await.delivery.packet_id().unwrap();
            assert_ne!(packet_id, stuck);
            seen.insert(packet_id);
            acknowledgements.push(Packet::Puback(Puback { packet_id }));
        }
        client.send_all(&acknowledgements).await;
        client.ping().await;
    }
    assert_eq!(broker.session("a").unwrap().inflight_messages, 1);
    assert!(seen.len() > 60_000, "there was a wrap: {}", seen.len());
}

/// A message that the hook refused was retained, and acknowledged, before the hook was asked.
#[tokio::test]
async fn a_refused_message_is_not_retained() {
    for decide in [|| PublishDecision::Drop, || PublishDecision::Disconnect] {
        let (broker, address) = start(Broker::builder().on_publish(move |_| decide())).await;
        let mut client = Client::connected(address, "a").await;
        let publish = crate::client::publish("t", "x", Q0, PacketId::FIRST);
        client.send_all(&[Packet::Publish(Publish { retain: true, ..publish }), Packet::Disconnect]).await;
        client.expect_end().await;
        assert_eq!(broker.snapshot().retained_messages, 0);
    }
}

/// Fixed-header flags that the standard reserves, packet identifiers of 0, and packets without a filter were taken.
#[tokio::test]
async fn malformed_packets_end_the_connection() {
    let (broker, address) = start(Broker::builder()).await;
    let malformed: [(&str, &[u8]); 10] = [
        ("PUBREL without its flags", &[0x60, 2, 0, 1]),
        ("PUBACK with flags", &[0x42, 2, 0, 1]),
        ("SUBSCRIBE without its flags", &[0x80, 6, 0, 1, 0, 1, b't', 0]),
        ("PINGREQ with flags", &[0xc1, 0]),
        ("PUBLISH 0", &[0x32, 5, 0, 1, b't', 0, 0]),
        ("PUBACK 0", &[0x40, 2, 0, 0]),
        ("SUBSCRIBE 0", &[0x82, 6, 0, 0, 0, 1, b't', 0]),
        ("UNSUBSCRIBE 0", &[0xa2, 5, 0, 0, 0, 1, b't']),
        ("SUBSCRIBE without a filter", &[0x82, 2, 0, 1]),
        ("UNSUBSCRIBE without a filter", &[0xa2, 2, 0, 1]),
    ];
    for (what, bytes) in malformed {
        let mut client = Client::connected(address, "a").await;
        client.send_bytes(bytes).await;
        assert_eq!(client.next().await, None, "{what}");
    }
    eventually("the end of all", || broker.snapshot().connections == 0).await;
    assert_eq!(broker.snapshot().subscriptions, 0);
}

/// 256 MiB were allocated for whoever announced them, before it had said who it is.
#[tokio::test]
async fn a_huge_packet_before_connect_is_refused_by_its_header() {
    let (broker, address) = start(Broker::builder()).await;
    for first_byte in [0x10, 0x30, 0x82] {
        let mut client = Client::open(address).await;
        client.send_bytes(&[first_byte, 0xff, 0xff, 0xff, 0x7f]).await;
        client.expect_end().await;
    }
    assert_eq!(broker.counts().bytes_received, 15);
}

/// A second PUBREC was taken for the PUBCOMP, and the delivery for done.
#[tokio::test]
async fn a_repeated_pubrec_completes_nothing() {
    let (broker, address) = start(Broker::builder()).await;
    let (mut client, _) = Client::accepted(address, persistent("a")).await;
    client.subscribe("t", Q2).await;
    broker.publish(&message("t", "x", Q2));
    let packet_id = client.recv_publish().await.delivery.packet_id().unwrap();
    for _ in 0..2 {
        client.send(Packet::Pubrec(Pubrec { packet_id })).await;
        assert_eq!(client.recv().await, Packet::Pubrel(Pubrel { packet_id }));
    }
    assert_eq!(broker.session("a").unwrap().inflight_messages, 1);
    let (mut client, _) = Client::accepted(address, persistent("a")).await;
    assert_eq!(client.recv().await, Packet::Pubrel(Pubrel { packet_id }), "it goes on where it was");
    client.send(Packet::Pubcomp(Pubcomp { packet_id })).await;
    client.ping().await;
    assert_eq!(broker.session("a").unwrap().inflight_messages, 0);
}

/// Clients without an identifier were all the same client once.
#[tokio::test]
async fn empty_client_identifiers_are_different_clients() {
    let (broker, address) = start(Broker::builder()).await;
    let mut first = Client::connected(address, "").await;
    let mut second = Client::connected(address, "").await;
    first.ping().await;
    second.ping().await;
    assert_eq!((broker.snapshot().sessions, broker.counts().sessions_taken_over), (2, 0));
}

/// A subscription for a client that nobody knows waited for whoever came with that name; a removal was always a success.
#[tokio::test]
async fn unknown_clients_are_told_from_known_ones() {
    let (broker, address) = start(Broker::builder()).await;
    assert_eq!(broker.subscribe("a", &filter("t"), Q1), Err(SubscribeRefusal::NoSession));
    assert!(!broker.unsubscribe("a", &filter("t")));
    let mut client = Client::connected(address, "a").await;
    broker.publish(&message("t", "x", Q1));
    client.ping().await;
    assert_eq!(broker.subscriptions_of("a"), []);
}

/// Options that were stored and never read: QoS 0 waited for the absent whatever was said.
#[tokio::test]
async fn queue_qos0_messages_has_an_effect() {
    let (broker, address) =
        start(Broker::builder().limits(limits(|limits| limits.queue_qos0_messages = false))).await;
    let (mut client, _) = Client::accepted(address, persistent("a")).await;
    client.subscribe("t", Q2).await;
    client.disconnect().await;
    eventually("its absence", || broker.client("a").is_none()).await;
    let waiting = |qos: QoS| {
        broker.publish(&message("t", "x", qos));
        broker.session("a").unwrap().queued_messages
    };
    assert_eq!((waiting(Q0), waiting(Q1), waiting(Q2)), (0, 1, 2));
    let (mut client, _) = Client::accepted(address, persistent("a")).await;
    let first = client.recv_publish().await;
    assert_eq!(first.delivery, Delivery::AtLeastOnce { packet_id: id(1), dup: false });
}
