//! Each example starts, says where it listens, and does for a client what it is there to show.

mod below;
mod program;

use mqtt_codec::{Connack, Connect, ConnectRefusal, Packet, PacketId, SubscribeReturnCode};

use self::program::Example;
use crate::{
    Q0, Q1, Q2,
    client::{Client, connect, credentials, persistent, publish},
};

#[tokio::test]
async fn embedded_publishes_its_uptime() {
    let example = Example::start("embedded");
    let mut client = Client::connected(example.address, "a").await;
    client.subscribe("clock/#", Q0).await;
    let message = client.message().await;
    assert!(message.starts_with("clock/uptime ") && message.ends_with(" s"), "{message:?}");
}

#[tokio::test]
async fn hooks_gives_each_user_its_rights() {
    let mut example = Example::start("hooks");
    let user = |name: &str| Connect { credentials: credentials(name, name), ..connect(name) };
    let mut stranger = Client::open(example.address).await;
    let refused = Connack::Refused(ConnectRefusal::BadUserNameOrPassword);
    assert_eq!(stranger.connect(user("stranger")).await, refused);
    let wrong = Connect { credentials: credentials("root", "wrong"), ..connect("a") };
    assert_eq!(Client::open(example.address).await.connect(wrong).await, refused);

    let (mut root, _) = Client::accepted(example.address, user("root")).await;
    assert_eq!(root.subscribe("#", Q2).await, SubscribeReturnCode::Granted(Q2));
    for (name, granted) in [
        ("qos0", SubscribeReturnCode::Granted(Q0)),
        ("qos1", SubscribeReturnCode::Granted(Q1)),
        ("publishonly", SubscribeReturnCode::Failure),
        ("subscribeonly", SubscribeReturnCode::Granted(Q2)),
    ] {
        let (mut client, _) = Client::accepted(example.address, user(name)).await;
        assert_eq!(client.subscribe("own", Q2).await, granted, "{name}");
        client.publish("news", name, Q1).await;
        client.disconnect().await;
        assert_eq!(example.next_line(), format!("{name} left: the client disconnected"));
    }
    // What the others published was dropped.
    root.send(Packet::Publish(publish("news", "root", Q0, PacketId::FIRST))).await;
    assert_eq!([root.message().await, root.message().await], ["news publishonly", "news root"]);
    root.send(Packet::Publish(publish("loud/news", "root", Q0, PacketId::FIRST))).await;
    assert_eq!(root.message().await, "loud/news ROOT");
}

#[tokio::test]
async fn observer_prints_what_happens() {
    let mut example = Example::start("observer");
    let mut client = Client::connected(example.address, "a").await;
    client.subscribe("t", Q1).await;
    client.disconnect().await;
    let lines: Vec<String> = (0..5).map(|_| example.next_line()).collect();
    assert!(lines[0].contains("SessionCreated"), "{lines:?}");
    assert!(lines[1].starts_with("+ a from 127.0.0.1:"), "{lines:?}");
    assert!(lines[2].contains("Subscribed") && lines[3].contains("SessionEnded"), "{lines:?}");
    assert_eq!(lines[4], "- a: the client disconnected");
}

#[tokio::test]
async fn local_follows_what_thermometers_publish() {
    let example = Example::start("local");
    let mut client = Client::connected(example.address, "a").await;
    client.subscribe("warmest/#", Q0).await;
    for (room, degrees, warmest) in [("1", "20", "20.0"), ("2", "22.5", "22.5"), ("2", "10", "20.0")] {
        client.publish(&format!("room/{room}/temperature"), degrees, Q1).await;
        assert_eq!(client.message().await, format!("warmest/temperature {warmest}"));
    }
}

#[tokio::test]
async fn store_prints_what_is_kept_before_it_is_acknowledged() {
    let mut example = Example::start("store");
    let (mut client, _) = Client::accepted(example.address, persistent("absent")).await;
    client.subscribe("news", Q1).await;
    client.disconnect().await;
    let mut publisher = Client::connected(example.address, "publisher").await;
    publisher.publish("news", "hello", Q1).await;
    for record in ["SessionStarted {", "Subscribed {", "SessionDetached {", "Queued {"] {
        let line = example.next_line();
        assert!(line.starts_with(record), "{line} instead of {record}");
    }
}

#[tokio::test]
async fn metrics_counts_what_each_client_loses() {
    let mut example = Example::start("metrics");
    // QoS 0 messages wait for an absent client with a session: 2,048 of them, as many as may by default.
    let (mut client, _) = Client::accepted(example.address, persistent("absent")).await;
    client.subscribe("news", Q0).await;
    client.disconnect().await;
    let mut publisher = Client::connected(example.address, "publisher").await;
    let messages: Vec<Packet> =
        (0..2_050).map(|_| Packet::Publish(publish("news", "x", Q0, PacketId::FIRST))).collect();
    publisher.send_all(&messages).await;
    while !example.next_line().ends_with("dropped 2 {\"absent\": 2}") {}
}

#[cfg(unix)]
#[tokio::test]
async fn shutdown_closes_its_clients_and_ends() {
    use rustix::process::{Pid, Signal};

    let mut example = Example::start("shutdown");
    let mut client = Client::connected(example.address, "a").await;
    rustix::process::kill_process(Pid::from_child(&example.process), Signal::TERM).unwrap();
    assert_eq!(client.next().await, None);
    let lines: Vec<String> = (0..3).map(|_| example.next_line()).collect();
    assert_eq!(lines, ["ending", "a: the broker is shutting down", "no connection is left"]);
    assert!(example.process.wait().unwrap().success());
}

#[cfg(feature = "websocket")]
#[tokio::test]
async fn websocket_serves_browsers() {
    use crate::websocket::Frames;

    let example = Example::start("websocket");
    let socket = tokio::net::TcpStream::connect(example.address).await.unwrap();
    Frames::connected(socket, "browser").await.ping().await;
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn tls_knows_clients_by_their_certificates() {
    use test_certificates::Authority;

    use crate::tls::{shake_hands, trusting};

    let authority = Authority::new("Example");
    let (server, anna) = (authority.server("server"), authority.client("anna", "anna.example", 7));
    let files = [&*server.certificates, &*server.private_key, &*authority.bundle()];
    for (arguments, own, printed) in
        [(&files[..2], None, "somebody without a certificate"), (&files[..], Some(&anna), "anna")]
    {
        let mut example = Example::start_with("tls", arguments);
        let stream = shake_hands(example.address, trusting(&authority, own)).await.unwrap();
        let mut client = Client::over(stream);
        assert_eq!(client.connect(connect("c")).await, Connack::Accepted { session_present: false });
        assert_eq!(example.next_line(), format!("c is {printed}"));
    }
}
