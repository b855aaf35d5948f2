//! What an embedder may decide about messages: `on_publish` and `on_will`. A decision that takes time is in `put_off.rs`.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use mqtt_broker::{Broker, DropReason, Message, PublishDecision, WillDecision};
use mqtt_codec::{Connect, Delivery, Packet, Pubcomp, Publish, Pubrec, Pubrel};

use crate::{
    Q0, Q1, Q2,
    client::{Client, connect, id, persistent, publish, will},
    filter,
    journal::{Journal, eventually},
    local_message, message, start, topic,
};

fn publish_rules() -> mqtt_broker::Builder {
    Broker::builder().on_publish(|request| match request.topic {
        "change" => {
            assert_eq!((&*request.client.client_id, request.retain), ("a", true));
            PublishDecision::Change(message("changed", "other", Q1).retained())
        }
        "unretain" => PublishDecision::Change(message("changed", "not retained", request.qos)),
        "drop" => PublishDecision::Drop,
        "disconnect" => PublishDecision::Disconnect,
        _ => PublishDecision::Pass,
    })
}

#[tokio::test]
async fn on_publish_passes_and_changes() {
    let (broker, address) = start(publish_rules()).await;
    let mut receiver = Client::connected(address, "receiver").await;
    receiver.subscribe("#", Q2).await;
    let mut client = Client::connected(address, "a").await;
    for qos in [Q0, Q1, Q2] {
        client.publish("pass", "own", qos).await;
        let publish = receiver.recv_publish().await;
        assert_eq!(
            (publish.delivery.qos(), publish.topic.as_str(), &publish.payload[..]),
            (qos, "pass", &b"own"[..])
        );
        receiver.acknowledge(&publish).await;

        client.retain("change", "own", qos).await;
        let publish = receiver.recv_publish().await;
        assert_eq!(
            (publish.delivery.qos(), publish.topic.as_str(), &publish.payload[..]),
            (Q1, "changed", &b"other"[..])
        );
        receiver.acknowledge(&publish).await;
    }
    client.retain("unretain", "x", Q0).await;
    assert_eq!(receiver.message().await, "changed not retained");
    let mut late = Client::connected(address, "late").await;
    late.subscribe("#", Q2).await;
    let retained = late.recv_publish().await;
    assert_eq!(
        (retained.topic.as_str(), &retained.payload[..], retained.retain),
        ("changed", &b"other"[..], true)
    );
    assert_eq!(broker.snapshot().retained_messages, 1, "neither of them as it was sent");
}

/// [MQTT-3.3.5-2]
#[tokio::test]
async fn on_publish_drops_and_still_acknowledges() {
    let (broker, address) = start(publish_rules()).await;
    let mut receiver = Client::connected(address, "receiver").await;
    receiver.subscribe("#", Q2).await;
    let mut client = Client::connected(address, "a").await;
    for qos in [Q0, Q1, Q2] {
        client.retain("drop", "x", qos).await; // Waits for the acknowledgement.
    }
    client.publish("marker", "y", Q0).await;
    assert_eq!(receiver.message().await, "marker y");
    assert_eq!(broker.snapshot().retained_messages, 0);
    assert_eq!(broker.counts().dropped_for(DropReason::Refused), 3);
}

/// Asked before anything is acknowledged, retained or delivered: a client that is disconnected has got nothing.
#[tokio::test]
async fn on_publish_disconnects_before_anything_is_done() {
    let journal = Journal::default();
    let noted = journal.clone();
    let rules = publish_rules().on_close(move |_, reason| noted.note(format!("{reason:?}")));
    let (broker, address) = start(rules).await;
    let mut receiver = Client::connected(address, "receiver").await;
    receiver.subscribe("#", Q2).await;
    for qos in [Q0, Q1, Q2] {
        let mut client = Client::connected(address, "a").await;
        let refused = Publish { retain: true, ..publish("disconnect", "x", qos, id(1)) };
        let behind = publish("behind", "x", Q0, id(2));
        client.send_all(&[Packet::Publish(refused), Packet::Publish(behind)]).await;
        client.expect_end().await;
    }
    broker.publish(&message("marker", "y", Q0));
    assert_eq!(receiver.message().await, "marker y");
    assert_eq!(broker.snapshot().retained_messages, 0);
    assert_eq!(journal.lines(), ["Hook"; 3]);
}

/// A QoS 2 message whose client was disconnected for it was never received: when it comes again, it is judged again.
#[tokio::test]
async fn on_publish_is_asked_again_about_what_was_never_acknowledged() {
    let merciful = Arc::new(AtomicBool::new(false));
    let is_merciful = Arc::clone(&merciful);
    let (broker, address) = start(Broker::builder().on_publish(move |_| {
        if is_merciful.load(Ordering::Relaxed) { PublishDecision::Pass } else { PublishDecision::Disconnect }
    }))
    .await;
    let mut watcher = broker.subscriber(&[crate::filter("#")]).unwrap();
    let (mut client, _) = Client::accepted(address, persistent("a")).await;
    client.send(Packet::Publish(publish("t", "x", Q2, id(5)))).await;
    client.expect_end().await;

    merciful.store(true, Ordering::Relaxed);
    let (mut client, session_present) = Client::accepted(address, persistent("a")).await;
    assert!(session_present);
    let again = Delivery::ExactlyOnce { packet_id: id(5), dup: true };
    for _ in 0..2 {
        client.send(Packet::Publish(Publish { delivery: again, ..publish("t", "x", Q2, id(5)) })).await;
        assert_eq!(client.recv().await, Packet::Pubrec(Pubrec { packet_id: id(5) }));
    }
    client.send(Packet::Pubrel(Pubrel { packet_id: id(5) })).await;
    assert_eq!(client.recv().await, Packet::Pubcomp(Pubcomp { packet_id: id(5) }));
    client.publish("t", "marker", Q0).await;
    assert_eq!(local_message(&mut watcher).await.message.payload(), b"x");
    assert_eq!(local_message(&mut watcher).await.message.payload(), b"marker", "passed on once");
}

#[tokio::test]
async fn on_will_passes_changes_and_drops() {
    let (broker, address) = start(Broker::builder().on_will(|client, will| {
        assert_eq!((will.topic(), will.payload(), will.qos(), will.retain()), ("will", &b"w"[..], Q2, true));
        match &*client.client_id {
            "change" => WillDecision::Change(message("changed", "other", Q1)),
            "drop" => WillDecision::Drop,
            _ => WillDecision::Pass,
        }
    }))
    .await;
    let mut receiver = Client::connected(address, "receiver").await;
    receiver.subscribe("#", Q2).await;
    for client_id in ["drop", "change", "pass"] {
        let request = mqtt_codec::Connect { will: will("will", b"w", Q2, true), ..connect(client_id) };
        drop(Client::accepted(address, request).await);
        eventually("the end of the connection", || broker.client(client_id).is_none()).await;
    }
    let changed = receiver.recv_publish().await;
    assert_eq!(
        (changed.delivery.qos(), changed.topic.as_str(), &changed.payload[..]),
        (Q1, "changed", &b"other"[..])
    );
    receiver.acknowledge(&changed).await;
    assert_eq!(receiver.message().await, "will w");
    assert_eq!(broker.snapshot().retained_messages, 1);
    assert_eq!(broker.counts().dropped_for(DropReason::Refused), 1);
}

/// It was given an identifier and never sent, so that nothing behind it was sent any more either.
#[tokio::test]
async fn a_message_that_fits_no_packet_is_dropped_for_all() {
    const TOO_LONG: usize = 268_435_455 - (2 + 1 + 2) + 1;
    let long = Message::new(&topic("t"), &vec![0; TOO_LONG], Q1).retained();
    let (in_publish, in_will) = (long.clone(), long.clone());
    let builder = Broker::builder()
        .on_publish(move |_| PublishDecision::Change(in_publish.clone()))
        .on_will(move |_, _| WillDecision::Change(in_will.clone()));
    let (broker, address) = start(builder).await;
    let mut receiver = Client::connected(address, "receiver").await;
    receiver.subscribe("t", Q1).await;
    broker.publish(&long);
    broker.publish_to(&long, &["receiver"]);
    broker.broadcast(&long, None);
    let mut client =
        Client::accepted(address, Connect { will: will("t", b"lost", Q1, false), ..persistent("a") }).await.0;
    for qos in [Q0, Q1, Q2] {
        client.publish("t", "own", qos).await;
    }
    drop(client);
    let dropped = || broker.counts().dropped_for(DropReason::TooLong);
    eventually("the Will", || dropped() == 3 + 3 + 1).await;
    assert_eq!(broker.retained(&filter("#"), None, 9), []);
    broker.publish(&message("t", "short", Q1));
    assert_eq!(receiver.message().await, "t short");
}
