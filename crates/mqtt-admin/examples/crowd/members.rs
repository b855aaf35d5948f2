//! [`Crowd`]: connected clients without a socket, as many as there is memory for.

use std::{collections::HashMap, task::Waker, time::Instant};

use mqtt_broker::{Broker, Message, QoS, SansIoConnection, TopicName};
use mqtt_codec::{Connect, Credentials, Delivery, Packet, PacketId, Publish, Subscribe, Utf8Bytes};

/// Clients that are connected as long as they are in here. They do not read on, so what they are owed stays inflight.
pub(crate) struct Crowd {
    broker: Broker,
    members: HashMap<String, SansIoConnection>,
}

impl Crowd {
    pub(crate) fn new(broker: &Broker) -> Self {
        Self { broker: broker.clone(), members: HashMap::new() }
    }

    /// One more, with figures that depend on its number: its user, what it subscribes to, what it has sent, what it is owed.
    pub(crate) fn join(&mut self, client_id: &str, number: usize) {
        let address = ([127, 0, 0, 1], 1024 + u16::try_from(number % 60_000).unwrap_or_default());
        let mut connection = SansIoConnection::new(&self.broker, address.into(), Instant::now());
        for packets in [vec![connect(client_id, number)], said(client_id, number)] {
            let mut bytes = Vec::new();
            for packet in packets {
                packet.encode(&mut bytes).expect("packets of a few bytes");
            }
            connection.handle_bytes(Instant::now(), &bytes);
        }
        let transmit = |connection: &mut SansIoConnection| {
            let mut out = Vec::new();
            while connection.poll_transmit(Instant::now(), Waker::noop(), &mut out) {}
        };
        transmit(&mut connection);
        if !number.is_multiple_of(4) {
            let owed = Message::new(&topic(&own_topic(client_id, 0)), b"owed", QoS::AtLeastOnce);
            (0..number % 5).for_each(|_| self.broker.publish(&owed));
            transmit(&mut connection);
        }
        assert_eq!(connection.closed(), None, "{client_id} is let in");
        self.members.insert(client_id.to_owned(), connection);
    }

    /// Its connection is lost.
    #[allow(dead_code, reason = "in the example all stay")]
    pub(crate) fn leave(&mut self, client_id: &str) {
        if let Some(mut connection) = self.members.remove(client_id) {
            connection.handle_loss(Instant::now());
        }
    }
}

fn connect(client_id: &str, number: usize) -> Packet {
    let text = |text: &str| Utf8Bytes::try_from(text).expect("text");
    let credentials = Credentials { user_name: text(&format!("user-{:03}", number % 997)), password: None };
    Packet::Connect(Box::new(Connect {
        clean_session: true,
        keep_alive_secs: 0,
        client_id: text(client_id),
        will: None,
        credentials: Some(credentials),
    }))
}

/// What a client sends once it is connected.
fn said(client_id: &str, number: usize) -> Vec<Packet> {
    let mut packets = Vec::new();
    let filter = |n| (own_topic(client_id, n).as_str().try_into().expect("a filter"), QoS::AtLeastOnce);
    let filters: Vec<_> = (0..number % 4).map(filter).collect();
    if !filters.is_empty() {
        packets.push(Packet::Subscribe(Subscribe { packet_id: PacketId::FIRST, filters }));
    }
    let publish = Publish {
        delivery: Delivery::AtMostOnce,
        retain: false,
        topic: topic("crowd/said"),
        payload: vec![b'x'; number % 11].into(),
    };
    packets.extend((0..number % 7).map(|_| Packet::Publish(publish.clone())));
    packets
}

fn own_topic(client_id: &str, n: usize) -> String {
    format!("own/{client_id}/{n}")
}

fn topic(name: &str) -> TopicName {
    TopicName::try_from(name).expect("a topic")
}
