//! An MQTT client that does what the test says, no more.

use bytes::BytesMut;
use mqtt_codec::{Connack, Connect, Decoder, Packet, PacketId, Publish, QoS, Subscribe, Utf8Bytes};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{World, http::STUCK};

pub(crate) struct Client {
    stream: TcpStream,
    decoder: Decoder,
    buffer: BytesMut,
}

impl World {
    /// A connected client.
    pub(crate) async fn connect(&self, client_id: &str, clean_session: bool) -> Client {
        let (client, answer) = self.ask_to_connect(client_id, clean_session).await;
        assert!(matches!(answer, Some(Packet::Connack(Connack::Accepted { .. }))), "{answer:?}");
        client
    }

    /// A client, and what its CONNECT was answered.
    pub(crate) async fn ask_to_connect(
        &self,
        client_id: &str,
        clean_session: bool,
    ) -> (Client, Option<Packet>) {
        let stream = TcpStream::connect(self.mqtt).await.expect("the broker listens");
        let mut client = Client { stream, decoder: Decoder::new(1 << 24), buffer: BytesMut::new() };
        let client_id = Utf8Bytes::try_from(client_id).expect("a client identifier");
        let connect = Connect { clean_session, keep_alive_secs: 0, client_id, will: None, credentials: None };
        client.send(Packet::Connect(Box::new(connect))).await;
        let answer = client.recv().await;
        (client, answer)
    }
}

impl Client {
    pub(crate) async fn send(&mut self, packet: Packet) {
        let mut bytes = Vec::new();
        packet.encode(&mut bytes).expect("a packet that can be spelled");
        self.stream.write_all(&bytes).await.expect("the broker reads");
    }

    /// The next packet, or `None` at the end of the connection.
    pub(crate) async fn recv(&mut self) -> Option<Packet> {
        loop {
            if let Some(packet) = self.decoder.decode(&mut self.buffer).expect("a packet") {
                return Some(packet);
            }
            match timeout(STUCK, self.stream.read_buf(&mut self.buffer)).await.expect("a packet") {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    pub(crate) async fn subscribe(&mut self, filter: &str, qos: QoS) {
        let filters = vec![(filter.try_into().expect("a filter"), qos)];
        self.send(Packet::Subscribe(Subscribe { packet_id: PacketId::FIRST, filters })).await;
        assert!(matches!(self.recv().await, Some(Packet::Suback(_))));
    }

    pub(crate) async fn publish(&mut self) -> Publish {
        match self.recv().await {
            Some(Packet::Publish(publish)) => publish,
            other => panic!("{other:?} instead of PUBLISH"),
        }
    }

    pub(crate) async fn payload(&mut self) -> Vec<u8> {
        self.publish().await.payload.to_vec()
    }

    /// All that was sent before is dealt with.
    pub(crate) async fn ping(&mut self) {
        self.send(Packet::Pingreq).await;
        assert_eq!(self.recv().await, Some(Packet::Pingresp));
    }

    pub(crate) async fn expect_end(&mut self) {
        assert_eq!(self.recv().await, None);
    }
}
