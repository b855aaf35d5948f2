//! Counters and gauges, and that they are right once everything is at rest.

use std::collections::BTreeMap;

use mqtt_admin::AdminOptions;
use mqtt_broker::{Broker, ConnectDecision, ConnectRefusal, ConnectRequest, Limits, QoS, store::MemoryStore};
use mqtt_codec::{Delivery, Packet, PacketId, Puback, Pubcomp, Publish, Pubrec, Pubrel};
use serde_json::{Value, json};

use crate::{World, mqtt::Client};

const TOPIC: &str = "room/1";
const PAYLOAD: &[u8] = b"0123456789";
/// Fixed header, topic length, topic and payload; with QoS 1 and 2 the identifier comes on top.
const PUBLISH_LEN: usize = 2 + 2 + TOPIC.len() + PAYLOAD.len();

fn publish(qos: QoS, id: u16) -> Publish {
    let packet_id = PacketId::new(id).unwrap();
    let delivery = match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce { packet_id, dup: false },
        QoS::ExactlyOnce => Delivery::ExactlyOnce { packet_id, dup: false },
    };
    Publish { delivery, retain: false, topic: TOPIC.try_into().unwrap(), payload: PAYLOAD.to_vec().into() }
}

/// Publishes so many messages of each QoS, and answers what comes back.
async fn publish_all(client: &mut Client, each: u16) {
    for id in 1..=each {
        client.send(Packet::Publish(publish(QoS::AtMostOnce, id))).await;
        client.send(Packet::Publish(publish(QoS::AtLeastOnce, id))).await;
        assert!(matches!(client.recv().await, Some(Packet::Puback(_))));
        client.send(Packet::Publish(publish(QoS::ExactlyOnce, id))).await;
        assert!(matches!(client.recv().await, Some(Packet::Pubrec(_))));
        let packet_id = PacketId::new(id).unwrap();
        client.send(Packet::Pubrel(Pubrel { packet_id })).await;
        assert!(matches!(client.recv().await, Some(Packet::Pubcomp(_))));
    }
}

/// Receives so many messages, and acknowledges them to the end.
async fn receive_all(client: &mut Client, messages: usize, releases: usize) {
    let (mut got, mut done) = (0, 0);
    while got < messages || done < releases {
        match client.recv().await {
            Some(Packet::Publish(publish)) => {
                got += 1;
                match publish.delivery {
                    Delivery::AtMostOnce => {}
                    Delivery::AtLeastOnce { packet_id, .. } => {
                        client.send(Packet::Puback(Puback { packet_id })).await;
                    }
                    Delivery::ExactlyOnce { packet_id, .. } => {
                        client.send(Packet::Pubrec(Pubrec { packet_id })).await;
                    }
                }
            }
            Some(Packet::Pubrel(Pubrel { packet_id })) => {
                done += 1;
                client.send(Packet::Pubcomp(Pubcomp { packet_id })).await;
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The value of each line, by the line without it.
fn samples(text: &str) -> BTreeMap<String, f64> {
    assert!(text.ends_with("# EOF\n"), "{text}");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

const EACH: u16 = 50;
const SIZE: u64 = (TOPIC.len() + PAYLOAD.len()) as u64;

/// A broker with a store, and a hook that knows one client that it does not like.
async fn world(limits: Limits) -> World {
    let builder = Broker::builder().limits(limits).on_connect(|request: ConnectRequest| async move {
        if &*request.client.client_id == "nobody" {
            ConnectDecision::Refuse(ConnectRefusal::BadUserNameOrPassword)
        } else {
            ConnectDecision::Accept
        }
    });
    let broker = builder.build_on(MemoryStore::default()).unwrap();
    World::before(broker, (), AdminOptions::default()).await
}

/// Everything that there is to count, done and over. Who is still connected.
async fn load(world: &World) -> [Client; 2] {
    let mut publisher = world.connect("publisher", true).await;
    let mut subscriber = world.connect("subscriber", true).await;
    subscriber.subscribe("room/+", QoS::ExactlyOnce).await;
    let mut absent = world.connect("absent", false).await;
    absent.subscribe(TOPIC, QoS::AtLeastOnce).await;
    absent.send(Packet::Disconnect).await;
    absent.expect_end().await;
    let (mut nobody, _) = world.ask_to_connect("nobody", true).await;
    nobody.expect_end().await;
    let http = world.http();
    assert_eq!(http.post("/api/v1/bans", &json!({"client_id": "other"})).await.status, 204);
    http.post("/api/v1/publish", &json!({"topic": "kept", "payload": "12345", "retain": true})).await.json();
    let receive = async {
        receive_all(&mut subscriber, 3 * usize::from(EACH), usize::from(EACH)).await;
        subscriber.ping().await;
    };
    tokio::join!(publish_all(&mut publisher, EACH), receive);
    [publisher, subscriber]
}

#[tokio::test]
async fn every_counter_and_gauge_is_right_at_rest() {
    let world = world(Limits::default()).await;
    let _connected = load(&world).await;
    let http = world.http();
    let samples = samples(&http.get("/metrics").await.body);
    every_sample_is_the_truth(&samples);
    the_histograms_add_up(&world, &samples);
    let overview = http.get("/api/v1/overview").await.json();
    every_number_is_a_sample(&overview, &samples);
    the_sessions_say_the_same(&world).await;
}

#[tokio::test]
async fn what_is_published_below_sys_is_right_at_rest() {
    let mut limits = Limits::default();
    limits.sys_interval = Some(std::time::Duration::from_secs(1));
    let world = world(limits).await;
    let _connected = load(&world).await;
    let (n, payloads) = (u64::from(EACH), 3 * u64::from(EACH));
    let sum = |direction: &str, figure: fn(&(&str, &str, u64, u64)) -> u64| -> u64 {
        packets(n).iter().filter(|packets| packets.0 == direction).map(figure).sum()
    };
    let publish_bytes = n * (3 * PUBLISH_LEN as u64 + 4);
    let truth = [
        ("clients/connected", 2),
        ("clients/disconnected", 1),
        ("clients/total", 3),
        ("messages/received", sum("received", |packets| packets.2)),
        ("messages/sent", sum("sent", |packets| packets.2)),
        ("messages/inflight", 0),
        ("publish/messages/received", payloads),
        ("publish/messages/sent", payloads),
        ("publish/messages/dropped", 0),
        ("publish/bytes/received", publish_bytes),
        ("publish/bytes/sent", publish_bytes),
        ("bytes/received", sum("received", |packets| packets.3)),
        ("bytes/sent", sum("sent", |packets| packets.3)),
        ("subscriptions/count", 2),
        ("packet/out/count", payloads),
        ("packet/out/bytes", payloads * SIZE),
        ("connections/socket/count", 4),
        ("clients/expired", 0),
    ];
    let said = async |name: &str| {
        let path = format!("/api/v1/retained/message?topic=$SYS/broker/{}", name.replace(' ', "%20"));
        let answer = world.http().get(&path).await;
        (answer.status == 200).then(|| {
            let payload = answer.json()["payload"].as_str().unwrap().to_owned();
            String::from_utf8(base64::Engine::decode(&base64::prelude::BASE64_STANDARD, payload).unwrap())
                .unwrap()
        })
    };
    // What was published last before all was done is a second old at the most.
    for (name, value) in truth {
        let begun = std::time::Instant::now();
        while said(name).await != Some(value.to_string()) {
            let stuck = begun.elapsed() > crate::http::STUCK;
            assert!(!stuck, "{name} is {:?}, and should be {value}", said(name).await);
            tokio::task::yield_now().await;
        }
    }
    // Those of the broker itself are among the retained ones, and no figure is missing.
    let retained = world.http().get("/metrics").await.body;
    let retained = samples(&retained)["gmqtt_retained_messages"].to_string();
    while said("retained messages/count").await.as_deref() != Some(retained.as_str()) {
        tokio::task::yield_now().await;
    }
}

/// What all that comes to; whatever is not in it is 0.
fn truth() -> BTreeMap<String, u64> {
    let n = u64::from(EACH);
    let (mut truth, mut sums) = (BTreeMap::new(), [0, 0]);
    for (name, value) in [
        ("connections", 2),
        ("sessions{status=\"online\"}", 2),
        ("sessions{status=\"offline\"}", 1),
        ("subscriptions", 2),
        ("retained_messages", 1),
        ("retained_bytes", 9),
        // The absent one has QoS 1 granted.
        ("queued_messages", 3 * n),
        ("queued_bytes", 3 * n * SIZE),
        ("ready", 1),
        ("bans", 1),
        ("connections_accepted_total", 4),
        ("authentications_total{outcome=\"accepted\"}", 3),
        ("authentications_total{outcome=\"refused\"}", 1),
        ("connections_closed_total{reason=\"disconnected\"}", 1),
        ("connections_closed_total{reason=\"refused\"}", 1),
        ("connects_total{outcome=\"accepted\"}", 3),
        ("connects_total{outcome=\"bad_user_name_or_password\"}", 1),
        ("sessions_created_total", 3),
        ("messages_delivered_total{qos=\"0\"}", 2 * n),
        ("messages_delivered_total{qos=\"1\"}", 3 * n),
        ("messages_delivered_total{qos=\"2\"}", n),
        ("messages_acknowledged_total", 2 * n),
    ] {
        truth.insert(format!("gmqtt_{name}"), value);
    }
    for qos in 0..3 {
        for direction in ["received", "sent"] {
            truth.insert(format!("gmqtt_messages_{direction}_total{{qos=\"{qos}\"}}"), n);
        }
    }
    for (direction, name, packets, bytes) in packets(n) {
        sums[usize::from(direction == "sent")] += bytes;
        truth.insert(format!("gmqtt_packets_{direction}_total{{type=\"{name}\"}}"), packets);
        truth.insert(format!("gmqtt_packet_{direction}_bytes_total{{type=\"{name}\"}}"), bytes);
    }
    truth.insert("gmqtt_received_bytes_total".into(), sums[0]);
    truth.insert("gmqtt_sent_bytes_total".into(), sums[1]);
    truth
}

/// Every packet that went over a socket, and its bytes.
fn packets(n: u64) -> Vec<(&'static str, &'static str, u64, u64)> {
    let publish_bytes = n * (3 * PUBLISH_LEN as u64 + 4);
    let mut packets = vec![
        ("received", "publish", 3 * n, publish_bytes),
        ("sent", "publish", 3 * n, publish_bytes),
        ("received", "connect", 4, 4 * 14 + 9 + 10 + 6 + 6),
        ("sent", "connack", 4, 16),
        ("received", "subscribe", 2, 2 * 7 + 12),
        ("sent", "suback", 2, 10),
        ("received", "pingreq", 1, 2),
        ("sent", "pingresp", 1, 2),
        ("received", "disconnect", 1, 2),
    ];
    for name in ["puback", "pubrec", "pubrel", "pubcomp"] {
        packets.push(("received", name, n, 4 * n));
        packets.push(("sent", name, n, 4 * n));
    }
    packets
}

/// Figures of the machine and of time, which no load makes what they are.
const OF_THE_MACHINE: [&str; 5] =
    ["gmqtt_process_", "gmqtt_tokio_", "gmqtt_uptime_", "gmqtt_build_info", "gmqtt_residence_seconds_"];

#[allow(clippy::cast_precision_loss, reason = "counts of a few messages")]
fn every_sample_is_the_truth(samples: &BTreeMap<String, f64>) {
    let mut truth = truth();
    for (name, value) in samples {
        if OF_THE_MACHINE.iter().any(|head| name.starts_with(head)) || name.starts_with("gmqtt_store_batch") {
            continue;
        }
        let expected = truth.remove(name).unwrap_or_default();
        assert!((value - expected as f64).abs() < 0.5, "{name} is {value}, and should be {expected}");
    }
    assert!(truth.is_empty(), "not in the metrics: {truth:?}");
}

#[allow(clippy::cast_precision_loss, reason = "counts of a few messages")]
fn the_histograms_add_up(world: &World, samples: &BTreeMap<String, f64>) {
    let sample = |name: &str| samples[name];
    let batches = world.broker.store_batches().unwrap();
    let n = u64::from(EACH);
    assert!(batches.records >= 2 * n, "{batches:?}");
    for (name, count, sum) in [
        ("store_batch_seconds", batches.times.iter().sum::<u64>(), batches.micros as f64 / 1e6),
        ("store_batch_records", batches.sizes.iter().sum(), batches.records as f64),
    ] {
        let of = |part: &str| sample(&format!("gmqtt_{name}_{part}"));
        assert!((of("count") - count as f64).abs() < 0.5, "{name}");
        assert!((of("bucket{le=\"+Inf\"}") - count as f64).abs() < 0.5, "{name}");
        assert!((of("sum") - sum).abs() < 1e-6, "{name}");
    }
    let resided = sample("gmqtt_residence_seconds_count");
    assert!(resided > 0.5 && resided < 3.0 * f64::from(EACH) + 0.5, "{resided}");
    assert!((sample("gmqtt_residence_seconds_bucket{le=\"+Inf\"}") - resided).abs() < 0.5);
}

/// Each number of the overview is one of the metrics, under another name.
fn every_number_is_a_sample(overview: &Value, samples: &BTreeMap<String, f64>) {
    let mut numbers = Vec::new();
    leaves(overview, &mut Vec::new(), &mut numbers);
    assert!(numbers.len() > 100, "{}", numbers.len());
    for (path, value) in numbers {
        let Some(name) = metric_of(&path) else { continue };
        let sample = samples.get(&name).unwrap_or_else(|| panic!("{path:?} is not in the metrics as {name}"));
        assert!((sample - value).abs() < 0.5, "{path:?} is {value}, and {name} {sample}");
    }
    assert_eq!(overview["sessions"], 3);
}

fn leaves(value: &Value, path: &mut Vec<String>, found: &mut Vec<(Vec<String>, f64)>) {
    let mut below = |name: String, value: &Value| {
        path.push(name);
        leaves(value, path, found);
        path.pop();
    };
    match value {
        Value::Object(all) => all.iter().for_each(|(name, value)| below(name.clone(), value)),
        Value::Array(all) => all.iter().enumerate().for_each(|(at, value)| below(at.to_string(), value)),
        _ => found.extend(value.as_f64().map(|number| (path.clone(), number))),
    }
}

/// `None` for what has no metric of its own.
fn metric_of(path: &[String]) -> Option<String> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let name = match path[..] {
        ["uptime_secs" | "sessions"] | ["counters", "residence", ..] => return None,
        ["connected"] => "sessions{status=\"online\"}".to_owned(),
        [gauge] => gauge.to_owned(),
        ["counters", "bytes_received"] => "received_bytes_total".to_owned(),
        ["counters", "bytes_sent"] => "sent_bytes_total".to_owned(),
        ["counters", counter] => format!("{counter}_total"),
        ["counters", counter @ ("connects" | "authentications"), outcome] => {
            format!("{counter}_total{{outcome=\"{outcome}\"}}")
        }
        ["counters", counter @ ("messages_received" | "messages_sent" | "messages_delivered"), qos] => {
            format!("{counter}_total{{qos=\"{qos}\"}}")
        }
        ["counters", counter, reason] => format!("{counter}_total{{reason=\"{reason}\"}}"),
        ["counters", counter, name, "packets"] => format!("{counter}_total{{type=\"{name}\"}}"),
        ["counters", counter, name, "bytes"] => {
            format!("{}_bytes_total{{type=\"{name}\"}}", counter.replace("packets", "packet"))
        }
        _ => panic!("{path:?}"),
    };
    Some(format!("gmqtt_{name}"))
}

async fn the_sessions_say_the_same(world: &World) {
    let n = u64::from(EACH);
    let publisher = world.http().get("/api/v1/client/publisher").await.json();
    assert_eq!((&publisher["messages_received"], &publisher["messages_sent"]), (&json!(3 * n), &json!(0)));
    let subscriber = world.http().get("/api/v1/client/subscriber").await.json();
    assert_eq!((&subscriber["messages_received"], &subscriber["messages_sent"]), (&json!(0), &json!(3 * n)));
    let absent = world.http().get("/api/v1/session/absent").await.json();
    assert_eq!(absent["msg_queue_len"], 3 * n);
    assert!(absent["offline_at"].as_str().unwrap() > "2024");
}

#[tokio::test]
async fn a_drop_is_counted_where_it_happened() {
    let builder = mqtt_broker::Broker::builder().limits({
        let mut limits = mqtt_broker::Limits::default();
        limits.max_queued_messages = 2;
        limits
    });
    let world = World::with(builder, (), mqtt_admin::AdminOptions::default()).await;
    let mut absent = world.connect("slow", false).await;
    absent.subscribe("t", QoS::AtLeastOnce).await;
    absent.send(Packet::Disconnect).await;
    absent.expect_end().await;
    let batch: Vec<Value> =
        (0..5).map(|n| json!({"topic": "t", "payload": n.to_string(), "qos": 1})).collect();
    world.http().post("/api/v1/publish/batch", &json!(batch)).await.json();
    let session = world.http().get("/api/v1/session/slow").await.json();
    assert_eq!((&session["msg_queue_len"], &session["msg_queue_dropped"]), (&json!(2), &json!(3)));
    assert_eq!(
        (&session["dropped"]["queue_full"], &session["last_drop"]["reason"]),
        (&json!(3), &json!("queue_full"))
    );
    assert!(session["last_drop"]["at"].as_str().unwrap() > "2024");
    let _other = world.connect("other", false).await;
    let sorted = world.http().get("/api/v1/sessions?sort=msg_queue_dropped").await.json();
    assert_eq!(sorted["list"][0]["client_id"], "slow");
    let overview = world.http().get("/api/v1/overview").await.json();
    assert_eq!(overview["counters"]["messages_dropped"]["queue_full"], 3);
}
