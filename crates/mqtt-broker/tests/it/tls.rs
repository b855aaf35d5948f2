//! MQTT within TLS: versions, certificates, identities, reloads, and handshakes that go nowhere.

use std::{fs, net::SocketAddr, sync::Arc, time::Duration};

use mqtt_broker::{
    Broker, Builder, CertificateField, ClientCertificates, CloseReason, Tls, TlsOptions, Transport,
};
use mqtt_codec::Connack;
use test_certificates::{Authority, Files};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    },
};

use tracing::Level;

use crate::{
    Q1,
    client::{Client, connect, credentials},
    journal::{Journal, eventually, soon},
    limits,
    log_lines::LogLines,
    start,
};

type TlsClient = Client<TlsStream<TcpStream>>;

/// A server with a certificate of this authority, and clients without.
fn options(authority: &Authority) -> TlsOptions {
    let Files { certificates, private_key } = authority.server("server");
    TlsOptions::new(certificates, private_key)
}

fn with_clients(authority: &Authority, policy: ClientCertificates) -> TlsOptions {
    let mut options = options(authority);
    options.client_certificates = policy;
    options.client_authorities = vec![authority.bundle()];
    options
}

async fn start_tls(builder: Builder, options: TlsOptions) -> (Broker, SocketAddr, Tls) {
    let broker = builder.build();
    let tls = Tls::load(options).expect("good files");
    let address = broker.listen_with("127.0.0.1:0", Transport::tcp().tls(&tls)).await.expect("a free port");
    (broker, address, tls)
}

/// For a broker that is there already.
pub(crate) async fn listen_tls(broker: &Broker, authority: &Authority) -> SocketAddr {
    let tls = Tls::load(options(authority)).expect("good files");
    broker.listen_with("127.0.0.1:0", Transport::tcp().tls(&tls)).await.expect("a free port")
}

/// A client that trusts the authority, and shows a certificate if it has one.
pub(crate) fn trusting(authority: &Authority, own: Option<&Files>) -> ClientConfig {
    trusting_with(authority, own, rustls::ALL_VERSIONS)
}

fn trusting_with(
    authority: &Authority,
    own: Option<&Files>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.bundle()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    match own {
        None => builder.with_no_client_auth(),
        Some(Files { certificates, private_key }) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_file(certificates).unwrap()],
                PrivateKeyDer::from_pem_file(private_key).unwrap(),
            )
            .unwrap(),
    }
}

pub(crate) async fn shake_hands(
    address: SocketAddr,
    config: ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    shake_hands_over(TcpStream::connect(address).await?, config).await
}

pub(crate) async fn shake_hands_over(
    socket: TcpStream,
    config: ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    soon("the handshake", TlsConnector::from(Arc::new(config)).connect(name, socket)).await
}

async fn connected(address: SocketAddr, config: ClientConfig, client_id: &str) -> TlsClient {
    let mut client = Client::over(shake_hands(address, config).await.expect("a handshake"));
    assert_eq!(client.connect(connect(client_id)).await, Connack::Accepted { session_present: false });
    client
}

/// In TLS 1.3 a client learns only after its own handshake what the server thinks of its certificate.
async fn is_refused(address: SocketAddr, config: ClientConfig) -> bool {
    let Ok(mut stream) = shake_hands(address, config).await else { return true };
    let _ = stream.write_all(b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01a").await;
    matches!(soon("an answer", stream.read(&mut [0; 4])).await, Ok(0) | Err(_))
}

#[tokio::test]
async fn both_versions_and_large_messages() {
    let authority = Authority::new("a");
    let (broker, address, _) = start_tls(Broker::builder(), options(&authority)).await;
    for (versions, version) in [
        (&[&rustls::version::TLS12][..], ProtocolVersion::TLSv1_2),
        (&[&rustls::version::TLS13], ProtocolVersion::TLSv1_3),
    ] {
        let mut client = connected(address, trusting_with(&authority, None, versions), "a").await;
        assert_eq!(client.stream.get_ref().1.protocol_version(), Some(version));
        client.subscribe("t", Q1).await;
        let payload = "x".repeat(300_000);
        let (topic, qos) = (crate::topic("t"), Q1);
        broker.publish(&mqtt_broker::Message::new(&topic, payload.as_bytes(), qos));
        assert!(client.message().await == format!("t {payload}"));
        client.disconnect().await;
    }
}

#[tokio::test]
async fn a_client_that_was_here_before_resumes_its_session() {
    let authority = Authority::new("a");
    let (_broker, address, _) = start_tls(Broker::builder(), options(&authority)).await;
    for versions in [&[&rustls::version::TLS12][..], &[&rustls::version::TLS13]] {
        let config = trusting_with(&authority, None, versions);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut client = connected(address, config.clone(), "a").await;
            assert_eq!(client.stream.get_ref().1.handshake_kind(), Some(kind));
            client.ping().await;
            client.disconnect().await;
        }
    }
}

/// A farewell (`close_notify`) and the end of the stream are two things: without the first, something may have been cut off.
#[tokio::test]
async fn the_end_of_a_connection_with_a_farewell_and_without() {
    let authority = Authority::new("a");
    let (broker, address, _) = start_tls(Broker::builder(), options(&authority)).await;
    let closed_for = |reason| broker.counts().closed_for(&reason);

    let mut polite = connected(address, trusting(&authority, None), "a").await;
    polite.stream.get_mut().1.send_close_notify();
    polite.stream.flush().await.unwrap();
    // The broker closes its half with a farewell of its own.
    assert_eq!(soon("the end", polite.stream.read(&mut [0])).await.expect("no truncation"), 0);
    eventually("it to be counted", || closed_for(CloseReason::ConnectionLost) == 1).await;

    let cut_off = connected(address, trusting(&authority, None), "a").await;
    drop(cut_off.stream.into_inner().0);
    let reason = CloseReason::Io(std::io::ErrorKind::UnexpectedEof);
    eventually("it to be counted", || closed_for(reason.clone()) == 1).await;
}

#[tokio::test]
async fn a_client_that_is_refused_is_told_why() {
    let authority = Authority::new("a");
    let options = with_clients(&authority, ClientCertificates::Required);
    let (_broker, address, _) = start_tls(Broker::builder(), options).await;
    let mut config = trusting_with(&authority, None, &[&rustls::version::TLS12]);
    let error = shake_hands(address, config.clone()).await.expect_err("no certificate").to_string();
    assert!(error.contains("CertificateRequired") || error.contains("HandshakeFailure"), "{error}");
    config.alpn_protocols = vec![b"x-other".to_vec()];
    let error = shake_hands(address, config).await.expect_err("another protocol").to_string();
    assert!(error.contains("NoApplicationProtocol"), "{error}");
}

/// It is not sent to while it does not read, and gets all of it in the end.
#[tokio::test]
async fn a_client_that_reads_late_misses_nothing() {
    let authority = Authority::new("a");
    let (broker, address, _) = start_tls(Broker::builder(), options(&authority)).await;
    let mut client = connected(address, trusting(&authority, None), "a").await;
    client.subscribe("t", Q1).await;
    let payload = "x".repeat(20_000);
    for number in 0..200 {
        let payload = format!("{number} {payload}");
        broker.publish(&mqtt_broker::Message::new(&crate::topic("t"), payload.as_bytes(), Q1));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    for number in 0..200 {
        assert!(client.message().await == format!("t {number} {payload}"));
    }
    client.ping().await;
}

#[tokio::test]
async fn the_protocol_is_agreed_on() {
    let authority = Authority::new("a");
    let (_broker, address, _) = start_tls(Broker::builder(), options(&authority)).await;
    let mut config = trusting(&authority, None);
    config.alpn_protocols = vec![b"x-other".to_vec(), b"mqtt".to_vec()];
    let stream = shake_hands(address, config.clone()).await.expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"mqtt"[..]));
    config.alpn_protocols = vec![b"x-other".to_vec()];
    assert!(is_refused(address, config).await);
}

#[tokio::test]
async fn client_certificates_that_are_required() {
    let (ours, foreign) = (Authority::new("ours"), Authority::new("foreign"));
    let (_broker, address, _) =
        start_tls(Broker::builder(), with_clients(&ours, ClientCertificates::Required)).await;
    connected(address, trusting(&ours, Some(&ours.client("u", "u", 2))), "a").await;
    assert!(is_refused(address, trusting(&ours, None)).await);
    assert!(is_refused(address, trusting(&ours, Some(&foreign.client("u", "u", 2)))).await);
}

#[tokio::test]
async fn client_certificates_that_are_optional() {
    let (ours, foreign) = (Authority::new("ours"), Authority::new("foreign"));
    let (_broker, address, _) =
        start_tls(Broker::builder(), with_clients(&ours, ClientCertificates::Optional)).await;
    connected(address, trusting(&ours, Some(&ours.client("u", "u", 2))), "a").await;
    connected(address, trusting(&ours, None), "b").await;
    assert!(is_refused(address, trusting(&ours, Some(&foreign.client("u", "u", 2)))).await);
}

/// Several in one file, and several files.
#[tokio::test]
async fn clients_of_each_authority_in_the_bundles_are_served() {
    let [server, first, second, third, foreign] =
        ["server", "first", "second", "third", "foreign"].map(Authority::new);
    let two = [&first, &second].map(|authority| fs::read_to_string(authority.bundle()).unwrap()).concat();
    fs::write(first.bundle(), two).unwrap();
    let mut options = with_clients(&server, ClientCertificates::Required);
    options.client_authorities = vec![first.bundle(), third.bundle()];
    let (_broker, address, _) = start_tls(Broker::builder(), options).await;
    for authority in [&first, &second, &third] {
        connected(address, trusting(&server, Some(&authority.client("u", "u", 2))), "a")
            .await
            .disconnect()
            .await;
    }
    for authority in [&server, &foreign] {
        assert!(is_refused(address, trusting(&server, Some(&authority.client("u", "u", 2)))).await);
    }
}

#[tokio::test]
async fn a_certificate_that_was_revoked() {
    let authority = Authority::new("a");
    let mut options = with_clients(&authority, ClientCertificates::Required);
    options.revocation_lists = vec![authority.revoke("revoked.pem", &[3])];
    let (_broker, address, tls) = start_tls(Broker::builder(), options).await;
    let (two, three) = (authority.client("two", "two", 2), authority.client("three", "three", 3));
    let mut live = connected(address, trusting(&authority, Some(&two)), "a").await;
    assert!(is_refused(address, trusting(&authority, Some(&three))).await);

    authority.revoke("revoked.pem", &[2]);
    tls.reload().expect("good files");
    live.ping().await;
    assert!(is_refused(address, trusting(&authority, Some(&two))).await);
    connected(address, trusting(&authority, Some(&three)), "b").await;
}

#[tokio::test]
async fn the_certificate_names_the_user() {
    let authority = Authority::new("a");
    for (field, user_name) in [
        (CertificateField::CommonName, "sensor 7"),
        (CertificateField::SubjectAltName, "seven.example.org"),
        (CertificateField::DistinguishedName, "O=Example, CN=sensor 7"),
    ] {
        let mut options = with_clients(&authority, ClientCertificates::Optional);
        options.user_name = Some(field);
        let journal = Journal::default();
        let noted = journal.clone();
        let builder = Broker::builder().on_connect(move |request| {
            noted.note(format!("{:?}", request.certificate_user_name.as_deref()));
            async { mqtt_broker::ConnectDecision::Accept }
        });
        let (broker, address, _) = start_tls(builder, options).await;
        let own = authority.client("sensor 7", "seven.example.org", 2);
        let stream = shake_hands(address, trusting(&authority, Some(&own))).await.expect("a handshake");
        let (mut certified, mut other) = (
            Client::over(stream),
            Client::over(shake_hands(address, trusting(&authority, None)).await.unwrap()),
        );
        for (client, client_id) in [(&mut certified, "a"), (&mut other, "b")] {
            let claim =
                mqtt_codec::Connect { credentials: credentials("claimed", "p"), ..connect(client_id) };
            assert!(matches!(client.connect(claim).await, Connack::Accepted { .. }));
        }
        let known = |client_id| broker.client(client_id).unwrap().info().user_name.clone().unwrap();
        assert_eq!((&*known("a"), &*known("b")), (user_name, "claimed"));
        assert_eq!(journal.lines(), [format!("{:?}", Some(user_name)), "None".to_owned()]);
    }
}

#[tokio::test]
async fn a_user_name_that_reaches_into_other_topics_is_refused() {
    let authority = Authority::new("a");
    let mut options = with_clients(&authority, ClientCertificates::Required);
    options.user_name = Some(CertificateField::CommonName);
    let (_broker, address, _) = start_tls(Broker::builder(), options).await;
    for (serial, name) in [(2, "+"), (3, "a/b"), (4, "#"), (5, "a\nb"), (6, "")] {
        let own = authority.client(name, "x", serial);
        assert!(is_refused(address, trusting(&authority, Some(&own))).await, "{name:?}");
    }
    connected(address, trusting(&authority, Some(&authority.client("good", "x", 7))), "a").await;
}

#[tokio::test]
async fn a_reload_leaves_live_connections_alone_and_a_bad_file_leaves_all() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let options = options(&old);
    let (_broker, address, tls) = start_tls(Broker::builder(), options.clone()).await;
    let mut live = connected(address, trusting(&old, None), "live").await;

    let good = fs::read(&options.certificates).unwrap();
    fs::write(&options.certificates, "no certificate").unwrap();
    let error = tls.reload().expect_err("a bad file").to_string();
    assert_eq!(error, format!("{}: no certificate in it", options.certificates.display()));
    connected(address, trusting(&old, None), "a").await;
    // A certificate and a key that do not belong together.
    let others = new.server("others");
    fs::copy(&others.certificates, &options.certificates).unwrap();
    tls.reload().expect_err("files that do not fit");
    fs::remove_file(&options.certificates).unwrap();
    tls.reload().expect_err("a file that is not there");
    fs::write(&options.certificates, good).unwrap();
    tls.reload().expect("as before");
    connected(address, trusting(&old, None), "b").await;

    fs::copy(&others.certificates, &options.certificates).unwrap();
    fs::copy(&others.private_key, &options.private_key).unwrap();
    tls.reload().expect("good files");
    live.ping().await;
    connected(address, trusting(&new, None), "c").await;
    assert!(shake_hands(address, trusting(&old, None)).await.is_err(), "the old certificate is still shown");
}

#[tokio::test]
async fn a_slow_handshake_delays_nobody_and_ends_at_the_deadline() {
    let authority = Authority::new("a");
    let hasty = limits(|limits| limits.connect_timeout = Duration::from_millis(500));
    let (broker, address, _) = start_tls(Broker::builder().limits(hasty), options(&authority)).await;
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(&[0x16, 3, 1]).await.unwrap();
    eventually("the slow one to be counted", || broker.snapshot().connections == 1).await;
    connected(address, trusting(&authority, None), "a").await.ping().await;
    assert!(matches!(soon("the deadline", slow.read(&mut [0])).await, Ok(0) | Err(_)));
    eventually("it to be counted", || broker.counts().closed_for(&CloseReason::ConnectTimeout) == 1).await;
    // The handshake and the CONNECT have one deadline between them.
    let mut silent = shake_hands(address, trusting(&authority, None)).await.expect("a handshake");
    assert!(matches!(soon("the deadline", silent.read(&mut [0])).await, Ok(0) | Err(_)));
    eventually("all to be gone", || broker.snapshot().connections == 0).await;
}

#[tokio::test]
async fn plain_mqtt_on_a_tls_port_and_tls_on_a_plain_one_end() {
    let log = LogLines::collect(Level::INFO);
    let authority = Authority::new("a");
    let (broker, address, _) = start_tls(Broker::builder(), options(&authority)).await;
    let mut plain = Client::open(address).await;
    plain.send(mqtt_codec::Packet::Connect(Box::new(connect("a")))).await;
    let mut rest = Vec::new();
    let _ = soon("the end", plain.stream.read_to_end(&mut rest)).await;
    assert!(rest.is_empty() || rest[0] == 0x15, "an alert or nothing: {rest:?}");
    eventually("it to be gone", || broker.snapshot().connections == 0).await;

    let (_broker, plain_address) = start(Broker::builder()).await;
    assert!(shake_hands(plain_address, trusting(&authority, None)).await.is_err());
    assert_eq!(log.count("plain MQTT or HTTP on a TLS listener: let the client use TLS"), 1);
    assert_eq!(log.count("TLS on a listener without: let the client speak plain MQTT"), 1);
    assert_eq!(log.lines().len(), 2, "{:#?}", log.lines());

    // A flood of them is no flood of lines.
    for _ in 0..30 {
        shake_hands(plain_address, trusting(&authority, None)).await.unwrap_err();
    }
    assert_eq!(log.lines().len(), 11);
}

#[tokio::test]
async fn a_flood_of_handshakes_that_fail_is_counted_and_is_no_flood_of_lines() {
    let log = LogLines::collect(Level::INFO);
    let (ours, foreign) = (Authority::new("ours"), Authority::new("foreign"));
    let (broker, address, _) = start_tls(Broker::builder(), options(&ours)).await;
    let failed = || broker.counts().closed_for(&CloseReason::HandshakeFailed);
    for _ in 0..30 {
        shake_hands(address, trusting(&foreign, None)).await.expect_err("a stranger's certificate");
    }
    eventually("all to be counted", || failed() == 30).await;
    assert_eq!(log.count("its handshake failed"), 10);
    assert_eq!(log.lines().len(), 10, "{:#?}", log.lines());

    // What speaks another protocol has lines of its own, and counts all the same.
    for _ in 0..30 {
        let mut plain = TcpStream::connect(address).await.unwrap();
        plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let _ = soon("the end", plain.read_to_end(&mut Vec::new())).await;
    }
    eventually("all to be counted", || failed() == 60).await;
    assert_eq!(log.count("plain MQTT or HTTP on a TLS listener"), 10);
    assert_eq!(log.lines().len(), 20);
}

#[cfg(feature = "websocket")]
#[tokio::test]
async fn a_secure_websocket() {
    use mqtt_broker::WebSocketOptions;

    let authority = Authority::new("a");
    let broker = Broker::builder().build();
    let mut options = with_clients(&authority, ClientCertificates::Optional);
    options.user_name = Some(CertificateField::CommonName);
    let tls = Tls::load(options).expect("good files");
    let transport = Transport::tcp().tls(&tls).websocket(WebSocketOptions::default());
    let address = broker.listen_with("127.0.0.1:0", transport).await.expect("a free port");
    // As a browser offers it.
    let mut config = trusting(&authority, Some(&authority.client("u", "u", 2)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = shake_hands(address, config).await.expect("a handshake");
    let mut client = Box::pin(crate::websocket::Frames::connected(stream, "a")).await;
    client.ping().await;
    assert_eq!(broker.client("a").unwrap().info().user_name.as_deref(), Some("u"));
}
