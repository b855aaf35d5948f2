//! The facts that an observer sees, in the order in which they happened.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use mqtt_broker::{Broker, Builder, Event, Observer};
use mqtt_codec::{Packet, Publish};

use crate::{
    Q0, Q1, Q2,
    client::{Client, connect, id, persistent, publish},
    filter,
    journal::{Journal, eventually},
    limits, message, start,
};

/// Notes each event in one line.
fn observed(builder: Builder) -> (Builder, Journal) {
    let journal = Journal::default();
    let noted = journal.clone();
    let observer = move |event: &Event<'_>| {
        noted.note(match event {
            Event::Connected { client, session_present } => {
                format!("connected {} {session_present}", client.client_id)
            }
            Event::Disconnected { client, reason } => format!("disconnected {} {reason:?}", client.client_id),
            Event::SessionCreated { client_id } => format!("created {client_id}"),
            Event::SessionResumed { client_id } => format!("resumed {client_id}"),
            Event::SessionTakenOver { client_id } => format!("taken over {client_id}"),
            Event::SessionEnded { client_id, reason } => format!("ended {client_id} {reason:?}"),
            Event::Subscribed { client_id, filter, granted } => {
                format!("subscribed {client_id} {filter} {}", granted.as_u8())
            }
            Event::Unsubscribed { client_id, filter } => format!("unsubscribed {client_id} {filter}"),
            Event::Delivered { client_id, message, qos } => {
                format!("delivered {client_id} {} {}", message.topic(), qos.as_u8())
            }
            Event::Acknowledged { client_id, packet_id } => format!("acknowledged {client_id} {packet_id}"),
            Event::Dropped { client_id, message, reason } => {
                format!("dropped {client_id:?} {} {reason}", message.topic())
            }
            other => format!("{other:?}"),
        });
    };
    (builder.observer(observer), journal)
}

#[tokio::test]
async fn the_life_of_a_clean_session() {
    let (builder, journal) = observed(Broker::builder());
    let (_broker, address) = start(builder).await;
    let mut client = Client::connected(address, "a").await;
    client.subscribe_all(&[("t", Q1), ("$share/g/u", Q0)]).await;
    client.unsubscribe(&["t", "never"]).await;
    client.disconnect().await;
    journal.until(1, "disconnected").await;
    assert_eq!(
        journal.lines(),
        [
            "created a",
            "connected a false",
            "subscribed a t 1",
            "subscribed a $share/g/u 0",
            "unsubscribed a t",
            "ended a Clean",
            "disconnected a Disconnected"
        ]
    );
}

#[tokio::test]
async fn the_life_of_a_persistent_session() {
    let (builder, journal) = observed(Broker::builder());
    let (broker, address) = start(builder).await;
    let (client, _) = Client::accepted(address, persistent("a")).await;
    client.disconnect().await;
    journal.until(1, "disconnected").await;
    let (mut first, _) = Client::accepted(address, persistent("a")).await;
    let (second, _) = Client::accepted(address, persistent("a")).await;
    first.expect_end().await;
    drop(second);
    journal.until(3, "disconnected").await;
    let mut clean = Client::connected(address, "a").await;
    assert!(broker.end_session("a"));
    clean.expect_end().await;
    journal.until(4, "disconnected").await;
    assert_eq!(
        journal.lines(),
        [
            "created a",
            "connected a false",
            "disconnected a Disconnected",
            "resumed a",
            "connected a true",
            "taken over a",
            "resumed a",
            "connected a true",
            "disconnected a TakenOver",
            "disconnected a ConnectionLost",
            "ended a Discarded",
            "created a",
            "connected a false",
            "ended a Removed",
            "disconnected a Kicked"
        ]
    );
}

#[tokio::test]
async fn a_clean_session_that_is_taken_over_is_discarded() {
    let (builder, journal) = observed(Broker::builder());
    let (_broker, address) = start(builder).await;
    let mut first = Client::connected(address, "a").await;
    let _second = Client::connected(address, "a").await;
    first.expect_end().await;
    let expected =
        ["ended a Discarded", "taken over a", "created a", "connected a false", "disconnected a TakenOver"];
    assert_eq!(journal.lines()[2..], expected);
}

#[tokio::test]
async fn deliveries_and_their_acknowledgement() {
    let (builder, journal) = observed(Broker::builder());
    let (broker, address) = start(builder).await;
    let mut client = Client::connected(address, "a").await;
    client.subscribe("#", Q2).await;
    for (name, qos) in [("q0", Q0), ("q1", Q1), ("q2", Q2)] {
        broker.publish(&message(name, "x", qos));
        client.message().await;
        client.ping().await;
    }
    broker.publish(&message("q2", "", Q2));
    drop(client.recv_publish().await);
    assert_eq!(
        journal.lines()[3..],
        [
            "delivered a q0 0",
            "delivered a q1 1",
            "acknowledged a 1",
            "delivered a q2 2",
            "acknowledged a 2",
            "delivered a q2 2"
        ],
        "the last one is not acknowledged"
    );
}

/// A retained message is delivered like any other.
#[tokio::test]
async fn retained_messages_are_deliveries() {
    let (builder, journal) = observed(Broker::builder());
    let (broker, address) = start(builder).await;
    broker.publish(&message("t", "x", Q1).retained());
    let mut client = Client::connected(address, "a").await;
    client.subscribe("t", Q0).await;
    client.recv_publish().await;
    assert_eq!(journal.lines()[2..], ["subscribed a t 0", "delivered a t 0"]);
}

#[tokio::test]
async fn drops_for_each_reason() {
    let rules = Broker::builder()
        .limits(limits(|limits| {
            limits.max_queued_messages = 1;
            limits.max_retained_messages = 1;
            limits.queue_qos0_messages = false;
        }))
        .on_publish(|request| match request.topic {
            "refused" => mqtt_broker::PublishDecision::Drop,
            _ => mqtt_broker::PublishDecision::Pass,
        })
        .on_will(|_, _| mqtt_broker::WillDecision::Drop);
    let (builder, journal) = observed(rules);
    let (broker, address) = start(builder).await;
    let (mut absent, _) = Client::accepted(address, persistent("absent")).await;
    absent.subscribe("t", Q2).await;
    absent.disconnect().await;
    eventually("its absence", || broker.client("absent").is_none()).await;

    broker.publish(&message("t", "", Q0));
    broker.publish(&message("t", "", Q1));
    broker.publish(&message("t", "", Q1));
    broker.end_session("absent");
    let request = mqtt_codec::Connect { will: crate::client::will("will", b"", Q0, false), ..connect("a") };
    let (mut client, _) = Client::accepted(address, request).await;
    client.publish("refused", "", Q1).await;
    let retained = |topic| Packet::Publish(Publish { retain: true, ..publish(topic, "x", Q0, id(1)) });
    client.send_all(&[retained("first"), retained("second")]).await;
    drop(client);
    journal.until(6, "dropped").await;
    let drops: Vec<String> = journal.lines().into_iter().filter(|line| line.starts_with("dropped")).collect();
    assert_eq!(
        drops,
        [
            "dropped \"absent\" t qos0_while_absent",
            "dropped \"absent\" t queue_full",
            "dropped \"absent\" t session_ended",
            "dropped \"\" refused refused",
            "dropped \"\" second retained_full",
            "dropped \"\" will refused",
        ]
    );
    assert_eq!(broker.counts().dropped.iter().sum::<u64>(), 6);
    assert_eq!(journal.count("delivered absent"), 2, "not the one that was dropped as it came");
}

/// Several observers see the same, and what the embedder does is seen like what clients do.
#[tokio::test]
async fn every_observer_sees_everything() {
    let (builder, first) = observed(Broker::builder());
    let (builder, second) = observed(builder);
    let (broker, address) = start(builder).await;
    let client = Client::connected(address, "a").await;
    broker.subscribe("a", &filter("t"), Q1).unwrap();
    broker.unsubscribe("a", &filter("t"));
    client.disconnect().await;
    second.until(1, "disconnected").await;
    assert_eq!(first.lines(), second.lines());
    assert_eq!(first.lines()[2..4], ["subscribed a t 1", "unsubscribed a t"]);
}

/// An answer of one kind to one question, and of the other kind to the next, put messages and observers out of step.
#[test]
fn an_observer_is_asked_once_whether_it_wants_messages() {
    struct Counts(Arc<AtomicUsize>);
    impl Observer for Counts {
        fn on_event(&self, _: &Event<'_>) {}

        fn wants_messages(&self) -> bool {
            self.0.fetch_add(1, Ordering::Relaxed);
            true
        }
    }
    let asked = [(); 3].map(|()| Arc::new(AtomicUsize::new(0)));
    let builder =
        asked.iter().fold(Broker::builder(), |builder, asked| builder.observer(Counts(asked.clone())));
    builder.build();
    assert_eq!(asked.map(|asked| asked.load(Ordering::Relaxed)), [1; 3]);
}
