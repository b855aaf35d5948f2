//! A client that does what the test says, over a socket on loopback.

use std::{net::SocketAddr, time::Duration};

use bytes::BytesMut;
use mqtt_access::AccessControl;
use mqtt_broker::Broker;
use mqtt_codec::{
    Connack, Connect, ConnectRefusal, Credentials, Decoder, Delivery, Packet, PacketId, Publish, QoS,
    Subscribe, SubscribeReturnCode, TopicFilter, TopicName,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Nothing here takes so long: whatever does is stuck.
const STUCK: Duration = Duration::from_mins(1);

pub(crate) struct Client {
    stream: TcpStream,
    decoder: Decoder,
    buffer: BytesMut,
}

/// A CONNECT with these credentials.
pub(crate) fn connect(client_id: &str, user_name: Option<&str>, password: &[u8]) -> Connect {
    Connect {
        clean_session: true,
        keep_alive_secs: 0,
        client_id: client_id.try_into().unwrap(),
        will: None,
        credentials: user_name.map(|user_name| Credentials {
            user_name: user_name.try_into().unwrap(),
            password: Some(password.to_vec().into()),
        }),
    }
}

/// A broker with these rules.
pub(crate) async fn start(control: &AccessControl) -> (Broker, SocketAddr) {
    let broker = control.install(Broker::builder()).build();
    let address = broker.listen("127.0.0.1:0").await.unwrap();
    (broker, address)
}

impl Client {
    pub(crate) async fn try_connect(address: SocketAddr, connect: Connect) -> Result<Self, ConnectRefusal> {
        Self::try_connect_over(TcpStream::connect(address).await.unwrap(), connect).await
    }

    pub(crate) async fn try_connect_over(
        stream: TcpStream,
        connect: Connect,
    ) -> Result<Self, ConnectRefusal> {
        let mut client = Self { stream, decoder: Decoder::new(1 << 20), buffer: BytesMut::new() };
        client.send(Packet::Connect(Box::new(connect))).await;
        match client.recv().await {
            Some(Packet::Connack(Connack::Accepted { .. })) => Ok(client),
            Some(Packet::Connack(Connack::Refused(refusal))) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn connected(address: SocketAddr, client_id: &str, user: &str, password: &str) -> Self {
        let connect = connect(client_id, Some(user), password.as_bytes());
        Self::try_connect(address, connect).await.unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    pub(crate) async fn send(&mut self, packet: Packet) {
        let mut bytes = Vec::new();
        packet.encode(&mut bytes).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// `None` at the end of the connection.
    pub(crate) async fn recv(&mut self) -> Option<Packet> {
        loop {
            if let Some(packet) = self.decoder.decode(&mut self.buffer).unwrap() {
                return Some(packet);
            }
            match timeout(STUCK, self.stream.read_buf(&mut self.buffer)).await.expect("a packet") {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Whether it was granted.
    pub(crate) async fn subscribe(&mut self, filter: &str) -> bool {
        self.subscribe_at(filter, QoS::AtMostOnce).await
    }

    /// The same, with a QoS.
    pub(crate) async fn subscribe_at(&mut self, filter: &str, qos: QoS) -> bool {
        let filters = vec![(TopicFilter::try_from(filter).unwrap(), qos)];
        self.send(Packet::Subscribe(Subscribe { packet_id: PacketId::FIRST, filters })).await;
        match self.recv().await {
            Some(Packet::Suback(suback)) => suback.return_codes[0] != SubscribeReturnCode::Failure,
            other => panic!("{other:?}"),
        }
    }

    /// With QoS 1, and acknowledged.
    pub(crate) async fn publish(&mut self, topic: &str, payload: &'static str) {
        self.publish_or_retain(topic, payload, false).await;
    }

    /// The same, and it is retained.
    pub(crate) async fn retain(&mut self, topic: &str, payload: &'static str) {
        self.publish_or_retain(topic, payload, true).await;
    }

    async fn publish_or_retain(&mut self, topic: &str, payload: &'static str, retain: bool) {
        let delivery = Delivery::AtLeastOnce { packet_id: PacketId::FIRST, dup: false };
        let topic = TopicName::try_from(topic).unwrap();
        let publish = Publish { delivery, retain, topic, payload: payload.into() };
        self.send(Packet::Publish(publish)).await;
        assert!(matches!(self.recv().await, Some(Packet::Puback(_))));
    }

    /// The next message, as topic and payload.
    pub(crate) async fn message(&mut self) -> String {
        match self.recv().await {
            Some(Packet::Publish(publish)) => {
                format!("{} {}", publish.topic.as_str(), String::from_utf8_lossy(&publish.payload))
            }
            other => panic!("{other:?}"),
        }
    }
}
