//! The broker and `rumqttc`, a client that others wrote, over each transport.

mod door;
#[path = "../it/harness.rs"]
mod harness;

use std::time::Duration;

use door::Door;
use harness::STUCK;
use rumqttc::{
    AsyncClient, ConnectReturnCode, Event, EventLoop, LastWill, MqttOptions, Packet, Publish, QoS,
    SubscribeReasonCode,
};
use tokio::time::timeout;

const EACH_QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// Each test over each transport, in modules of their names.
macro_rules! over {
    ([$($transport:ident)+], $tests:tt) => { $(over! { @$transport $tests })+ };
    (@$transport:ident [$($test:ident)+]) => {
        mod $transport { $(
            #[tokio::test]
            async fn $test() {
                super::$test(super::Door::open(stringify!($transport))).await;
            }
        )+ }
    };
}

over! { [tcp tls mtls ws wss], [
    each_qos_is_delivered_at_the_lower_of_published_and_granted
    a_retained_message_is_kept_replaced_and_removed
    a_will_is_published_if_its_client_is_cut_and_not_if_it_leaves
    messages_wait_for_an_absent_client_in_their_order
    a_second_client_of_the_same_name_takes_over
    a_payload_of_a_mebibyte_and_a_topic_of_65535_bytes_arrive_whole
    nothing_comes_after_unsubscribe
    the_members_of_a_shared_subscription_share_the_messages
] }

/// A connected client.
struct Peer {
    client: AsyncClient,
    events: EventLoop,
    session_present: bool,
}

impl Peer {
    /// With a clean session.
    async fn connect(door: &Door, client_id: &str) -> Self {
        Self::connect_with(door, client_id, |_| {}).await
    }

    async fn connect_with(door: &Door, client_id: &str, set: impl FnOnce(&mut MqttOptions)) -> Self {
        let mut options = door.options(client_id);
        options.set_max_packet_size(4 << 20, 4 << 20).set_keep_alive(Duration::from_secs(30));
        set(&mut options);
        let (client, events) = AsyncClient::new(options, 16);
        let mut peer = Self { client, events, session_present: false };
        let Packet::ConnAck(connack) = peer.incoming(|packet| matches!(packet, Packet::ConnAck(_))).await
        else {
            unreachable!("that is what was waited for")
        };
        assert_eq!(connack.code, ConnectReturnCode::Success);
        peer.session_present = connack.session_present;
        peer
    }

    async fn event(&mut self) -> Result<Event, rumqttc::ConnectionError> {
        timeout(STUCK, self.events.poll()).await.expect("rumqttc is stuck")
    }

    /// The next packet that is the awaited one; others are passed over.
    async fn incoming(&mut self, is_awaited: impl Fn(&Packet) -> bool) -> Packet {
        loop {
            match self.event().await.unwrap() {
                Event::Incoming(packet) if is_awaited(&packet) => return packet,
                _ => {}
            }
        }
    }

    async fn subscribe(&mut self, filter: &str, qos: QoS) {
        self.client.subscribe(filter, qos).await.unwrap();
        let Packet::SubAck(suback) = self.incoming(|packet| matches!(packet, Packet::SubAck(_))).await else {
            unreachable!("that is what was waited for")
        };
        assert_eq!(suback.return_codes, [SubscribeReasonCode::Success(qos)]);
    }

    /// Publishes, and waits until the broker has taken the message over.
    async fn publish(&mut self, topic: &str, qos: QoS, retain: bool, payload: impl Into<Vec<u8>>) {
        self.client.publish(topic, qos, retain, payload).await.unwrap();
        match qos {
            QoS::AtMostOnce => {
                while !matches!(self.event().await.unwrap(), Event::Outgoing(rumqttc::Outgoing::Publish(_))) {
                }
            }
            QoS::AtLeastOnce => drop(self.incoming(|packet| matches!(packet, Packet::PubAck(_))).await),
            QoS::ExactlyOnce => drop(self.incoming(|packet| matches!(packet, Packet::PubComp(_))).await),
        }
    }

    async fn message(&mut self) -> Publish {
        match self.incoming(|packet| matches!(packet, Packet::Publish(_))).await {
            Packet::Publish(publish) => publish,
            _ => unreachable!("that is what was waited for"),
        }
    }

    /// Leaves in peace.
    async fn disconnect(mut self) {
        self.client.disconnect().await.unwrap();
        while self.event().await.is_ok() {}
    }
}

async fn each_qos_is_delivered_at_the_lower_of_published_and_granted(door: Door) {
    let (mut sub, mut publisher) = (Peer::connect(&door, "sub").await, Peer::connect(&door, "pub").await);
    for granted in EACH_QOS {
        sub.subscribe("a/+", granted).await;
        for published in EACH_QOS {
            publisher.publish("a/b", published, false, "x").await;
            let message = sub.message().await;
            let expected = if (published as u8) < granted as u8 { published } else { granted };
            assert_eq!((message.topic.as_str(), &message.payload[..]), ("a/b", &b"x"[..]));
            assert_eq!((message.qos, message.retain, message.dup), (expected, false, false));
        }
    }
}

async fn a_retained_message_is_kept_replaced_and_removed(door: Door) {
    let mut publisher = Peer::connect(&door, "pub").await;
    for payload in ["first", "second"] {
        publisher.publish("kept", QoS::AtLeastOnce, true, payload).await;
    }
    let mut sub = Peer::connect(&door, "sub").await;
    sub.subscribe("kept", QoS::AtLeastOnce).await;
    let message = sub.message().await;
    assert_eq!((&message.payload[..], message.retain), (&b"second"[..], true));
    publisher.publish("kept", QoS::AtLeastOnce, true, "").await;
    let message = sub.message().await;
    assert_eq!((&message.payload[..], message.retain), (&b""[..], false));
    let mut late = Peer::connect(&door, "late").await;
    late.subscribe("kept", QoS::AtLeastOnce).await;
    publisher.publish("kept", QoS::AtLeastOnce, false, "now").await;
    assert_eq!(&late.message().await.payload[..], b"now", "nothing is left of the retained one");
}

async fn a_will_is_published_if_its_client_is_cut_and_not_if_it_leaves(door: Door) {
    let mut sub = Peer::connect(&door, "sub").await;
    sub.subscribe("will/#", QoS::AtLeastOnce).await;
    let with_will = |topic: &'static str| {
        move |options: &mut MqttOptions| {
            options.set_last_will(LastWill::new(topic, "gone", QoS::AtLeastOnce, true));
        }
    };
    Peer::connect_with(&door, "leaves", with_will("will/leaves")).await.disconnect().await;
    drop(Peer::connect_with(&door, "cut", with_will("will/cut")).await);
    let message = sub.message().await;
    assert_eq!((message.topic.as_str(), &message.payload[..]), ("will/cut", &b"gone"[..]));
    let mut late = Peer::connect(&door, "late").await;
    late.subscribe("will/cut", QoS::AtMostOnce).await;
    assert!(late.message().await.retain);
}

async fn messages_wait_for_an_absent_client_in_their_order(door: Door) {
    let persistent = |options: &mut MqttOptions| {
        options.set_clean_session(false);
    };
    let mut sub = Peer::connect_with(&door, "sub", persistent).await;
    assert!(!sub.session_present);
    sub.subscribe("queue", QoS::ExactlyOnce).await;
    sub.disconnect().await;
    let mut publisher = Peer::connect(&door, "pub").await;
    for number in 0..100_u8 {
        let qos = if number % 2 == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
        publisher.publish("queue", qos, false, [number]).await;
    }
    let mut sub = Peer::connect_with(&door, "sub", persistent).await;
    assert!(sub.session_present);
    let mut numbers = Vec::new();
    while numbers.len() < 100 {
        numbers.push(sub.message().await.payload[0]);
    }
    assert_eq!(numbers, (0..100).collect::<Vec<u8>>());
    sub.disconnect().await;
    let clean = Peer::connect(&door, "sub").await;
    assert!(!clean.session_present, "a clean session begins with nothing");
}

async fn a_second_client_of_the_same_name_takes_over(door: Door) {
    let mut first = Peer::connect(&door, "same").await;
    first.subscribe("first", QoS::AtMostOnce).await;
    let mut second = Peer::connect(&door, "same").await;
    assert!(first.event().await.is_err(), "the first one is closed");
    second.subscribe("a", QoS::AtLeastOnce).await;
    let mut publisher = Peer::connect(&door, "pub").await;
    publisher.publish("a", QoS::AtLeastOnce, false, "alive").await;
    let message = second.message().await;
    assert_eq!(&message.payload[..], b"alive");
}

async fn a_payload_of_a_mebibyte_and_a_topic_of_65535_bytes_arrive_whole(door: Door) {
    let (mut sub, mut publisher) = (Peer::connect(&door, "sub").await, Peer::connect(&door, "pub").await);
    let topic = "t".repeat(65_535);
    sub.subscribe("large", QoS::ExactlyOnce).await;
    sub.subscribe(&topic, QoS::ExactlyOnce).await;
    let payload: Vec<u8> = (0..1024 * 1024_u32).map(|index| (index % 251) as u8).collect();
    for qos in EACH_QOS {
        publisher.publish("large", qos, false, payload.clone()).await;
        assert_eq!(sub.message().await.payload, payload);
        publisher.publish(&topic, qos, false, "x").await;
        assert_eq!(sub.message().await.topic, topic);
    }
}

async fn nothing_comes_after_unsubscribe(door: Door) {
    let mut client = Peer::connect(&door, "client").await;
    client.subscribe("gone", QoS::AtLeastOnce).await;
    client.subscribe("stays", QoS::AtLeastOnce).await;
    client.client.unsubscribe("gone").await.unwrap();
    client.incoming(|packet| matches!(packet, Packet::UnsubAck(_))).await;
    let mut publisher = Peer::connect(&door, "pub").await;
    for topic in ["gone", "stays"] {
        publisher.publish(topic, QoS::AtLeastOnce, false, "x").await;
    }
    assert_eq!(client.message().await.topic, "stays");
}

async fn the_members_of_a_shared_subscription_share_the_messages(door: Door) {
    let (mut one, mut two) = (Peer::connect(&door, "one").await, Peer::connect(&door, "two").await);
    let mut publisher = Peer::connect(&door, "pub").await;
    for member in [&mut one, &mut two] {
        member.subscribe("$share/group/work/+", QoS::AtLeastOnce).await;
    }
    for number in 0..10_u8 {
        publisher.publish("work/item", QoS::AtLeastOnce, false, [number]).await;
    }
    let mut numbers = Vec::new();
    for member in [&mut one, &mut two] {
        for _ in 0..5 {
            numbers.push(member.message().await.payload[0]);
        }
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..10).collect::<Vec<u8>>(), "each of them once, and five to each member");
}
