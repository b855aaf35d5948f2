//! Counters and gauges, and that they are right once everything is at rest.

use std::collections::BTreeMap;

use mqtt_broker::QoS;
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

#[tokio::test]
async fn counters_and_gauges_are_right_at_rest() {
    const EACH: u16 = 50;
    let n = u64::from(EACH);
    let world = World::start().await;
    let mut publisher = world.connect("publisher", true).await;
    let mut subscriber = world.connect("subscriber", true).await;
    subscriber.subscribe("room/+", QoS::ExactlyOnce).await;
    let mut absent = world.connect("absent", false).await;
    absent.subscribe(TOPIC, QoS::AtLeastOnce).await;
    absent.send(Packet::Disconnect).await;
    absent.expect_end().await;
    world
        .http()
        .post("/api/v1/publish", &json!({"topic": "kept", "payload": "12345", "retain": true}))
        .await
        .json();
    let receive = async {
        receive_all(&mut subscriber, 3 * usize::from(EACH), usize::from(EACH)).await;
        subscriber.ping().await;
    };
    tokio::join!(publish_all(&mut publisher, EACH), receive);
    let overview = world.http().get("/api/v1/overview").await.json();
    let counters = &overview["counters"];
    the_packets_are_right(counters, n);
    assert_eq!(counters["messages_received"], json!([n, n, n]));
    assert_eq!(counters["messages_sent"], json!([n, n, n]));
    // The absent one has QoS 1 granted.
    assert_eq!(counters["messages_delivered"], json!([2 * n, 3 * n, n]));
    assert_eq!(counters["messages_acknowledged"], 2 * n);
    assert_eq!(counters["connects"]["accepted"], 3);
    assert_eq!(counters["connections_closed"]["disconnected"], 1);
    let resided: u64 =
        counters["residence"]["counts"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum();
    assert!(resided > 0 && resided <= 3 * n, "{resided}");
    let size = (TOPIC.len() + PAYLOAD.len()) as u64;
    for (gauge, value) in [
        ("connections", 2),
        ("connected", 2),
        ("sessions", 3),
        ("subscriptions", 2),
        ("retained_messages", 1),
        ("retained_bytes", 9),
        ("queued_messages", 3 * n),
        ("queued_bytes", 3 * n * size),
        ("inflight_messages", 0),
        ("unreleased_messages", 0),
    ] {
        assert_eq!(overview[gauge], value, "{gauge}");
    }
    the_metrics_say_the_same(&world, &overview).await;
    the_session_says_the_same(&world, n).await;
}

fn the_packets_are_right(counters: &Value, n: u64) {
    let packets = |direction: &str, name: &str| {
        let packets = &counters[format!("packets_{direction}")][name];
        (packets["packets"].as_u64().unwrap(), packets["bytes"].as_u64().unwrap())
    };
    let publish_bytes = n * (3 * PUBLISH_LEN as u64 + 4);
    assert_eq!(packets("received", "publish"), (3 * n, publish_bytes));
    assert_eq!(packets("sent", "publish"), (3 * n, publish_bytes));
    for (direction, name) in [
        ("sent", "puback"),
        ("sent", "pubrec"),
        ("received", "pubrel"),
        ("sent", "pubcomp"),
        ("received", "puback"),
        ("received", "pubrec"),
        ("sent", "pubrel"),
        ("received", "pubcomp"),
    ] {
        assert_eq!(packets(direction, name), (n, 4 * n), "{direction} {name}");
    }
    for (direction, name, count, bytes) in [
        ("received", "connect", 3, 3 * 14 + 9 + 10 + 6),
        ("sent", "connack", 3, 12),
        ("received", "subscribe", 2, 2 * 7 + 12),
        ("sent", "suback", 2, 10),
        ("received", "pingreq", 1, 2),
        ("sent", "pingresp", 1, 2),
        ("received", "disconnect", 1, 2),
        ("received", "unsubscribe", 0, 0),
    ] {
        assert_eq!(packets(direction, name), (count, bytes), "{direction} {name}");
    }
    let sum = |direction: &str| -> u64 {
        let all = counters[format!("packets_{direction}")].as_object().unwrap();
        all.values().map(|packets| packets["bytes"].as_u64().unwrap()).sum()
    };
    assert_eq!(counters["bytes_received"], sum("received"));
    assert_eq!(counters["bytes_sent"], sum("sent"));
}

async fn the_metrics_say_the_same(world: &World, overview: &Value) {
    let answer = world.http().get("/metrics").await;
    assert!(answer.head.contains("content-type: application/openmetrics-text"), "{answer:?}");
    let samples = samples(&answer.body);
    let counters = &overview["counters"];
    let sample = |name: &str| samples.get(name).copied().unwrap_or_else(|| panic!("{name}: {samples:#?}"));
    let same = |name: &str, value: &Value| assert_eq!(Some(sample(name)), value.as_f64(), "{name}");
    same("gmqtt_queued_bytes", &overview["queued_bytes"]);
    same("gmqtt_retained_messages", &overview["retained_messages"]);
    same("gmqtt_received_bytes_total", &counters["bytes_received"]);
    for direction in ["received", "sent"] {
        for (name, packets) in counters[format!("packets_{direction}")].as_object().unwrap() {
            same(&format!("gmqtt_packets_{direction}_total{{type=\"{name}\"}}"), &packets["packets"]);
            same(&format!("gmqtt_packet_{direction}_bytes_total{{type=\"{name}\"}}"), &packets["bytes"]);
        }
    }
    for (name, value) in counters["connections_closed"].as_object().unwrap() {
        same(&format!("gmqtt_connections_closed_total{{reason=\"{name}\"}}"), value);
    }
    let resided: f64 =
        counters["residence"]["counts"].as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).sum();
    assert!((sample("gmqtt_residence_seconds_count") - resided).abs() < 0.5);
    assert!((sample("gmqtt_residence_seconds_bucket{le=\"+Inf\"}") - resided).abs() < 0.5);
}

async fn the_session_says_the_same(world: &World, n: u64) {
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
