//! Behind proxies: the PROXY protocol on each kind of listener, and `X-Forwarded-For` on WebSocket.

use std::{net::SocketAddr, time::Duration};

use mqtt_broker::{BanTarget, Broker, Builder, CloseReason, RefusalReason, Transport, TrustedSources};
use mqtt_codec::{Connack, Packet};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tracing::Level;

use crate::{
    client::{Client, connect},
    journal::{Journal, eventually, soon},
    limits,
    log_lines::LogLines,
};

const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 1883\r\n";
const LINE_CLIENT: &str = "192.0.2.7:4711";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// Of `2001:db8::7`, with something behind the addresses.
fn binary() -> Vec<u8> {
    let mut from = [0; 16];
    from[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    from[15] = 7;
    let tlvs = [&[0x04, 0x07, 0xd0][..], &[0xee; 2_000]].concat();
    let len = u16::try_from(36 + tlvs.len()).unwrap().to_be_bytes();
    let ports = [0x12, 0x67, 7, 91];
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x21", &len[..], &from, &[0; 16], &ports, &tlvs].concat()
}
const BINARY_CLIENT: &str = "[2001:db8::7]:4711";

fn sources(text: &str) -> TrustedSources {
    text.parse().unwrap()
}

async fn start_behind(proxies: &str, builder: Builder) -> (Broker, SocketAddr) {
    let broker = builder.build();
    let transport = Transport::tcp().proxy_protocol(sources(proxies));
    let address = broker.listen_with("127.0.0.1:0", transport).await.expect("a free port");
    (broker, address)
}

/// A proxy that has said for whom it speaks.
async fn proxy(address: SocketAddr, header: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("the broker listens");
    stream.write_all(header).await.expect("the broker reads");
    stream
}

async fn connected<S: AsyncRead + AsyncWrite + Unpin>(stream: S, client_id: &str) -> Client<S> {
    let mut client = Client::over(stream);
    assert_eq!(client.connect(connect(client_id)).await, Connack::Accepted { session_present: false });
    client
}

fn peer_of(broker: &Broker, client_id: &str) -> String {
    broker.client(client_id).expect("it is connected").info().peer.to_string()
}

async fn expect_end(mut stream: TcpStream) {
    assert!(matches!(soon("the end", stream.read(&mut [0])).await, Ok(0) | Err(_)));
}

/// Notes whom the accept hook is asked about.
fn journaled() -> (Journal, Builder) {
    let journal = Journal::default();
    let noted = journal.clone();
    let builder = Broker::builder().on_accept(move |request| {
        noted.note(request.peer.to_string());
        !request.peer.to_string().starts_with("203.0.113.")
    });
    (journal, builder)
}

#[tokio::test]
async fn both_versions_name_the_client() {
    let (journal, builder) = journaled();
    let (broker, address) = start_behind("127.0.0.0/8", builder).await;
    let mut first = connected(proxy(address, LINE).await, "a").await;
    let mut second = connected(proxy(address, &binary()).await, "b").await;
    assert_eq!((&*peer_of(&broker, "a"), &*peer_of(&broker, "b")), (LINE_CLIENT, BINARY_CLIENT));
    first.ping().await;
    second.ping().await;
    // The hook knows of clients, not of proxies, and is asked once about each.
    assert_eq!(journal.lines(), [LINE_CLIENT, BINARY_CLIENT]);
    expect_end(proxy(address, b"PROXY TCP4 203.0.113.9 10.0.0.1 1 2\r\n").await).await;
    assert_eq!(broker.counts().connections_refused, 1);
}

#[tokio::test]
async fn bans_and_limits_are_of_whom_the_proxy_names() {
    let one_each = limits(|limits| limits.max_connections_per_address = Some(1));
    let (broker, address) = start_behind("127.0.0.1", Broker::builder().limits(one_each)).await;
    broker.ban(BanTarget::Network("203.0.113.0/24".parse().unwrap()), "", None).unwrap();
    expect_end(proxy(address, b"PROXY TCP4 203.0.113.9 10.0.0.1 1 2\r\n").await).await;
    let mut first = connected(proxy(address, LINE).await, "a").await;
    expect_end(proxy(address, LINE).await).await;
    connected(proxy(address, &binary()).await, "b").await.ping().await;
    first.ping().await;
    let refused = |reason| broker.counts().refused_for(reason);
    assert_eq!([RefusalReason::Banned, RefusalReason::TooManyFromAddress].map(refused), [1, 1]);
}

#[tokio::test]
async fn a_header_may_come_in_any_pieces_and_with_the_packets_behind_it() {
    let (broker, address) = start_behind("127.0.0.1", Broker::builder()).await;
    let mut packet = Vec::new();
    Packet::Connect(Box::new(connect("a"))).encode(&mut packet).unwrap();
    for header in [LINE, &binary()] {
        let bytes = [header, &packet].concat();
        for cut in [bytes.len(), 1, 13, 17] {
            let mut client = Client::over(proxy(address, &bytes[..cut]).await);
            tokio::task::yield_now().await;
            for piece in bytes[cut..].chunks(700) {
                client.send_bytes(piece).await;
            }
            assert_eq!(client.recv().await, Packet::Connack(Connack::Accepted { session_present: false }));
            client.disconnect().await;
        }
    }
    eventually("all to be gone", || broker.snapshot().connections == 0).await;
}

#[tokio::test]
async fn nobody_else_gets_in_by_such_a_listener() {
    let log = LogLines::collect(Level::INFO);
    let (broker, address) = start_behind("10.0.0.0/8, unix", Broker::builder()).await;
    expect_end(proxy(address, LINE).await).await;
    assert_eq!(broker.counts().connections_refused, 1);
    assert_eq!(broker.counts().refused_for(RefusalReason::NotAProxy), 1);
    assert_eq!(broker.snapshot().connections, 0);
    eventually("a line", || log.count("its listener is for trusted proxies alone") == 1).await;
}

#[tokio::test]
async fn a_proxy_without_a_header_is_cut_off() {
    let log = LogLines::collect(Level::INFO);
    let hasty = limits(|limits| limits.connect_timeout = Duration::from_millis(300));
    let (broker, address) = start_behind("127.0.0.1", Broker::builder().limits(hasty)).await;
    let mut client = Client::open(address).await;
    client.send(Packet::Connect(Box::new(connect("a")))).await;
    client.expect_end().await;
    eventually("a line", || log.count("no PROXY protocol header") == 1).await;
    for header in [&b"PROXY TCP4 1.2.3.4\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c", &LINE[..20]] {
        expect_end(proxy(address, header).await).await; // The last one at the deadline.
    }
    eventually("a line", || log.count("took too long") == 1).await;
    assert_eq!(log.count("its handshake failed"), 3);
    eventually("all to be gone", || broker.snapshot().connections == 0).await;
}

#[tokio::test]
async fn a_health_check_is_no_error() {
    let log = LogLines::collect(Level::INFO);
    let (broker, address) = start_behind("127.0.0.1", Broker::builder()).await;
    for header in [LOCAL, b""] {
        drop(proxy(address, header).await);
    }
    // One that goes on to speak is the proxy itself.
    let stream = proxy(address, LOCAL).await;
    let own = stream.local_addr().unwrap().to_string();
    let client = connected(stream, "a").await;
    assert_eq!(peer_of(&broker, "a"), own);
    drop(client);
    eventually("all to be gone", || broker.snapshot().connections == 0).await;
    // The one without a byte; to MQTT, who sent a header has begun a connection.
    assert_eq!(broker.counts().closed_for(&CloseReason::HealthCheck), 1);
    let lines = log.lines();
    assert_eq!(
        (lines.len(), log.count("connected client_id=\"a\"")),
        (2, 2),
        "its client came and went: {lines:#?}"
    );
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn ahead_of_tls_and_its_health_checks_too() {
    use mqtt_broker::{Tls, TlsOptions};
    use test_certificates::Authority;

    use crate::tls;

    let log = LogLines::collect(Level::INFO);
    let authority = Authority::new("a");
    let files = authority.server("server");
    let server = Tls::load(TlsOptions::new(files.certificates, files.private_key)).unwrap();
    let broker = Broker::builder().build();
    let transport = Transport::tcp().tls(&server).proxy_protocol(sources("127.0.0.1"));
    let address = broker.listen_with("127.0.0.1:0", transport).await.unwrap();
    for header in [LOCAL, b""] {
        drop(proxy(address, header).await);
    }
    eventually("all to be gone", || {
        broker.counts().connections_accepted == 2 && broker.snapshot().connections == 0
    })
    .await;
    assert_eq!(log.lines(), <[String; 0]>::default());
    assert_eq!(broker.counts().closed_for(&CloseReason::HealthCheck), 2);
    let stream = tls::shake_hands_over(proxy(address, LINE).await, tls::trusting(&authority, None)).await;
    connected(stream.expect("a handshake"), "a").await.ping().await;
    assert_eq!(peer_of(&broker, "a"), LINE_CLIENT);
}

#[cfg(unix)]
#[tokio::test]
async fn over_a_unix_socket() {
    use mqtt_broker::Listener;
    use tokio::net::UnixStream;

    let path = std::env::temp_dir().join(format!("gmqtt-proxied-{}.sock", std::process::id()));
    let broker = Broker::builder().build();
    let listener = Listener::new("local", Transport::tcp().proxy_protocol(sources("unix")));
    broker.listen_unix_with(&path, 0o600, listener).unwrap();
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(&binary()).await.unwrap();
    connected(stream, "a").await.ping().await;
    assert_eq!(peer_of(&broker, "a"), BINARY_CLIENT);
    broker.shutdown(Duration::from_secs(5)).await.expect("nobody is left");
}

#[cfg(feature = "websocket")]
mod websocket {
    use mqtt_broker::WebSocketOptions;

    use super::*;
    use crate::websocket::{Frames, MQTT, refused, start_websocket, upgrade};

    async fn forwarded(
        address: SocketAddr,
        fields: &'static [&'static str],
        client_id: &str,
    ) -> Frames<TcpStream> {
        let fields = fields.iter().map(|field| ("x-forwarded-for", *field));
        let headers: Vec<_> = fields.chain([MQTT]).collect();
        let stream = TcpStream::connect(address).await.unwrap();
        upgrade(stream, "/mqtt", &headers).await.expect("an upgrade").0.connected_as(client_id).await
    }

    #[tokio::test]
    async fn a_request_names_the_client() {
        let (journal, builder) = journaled();
        let options = WebSocketOptions::default().forwarded_for(sources("127.0.0.1, 10.0.0.0/8"));
        let (broker, address) = start_websocket(builder, options).await;
        let _a = forwarded(address, &["spoofed, 198.51.100.1", "192.0.2.7, 10.0.0.3"], "a").await;
        let _b = forwarded(address, &[], "b").await;
        assert_eq!(peer_of(&broker, "a"), "192.0.2.7:0");
        assert!(peer_of(&broker, "b").starts_with("127.0.0.1:"));
        assert_eq!(journal.lines(), [peer_of(&broker, "a"), peer_of(&broker, "b")]);
        assert_eq!(refused(address, "/mqtt", &[("x-forwarded-for", "203.0.113.5"), MQTT]).await, 403);
        assert_eq!(broker.counts().connections_refused, 1);
    }

    #[tokio::test]
    async fn bans_and_limits_are_of_whom_the_request_names() {
        let one_each = limits(|limits| limits.max_connections_per_address = Some(1));
        let options = WebSocketOptions::default().forwarded_for(sources("127.0.0.1"));
        let (broker, address) = start_websocket(Broker::builder().limits(one_each), options).await;
        broker.ban(BanTarget::Network("203.0.113.0/24".parse().unwrap()), "", None).unwrap();
        let _first = forwarded(address, &["192.0.2.7"], "a").await;
        for (client, reason) in
            [("203.0.113.5", RefusalReason::Banned), ("192.0.2.7", RefusalReason::TooManyFromAddress)]
        {
            assert_eq!(refused(address, "/mqtt", &[("x-forwarded-for", client), MQTT]).await, 403);
            assert_eq!(broker.counts().refused_for(reason), 1);
        }
        let _other = forwarded(address, &["192.0.2.8"], "b").await;
    }

    #[tokio::test]
    async fn of_strangers_nothing_is_believed() {
        for options in
            [WebSocketOptions::default(), WebSocketOptions::default().forwarded_for(sources("10.0.0.0/8"))]
        {
            let (journal, builder) = journaled();
            let (broker, address) = start_websocket(builder, options).await;
            let _a = forwarded(address, &["192.0.2.7"], "a").await;
            assert!(peer_of(&broker, "a").starts_with("127.0.0.1:"));
            assert_eq!(journal.lines(), [peer_of(&broker, "a")]);
        }
    }

    #[tokio::test]
    async fn the_proxy_protocol_may_name_a_proxy_that_is_trusted() {
        let broker = Broker::builder().build();
        let options = WebSocketOptions::default().forwarded_for(sources("192.0.2.0/24"));
        let transport = Transport::tcp().websocket(options).proxy_protocol(sources("127.0.0.1"));
        let address = broker.listen_with("127.0.0.1:0", transport).await.unwrap();
        let headers = [("x-forwarded-for", "198.51.100.1"), MQTT];
        let frames = upgrade(proxy(address, LINE).await, "/mqtt", &headers).await.expect("an upgrade").0;
        let _client = frames.connected_as("a").await;
        assert_eq!(peer_of(&broker, "a"), "198.51.100.1:0");
    }

    #[cfg(feature = "tls")]
    #[tokio::test]
    async fn ahead_of_a_secure_websocket() {
        use mqtt_broker::{Tls, TlsOptions};
        use test_certificates::Authority;

        use crate::tls;

        let authority = Authority::new("a");
        let files = authority.server("server");
        let server = Tls::load(TlsOptions::new(files.certificates, files.private_key)).unwrap();
        let broker = Broker::builder().build();
        let websocket = Transport::tcp().tls(&server).websocket(WebSocketOptions::default());
        let transport = websocket.proxy_protocol(sources("127.0.0.1"));
        let address = broker.listen_with("127.0.0.1:0", transport).await.unwrap();
        let socket = proxy(address, &binary()).await;
        let stream =
            tls::shake_hands_over(socket, tls::trusting(&authority, None)).await.expect("a handshake");
        let _client = Box::pin(Frames::connected(stream, "a")).await;
        assert_eq!(peer_of(&broker, "a"), BINARY_CLIENT);
    }
}
