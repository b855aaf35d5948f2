//! What happens at `max_queued_messages` and `max_queued_bytes`, by policy; and which QoS 0 messages wait at all.

use mqtt_broker::{Broker, DropReason, Event, Limits, QoS, QueueFullPolicy};

use crate::{
    Q0, Q1, Q2,
    client::{Client, persistent},
    journal::Journal,
    limits, message, start,
};

struct World {
    broker: Broker,
    address: std::net::SocketAddr,
    /// What was dropped, and why.
    dropped: Journal,
}

/// An absent client with a persistent session and a subscription to everything.
async fn absent_client(change: impl FnOnce(&mut Limits)) -> World {
    let dropped = Journal::default();
    let noted = dropped.clone();
    let builder = Broker::builder().limits(limits(change)).observer(move |event: &Event<'_>| {
        if let Event::Dropped { client_id, message, reason } = event {
            noted.note(format!("{client_id} {} {reason}", String::from_utf8_lossy(message.payload())));
        }
    });
    let (broker, address) = start(builder).await;
    let (mut client, _) = Client::accepted(address, persistent("a")).await;
    client.subscribe("#", Q2).await;
    client.disconnect().await;
    World { broker, address, dropped }
}

impl World {
    fn publish(&self, messages: &[(&str, QoS)]) {
        for (payload, qos) in messages {
            self.broker.publish(&message("t", payload, *qos));
        }
    }

    /// What the client finds when it comes back, in order.
    async fn found(&self) -> Vec<String> {
        let (mut client, session_present) = Client::accepted(self.address, persistent("a")).await;
        assert!(session_present);
        self.broker.publish(&message("end", "", Q1));
        let mut found = Vec::new();
        loop {
            let publish = client.recv_publish().await;
            if publish.topic.as_str() == "end" {
                return found;
            }
            found.push(String::from_utf8(publish.payload.to_vec()).unwrap());
        }
    }
}

#[tokio::test]
async fn drop_oldest_takes_the_oldest_qos_0_first_then_an_incoming_one_then_the_oldest() {
    let world = absent_client(|limits| limits.max_queued_messages = 4).await;
    world.publish(&[("1", Q1), ("2", Q0), ("3", Q2), ("4", Q0)]);
    assert_eq!(world.dropped.lines(), [""; 0]);
    world.publish(&[("5", Q1)]);
    world.publish(&[("6", Q0)]);
    world.publish(&[("7", Q2)]);
    assert_eq!(world.dropped.lines(), ["a 2 queue_full", "a 4 queue_full", "a 6 queue_full"]);
    world.publish(&[("8", Q0)]);
    world.publish(&[("9", Q1)]);
    assert_eq!(world.dropped.lines()[3..], ["a 8 queue_full", "a 1 queue_full"]);
    assert_eq!(world.broker.counts().dropped_for(DropReason::QueueFull), 5);
    world.broker.end_session("nobody");
    assert_eq!(world.broker.session("a").unwrap().queued_messages, 4);
    assert_eq!(world.found().await, ["3", "5", "7", "9"]);
}

#[tokio::test]
async fn drop_newest_and_disconnect_keep_what_waits_for_an_absent_client() {
    for policy in [QueueFullPolicy::DropNewest, QueueFullPolicy::Disconnect] {
        let world = absent_client(|limits| {
            limits.max_queued_messages = 2;
            limits.queue_full = policy;
        })
        .await;
        world.publish(&[("1", Q0), ("2", Q1), ("3", Q2), ("4", Q0)]);
        assert_eq!(world.dropped.lines(), ["a 3 queue_full", "a 4 queue_full"]);
        assert_eq!(world.found().await, ["1", "2"]);
    }
}

/// A connected client whose window is closed has a queue like any other.
#[tokio::test]
async fn the_queue_of_a_connected_client_is_bounded_too() {
    let world = absent_client(|limits| {
        limits.max_inflight = 1;
        limits.max_queued_messages = 2;
    })
    .await;
    let (mut client, _) = Client::accepted(world.address, persistent("a")).await;
    world.publish(&[("1", Q1), ("2", Q1), ("3", Q1), ("4", Q1)]);
    assert_eq!(world.dropped.lines(), ["a 2 queue_full"]);
    for payload in ["1", "3", "4"] {
        assert_eq!(client.message().await, format!("t {payload}"));
    }
}

#[tokio::test]
async fn bytes_count_as_well() {
    // Topic and payload: three bytes each.
    let world = absent_client(|limits| limits.max_queued_bytes = 9).await;
    world.publish(&[("10", Q1), ("11", Q0), ("12", Q1)]);
    assert_eq!(world.broker.session("a").unwrap().queued_bytes, 9);
    world.publish(&[("large", Q1)]);
    assert_eq!(world.dropped.lines(), ["a 11 queue_full", "a 10 queue_full"]);
    assert_eq!(world.broker.session("a").unwrap().queued_bytes, 9);
    assert_eq!(world.found().await, ["12", "large"]);
}

/// A message for which no room would ever do drops itself alone.
#[tokio::test]
async fn an_oversized_message_does_not_empty_the_queue() {
    let world = absent_client(|limits| limits.max_queued_bytes = 9).await;
    world.publish(&[("10", Q1), ("11", Q0), ("far too large", Q2)]);
    assert_eq!(world.dropped.lines(), ["a far too large queue_full"]);
    assert_eq!(world.found().await, ["10", "11"]);
}

/// QoS 0 gives way to nobody but later ones: those that went for one that was dropped itself are accounted for.
#[tokio::test]
async fn every_victim_is_told() {
    let world = absent_client(|limits| limits.max_queued_bytes = 9).await;
    world.publish(&[("10", Q1), ("11", Q0), ("eleven", Q0)]);
    assert_eq!(world.dropped.lines(), ["a 11 queue_full", "a eleven queue_full"]);
    assert_eq!(world.found().await, ["10"]);
}

#[tokio::test]
async fn queue_qos0_messages_says_whether_qos_0_waits_for_the_absent() {
    for (waits, found, dropped) in [
        (true, vec!["1", "2", "3"], vec![]),
        (false, vec!["2"], vec!["a 1 qos0_while_absent", "a 3 qos0_while_absent"]),
    ] {
        let world = absent_client(|limits| limits.queue_qos0_messages = waits).await;
        world.publish(&[("1", Q0), ("2", Q1), ("3", Q0)]);
        assert_eq!(world.dropped.lines(), dropped);
        assert_eq!(world.broker.counts().dropped_for(DropReason::Qos0WhileAbsent), dropped.len() as u64);
        assert_eq!(world.found().await, found);
    }
}

#[tokio::test]
async fn what_waits_for_a_session_that_ends_is_told() {
    let world = absent_client(|_| {}).await;
    world.publish(&[("1", Q0), ("2", Q1)]);
    assert!(world.broker.end_session("a"));
    assert_eq!(world.dropped.lines(), ["a 1 session_ended", "a 2 session_ended"]);
    assert_eq!(world.broker.counts().dropped_for(DropReason::SessionEnded), 2);
}
