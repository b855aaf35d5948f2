//! What an operator does in trouble: look at queues and retained messages, ban, trace, read what happened.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use mqtt_admin::{AdminOptions, ClientEvents};
use mqtt_broker::{Broker, Limits, Peer, QoS, store::MemoryStore};
use mqtt_codec::Packet;
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};

use crate::{World, http::STUCK};

#[tokio::test]
async fn retained_messages_are_listed_shown_and_forgotten() {
    let world = World::start().await;
    let http = world.http();
    let batch: Vec<Value> = (0..5)
        .map(|n| json!({"topic": format!("a/{n}"), "payload": n.to_string(), "retain": true, "qos": 1}))
        .chain([json!({"topic": "b", "payload": "x".repeat(5_000), "retain": true})])
        .collect();
    http.post("/api/v1/publish/batch", &json!(batch)).await.json();
    let first = http.get("/api/v1/retained?filter=a/%2B&limit=3").await.json();
    let topics = |answer: &Value| -> Vec<String> {
        answer["list"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["topic"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        (topics(&first), &first["next_after"]),
        (vec!["a/0".into(), "a/1".into(), "a/2".into()], &json!("a/2"))
    );
    assert_eq!((&first["list"][0]["payload"], &first["list"][0]["qos"]), (&json!("MA=="), &json!(1)));
    let rest = http.get("/api/v1/retained?filter=a/%2B&limit=3&after=a/2").await.json();
    assert_eq!((topics(&rest), rest.get("next_after")), (vec!["a/3".into(), "a/4".into()], None));
    let large = http.get("/api/v1/retained/message?topic=b").await.json();
    assert_eq!((&large["payload_bytes"], large["payload"].as_str().unwrap().len()), (&json!(5_000), 6_668));
    let forgotten = http.delete("/api/v1/retained?filter=a/%23").await.json();
    assert_eq!(forgotten, json!({"forgotten": 5, "may_be_more": false}));
    assert_eq!(world.broker.snapshot().retained_messages, 1);
    http.get("/api/v1/retained/message?topic=a/0").await.problem(404);
    http.get("/api/v1/retained/message?topic=%23").await.problem(400);
    http.get("/api/v1/retained?limit=0").await.problem(400);
    http.delete("/api/v1/retained").await.problem(400);
}

#[tokio::test]
async fn what_waits_for_a_client_can_be_looked_at() {
    let world = World::start().await;
    let mut client = world.connect("a", false).await;
    client.subscribe("t/#", QoS::ExactlyOnce).await;
    client.send(Packet::Disconnect).await;
    client.expect_end().await;
    for (topic, qos) in [("t/0", 0), ("t/1", 1), ("t/2", 0), ("t/3", 2)] {
        world
            .http()
            .post("/api/v1/publish", &json!({"topic": topic, "payload": "x", "qos": qos}))
            .await
            .json();
    }
    let queue = world.http().get("/api/v1/session/a/queue").await.json();
    let shown: Vec<_> =
        queue["list"].as_array().unwrap().iter().map(|one| (&one["topic"], &one["qos"])).collect();
    assert_eq!(json!(shown), json!([["t/0", 0], ["t/1", 1], ["t/2", 0], ["t/3", 2]]));
    let queue = world.http().get("/api/v1/session/a/queue?limit=1").await.json();
    assert_eq!(queue["list"].as_array().unwrap().len(), 1);
    assert_eq!(world.broker.session("a").unwrap().queued_messages, 4);
    world.http().get("/api/v1/session/unknown/queue").await.problem(404);
}

#[tokio::test]
async fn what_waits_on_the_disk_alone_can_be_looked_at_too() {
    let broker = Broker::builder().build_on(MemoryStore::default()).unwrap();
    let world = World::before(broker, (), AdminOptions::default()).await;
    let mut client = world.connect("a", false).await;
    client.subscribe("t", QoS::AtLeastOnce).await;
    client.send(Packet::Disconnect).await;
    client.expect_end().await;
    // More than is read at a time.
    let batch: Vec<Value> =
        (0..300).map(|n| json!({"topic": "t", "payload": format!("{n:>4000}"), "qos": 1})).collect();
    world.http().post("/api/v1/publish/batch", &json!(batch)).await.json();
    for limit in [1, 200] {
        let queue = world.http().get(&format!("/api/v1/session/a/queue?limit={limit}")).await.json();
        let shown: Vec<String> = queue["list"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| STANDARD.decode(one["payload"].as_str().unwrap()).unwrap())
            .map(|payload| String::from_utf8(payload).unwrap().trim().to_owned())
            .collect();
        assert_eq!(shown, (0..limit).map(|n| n.to_string()).collect::<Vec<_>>());
    }
    let all = world.http().get("/api/v1/session/a/queue?limit=1000").await.json();
    assert!((250..=300).contains(&all["list"].as_array().unwrap().len()), "a bound in bytes");
    assert_eq!(world.broker.session("a").unwrap().queued_messages, 300);
}

#[tokio::test]
async fn a_subscription_says_since_when_and_a_restart_is_said_to_be_one() {
    let store = MemoryStore::default();
    let since = |list: &Value| list["list"][0]["at"].as_str().unwrap().to_owned();
    let before = {
        let broker = Broker::builder().build_on(store.clone()).unwrap();
        let world = World::before(broker, (), AdminOptions::default()).await;
        let mut client = world.connect("a", false).await;
        client.subscribe("t", QoS::AtLeastOnce).await;
        let before = since(&world.http().get("/api/v1/subscriptions").await.json());
        assert_eq!(since(&world.http().get("/api/v1/subscriptions/a").await.json()), before);
        world.broker.shutdown(STUCK).await.unwrap();
        before
    };
    assert!(before.as_str() > "2024", "{before}");
    let broker = Broker::builder().build_on(store).unwrap();
    let world = World::before(broker, (), AdminOptions::default()).await;
    let after = world.http().get("/api/v1/subscriptions").await.json();
    assert_eq!(since(&after), "0001-01-01T00:00:00Z");
    let session = world.http().get("/api/v1/session/a").await.json();
    assert!(session["offline_at"].as_str().unwrap() > before.as_str(), "{session}");
}

#[tokio::test]
async fn who_is_banned_is_gone_until_he_is_forgiven() {
    let world = World::start().await;
    let http = world.http();
    let mut client = world.connect("bad", true).await;
    let ban = json!({"client_id": "bad", "reason": "floods", "seconds": 60});
    assert_eq!(http.post("/api/v1/bans", &ban).await.status, 204);
    client.expect_end().await;
    let bans = http.get("/api/v1/bans").await.json();
    let shown = (&bans[0]["kind"], &bans[0]["value"], &bans[0]["reason"], &bans[0]["origin"]);
    assert_eq!(json!(shown), json!(["client_id", "bad", "floods", "operator"]));
    assert!(bans[0]["seconds_left"].as_u64().unwrap() <= 60);
    http.delete("/api/v1/bans?client_id=other").await.problem(404);
    assert_eq!(http.delete("/api/v1/bans?client_id=bad").await.status, 204);
    world.connect("bad", true).await.ping().await;
    http.post("/api/v1/bans", &json!({"network": "x"})).await.problem(400);
    http.post("/api/v1/bans", &json!({"client_id": "a", "username": "b"})).await.problem(400);
    assert_eq!(http.post("/api/v1/bans", &json!({"network": "192.0.2.0/24"})).await.status, 204);
}

/// A mistyped field was dropped, and the ban was one for ever.
#[tokio::test]
async fn a_ban_that_cannot_be_meant_is_refused() {
    let world = World::start().await;
    let http = world.http();
    for (wrong, status, what) in [
        (json!({"client_id": "a", "second": 60}), 422, "`second`"),
        (json!({"client_id": "a", "seconds": 0}), 400, "`seconds`"),
        (json!({"client_id": ""}), 400, "`client_id`"),
    ] {
        let problem = http.post("/api/v1/bans", &wrong).await.problem(status);
        assert!(problem.contains(what), "{problem}");
    }
    assert_eq!(http.get("/api/v1/bans").await.json(), json!([]));
    // A client may say that this is its user.
    assert_eq!(http.post("/api/v1/bans", &json!({"username": ""})).await.status, 204);
}

#[tokio::test]
async fn what_happened_to_a_client_can_be_read() {
    let events = ClientEvents::default();
    let mut options = AdminOptions::default();
    options.events = Some(events.clone());
    let world = World::with(Broker::builder().observer(events.clone()), (), options).await;
    let mut client = world.connect("a", false).await;
    client.subscribe("t/+", QoS::AtLeastOnce).await;
    world.http().delete("/api/v1/client/a").await;
    client.expect_end().await;
    events.decided("a", Peer::Unknown, "line 7 of the access file");
    // It is noted after the client was told.
    let mut shown = Vec::new();
    while shown.last().is_none_or(|(event, _): &(String, String)| event != "decided") || shown.len() < 4 {
        let answer = world.http().get("/api/v1/client/a/events").await.json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        shown = answer["list"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (text(&one["event"]), text(&one["detail"])))
            .collect();
        shown.sort_by_key(|(event, _)| event == "decided");
    }
    let words =
        [("connected", "from 127.0.0.1"), ("subscribed", "t/+ with QoS 1"), ("disconnected", "operator")];
    for ((event, detail), (wanted, part)) in shown.iter().zip(words) {
        assert!(event == wanted && detail.contains(part), "{shown:?}");
    }
    assert_eq!(world.http().get("/api/v1/client/unknown/events").await.json(), json!({"list": []}));
}

/// Reads on until the stream has this in it.
pub(crate) async fn read_until(stream: &mut TcpStream, text: &mut String, part: &str) {
    let read = async {
        while !text.contains(part) {
            let mut bytes = [0; 4096];
            let read = stream.read(&mut bytes).await.unwrap();
            assert!(read > 0, "the stream has ended without {part}: {text}");
            text.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
    };
    // Over all, since a stream with nothing to say is not silent.
    let outcome = timeout(STUCK, read).await;
    outcome.unwrap_or_else(|_| panic!("no {part}: {text}"));
}

#[tokio::test]
async fn a_trace_shows_what_happens_to_one_client_and_nothing_else() {
    let mut options = AdminOptions::default();
    options.max_streams = 2;
    let world = World::with(Broker::builder(), (), options).await;
    let http = world.http();
    let mut by_client = http.begin("GET", "/api/v1/trace?client_id=a", "", "").await;
    let mut by_topic = http.begin("GET", "/api/v1/trace?filter=t/%23", "", "").await;
    let (mut of_client, mut of_topic) = (String::new(), String::new());
    read_until(&mut by_client, &mut of_client, "text/event-stream").await;
    read_until(&mut by_topic, &mut of_topic, "text/event-stream").await;
    http.get("/api/v1/trace?client_id=a").await.problem(429);
    http.get("/api/v1/trace").await.problem(400);
    let mut a = world.connect("a", true).await;
    let mut other = world.connect("other", true).await;
    a.subscribe("t/+", QoS::AtMostOnce).await;
    other.subscribe("t/+", QoS::AtMostOnce).await;
    http.post("/api/v1/publish", &json!({"topic": "u", "payload": "secret"})).await.json();
    http.post("/api/v1/publish", &json!({"topic": "t/1", "payload": "secret"})).await.json();
    a.payload().await;
    a.send(Packet::Disconnect).await;
    a.expect_end().await;
    read_until(&mut by_client, &mut of_client, r#""event":"closed""#).await;
    for part in
        [r#""event":"connected""#, r#""detail":"SUBSCRIBE""#, r#""event":"delivered""#, r#""topic":"t/1""#]
    {
        assert!(of_client.contains(part), "{part}: {of_client}");
    }
    assert!(!of_client.contains("other") && !of_client.contains("secret"), "{of_client}");
    read_until(&mut by_topic, &mut of_topic, "other").await;
    assert!(!of_topic.contains("SUBSCRIBE") && !of_topic.contains(r#""u""#), "{of_topic}");
}

#[tokio::test]
async fn a_trace_of_an_address_shows_its_clients_alone() {
    let world = World::start().await;
    let http = world.http();
    let mut here = http.begin("GET", "/api/v1/trace?address=127.0.0.1", "", "").await;
    let mut elsewhere = http.begin("GET", "/api/v1/trace?address=192.0.2.1", "", "").await;
    let (mut of_here, mut of_elsewhere) = (String::new(), String::new());
    read_until(&mut here, &mut of_here, "text/event-stream").await;
    read_until(&mut elsewhere, &mut of_elsewhere, "text/event-stream").await;
    let mut client = world.connect("a", true).await;
    client.ping().await;
    read_until(&mut here, &mut of_here, r#""detail":"PINGREQ""#).await;
    assert!(of_here.contains(r#""client_id":"a""#), "{of_here}");
    http.get("/api/v1/trace?address=localhost").await.problem(400);
    let nothing = elsewhere.try_read(&mut [0; 4096]);
    assert!(nothing.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock), "{of_elsewhere}");
}

/// What mosquitto calls its figures, and people graph.
const SYS: &str = "bytes/received bytes/sent clients/connected clients/disconnected clients/expired clients/maximum \
    clients/total messages/inflight messages/received messages/sent messages/stored publish/bytes/received \
    publish/bytes/sent publish/messages/dropped publish/messages/received publish/messages/sent retained_messages/count \
    store/messages/bytes store/messages/count subscriptions/count uptime version load/bytes/received/1min \
    load/bytes/sent/5min load/connections/15min load/messages/received/1min load/messages/sent/5min \
    load/publish/dropped/15min load/publish/received/1min load/publish/sent/5min load/sockets/15min";

#[tokio::test]
async fn sys_topics_are_retained_published_and_not_for_clients_to_write() {
    let mut limits = Limits::default();
    limits.sys_interval = Some(Duration::from_secs(1));
    let world = World::with(Broker::builder().limits(limits), (), AdminOptions::default()).await;
    let mut client = world.connect("a", true).await;
    client.subscribe("$SYS/broker/clients/total", QoS::AtMostOnce).await;
    // What was published before this client came says 0.
    while client.payload().await != b"1" {}
    let mut late = world.connect("late", true).await;
    late.subscribe("$SYS/broker/version", QoS::AtMostOnce).await;
    let version = late.publish().await;
    assert!(version.retain && version.payload.starts_with(b"gmqtt "), "{version:?}");
    late.subscribe("$SYS/#", QoS::AtMostOnce).await;
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 54 {
        seen.insert(late.publish().await.topic.as_str().to_owned());
    }
    for name in SYS.split_whitespace() {
        let topic = format!("$SYS/broker/{}", name.replace('_', " "));
        assert!(seen.contains(&topic), "{topic}: {seen:?}");
    }
    let mut everything = world.connect("everything", true).await;
    everything.subscribe("#", QoS::AtMostOnce).await;
    everything.ping().await;
}
