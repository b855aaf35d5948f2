//! Who may do what, and what becomes of requests that make no sense.

use mqtt_admin::{AdminOptions, Role, Token, Tokens};
use mqtt_broker::{Message, QoS, TopicName};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    World,
    http::{Http, STUCK},
    operators::read_until,
};

#[tokio::test]
async fn nothing_but_health_and_the_description_is_open() {
    let world = World::start().await;
    let http = Http::new(world.address);
    let description = http.get("/api/openapi.json").await.json();
    let paths = description["paths"].as_object().unwrap();
    let mut guarded = 0;
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().unwrap() {
            let answer = http.request(&method.to_uppercase(), &path.replace(['{', '}'], ""), "", "").await;
            if operation.get("security") == Some(&json!([{}])) {
                assert_eq!(answer.status, 200, "{method} {path}");
            } else {
                answer.problem(401);
                assert!(answer.head.contains("www-authenticate: bearer"), "{answer:?}");
                guarded += 1;
            }
        }
    }
    assert!(guarded >= 18, "{guarded}");
    http.get("/api/v1/nothing").await.problem(401);
}

#[tokio::test]
async fn a_token_for_reading_changes_nothing() {
    let world = World::start().await;
    let reader = Http::new(world.address).token(world.read.secret());
    let description = reader.get("/api/openapi.json").await.json();
    let mut changes = 0;
    for (path, operations) in description["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys().filter(|method| *method != "get") {
            reader.request(&method.to_uppercase(), &path.replace(['{', '}'], ""), "", "").await.problem(403);
            changes += 1;
        }
    }
    assert!(changes >= 13, "{changes}");
    assert_eq!(reader.get("/api/v1/clients").await.status, 200);
    let publish = json!({"topic": "a", "payload": "x", "retain": true});
    assert!(reader.post("/api/v1/publish", &publish).await.problem(403).contains("role write"));
    assert_eq!(world.broker.snapshot().retained_messages, 0);
    assert_eq!(world.http().post("/api/v1/publish", &publish).await.status, 200);
    assert_eq!(world.broker.snapshot().retained_messages, 1);
}

/// What a browser would send on behalf of another site's page: it has no token, so nothing happens; and nothing in the answer
/// tells it that the page may see more.
#[tokio::test]
async fn pages_of_other_sites_get_nothing() {
    let world = World::start().await;
    let origin = "Origin: https://evil.example\r\nCookie: token=x\r\n";
    let form = "application/x-www-form-urlencoded";
    let asked = [
        (
            "OPTIONS",
            "/api/v1/publish",
            "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization\r\n",
            "",
        ),
        ("POST", "/api/v1/publish", "", "topic=a&payload=x&retain=true"),
        ("GET", "/api/v1/clients", "", ""),
    ];
    for (method, path, more, body) in asked {
        let head = format!("{path} HTTP/1.1\r\n{origin}{more}X-Rest:");
        let answer = Http::new(world.address).request(method, &head, form, body).await;
        answer.problem(401);
        assert!(!answer.head.contains("access-control-"), "{}", answer.head);
        assert!(!answer.head.contains("set-cookie"), "{}", answer.head);
    }
    assert_eq!(world.broker.snapshot().retained_messages, 0);
    // With a token it is somebody's own doing; still no other page sees the answer.
    let head = format!("/api/v1/clients HTTP/1.1\r\n{origin}X-Rest:");
    let answer = world.http().request("GET", &head, "", "").await;
    assert_eq!(answer.status, 200);
    assert!(!answer.head.contains("access-control-"), "{}", answer.head);
}

#[tokio::test]
async fn tokens_can_be_exchanged() {
    let world = World::start().await;
    let (old, new) = (world.write.clone(), Token::generate().unwrap());
    let with = |token| Http::new(world.address).token(token);
    with(new.secret()).get("/api/v1/clients").await.problem(401);
    world.admin.set_tokens(Tokens::parse(&new.line("new", Role::Read)).unwrap());
    assert_eq!(with(new.secret()).get("/api/v1/clients").await.status, 200);
    assert!(with(old.secret()).get("/api/v1/clients").await.problem(401).contains("no longer"));
}

fn message(topic: &str) -> Message {
    Message::new(&TopicName::try_from(topic).unwrap(), b"payload", QoS::AtMostOnce)
}

/// Every live stream that the description has, so that a new one is among them.
#[tokio::test]
async fn a_live_stream_ends_with_its_token() {
    let world = World::start().await;
    let description = world.http().get("/api/openapi.json").await.json();
    let is_stream = |path: &&String| {
        description["paths"][path.as_str()]["get"]["responses"]["200"]["content"]
            .get("text/event-stream")
            .is_some()
    };
    let paths: Vec<_> = description["paths"].as_object().unwrap().keys().filter(is_stream).collect();
    assert!(paths.len() >= 3, "{paths:?}");
    // A trace shows what somebody gets.
    let mut listener = world.connect("listener", true).await;
    listener.subscribe("#", QoS::AtMostOnce).await;
    for path in paths {
        let path = format!("{path}?filter=%23");
        let (revoked, stays) = (Token::generate().unwrap(), Token::generate().unwrap());
        let line = stays.line("stays", Role::Read);
        let both = format!("{line}\n{}", revoked.line("revoked", Role::Write));
        world.admin.set_tokens(Tokens::parse(&both).unwrap());
        let begin = async |token: &Token| {
            let mut stream = Http::new(world.address).token(token.secret()).begin("GET", &path, "", "").await;
            read_until(&mut stream, &mut String::new(), "text/event-stream").await;
            stream
        };
        let (mut ends, mut goes_on) = (begin(&revoked).await, begin(&stays).await);
        // For reading is what it has to be.
        let line = format!("{line}\n{}", revoked.line("revoked", Role::Read));
        world.admin.set_tokens(Tokens::parse(&line).unwrap());
        world.broker.publish(&message("before"));
        read_until(&mut ends, &mut String::new(), "before").await;

        world.admin.set_tokens(Tokens::parse(&stays.line("stays", Role::Read)).unwrap());
        world.broker.publish(&message("after"));
        let mut rest = String::new();
        timeout(STUCK, ends.read_to_string(&mut rest)).await.expect("its end").unwrap();
        assert!(!rest.contains("after"), "{path}: {rest}");
        read_until(&mut goes_on, &mut String::new(), "after").await;
    }
}

#[tokio::test]
async fn a_connection_that_stays_shows_its_token_each_time() {
    let world = World::start().await;
    let mut socket = TcpStream::connect(world.address).await.unwrap();
    let head = format!(
        "GET /api/v1/bans HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        world.write.secret()
    );
    for answer in ["HTTP/1.1 200", "HTTP/1.1 401"] {
        socket.write_all(head.as_bytes()).await.unwrap();
        read_until(&mut socket, &mut String::new(), answer).await;
        world.admin.set_tokens(Tokens::new());
    }
    socket.write_all(head.replace("Authorization", "X-Authorization").as_bytes()).await.unwrap();
    read_until(&mut socket, &mut String::new(), "HTTP/1.1 401").await;
}

#[tokio::test]
async fn what_makes_no_sense_is_a_problem_that_says_so() {
    let options = {
        let mut options = AdminOptions::default();
        options.max_body_size = 1_000;
        options
    };
    let world = World::with(mqtt_broker::Broker::builder(), (), options).await;
    let http = world.http();
    http.get("/api/v1/nothing").await.problem(404);
    http.post("/api/v1/clients", &json!({})).await.problem(405);
    http.request("POST", "/api/v1/publish", "text/plain", "x").await.problem(415);
    http.request("POST", "/api/v1/publish", "Application/JSON; charset=utf-8", r#"{"topic":"a"}"#)
        .await
        .json();
    http.request("POST", "/api/v1/publish", "application/json", "{").await.problem(400);
    assert!(http.post("/api/v1/publish", &json!({"payload": "x"})).await.problem(422).contains("topic"));
    let large = json!({"topic": "a", "payload": "x".repeat(2_000)});
    http.post("/api/v1/publish", &large).await.problem(413);
    assert!(http.get("/api/v1/clients?per-page=x").await.problem(400).contains("per-page"));
    assert!(http.get("/api/v1/clients?per-page=0").await.problem(400).contains("per-page"));
    assert!(http.get("/api/v1/clients?cursor=x").await.problem(400).contains("cursor"));
    assert!(http.get("/api/v1/config").await.problem(501).contains("no such operation"));
}

/// Who asked for what cannot be has made a mistake; who reached a limit has not.
#[tokio::test]
async fn limits_are_no_mistakes_and_mistakes_no_limits() {
    let mut limits = mqtt_broker::Limits::default();
    (limits.max_bans, limits.max_topic_len, limits.max_wildcard_subscriptions_per_client) = (1, 10, 0);
    let world = World::with(mqtt_broker::Broker::builder().limits(limits), (), AdminOptions::default()).await;
    let _client = world.connect("a", true).await;
    let http = world.http();
    let ban = json!({"client_id": "b", "reason": "x".repeat(257)});
    assert!(http.post("/api/v1/bans", &ban).await.problem(400).contains("256 bytes"));
    assert_eq!(http.post("/api/v1/bans", &json!({"client_id": "b"})).await.status, 204);
    http.post("/api/v1/bans", &json!({"client_id": "c"})).await.problem(409);
    let subscribe =
        async |topic: &str| http.post("/api/v1/subscribe", &json!({"topic": topic, "client_id": "a"})).await;
    assert!(subscribe("long/enough").await.problem(400).contains("`topic`: the topic filter is too long"));
    assert!(subscribe("#").await.problem(409).contains("with a wildcard"));
    for path in ["watch/topics?filter=long/enough", "watch/topics?filter=%23/a", "trace?filter=%23/a"] {
        assert!(http.get(&format!("/api/v1/{path}")).await.problem(400).contains("`filter`"), "{path}");
    }
    assert!(http.get("/api/v1/watch/topics?filter=%23").await.problem(503).contains("with a wildcard"));
    assert!(http.get("/api/v1/retained?filter=%23/a").await.problem(400).contains("`filter`"));
    assert!(http.get("/api/v1/retained?after=%23").await.problem(400).contains("`after`"));
}

#[tokio::test]
async fn a_request_that_comes_too_slowly_is_not_waited_for() {
    use tokio::io::AsyncReadExt;
    let mut options = AdminOptions::default();
    options.request_timeout = std::time::Duration::from_millis(50);
    let world = World::with(mqtt_broker::Broker::builder(), (), options).await;
    let mut socket = tokio::net::TcpStream::connect(world.address).await.unwrap();
    let head = format!(
        "POST /api/v1/publish HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: 9\r\n\r\n{{",
        world.write.secret()
    );
    tokio::io::AsyncWriteExt::write_all(&mut socket, head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    tokio::time::timeout(crate::http::STUCK, socket.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
}

/// Few connections may there be: whoever leaves his answers lying must not keep one, with a token either.
#[tokio::test]
async fn who_does_not_read_answers_is_cut_off() {
    let mut options = AdminOptions::default();
    options.request_timeout = std::time::Duration::from_millis(50);
    options.max_connections = 1;
    let world = World::with(mqtt_broker::Broker::builder(), (), options).await;
    let mut silent = tokio::net::TcpStream::connect(world.address).await.unwrap();
    let token = format!("Authorization: Bearer {}\r\n", world.write.secret());
    // More than what all buffers on the way take.
    let requests = format!("GET /api/v1/bans HTTP/1.1\r\nHost: x\r\n{token}\r\n")
        + &"GET /api/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2_000);
    tokio::io::AsyncWriteExt::write_all(&mut silent, requests.as_bytes()).await.unwrap();
    assert_eq!(world.http().get("/livez").await.status, 200);
}

/// A connection on which nothing was sent, or something that needs no token, and which is not closed.
async fn idle(world: &World, head: &str) -> tokio::net::TcpStream {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut socket = tokio::net::TcpStream::connect(world.address).await.unwrap();
    if !head.is_empty() {
        socket.write_all(head.as_bytes()).await.unwrap();
        socket.read_exact(&mut [0; 12]).await.unwrap();
    }
    socket
}

#[tokio::test]
async fn strangers_keep_nobody_out_and_who_has_a_token_keeps_his_connection() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut options = AdminOptions::default();
    options.max_connections = 3;
    let world = World::with(mqtt_broker::Broker::builder(), (), options).await;
    let health = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
    let with_token = format!(
        "GET /api/v1/bans HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        world.read.secret()
    );
    let mut known = idle(&world, &with_token).await;
    let (mut first, mut second) = (idle(&world, "").await, idle(&world, health).await);
    // Each of these takes the place of a stranger, the oldest first.
    let mut newcomer = idle(&world, &with_token).await;
    let ends = async |socket: &mut tokio::net::TcpStream| {
        let read = tokio::time::timeout(crate::http::STUCK, socket.read_to_end(&mut Vec::new())).await;
        drop(read.expect("its end"));
    };
    ends(&mut first).await;
    for _ in 0..20 {
        assert_eq!(world.http().get("/api/v1/clients").await.status, 200);
    }
    ends(&mut second).await;
    for socket in [&mut known, &mut newcomer] {
        socket.write_all(health.as_bytes()).await.unwrap();
        let mut answers = String::new();
        while answers.matches("HTTP/1.1 200").count() == 0 || !answers.ends_with("ok\n") {
            let mut bytes = [0; 4096];
            let read = socket.read(&mut bytes).await.unwrap();
            assert!(read > 0, "it was closed: {answers}");
            answers.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        }
    }
}

/// Threads on which operations were done.
#[derive(Clone, Default)]
struct Threads(std::sync::Arc<std::sync::Mutex<Vec<std::thread::ThreadId>>>);

impl mqtt_admin::Operations for Threads {
    fn log_level(&self) -> Result<String, mqtt_admin::OperationError> {
        self.0.lock().unwrap().push(std::thread::current().id());
        Ok("info".to_owned())
    }

    fn set_log_level(&self, _: &str) -> Result<(), mqtt_admin::OperationError> {
        self.log_level().map(drop)
    }
}

/// They may block; this test's runtime has one thread.
#[tokio::test]
async fn operations_are_done_where_they_hold_up_nobody() {
    let threads = Threads::default();
    let world = World::with(mqtt_broker::Broker::builder(), threads.clone(), AdminOptions::default()).await;
    let http = world.http();
    http.get("/api/v1/log-level").await.json();
    http.put("/api/v1/log-level", &json!({"level": "info"})).await.json();
    let done_on = threads.0.lock().unwrap();
    assert_eq!(done_on.len(), 3);
    assert!(!done_on.contains(&std::thread::current().id()));
}
