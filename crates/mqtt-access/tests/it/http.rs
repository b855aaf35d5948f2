//! A web server that is asked: a real one on loopback, which answers as the test says.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use mqtt_access::{Access, AccessControl, Acl, Http, HttpOptions};
use mqtt_broker::{Broker, ConnectRefusal};
use mqtt_codec::{Connect, Delivery, Packet, PacketId, Publish, QoS, TopicName, Will};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use crate::client::{Client, connect, start};

/// Says what is answered: a status and a body; or `None`, and the answer never comes.
type Decide = dyn Fn(&Value) -> Option<(&'static str, String)> + Send + Sync;

/// What the server has seen.
#[derive(Clone, Default)]
struct Seen {
    questions: Arc<Mutex<Vec<Value>>>,
    headers: Arc<Mutex<String>>,
    at_once: Arc<AtomicUsize>,
    most_at_once: Arc<AtomicUsize>,
}

struct Server {
    url: String,
    seen: Seen,
}

impl Server {
    async fn start(
        decide: impl Fn(&Value) -> Option<(&'static str, String)> + Send + Sync + 'static,
    ) -> Self {
        let gate = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        Self::start_gated(gate, decide).await
    }

    /// Each answer takes a permit.
    async fn start_gated(
        gate: Arc<Semaphore>,
        decide: impl Fn(&Value) -> Option<(&'static str, String)> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mqtt", listener.local_addr().unwrap());
        let (seen, decide): (_, Arc<Decide>) = (Seen::default(), Arc::new(decide));
        let server = Self { url, seen: seen.clone() };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, seen.clone(), Arc::clone(&gate), Arc::clone(&decide)));
            }
        });
        server
    }

    fn http(&self, change: impl FnOnce(&mut HttpOptions)) -> Http {
        let mut options = HttpOptions::default();
        options.timeout = Duration::from_mins(1); // This machine may be slow; whoever tests the time says so.
        change(&mut options);
        Http::new(&self.url, &options).unwrap()
    }

    fn actions(&self) -> Vec<String> {
        let questions = self.seen.questions.lock();
        let text = |question: &Value, key: &str| question[key].as_str().unwrap_or_default().to_owned();
        questions
            .iter()
            .map(|question| format!("{} {}", text(question, "action"), text(question, "topic")))
            .collect()
    }
}

/// Answers one request after the other.
async fn serve(stream: TcpStream, seen: Seen, gate: Arc<Semaphore>, decide: Arc<Decide>) {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut headers, mut len) = (String::new(), 0);
        while !headers.ends_with("\r\n\r\n") {
            if stream.read_line(&mut headers).await.is_ok_and(|count| count == 0) {
                return;
            }
        }
        for line in headers.to_ascii_lowercase().lines() {
            len = line.strip_prefix("content-length: ").map_or(len, |text| text.parse().unwrap());
        }
        let mut body = vec![0; len];
        stream.read_exact(&mut body).await.unwrap();
        let question: Value = serde_json::from_slice(&body).unwrap();
        seen.questions.lock().push(question.clone());
        *seen.headers.lock() = headers;
        let at_once = seen.at_once.fetch_add(1, SeqCst) + 1;
        seen.most_at_once.fetch_max(at_once, SeqCst);
        gate.acquire().await.unwrap().forget();
        let answer = decide(&question);
        seen.at_once.fetch_sub(1, SeqCst);
        let Some((status, body)) = answer else { return std::future::pending().await };
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "a server may also not answer")]
fn ok(answer: Value) -> Option<(&'static str, String)> {
    Some(("200 OK", answer.to_string()))
}

fn word(word: &str) -> Option<(&'static str, String)> {
    ok(json!({ "result": word }))
}

async fn identified_by(http: Http) -> (Broker, std::net::SocketAddr) {
    start(&AccessControl::new(Access::new().identify(http))).await
}

async fn authorized_by(access: Access) -> (Broker, std::net::SocketAddr) {
    start(&AccessControl::new(access.allow_anonymous(true))).await
}

async fn try_connect(
    address: std::net::SocketAddr,
    user: Option<&str>,
    password: &[u8],
) -> Option<ConnectRefusal> {
    Client::try_connect(address, connect("c1", user, password)).await.err()
}

#[tokio::test]
async fn it_says_who_a_client_is_and_what_it_may_do() {
    let server = Server::start(|question| match question["password"].as_str() {
        Some("secret") => ok(json!({"result": "allow", "user_name": "boss", "acl": ["topic read b/#"]})),
        Some("unknown") => word("ignore"),
        None => word("allow"),
        _ => word("deny"),
    })
    .await;
    let http = server.http(|options| options.bearer_token = Some("t0ken".into()));
    let (broker, address) = identified_by(http).await;
    let mut client = Client::connected(address, "c1", "anna", "secret").await;
    assert_eq!(broker.client("c1").unwrap().info().user_name.as_deref(), Some("boss"));
    assert!(client.subscribe("b/+").await && !client.subscribe("a").await);
    let question = server.seen.questions.lock()[0].clone();
    let expected = json!({
        "action": "connect", "client_id": "c1", "user_name": "anna", "password": "secret",
        "certificate_user_name": null, "peer": "127.0.0.1", "listener": "tcp",
    });
    assert_eq!(question, expected);
    let headers = server.seen.headers.lock().clone();
    assert!(headers.starts_with("POST /mqtt HTTP/1.1\r\n"), "{headers}");
    for line in ["authorization: bearer t0ken", "content-type: application/json"] {
        assert!(headers.to_ascii_lowercase().contains(&format!("\r\n{line}\r\n")), "{headers}");
    }
    let bad = Some(ConnectRefusal::BadUserNameOrPassword);
    assert_eq!(try_connect(address, Some("anna"), b"wrong").await, bad);
    assert_eq!(try_connect(address, Some("anna"), b"unknown").await, bad, "nobody else knows");
    assert_eq!(try_connect(address, None, b"").await, None);
    let asked = server.actions().len();
    assert_eq!(try_connect(address, Some("anna"), b"\xff").await, bad);
    assert_eq!(server.actions().len(), asked, "what is no text is no question");
}

#[tokio::test]
async fn whom_it_let_in_it_is_not_asked_about_again_for_a_while() {
    let server =
        Server::start(|question| word(if question["password"] == "p" { "allow" } else { "deny" })).await;
    let (_broker, address) = identified_by(server.http(|_| {})).await;
    for (password, asked) in [("p", 1), ("p", 1), ("x", 2), ("x", 3), ("p", 3)] {
        try_connect(address, Some("anna"), password.as_bytes()).await;
        assert_eq!(server.actions().len(), asked, "{password}");
    }
    let (_broker, address) = identified_by(server.http(|options| options.cache_ttl = Duration::ZERO)).await;
    for asked in [4, 5] {
        assert_eq!(try_connect(address, Some("anna"), b"p").await, None);
        assert_eq!(server.actions().len(), asked);
    }
}

#[tokio::test]
async fn who_is_let_in_for_a_time_has_that_time_once() {
    let server = Server::start(|_| ok(json!({"result": "allow", "expires_in_secs": 1}))).await;
    let (_broker, address) = identified_by(server.http(|_| {})).await;
    let mut client = Client::connected(address, "c1", "anna", "p").await;
    assert!(client.recv().await.is_none());
    assert_eq!(try_connect(address, Some("anna"), b"p").await, None);
    assert_eq!(server.actions().len(), 2, "what was remembered has ended with it");
}

/// Whatever goes wrong lets nobody in, and is no answer to what a client publishes.
#[tokio::test]
async fn a_server_that_is_away_slow_or_wrong_lets_nobody_in() {
    let long = format!("{{\"result\":\"allow\",\"more\":\"{}\"}}", "x".repeat(70_000));
    let answers = [
        None,
        Some(("500 Internal Server Error", r#"{"result":"allow"}"#.to_owned())),
        Some(("302 Found\r\nLocation: /other", String::new())),
        Some(("200 OK", "<html>".to_owned())),
        Some(("200 OK", r#"{"result":"yes"}"#.to_owned())),
        Some(("200 OK", long)),
    ];
    for answer in answers {
        let what = format!("{:?}", answer.as_ref().map(|(status, _)| status));
        let brief = if answer.is_none() { Duration::from_millis(50) } else { Duration::from_mins(1) };
        let server = Server::start(move |_| answer.clone()).await;
        refuses_all(server.http(|options| options.timeout = brief), &what).await;
    }
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    refuses_all(Http::new(&format!("http://{gone}"), &HttpOptions::default()).unwrap(), "gone").await;
}

async fn refuses_all(http: Http, what: &str) {
    let (_broker, address) = identified_by(http.clone()).await;
    let unavailable = Some(ConnectRefusal::ServerUnavailable);
    assert_eq!(try_connect(address, Some("anna"), b"p").await, unavailable, "{what}");
    let (_broker, address) = authorized_by(Access::new().authorize(http)).await;
    for packet in [publish("t"), subscribe("t")] {
        let mut client = Client::try_connect(address, connect("c1", None, b"")).await.unwrap();
        client.send(packet).await;
        assert!(client.recv().await.is_none(), "{what}");
    }
    let topic = TopicName::try_from("t").unwrap();
    let will = Some(Will { topic, message: "".into(), qos: QoS::AtMostOnce, retain: false });
    let outcome = Client::try_connect(address, Connect { will, ..connect("c1", None, b"") }).await;
    assert_eq!(outcome.err(), unavailable, "{what}");
}

fn publish(topic: &str) -> Packet {
    let delivery = Delivery::AtLeastOnce { packet_id: PacketId::FIRST, dup: false };
    let topic = TopicName::try_from(topic).unwrap();
    Packet::Publish(Publish { delivery, retain: false, topic, payload: "x".into() })
}

fn subscribe(filter: &str) -> Packet {
    let filters = vec![(filter.try_into().unwrap(), QoS::AtMostOnce)];
    Packet::Subscribe(mqtt_codec::Subscribe { packet_id: PacketId::FIRST, filters })
}

#[tokio::test]
async fn rights_are_asked_for_once_and_then_remembered() {
    let server = Server::start(|question| {
        let topic = question["topic"].as_str().unwrap();
        word(if topic.starts_with("no") { "deny" } else { "allow" })
    })
    .await;
    let (broker, address) = authorized_by(Access::new().authorize(server.http(|_| {}))).await;
    let mut subscriber = Client::try_connect(address, connect("s", None, b"")).await.unwrap();
    assert!(subscriber.subscribe("#").await && !subscriber.subscribe("no/#").await);
    let mut client = Client::try_connect(address, connect("c", None, b"")).await.unwrap();
    for payload in ["1", "2"] {
        client.publish("no/t", payload).await;
        client.publish("t", payload).await;
    }
    assert_eq!([subscriber.message().await, subscriber.message().await], ["t 1", "t 2"]);
    assert_eq!(server.actions(), ["subscribe #", "subscribe no/#", "publish no/t", "publish t"]);
    assert_eq!(broker.counts().dropped_for(mqtt_broker::DropReason::Refused), 2);
}

/// `read a/#` would let a client hold `#`, because each message is judged when it leaves. Beside a server that cannot be
/// asked then, it must not: what else matches `#` would leave too.
#[tokio::test]
async fn beside_an_access_list_it_opens_nothing_that_it_was_not_asked_about() {
    let server = Server::start(|question| {
        word(match question["topic"].as_str() {
            Some("b/#") => "allow",
            Some("c/#") => "ignore",
            _ => "deny",
        })
    })
    .await;
    let list = Acl::parse("topic read a/#\ntopic deny b/secret\npattern write #\n").unwrap();
    let (_broker, address) =
        authorized_by(Access::new().authorize(list).authorize(server.http(|_| {}))).await;
    let mut client = Client::try_connect(address, connect("s", None, b"")).await.unwrap();
    for (filter, granted) in [("#", false), ("a/+", true), ("b/#", true), ("c/#", false), ("b/secret", false)]
    {
        assert_eq!(client.subscribe(filter).await, granted, "{filter}");
    }
    let mut other = Client::try_connect(address, connect("p", None, b"")).await.unwrap();
    for topic in ["b/secret", "c/x", "b/x", "a/x"] {
        other.publish(topic, "").await;
    }
    assert_eq!([client.message().await, client.message().await], ["b/x ", "a/x "]);
}

#[tokio::test]
async fn no_more_questions_at_a_time_than_may_and_nobody_else_waits() {
    let gate = Arc::new(Semaphore::new(0));
    let server = Server::start_gated(Arc::clone(&gate), |_| word("allow")).await;
    let two = NonZeroUsize::new(2).unwrap();
    let http = server.http(|options| options.max_concurrent = two);
    let (_broker, address) =
        start(&AccessControl::new(Access::new().allow_anonymous(true).identify(Named(http)))).await;
    let clients: Vec<_> = (0..10)
        .map(|number| {
            let connect = connect(&format!("c{number}"), Some("anna"), b"p");
            tokio::spawn(Client::try_connect(address, connect))
        })
        .collect();
    let mut other = Client::try_connect(address, connect("other", None, b"")).await.unwrap();
    other.publish("t", "").await;
    gate.add_permits(10);
    for client in clients {
        assert!(client.await.unwrap().is_ok());
    }
    assert_eq!((server.actions().len(), server.seen.most_at_once.load(SeqCst)), (10, 2));
}

/// Asks only about clients with a name.
struct Named(Http);

impl mqtt_access::IdentityProvider for Named {
    fn identify(
        &self,
        request: &mqtt_broker::ConnectRequest,
    ) -> mqtt_broker::HookFuture<mqtt_access::Verdict> {
        if request.client.user_name.is_some() {
            return self.0.identify(request);
        }
        Box::pin(std::future::ready(mqtt_access::Verdict::NoOpinion))
    }
}
