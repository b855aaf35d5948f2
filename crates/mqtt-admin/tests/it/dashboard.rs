//! The files of the dashboard, and what it alone asks the API for.

use base64::{Engine, engine::general_purpose::STANDARD};
use mqtt_broker::{Message, QoS, TopicName};
use serde_json::Value;
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};

use crate::{
    World,
    http::{Http, STUCK},
};

#[tokio::test]
async fn its_files_are_served_to_anybody_and_let_nothing_else_in() {
    let world = World::start().await;
    let http = Http::new(world.address);
    for (path, kind) in
        [("/", "text/html"), ("/assets/app.js", "text/javascript"), ("/assets/style.css", "text/css")]
    {
        let answer = http.get(path).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.head.contains(&format!("content-type: {kind}; charset=utf-8")), "{}", answer.head);
        assert!(answer.head.contains("content-security-policy: default-src 'none'; script-src 'self';"));
        assert!(answer.head.contains("cache-control: no-cache"), "{}", answer.head);
        assert!(answer.head.contains("etag: \""), "{}", answer.head);
    }
    for path in
        ["/assets/nothing.js", "/assets/../Cargo.toml", "/assets/%2e%2e/Cargo.toml", "/assets//etc/passwd"]
    {
        let answer = http.get(path).await;
        assert!(matches!(answer.status, 401 | 404), "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn history_begins_with_the_api() {
    let world = World::start().await;
    let first = loop {
        let columns = world.http().get("/api/v1/history?span=minutes").await.json();
        if !columns["at_ms"].as_array().unwrap().is_empty() {
            break columns;
        }
    };
    assert_eq!(
        first["messages_received"].as_array().unwrap().len(),
        first["at_ms"].as_array().unwrap().len()
    );
    assert_eq!(first["drop_reasons"].as_array().unwrap().len(), first["dropped"].as_array().unwrap().len());
    let hour = world.http().get("/api/v1/history").await.json();
    assert_eq!(hour["step_secs"], 10);
    let none = world.http().get(&format!("/api/v1/history?after_ms={}", u64::MAX)).await.json();
    assert_eq!(none["at_ms"], serde_json::json!([]));
}

/// One API on two listeners: what the first did for both, the second does when it is alone.
#[tokio::test]
async fn history_goes_on_when_the_listener_that_began_it_stops() {
    let world = World::start().await;
    let newest = async |address| {
        let http = Http::new(address).token(world.read.secret());
        let columns = http.get("/api/v1/history?span=minutes").await.json();
        columns["at_ms"].as_array().unwrap().last().map_or(0, |at| at.as_u64().unwrap())
    };
    while newest(world.address).await == 0 {}
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (second, stop) = (listener.local_addr().unwrap(), tokio_util::sync::CancellationToken::new());
    let (admin, until) = (world.admin.clone(), stop.clone());
    tokio::spawn(async move { admin.serve(listener, until).await });
    newest(second).await;
    world.stop.cancel();
    let last_of_the_first = newest(second).await;
    let goes_on = async { while newest(second).await < last_of_the_first + 1_500 {} };
    timeout(STUCK, goes_on).await.expect("a sample of the second");
    stop.cancel();
}

#[tokio::test]
async fn a_live_stream_ends_with_the_api() {
    let world = World::start().await;
    let mut watch = Events::of(&world, "/api/v1/watch/topics?filter=%23").await;
    world.stop.cancel();
    let mut rest = Vec::new();
    // Torn off, or ended: it is over.
    drop(timeout(STUCK, watch.socket.read_to_end(&mut rest)).await.expect("its end"));
    while world.broker.snapshot().sessions > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn messages_are_watched_as_they_come() {
    let world = World::start().await;
    let publish = |topic: &str, payload: &[u8]| {
        let message = Message::new(&TopicName::try_from(topic).unwrap(), payload, QoS::AtLeastOnce);
        world.broker.publish(&message.retained());
    };
    publish("room/1", b"before");
    let mut watch = Events::of(&world, "/api/v1/watch/messages?filter=room/%23").await;
    let first = &watch.next().await["messages"][0];
    assert_eq!((first["topic"].as_str(), first["retain"].as_bool()), (Some("room/1"), Some(true)));
    publish("other", b"not wanted");
    publish("room/2", b"\xff<b>");
    let second = &watch.next().await["messages"][0];
    assert_eq!((second["topic"].as_str(), second["qos"].as_u64()), (Some("room/2"), Some(1)));
    assert_eq!(STANDARD.decode(second["payload"].as_str().unwrap()).unwrap(), b"\xff<b>");
    world.http().get("/api/v1/watch/messages?filter=a/%23/b").await.problem(400);
}

/// Who looks on takes nothing away, with a token for reading least of all.
#[tokio::test]
async fn a_shared_subscription_is_not_watched() {
    let world = World::start().await;
    let reader = Http::new(world.address).token(world.read.secret());
    for path in ["watch/messages", "watch/topics", "trace"] {
        let why = reader.get(&format!("/api/v1/{path}?filter=$share/g/jobs/%23")).await.problem(400);
        assert_eq!(why, "watch `jobs/#` itself; a shared subscription would take messages from its members");
        reader.get(&format!("/api/v1/{path}?filter=$share/g")).await.problem(400);
    }
    assert_eq!(world.broker.snapshot().subscriptions, 0);
}

#[tokio::test]
async fn topics_are_counted_each_second() {
    let world = World::start().await;
    let mut watch = Events::of(&world, "/api/v1/watch/topics?filter=%23").await;
    let topic = TopicName::try_from("a/b").unwrap();
    for payload in ["1", "22", "333"] {
        world.broker.publish(&Message::new(&topic, payload.as_bytes(), QoS::AtMostOnce));
    }
    let (mut messages, mut bytes) = (0, 0);
    while messages < 3 {
        for topic in watch.next().await["topics"].as_array().unwrap() {
            assert_eq!((topic["topic"].as_str(), topic["last"].get("topic")), (Some("a/b"), None));
            messages += topic["messages"].as_u64().unwrap();
            bytes += topic["bytes"].as_u64().unwrap();
        }
    }
    assert_eq!((messages, bytes), (3, 6));
}

/// All that an event has is some 2 MiB, however long topics are.
#[tokio::test]
async fn long_topics_make_no_event_without_bound() {
    let world = World::start().await;
    for n in 0..100 {
        let topic = format!("{n:03}{}", "t".repeat(65_532));
        let topic = TopicName::try_from(topic.as_str()).unwrap();
        world.broker.publish(&Message::new(&topic, b"x", QoS::AtMostOnce).retained());
    }
    // Retained ones come all at once.
    let mut watch = Events::of(&world, "/api/v1/watch/messages?filter=%23").await;
    let mut seen = 0;
    while seen < 100 {
        let event = watch.next().await;
        assert!(event.to_string().len() < 3 * 1024 * 1024, "{}", event.to_string().len());
        seen += event["messages"].as_array().unwrap().len() as u64 + event["skipped"].as_u64().unwrap();
    }
    let mut watch = Events::of(&world, "/api/v1/watch/topics?filter=%23").await;
    let mut event = watch.next().await;
    while event["topics"].as_array().unwrap().is_empty() {
        event = watch.next().await;
    }
    assert!(event.to_string().len() < 3 * 1024 * 1024, "{}", event.to_string().len());
    let page = world.http().get("/api/v1/retained?limit=1000").await.json();
    let list = page["list"].as_array().unwrap();
    assert!(list.len() < 40 && page["next_after"] == list.last().unwrap()["topic"], "{}", list.len());
}

#[tokio::test]
async fn no_more_watch_than_may() {
    let mut options = mqtt_admin::AdminOptions::default();
    options.max_streams = 1;
    let world = World::with(mqtt_broker::Broker::builder(), (), options).await;
    let first = Events::of(&world, "/api/v1/watch/topics?filter=%23").await;
    assert!(world.http().get("/api/v1/watch/topics?filter=%23").await.problem(429).contains("close one"));
    drop(first);
    // The server sees the end of the connection when it sees it.
    while world.broker.snapshot().sessions > 0 {
        tokio::task::yield_now().await;
    }
    drop(Events::of(&world, "/api/v1/watch/topics?filter=%23").await);
}

/// A stream of server-sent events that stays open.
struct Events {
    socket: TcpStream,
    text: String,
}

impl Events {
    async fn of(world: &World, path: &str) -> Self {
        let mut events = Self { socket: world.http().begin("GET", path, "", "").await, text: String::new() };
        events.until("\r\n\r\n").await;
        let (head, rest) = events.text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        events.text = String::from(rest);
        events
    }

    async fn next(&mut self) -> Value {
        loop {
            self.until("\n\n").await;
            let (event, rest) = self.text.split_once("\n\n").unwrap();
            let data = event.split_once("data: ").map(|(_, data)| data.to_owned());
            self.text = String::from(rest);
            if let Some(data) = data {
                return serde_json::from_str(&data).unwrap();
            }
        }
    }

    async fn until(&mut self, end: &str) {
        let (mut bytes, mut searched) = ([0; 4096], 0);
        while !self.text[searched..].contains(end) {
            searched = self.text.floor_char_boundary(self.text.len().saturating_sub(end.len()));
            let n = timeout(STUCK, self.socket.read(&mut bytes)).await.unwrap().unwrap();
            assert!(n > 0, "the stream has ended: {:?}", self.text);
            self.text.push_str(std::str::from_utf8(&bytes[..n]).unwrap());
        }
    }
}
