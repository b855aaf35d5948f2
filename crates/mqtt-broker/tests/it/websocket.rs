//! MQTT within WebSocket: the upgrade, the frames, and what an idle connection must not own.

use std::{net::SocketAddr, pin::Pin, time::Duration};

use async_tungstenite::{
    WebSocketStream,
    tokio::{TokioAdapter, client_async},
    tungstenite::{
        Error, Message,
        client::IntoClientRequest,
        handshake::client::Response,
        http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL},
        protocol::{
            CloseFrame,
            frame::{
                Frame,
                coding::{CloseCode, Data, OpCode},
            },
        },
    },
};
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use mqtt_broker::{Broker, Builder, Peer, Transport, WebSocketOptions};
use mqtt_codec::{Connack, Decoder, Packet};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tracing::Level;

use crate::{
    Q0, Q1,
    client::{Client, connect, id, publish, subscribe},
    journal::{Journal, eventually, soon},
    limits,
    log_lines::LogLines,
    start,
};

/// A client of frames.
pub(crate) struct Frames<S> {
    socket: WebSocketStream<TokioAdapter<S>>,
    decoder: Decoder,
    buffer: BytesMut,
}

pub(crate) async fn start_websocket(builder: Builder, options: WebSocketOptions) -> (Broker, SocketAddr) {
    let broker = builder.build();
    let transport = Transport::tcp().websocket(options);
    let address = broker.listen_with("127.0.0.1:0", transport).await.expect("a free port");
    (broker, address)
}

pub(crate) async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    path: &str,
    headers: &[(&'static str, &'static str)],
) -> Result<(Frames<S>, Response), Error> {
    let mut request = format!("ws://broker{path}").into_client_request()?;
    for (name, value) in headers {
        request.headers_mut().append(*name, HeaderValue::from_static(value));
    }
    let (socket, response) = soon("the upgrade", client_async(request, stream)).await?;
    Ok((Frames { socket, decoder: Decoder::new(16 * 1024 * 1024), buffer: BytesMut::new() }, response))
}

pub(crate) const MQTT: (&str, &str) = ("sec-websocket-protocol", "mqtt");

impl<S: AsyncRead + AsyncWrite + Unpin> Frames<S> {
    pub(crate) async fn over(stream: S) -> Self {
        upgrade(stream, "/mqtt", &[MQTT]).await.expect("an upgrade").0
    }

    pub(crate) async fn connected(stream: S, client_id: &str) -> Self {
        Self::over(stream).await.connected_as(client_id).await
    }

    pub(crate) async fn connected_as(mut self, client_id: &str) -> Self {
        self.send(Packet::Connect(Box::new(connect(client_id)))).await;
        assert_eq!(self.recv().await, Packet::Connack(Connack::Accepted { session_present: false }));
        self
    }

    async fn send_frame(&mut self, frame: Message) {
        soon("the broker to read", self.socket.send(frame)).await.expect("the connection is open");
    }

    pub(crate) async fn send(&mut self, packet: Packet) {
        self.send_frame(Message::Binary(bytes_of(&[packet]))).await;
    }

    async fn next_frame(&mut self) -> Option<Message> {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut self.socket).poll_next(cx));
        soon("a frame", frame).await.and_then(Result::ok)
    }

    pub(crate) async fn recv(&mut self) -> Packet {
        loop {
            if let Some(packet) =
                self.decoder.decode(&mut self.buffer).expect("a packet as the standard has it")
            {
                return packet;
            }
            match self.next_frame().await.expect("a packet, and not the end of the connection") {
                Message::Binary(bytes) => self.buffer.extend_from_slice(&bytes),
                other => panic!("{other:?} instead of a binary frame"),
            }
        }
    }

    pub(crate) async fn ping(&mut self) {
        self.send(Packet::Pingreq).await;
        assert_eq!(self.recv().await, Packet::Pingresp);
    }

    /// The broker closes, and says why.
    async fn expect_close(&mut self, code: Option<CloseCode>) {
        match self.next_frame().await.expect("a close frame") {
            Message::Close(frame) => assert_eq!(frame.map(|CloseFrame { code, .. }| code), code),
            other => panic!("{other:?} instead of a close frame"),
        }
        assert_eq!(self.next_frame().await, None);
    }
}

fn bytes_of(packets: &[Packet]) -> Bytes {
    let mut bytes = Vec::new();
    for packet in packets {
        packet.encode(&mut bytes).expect("a packet that can be spelled");
    }
    bytes.into()
}

async fn tcp(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("the broker listens")
}

async fn default_broker() -> (Broker, SocketAddr) {
    start_websocket(Broker::builder(), WebSocketOptions::default()).await
}

/// The status of a refused upgrade.
pub(crate) async fn refused(
    address: SocketAddr,
    path: &str,
    headers: &[(&'static str, &'static str)],
) -> u16 {
    match upgrade(tcp(address).await, path, headers).await {
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("{path} {headers:?} was not refused"),
    }
}

/// [MQTT-6.0.0-4]
#[tokio::test]
async fn the_sub_protocol_is_chosen_and_answered() {
    let (_broker, address) = default_broker().await;
    for (offer, chosen) in
        [("mqtt", "mqtt"), ("mqttv3.1", "mqttv3.1"), ("mqttv3.1, mqtt", "mqttv3.1"), ("chat,mqtt", "mqtt")]
    {
        let headers = [("sec-websocket-protocol", offer)];
        // The library's client insists on a sub-protocol that was asked for, in so many words.
        let stream = tcp(address).await;
        let (_, response) = upgrade(stream, "/mqtt", &headers).await.expect("an upgrade");
        assert_eq!(response.headers()[SEC_WEBSOCKET_PROTOCOL], chosen, "{offer}");
    }
    for headers in
        [&[("sec-websocket-protocol", "chat, mqtt5")][..], &[("sec-websocket-protocol", "MQTT")], &[]]
    {
        assert_eq!(refused(address, "/mqtt", headers).await, 400);
    }
}

#[tokio::test]
async fn only_the_paths_of_the_listener_are_served() {
    let (_broker, address) = default_broker().await;
    for path in ["/mqtt", "/", "/mqtt?token=1"] {
        assert!(upgrade(tcp(address).await, path, &[MQTT]).await.is_ok(), "{path}");
    }
    assert_eq!(refused(address, "/other", &[MQTT]).await, 404);
    assert_eq!(refused(address, "/mqtt/", &[MQTT]).await, 404);

    let (_broker, address) =
        start_websocket(Broker::builder(), WebSocketOptions::default().paths(["/a", "/b"])).await;
    assert!(upgrade(tcp(address).await, "/b", &[MQTT]).await.is_ok());
    assert_eq!(refused(address, "/mqtt", &[MQTT]).await, 404);
}

#[tokio::test]
async fn only_the_origins_of_the_listener_are_served() {
    let options = WebSocketOptions::default().origins(["https://example.org"]);
    let (_broker, address) = start_websocket(Broker::builder(), options).await;
    for headers in [&[MQTT][..], &[MQTT, ("origin", "https://example.org")]] {
        assert!(upgrade(tcp(address).await, "/mqtt", headers).await.is_ok(), "{headers:?}");
    }
    for origin in ["https://example.com", "http://example.org", "null", "https://example.org.evil"] {
        assert_eq!(refused(address, "/mqtt", &[MQTT, ("origin", origin)]).await, 403, "{origin}");
    }
}

/// [MQTT-6.0.0-1]
#[tokio::test]
async fn a_text_frame_closes() {
    let journal = Journal::default();
    let noted = journal.clone();
    let builder = Broker::builder().on_close(move |_, reason| noted.note(format!("{reason:?}")));
    let (_broker, address) = start_websocket(builder, WebSocketOptions::default()).await;

    let mut client = Frames::connected(tcp(address).await, "a").await;
    client.send_frame(Message::text("text")).await;
    client.expect_close(Some(CloseCode::Unsupported)).await;
    journal.until(1, "Violation(FrameNotBinary)").await;

    let mut client = Frames::over(tcp(address).await).await;
    client.send_frame(Message::text("before CONNECT")).await;
    client.expect_close(Some(CloseCode::Unsupported)).await;
}

/// [MQTT-6.0.0-2]
#[tokio::test]
async fn packets_are_split_over_frames_at_every_byte() {
    let (_broker, address) = default_broker().await;
    let packets = bytes_of(&[
        Packet::Connect(Box::new(connect("a"))),
        subscribe(id(1), &[("t", Q0)]),
        Packet::Publish(publish("t", "payload", Q1, id(2))),
    ]);
    for cut in 0..=packets.len() {
        let mut client = Frames::over(tcp(address).await).await;
        client.send_frame(Message::Binary(packets.slice(..cut))).await;
        client.send_frame(Message::Binary(packets.slice(cut..))).await;
        assert!(matches!(client.recv().await, Packet::Connack(_)), "{cut}");
        assert!(matches!(client.recv().await, Packet::Suback(_)), "{cut}");
        let answers = [client.recv().await, client.recv().await];
        assert!(answers.iter().any(|packet| matches!(packet, Packet::Publish(_))), "{cut} {answers:?}");
        assert!(answers.iter().any(|packet| matches!(packet, Packet::Puback(_))), "{cut} {answers:?}");
    }
}

/// The system of 2018 lost what was beyond 4,096 bytes of a frame, and took the next packet for its rest.
#[tokio::test]
async fn frames_of_any_size_up_to_the_packet_limit() {
    let (_broker, address) = default_broker().await;
    let mut client = Frames::connected(tcp(address).await, "a").await;
    client.send(subscribe(id(1), &[("t", Q0)])).await;
    assert!(matches!(client.recv().await, Packet::Suback(_)));
    for size in [4_000_u32, 4_096, 5_000, 65_535, 65_536, 200 * 1024] {
        let payload: String = (0..size).map(|at| char::from(b'a' + (at % 26) as u8)).collect();
        client.send(Packet::Publish(publish("t", &payload, Q0, id(1)))).await;
        client.send(Packet::Publish(publish("t", "the next", Q0, id(1)))).await;
        for expected in [payload.as_str(), "the next"] {
            match client.recv().await {
                Packet::Publish(publish) => assert!(publish.payload == expected, "{size}"),
                other => panic!("{other:?} instead of PUBLISH"),
            }
        }
    }
}

#[tokio::test]
async fn a_frame_beyond_the_packet_limit_closes() {
    let small = limits(|limits| (limits.max_packet_size, limits.max_connect_packet_size) = (1_000, 1_000));
    let (_broker, address) =
        start_websocket(Broker::builder().limits(small), WebSocketOptions::default()).await;
    let mut client = Frames::connected(tcp(address).await, "a").await;
    let largest = bytes_of(&[Packet::Publish(publish("t", &"x".repeat(994), Q0, id(1)))]);
    assert_eq!(largest.len(), 1_000);
    client.send_frame(Message::Binary(largest)).await;
    client.ping().await;
    client.send_frame(Message::binary(vec![0; 1_001])).await;
    client.expect_close(Some(CloseCode::Size)).await;
}

/// A broker that takes a CONNECT of 200 bytes and packets of 10,000, and such a CONNECT.
async fn strict_broker() -> (Broker, SocketAddr, Bytes) {
    let strict = limits(|limits| (limits.max_packet_size, limits.max_connect_packet_size) = (10_000, 200));
    let largest = bytes_of(&[Packet::Connect(Box::new(connect(&"c".repeat(185))))]);
    assert_eq!(largest.len(), 200);
    let builder = Broker::builder().limits(strict);
    let (broker, address) = start_websocket(builder, WebSocketOptions::default()).await;
    (broker, address, largest)
}

/// A part of a message.
fn fragment(kind: Data, is_last: bool, bytes: impl Into<Bytes>) -> Message {
    Message::Frame(Frame::message(bytes, OpCode::Data(kind), is_last))
}

/// What it announces alone is enough: nothing of it has come, and nothing is kept.
#[tokio::test]
async fn a_frame_of_a_stranger_beyond_the_limit_of_a_connect_closes() {
    let (_broker, address, _) = strict_broker().await;
    let mut stream = upgraded(address).await;
    stream.write_all(&[0x82, 0xfe, 0, 201, 0, 0, 0, 0]).await.unwrap();
    let mut answer = Vec::new();
    soon("the end", stream.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(answer, [&[0x88, 2][..], &1009_u16.to_be_bytes()].concat());

    let mut in_fragments = Frames::over(tcp(address).await).await;
    in_fragments.send_frame(fragment(Data::Binary, false, vec![0x10; 200])).await;
    in_fragments.send_frame(fragment(Data::Continue, false, vec![0])).await;
    in_fragments.expect_close(Some(CloseCode::Size)).await;
}

#[tokio::test]
async fn a_connect_as_large_as_may_be_comes_in_frames_of_any_size_and_large_packets_right_behind_it() {
    let (_broker, address, largest) = strict_broker().await;
    let whole = vec![Message::Binary(largest.clone())];
    let messages = [&largest[..150], &largest[150..]].map(|part| Message::binary(part.to_vec())).to_vec();
    let mut fragments: Vec<_> =
        largest.chunks(1).map(|byte| fragment(Data::Continue, false, byte.to_vec())).collect();
    fragments[0] = fragment(Data::Binary, false, largest[..1].to_vec());
    fragments[199] = fragment(Data::Continue, true, largest[199..].to_vec());
    let publish = bytes_of(&[Packet::Publish(publish("t", &"x".repeat(9_992), Q1, id(1)))]);
    assert_eq!(publish.len(), 10_000);
    for (name, frames) in [("whole", whole), ("messages", messages), ("fragments", fragments)] {
        let mut client = Frames::over(tcp(address).await).await;
        for frame in frames {
            client.send_frame(frame).await;
        }
        // It need not wait for the answer.
        client.send_frame(Message::Binary(publish.clone())).await;
        assert!(matches!(client.recv().await, Packet::Connack(_)), "{name}");
        assert!(matches!(client.recv().await, Packet::Puback(_)), "{name}");
        client.send_frame(Message::binary(vec![0x30; 10_001])).await;
        client.expect_close(Some(CloseCode::Size)).await;
    }
}

/// A connection on which frames are next.
async fn upgraded(address: SocketAddr) -> TcpStream {
    let mut stream = tcp(address).await;
    let request = "GET /mqtt HTTP/1.1\r\nHost: b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(soon("the answer", stream.read_u8()).await.unwrap());
    }
    stream
}

#[tokio::test]
async fn a_message_in_fragments_with_a_ping_between_them() {
    let (_broker, address) = default_broker().await;
    let mut stream = upgraded(address).await;
    let connect = bytes_of(&[Packet::Connect(Box::new(connect("a")))]);
    let (first, rest) = connect.split_at(5);
    let mut frames = vec![0x02, 0x80 | 5, 0, 0, 0, 0];
    frames.extend_from_slice(first);
    frames.extend_from_slice(&[0x89, 0x80 | 2, 0, 0, 0, 0, b'h', b'i']);
    frames.extend_from_slice(&[0x80, 0x80 | rest.len() as u8, 0, 0, 0, 0]);
    frames.extend_from_slice(rest);
    stream.write_all(&frames).await.unwrap();
    let mut answer = [0; 10];
    soon("PONG and CONNACK", stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer, [0x8a, 2, b'h', b'i', 0x82, 4, 0x20, 2, 0, 0]);
}

#[tokio::test]
async fn a_close_frame_is_answered_and_the_will_is_published() {
    let (broker, address) = default_broker().await;
    let mut watcher = broker.subscriber(&[crate::filter("will")]).unwrap();
    let mut client = Frames::over(tcp(address).await).await;
    let connect =
        mqtt_codec::Connect { will: crate::client::will("will", b"gone", Q0, false), ..connect("a") };
    client.send(Packet::Connect(Box::new(connect))).await;
    assert!(matches!(client.recv().await, Packet::Connack(_)));
    client.send_frame(Message::Close(None)).await;
    client.expect_close(None).await;
    let will = soon("the Will", watcher.recv()).await.expect("the broker runs");
    assert_eq!(will.message.payload(), b"gone");
}

#[tokio::test]
async fn the_end_of_a_connection_is_a_close_frame_behind_the_last_packet() {
    let (broker, address) = default_broker().await;
    let mut client = Frames::over(tcp(address).await).await;
    let nameless = mqtt_codec::Connect { clean_session: false, ..connect("") };
    client.send(Packet::Connect(Box::new(nameless))).await;
    assert!(matches!(client.recv().await, Packet::Connack(Connack::Refused(_))));
    client.expect_close(None).await;

    let mut client = Frames::connected(tcp(address).await, "a").await;
    assert!(broker.client("a").expect("it is connected").disconnect());
    client.expect_close(None).await;
}

#[tokio::test]
async fn the_hooks_see_the_peer_as_over_tcp() {
    let journal = Journal::default();
    let noted = journal.clone();
    let builder = Broker::builder().on_accept(move |request| {
        noted.note(request.peer.to_string());
        false
    });
    let (broker, address) = start_websocket(builder, WebSocketOptions::default()).await;
    let mut stream = tcp(address).await;
    let local = stream.local_addr().unwrap();
    assert!(matches!(soon("the end", stream.read(&mut [0])).await, Ok(0) | Err(_)));
    assert_eq!(journal.lines(), [Peer::Inet(local).to_string()]);
    assert_eq!(broker.counts().connections_refused, 1);
}

#[tokio::test]
async fn a_slow_upgrade_delays_nobody_and_ends_at_the_deadline() {
    let hasty = limits(|limits| limits.connect_timeout = Duration::from_millis(300));
    let (broker, address) =
        start_websocket(Broker::builder().limits(hasty), WebSocketOptions::default()).await;
    let mut slow = tcp(address).await;
    slow.write_all(b"GET /mqtt HTTP/1.1\r\n").await.unwrap();
    eventually("the slow one to be counted", || broker.snapshot().connections == 1).await;
    Frames::connected(tcp(address).await, "a").await.ping().await;
    assert!(matches!(soon("the deadline", slow.read(&mut [0])).await, Ok(0) | Err(_)));
    // The upgrade and the CONNECT have one deadline between them.
    let mut silent = Frames::over(tcp(address).await).await;
    silent.expect_close(None).await;
    eventually("all to be gone", || broker.snapshot().connections == 0).await;
}

#[tokio::test]
async fn a_shutdown_ends_an_upgrade() {
    let (broker, address) = default_broker().await;
    let mut slow = tcp(address).await;
    slow.write_all(b"GET /mqtt").await.unwrap();
    eventually("the slow one to be counted", || broker.snapshot().connections == 1).await;
    broker.shutdown(Duration::from_secs(5)).await.expect("nobody is left");
}

/// What a client does not read stays bounded, and what was taken from it is not lost.
#[tokio::test]
async fn a_client_that_does_not_read_gets_all_in_the_end() {
    let (_broker, address) = default_broker().await;
    let mut client = Frames::connected(tcp(address).await, "a").await;
    client.send(subscribe(id(1), &[("t", Q1)])).await;
    assert!(matches!(client.recv().await, Packet::Suback(_)));
    let mut sender = Frames::connected(tcp(address).await, "b").await;
    let payload = "x".repeat(100_000);
    for number in 1..=18 {
        sender.send(Packet::Publish(publish("t", &payload, Q1, id(number)))).await;
        assert!(matches!(sender.recv().await, Packet::Puback(_)));
    }
    for _ in 1..=18 {
        match client.recv().await {
            Packet::Publish(publish) => assert!(publish.payload == payload),
            other => panic!("{other:?} instead of PUBLISH"),
        }
    }
}

#[tokio::test]
async fn other_protocols_are_told_apart() {
    let log = LogLines::collect(Level::WARN);
    let (broker, plain) = start(Broker::builder()).await;
    assert!(upgrade(tcp(plain).await, "/mqtt", &[MQTT]).await.is_err());
    let address = broker
        .listen_with("127.0.0.1:0", Transport::tcp().websocket(WebSocketOptions::default()))
        .await
        .expect("a second listener");
    let mut plain_on_websocket = Client::open(address).await;
    plain_on_websocket.send(Packet::Connect(Box::new(connect("a")))).await;
    assert_eq!(plain_on_websocket.next().await, None);
    // Both listeners are one broker.
    let mut over_tcp = Client::connected(plain, "a").await;
    let mut over_websocket = Frames::connected(tcp(address).await, "b").await;
    over_tcp.ping().await;
    over_websocket.ping().await;
    eventually("the mistaken ones to be gone", || broker.snapshot().connections == 2).await;

    // A TLS ClientHello, and what a proxy says.
    for (address, bytes) in
        [(address, &b"\x16\x03\x01\0\xff\x01"[..]), (plain, b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 1883\r\n")]
    {
        let mut stream = tcp(address).await;
        stream.write_all(bytes).await.unwrap();
        stream.write_all(&[0; 200]).await.unwrap();
        assert!(matches!(soon("the end", stream.read(&mut [0])).await, Ok(0) | Err(_)));
    }
    assert_eq!(log.count("HTTP on a listener for plain MQTT"), 1);
    assert_eq!(log.count("no HTTP on a WebSocket listener, but plain MQTT or TLS"), 2);
    assert_eq!(log.count("a PROXY protocol header on a listener that expects none"), 1);
    assert_eq!(log.lines().len(), 4, "{:#?}", log.lines());
}
