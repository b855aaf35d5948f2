//! A client that does what the test says, no more: it acknowledges nothing by itself, and every wait of it is bounded.

use std::{collections::VecDeque, net::SocketAddr};

use bytes::{Bytes, BytesMut};
use mqtt_codec::{
    Connack, Connect, Credentials, Decoder, Delivery, Packet, PacketId, Puback, Pubcomp, Publish, Pubrec,
    Pubrel, QoS, Suback, Subscribe, SubscribeReturnCode, Unsuback, Unsubscribe, Utf8Bytes, Will,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use crate::{filter, journal::soon, topic};

/// One connection.
#[derive(Debug)]
pub(crate) struct Client<S = TcpStream> {
    pub(crate) stream: S,
    decoder: Decoder,
    buffer: BytesMut,
    next_id: PacketId,
    /// What came while an acknowledgement was awaited.
    early: VecDeque<Packet>,
}

/// A CONNECT with CleanSession 1 and nothing else.
pub(crate) fn connect(client_id: &str) -> Connect {
    Connect {
        clean_session: true,
        keep_alive_secs: 0,
        client_id: Utf8Bytes::try_from(client_id).expect("a client identifier"),
        will: None,
        credentials: None,
    }
}

/// The same with CleanSession 0.
pub(crate) fn persistent(client_id: &str) -> Connect {
    Connect { clean_session: false, ..connect(client_id) }
}

#[allow(clippy::unnecessary_wraps, reason = "it is what the field of CONNECT wants")]
pub(crate) fn will(topic_name: &str, message: &'static [u8], qos: QoS, retain: bool) -> Option<Will> {
    Some(Will { topic: topic(topic_name), message: Bytes::from_static(message), qos, retain })
}

#[allow(clippy::unnecessary_wraps, reason = "it is what the field of CONNECT wants")]
pub(crate) fn credentials(user_name: &str, password: &str) -> Option<Credentials> {
    let user_name = Utf8Bytes::try_from(user_name).expect("a user name");
    Some(Credentials { user_name, password: Some(Bytes::copy_from_slice(password.as_bytes())) })
}

impl Client {
    /// Connected to the socket, with no CONNECT sent.
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.expect("the broker listens"))
    }

    /// The same, with buffers in the kernel so small that a client that does not read is soon noticed.
    pub(crate) async fn open_small(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        socket.set_send_buffer_size(4096).expect("a small buffer");
        Self::over(socket.connect(address).await.expect("the broker listens"))
    }

    /// Connected, with CleanSession 1.
    pub(crate) async fn connected(address: SocketAddr, client_id: &str) -> Self {
        Self::accepted(address, connect(client_id)).await.0
    }

    /// Connected, and whether a session was present.
    pub(crate) async fn accepted(address: SocketAddr, connect: Connect) -> (Self, bool) {
        let mut client = Self::open(address).await;
        match client.connect(connect).await {
            Connack::Accepted { session_present } => (client, session_present),
            Connack::Refused(refusal) => panic!("refused: {refusal:?}"),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// On a connection that is there already.
    pub(crate) fn over(stream: S) -> Self {
        let decoder = Decoder::new(16 * 1024 * 1024);
        Self { stream, decoder, buffer: BytesMut::new(), next_id: PacketId::FIRST, early: VecDeque::new() }
    }

    /// Sends CONNECT, and returns the CONNACK.
    pub(crate) async fn connect(&mut self, connect: Connect) -> Connack {
        self.send(Packet::Connect(Box::new(connect))).await;
        match self.recv().await {
            Packet::Connack(connack) => connack,
            other => panic!("{other:?} instead of CONNACK"),
        }
    }

    pub(crate) async fn send(&mut self, packet: Packet) {
        let mut bytes = Vec::new();
        packet.encode(&mut bytes).expect("a packet that can be spelled");
        self.send_bytes(&bytes).await;
    }

    /// Several packets in one write.
    pub(crate) async fn send_all(&mut self, packets: &[Packet]) {
        let mut bytes = Vec::new();
        for packet in packets {
            packet.encode(&mut bytes).expect("a packet that can be spelled");
        }
        self.send_bytes(&bytes).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        soon("the broker to read", self.stream.write_all(bytes)).await.expect("the connection is open");
    }

    pub(crate) async fn recv(&mut self) -> Packet {
        self.next().await.expect("a packet, and not the end of the connection")
    }

    /// The next packet, or `None` at the end of the connection.
    pub(crate) async fn next(&mut self) -> Option<Packet> {
        match self.early.pop_front() {
            Some(packet) => Some(packet),
            None => self.read().await,
        }
    }

    async fn read(&mut self) -> Option<Packet> {
        loop {
            if let Some(packet) =
                self.decoder.decode(&mut self.buffer).expect("a packet as the standard has it")
            {
                return Some(packet);
            }
            match soon("a packet", self.stream.read_buf(&mut self.buffer)).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The broker closes the connection, and sends nothing before.
    pub(crate) async fn expect_end(&mut self) {
        assert_eq!(self.next().await, None, "something before the end of the connection");
    }

    pub(crate) async fn recv_publish(&mut self) -> Publish {
        match self.recv().await {
            Packet::Publish(publish) => publish,
            other => panic!("{other:?} instead of PUBLISH"),
        }
    }

    /// The next message, acknowledged to the end: `topic payload`.
    pub(crate) async fn message(&mut self) -> String {
        let publish = self.recv_publish().await;
        self.acknowledge(&publish).await;
        format!("{} {}", publish.topic.as_str(), String::from_utf8_lossy(&publish.payload))
    }

    /// The client's part of the delivery of a message.
    pub(crate) async fn acknowledge(&mut self, publish: &Publish) {
        match publish.delivery {
            Delivery::AtMostOnce => {}
            Delivery::AtLeastOnce { packet_id, .. } => self.send(Packet::Puback(Puback { packet_id })).await,
            Delivery::ExactlyOnce { packet_id, .. } => {
                self.send(Packet::Pubrec(Pubrec { packet_id })).await;
                loop {
                    match self.read().await.expect("PUBREL, and not the end of the connection") {
                        Packet::Pubrel(pubrel) => break assert_eq!(pubrel, Pubrel { packet_id }),
                        early => self.early.push_back(early),
                    }
                }
                self.send(Packet::Pubcomp(Pubcomp { packet_id })).await;
            }
        }
    }

    /// Reads and answers everything, whatever comes between, until a message that begins like this has come.
    pub(crate) async fn message_at_last(&mut self, head: &str) {
        loop {
            match self.recv().await {
                Packet::Publish(publish) => {
                    match publish.delivery {
                        Delivery::ExactlyOnce { packet_id, .. } => {
                            self.send(Packet::Pubrec(Pubrec { packet_id })).await;
                        }
                        _ => self.acknowledge(&publish).await,
                    }
                    if publish.payload.starts_with(head.as_bytes()) {
                        return;
                    }
                }
                Packet::Pubrel(Pubrel { packet_id }) => {
                    self.send(Packet::Pubcomp(Pubcomp { packet_id })).await;
                }
                other => panic!("{other:?} instead of a message"),
            }
        }
    }

    /// Publishes, and waits until the broker has acknowledged; with QoS 0, until it has answered a PINGREQ behind it.
    pub(crate) async fn publish(&mut self, topic_name: &str, payload: &str, qos: QoS) {
        self.publish_with(topic_name, payload, qos, false).await;
    }

    /// The same with RETAIN.
    pub(crate) async fn retain(&mut self, topic_name: &str, payload: &str, qos: QoS) {
        self.publish_with(topic_name, payload, qos, true).await;
    }

    async fn publish_with(&mut self, topic_name: &str, payload: &str, qos: QoS, retain: bool) {
        let packet_id = self.packet_id();
        let publish = publish(topic_name, payload, qos, packet_id);
        self.send(Packet::Publish(Publish { retain, ..publish })).await;
        match qos {
            QoS::AtMostOnce => self.ping().await,
            QoS::AtLeastOnce => assert_eq!(self.recv().await, Packet::Puback(Puback { packet_id })),
            QoS::ExactlyOnce => {
                assert_eq!(self.recv().await, Packet::Pubrec(Pubrec { packet_id }));
                self.send(Packet::Pubrel(Pubrel { packet_id })).await;
                assert_eq!(self.recv().await, Packet::Pubcomp(Pubcomp { packet_id }));
            }
        }
    }

    /// Subscribes to one filter, and returns the return code.
    pub(crate) async fn subscribe(&mut self, filter: &str, qos: QoS) -> SubscribeReturnCode {
        self.subscribe_all(&[(filter, qos)]).await.remove(0)
    }

    pub(crate) async fn subscribe_all(&mut self, filters: &[(&str, QoS)]) -> Vec<SubscribeReturnCode> {
        let packet_id = self.packet_id();
        self.send(subscribe(packet_id, filters)).await;
        match self.recv().await {
            Packet::Suback(Suback { packet_id: answered, return_codes }) if answered == packet_id => {
                return_codes
            }
            other => panic!("{other:?} instead of SUBACK"),
        }
    }

    pub(crate) async fn unsubscribe(&mut self, filters: &[&str]) {
        let packet_id = self.packet_id();
        let filters = filters.iter().map(|text| filter(text)).collect();
        self.send(Packet::Unsubscribe(Unsubscribe { packet_id, filters })).await;
        assert_eq!(self.recv().await, Packet::Unsuback(Unsuback { packet_id }));
    }

    pub(crate) async fn ping(&mut self) {
        self.send(Packet::Pingreq).await;
        assert_eq!(self.recv().await, Packet::Pingresp);
    }

    /// DISCONNECT, and the broker closes.
    pub(crate) async fn disconnect(mut self) {
        self.send(Packet::Disconnect).await;
        self.expect_end().await;
    }

    pub(crate) fn packet_id(&mut self) -> PacketId {
        let packet_id = self.next_id;
        self.next_id = packet_id.next();
        packet_id
    }
}

pub(crate) fn id(value: u16) -> PacketId {
    PacketId::new(value).expect("not zero")
}

pub(crate) fn publish(topic_name: &str, payload: &str, qos: QoS, packet_id: PacketId) -> Publish {
    let delivery = match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce { packet_id, dup: false },
        QoS::ExactlyOnce => Delivery::ExactlyOnce { packet_id, dup: false },
    };
    let payload = Bytes::copy_from_slice(payload.as_bytes());
    Publish { delivery, retain: false, topic: topic(topic_name), payload }
}

pub(crate) fn subscribe(packet_id: PacketId, filters: &[(&str, QoS)]) -> Packet {
    let filters = filters.iter().map(|(text, qos)| (filter(text), *qos)).collect();
    Packet::Subscribe(Subscribe { packet_id, filters })
}
