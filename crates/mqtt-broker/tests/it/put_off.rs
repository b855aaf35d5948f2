//! `on_publish` that has to ask somebody else first: the packets behind wait, nobody else does, and nothing is lost or
//! passed on twice.

use std::{sync::Arc, time::Duration};

use mqtt_broker::{Broker, Builder, DropReason, PublishDecision};
use mqtt_codec::{Connack, Delivery, Packet, Puback, Pubcomp, Publish, Pubrec, Pubrel};
use tokio::sync::Semaphore;

use crate::{
    Q0, Q1, Q2,
    client::{Client, id, persistent, publish},
    limits, start,
};

/// Each message to a topic below `slow` needs a permit of the gate; its payload says what is decided then.
fn gated(gate: &Arc<Semaphore>) -> Builder {
    let gate = Arc::clone(gate);
    Broker::builder().on_publish(move |request| {
        if !request.topic.starts_with("slow") {
            return PublishDecision::Pass;
        }
        let (gate, payload) = (Arc::clone(&gate), request.payload.to_vec());
        PublishDecision::Later(Box::pin(async move {
            gate.acquire().await.unwrap().forget();
            match &payload[..] {
                b"drop" => PublishDecision::Drop,
                b"disconnect" => PublishDecision::Disconnect,
                b"again" => PublishDecision::Later(Box::pin(async { PublishDecision::Pass })),
                _ => PublishDecision::Pass,
            }
        }))
    })
}

#[tokio::test]
async fn packets_behind_wait_and_others_do_not() {
    let gate = Arc::new(Semaphore::new(0));
    let (broker, address) = start(gated(&gate)).await;
    let mut subscriber = Client::connected(address, "subscriber").await;
    subscriber.subscribe("#", Q2).await;
    let mut client = Client::connected(address, "client").await;
    client
        .send_all(&[
            Packet::Publish(publish("slow", "drop", Q1, id(1))),
            Packet::Publish(publish("slow", "again", Q1, id(2))),
            Packet::Publish(Publish { retain: true, ..publish("slow/kept", "x", Q2, id(3)) }),
            Packet::Publish(publish("t", "behind", Q1, id(4))),
        ])
        .await;
    let mut other = Client::connected(address, "other").await;
    other.publish("t", "first", Q1).await;
    assert_eq!(subscriber.message().await, "t first");
    assert_eq!(broker.snapshot().retained_messages, 0);

    gate.add_permits(3);
    for answer in [
        Packet::Puback(Puback { packet_id: id(1) }),
        Packet::Puback(Puback { packet_id: id(2) }),
        Packet::Pubrec(Pubrec { packet_id: id(3) }),
        Packet::Puback(Puback { packet_id: id(4) }),
    ] {
        assert_eq!(client.recv().await, answer);
    }
    for message in ["slow again", "slow/kept x", "t behind"] {
        assert_eq!(subscriber.message().await, message);
    }
    assert_eq!(broker.counts().dropped_for(DropReason::Refused), 1);
    assert_eq!(broker.snapshot().retained_messages, 1);
    client.send(Packet::Publish(publish("slow", "disconnect", Q1, id(5)))).await;
    gate.add_permits(1);
    client.expect_end().await;
}

/// Cut off while nobody could tell, it repeats its QoS 2 message on a new connection: there it is a new one, once.
#[tokio::test]
async fn a_message_that_was_waiting_is_passed_on_once_after_a_reconnect() {
    let gate = Arc::new(Semaphore::new(0));
    let (_broker, address) = start(gated(&gate)).await;
    let mut subscriber = Client::connected(address, "subscriber").await;
    subscriber.subscribe("#", Q0).await;
    let message = publish("slow", "once", Q2, id(7));
    let repeated =
        Publish { delivery: Delivery::ExactlyOnce { packet_id: id(7), dup: true }, ..message.clone() };
    let (mut first, _) = Client::accepted(address, persistent("client")).await;
    first.send(Packet::Publish(message)).await;
    let mut second = Client::open(address).await;
    let session_present = Connack::Accepted { session_present: true };
    assert_eq!(second.connect(persistent("client")).await, session_present);
    first.expect_end().await;
    gate.add_permits(2);
    for _ in 0..2 {
        second.send(Packet::Publish(repeated.clone())).await;
        assert_eq!(second.recv().await, Packet::Pubrec(Pubrec { packet_id: id(7) }));
    }
    second.send(Packet::Pubrel(Pubrel { packet_id: id(7) })).await;
    assert_eq!(second.recv().await, Packet::Pubcomp(Pubcomp { packet_id: id(7) }));
    second.publish("end", "", Q1).await;
    assert_eq!([subscriber.message().await, subscriber.message().await], ["slow once", "end "]);
}

#[tokio::test]
async fn who_is_asked_and_never_answers_costs_one_connection() {
    let gate = Arc::new(Semaphore::new(0));
    let builder = gated(&gate).limits(limits(|limits| limits.hook_timeout = Duration::from_millis(50)));
    let (_broker, address) = start(builder).await;
    let mut client = Client::connected(address, "client").await;
    let mut other = Client::connected(address, "other").await;
    client.send(Packet::Publish(publish("slow", "x", Q1, id(1)))).await;
    other.publish("t", "x", Q1).await;
    client.expect_end().await;
    other.ping().await;
}
