//! `on_close` says why, whatever way a connection ends, and the counters count it under a name of its own.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use mqtt_broker::{Broker, CloseReason, Limits, ProtocolViolation, PublishDecision, QueueFullPolicy};
use mqtt_codec::{Connect, Packet, Puback, Publish};

use crate::{
    Q0, Q1, Q2,
    client::{Client, connect, id, publish, subscribe},
    journal::{Journal, eventually},
    limits, message, start,
};

struct World {
    broker: Broker,
    address: SocketAddr,
    journal: Journal,
    reasons: Arc<Mutex<Vec<CloseReason>>>,
}

impl World {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Limits)) -> Self {
        let journal = Journal::default();
        let noted = journal.clone();
        let reasons: Arc<Mutex<Vec<CloseReason>>> = Arc::default();
        let kept = Arc::clone(&reasons);
        let builder = Broker::builder()
            .limits(limits(change))
            .on_publish(|request| match request.topic {
                "hook" => PublishDecision::Disconnect,
                _ => PublishDecision::Pass,
            })
            .on_close(move |client, reason| {
                kept.lock().unwrap().push(reason.clone());
                noted.note(format!("{} {reason:?}", client.client_id));
            });
        let (broker, address) = start(builder).await;
        Self { broker, address, journal, reasons }
    }

    async fn client(&self) -> Client {
        Client::connected(self.address, "a").await
    }

    /// The client is closed, and this is why.
    async fn closed_for(&self, mut client: Client, reason: &str) {
        client.expect_end().await;
        self.noted(reason).await;
    }

    async fn noted(&self, reason: &str) {
        self.journal.until(1, "a ").await;
        assert_eq!(self.journal.lines(), [format!("a {reason}")]);
        let reasons = self.reasons.lock().unwrap().clone();
        assert_eq!(self.broker.counts().closed_for(&reasons[0]), 1);
    }

    /// So many connections have ended, as the counters have it, and each under this name.
    fn counted(&self, name: &str, connections: u64) {
        let closed =
            CloseReason::NAMES.iter().zip(self.broker.counts().closed).filter(|(_, count)| *count > 0);
        assert_eq!(closed.collect::<Vec<_>>(), [(&name, connections)]);
    }
}

#[tokio::test]
async fn disconnected() {
    let world = World::new().await;
    world.client().await.disconnect().await;
    world.noted("Disconnected").await;
}

#[tokio::test]
async fn connection_lost() {
    let world = World::new().await;
    drop(world.client().await);
    world.noted("ConnectionLost").await;
}

/// Not a FIN but a RST: data that nobody read is left when the client goes.
#[tokio::test]
async fn connection_reset() {
    let world = World::new().await;
    let client = world.client().await;
    client.stream.set_zero_linger().unwrap();
    drop(client);
    world.noted("ConnectionLost").await;
}

#[tokio::test]
async fn malformed() {
    let world = World::new().await;
    let mut client = world.client().await;
    client.send_bytes(&[0xf0, 0]).await;
    world.closed_for(client, "Malformed(ReservedPacketType(15))").await;
    world.counted("malformed", 1);
}

#[tokio::test]
async fn packet_too_large() {
    let world = World::with(|limits| limits.max_packet_size = 1_000).await;
    let mut client = world.client().await;
    client.send_bytes(&[0x30, 0xff, 0xff, 0xff, 0x7f]).await;
    world.closed_for(client, "Malformed(PacketTooLarge { len: 268435460, max: 1000 })").await;
    world.counted("packet_too_large", 1);
}

#[tokio::test]
async fn violations() {
    let second_connect = Packet::Connect(Box::new(connect("a")));
    let deep = Packet::Publish(publish("a/b/c/d", "", Q0, id(1)));
    let long = Packet::Publish(publish(&"x".repeat(101), "", Q0, id(1)));
    let many = subscribe(id(1), &[("a", Q0), ("b", Q0), ("c", Q0)]);
    for (packet, violation, name) in [
        (second_connect, "SecondConnect", "second_connect"),
        (Packet::Pingresp, "ServerPacket", "server_packet"),
        (deep, "TooManyTopicLevels", "too_many_topic_levels"),
        (long, "TopicTooLong", "topic_too_long"),
        (many, "TooManyFilters", "too_many_filters"),
    ] {
        let world = World::with(|limits| {
            (limits.max_topic_levels, limits.max_topic_len, limits.max_filters_per_packet) = (3, 100, 2);
        })
        .await;
        let mut client = world.client().await;
        client.send(packet).await;
        world.closed_for(client, &format!("Violation({violation})")).await;
        world.counted(name, 1);
    }
}

#[tokio::test]
async fn wrong_acknowledgement() {
    let world = World::new().await;
    let mut client = world.client().await;
    client.subscribe("t", Q2).await;
    world.broker.publish(&message("t", "", Q2));
    let packet_id = client.recv_publish().await.delivery.packet_id().unwrap();
    client.send(Packet::Puback(Puback { packet_id })).await;
    world.closed_for(client, "Violation(WrongAcknowledgement)").await;
}

#[tokio::test]
async fn too_many_unreleased() {
    let world = World::with(|limits| limits.max_unreleased = 1).await;
    let mut client = world.client().await;
    client.send(Packet::Publish(publish("t", "", Q2, id(1)))).await;
    client.recv().await;
    client.send(Packet::Publish(publish("t", "", Q2, id(2)))).await;
    world.closed_for(client, "Violation(TooManyUnreleased)").await;
    world.counted("too_many_unreleased", 1);
}

#[tokio::test]
async fn keep_alive_timeout() {
    let world = World::new().await;
    let request = Connect { keep_alive_secs: 1, ..connect("a") };
    let (client, _) = Client::accepted(world.address, request).await;
    world.closed_for(client, "KeepAliveTimeout").await;
}

#[tokio::test]
async fn taken_over() {
    let world = World::new().await;
    let first = world.client().await;
    let mut second = world.client().await;
    world.closed_for(first, "TakenOver").await;
    second.ping().await;
}

#[tokio::test]
async fn slow_consumer() {
    let world = World::with(|limits| {
        limits.max_queued_messages = 1;
        limits.max_inflight = 1;
        limits.queue_full = QueueFullPolicy::Disconnect;
    })
    .await;
    let mut client = world.client().await;
    client.subscribe("t", Q1).await;
    for _ in 0..3 {
        world.broker.publish(&message("t", "", Q1));
    }
    world.closed_for(client, "SlowConsumer").await;
}

#[tokio::test]
async fn hook() {
    let world = World::new().await;
    let mut client = world.client().await;
    client.send(Packet::Publish(Publish { retain: true, ..publish("hook", "", Q1, id(1)) })).await;
    world.closed_for(client, "Hook").await;
}

#[tokio::test]
async fn kicked() {
    let world = World::new().await;
    let client = world.client().await;
    assert!(world.broker.client("a").unwrap().disconnect());
    world.closed_for(client, "Kicked").await;
}

/// The end of the session is the embedder's wish too, and no take-over.
#[tokio::test]
async fn session_ended() {
    let world = World::new().await;
    let client = world.client().await;
    assert!(world.broker.end_session("a"));
    world.closed_for(client, "Kicked").await;
}

#[tokio::test]
async fn shutdown() {
    let world = World::new().await;
    let client = world.client().await;
    world.broker.shutdown(Duration::from_secs(10)).await.unwrap();
    world.closed_for(client, "Shutdown").await;
}

/// Who never became a client has no end as one.
#[tokio::test]
async fn nothing_is_said_of_who_was_never_connected() {
    let world = World::with(|limits| limits.connect_timeout = Duration::from_millis(50)).await;
    let mut silent = Client::open(world.address).await;
    silent.expect_end().await;
    eventually("its end", || world.broker.snapshot().connections == 0).await;
    world.counted("connect_timeout", 1);
    let mut impatient = Client::open(world.address).await;
    impatient.send(Packet::Pingreq).await;
    impatient.expect_end().await;
    eventually("the end of both", || world.broker.snapshot().connections == 0).await;
    assert_eq!(world.journal.lines(), [""; 0]);
    let violation = CloseReason::Violation(ProtocolViolation::FirstPacketNotConnect);
    assert_eq!(world.broker.counts().closed_for(&violation), 1);
}

/// A proxy's word on a plain listener looks like the beginning of a PUBREC of 84 bytes, of which the rest never came. [MQTT-3.1.0-1]
#[tokio::test]
async fn the_beginning_of_another_packet_is_enough() {
    let world = World::with(|limits| limits.connect_timeout = Duration::from_mins(1)).await;
    for beginning in [&b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"[..], &[0x30], &[0xC0]] {
        let mut other = Client::open(world.address).await;
        other.send_bytes(beginning).await;
        other.expect_end().await;
    }
    eventually("the end of all", || world.broker.snapshot().connections == 0).await;
    world.counted("first_packet_not_connect", 3);
}
