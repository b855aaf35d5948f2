//! A `Connection` alone, fed and drained by hand: what happens in which order when the socket takes nothing for a while.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use mqtt_codec::{
    Connect, Decoder, Packet, PacketId, Puback, Pubrec, QoS, Subscribe, TopicFilter, TopicName, Utf8Bytes,
};

use super::*;
use crate::{durability::Durability, hooks::HookSet, limits::Limits, message::Message, net};

/// A connected client with a subscription to everything, at a moment of its own.
struct Fixture {
    core: Arc<Core>,
    connection: Connection,
    now: Instant,
}

impl Fixture {
    fn new(limits: Limits) -> Self {
        let core = Arc::new(Core::new(limits, HookSet::default(), Vec::new(), Durability::default()));
        let now = net::now();
        let peer = Peer::Inet(([127, 0, 0, 1], 1883).into());
        let connection = Connection::new(Arc::clone(&core), peer, now);
        let mut fixture = Self { core, connection, now };
        fixture.hear(&Packet::Connect(Box::new(Connect {
            clean_session: true,
            keep_alive_secs: 0,
            client_id: Utf8Bytes::try_from("client").unwrap(),
            will: None,
            credentials: None,
        })));
        let filters = vec![(TopicFilter::try_from("#").unwrap(), QoS::ExactlyOnce)];
        fixture.hear(&Packet::Subscribe(Subscribe { packet_id: PacketId::FIRST, filters }));
        fixture.say();
        fixture
    }

    fn hear(&mut self, packet: &Packet) {
        let mut bytes = Vec::new();
        packet.encode(&mut bytes).unwrap();
        self.connection.handle_bytes(self.now, &bytes, &mut self.core.burst());
    }

    /// Everything that the socket would get now.
    fn say(&mut self) -> Vec<Packet> {
        let mut out = Vec::new();
        while self.connection.poll_transmit(self.now, Waker::noop(), &mut out, &mut self.core.burst()) {}
        let mut bytes = BytesMut::from(Bytes::from(out));
        let mut decoder = Decoder::new(usize::MAX);
        std::iter::from_fn(|| decoder.decode(&mut bytes).unwrap()).collect()
    }

    fn publish(&self, payload: &str, qos: QoS) {
        let message = Message::new(&TopicName::try_from("t").unwrap(), payload.as_bytes(), qos);
        self.core.publish_message(self.now, &message, Vec::new(), &mut self.core.burst());
    }

    /// The time comes for what `poll_timeout` names.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.connection.handle_timeout(self.now, &mut self.core.burst());
    }
}

const INTERVAL: Duration = Duration::from_secs(1);

fn retrying() -> Fixture {
    Fixture::new(Limits { retry_interval: Some(INTERVAL), ..Limits::default() })
}

fn is_publish(packet: &Packet) -> bool {
    matches!(packet, Packet::Publish(_))
}

/// The message was to be repeated while the socket took nothing; then PUBREC came, and its PUBREL went first: the client
/// had forgotten the identifier when the repeated PUBLISH came, and took it for a new message. [MQTT-4.3.3-1]
#[test]
fn pubrel_does_not_overtake_a_repeated_publish() {
    let mut client = retrying();
    client.publish("once", QoS::ExactlyOnce);
    assert!(client.say().iter().any(is_publish));
    client.pass(INTERVAL);
    client.say();
    client.pass(INTERVAL);
    client.hear(&Packet::Pubrec(Pubrec { packet_id: PacketId::FIRST }));
    let said = client.say();
    assert!(matches!(said[0], Packet::Pubrel(_)), "{said:?}");
    assert!(!said.iter().any(is_publish), "{said:?}");
}

#[test]
fn what_is_repeated_does_not_pile_up_while_the_socket_takes_nothing() {
    let mut client = retrying();
    client.publish("again", QoS::AtLeastOnce);
    client.say();
    for _ in 0..10 {
        client.pass(INTERVAL);
    }
    assert_eq!(client.say().len(), 0, "the first interval only marks what is there");
    for _ in 0..10 {
        client.pass(INTERVAL);
    }
    assert_eq!(client.say().len(), 1);
    client.hear(&Packet::Puback(Puback { packet_id: PacketId::FIRST }));
    client.pass(INTERVAL);
    assert_eq!(client.say().len(), 0);
}
