//! Publishing and subscribing through the API.

use serde_json::json;

use crate::World;

#[tokio::test]
async fn a_published_message_reaches_its_subscribers() {
    let world = World::start().await;
    let (mut a, mut b) = (world.connect("a", true).await, world.connect("b", true).await);
    let http = world.http();
    for client in ["a", "b"] {
        http.post("/api/v1/subscribe", &json!({"topic": "t", "client_id": client, "qos": 0})).await.json();
    }
    let done = http.form("/api/v1/publish", "topic=t&payload=1&qos=0").await.json();
    assert_eq!(done, json!({"code": 0, "result": []}));
    let binary = json!({"topic": "t", "payload": "/wA=", "payload_encoding": "base64", "retain": true});
    http.post("/api/v1/publish", &binary).await.json();
    http.post(
        "/api/v1/publish/batch",
        &json!([{"topic": "t", "payload": "2"}, {"topic": "u"}, {"topic": "t", "payload": "3"}]),
    )
    .await
    .json();
    http.post("/api/v1/publish", &json!({"topic": "t", "payload": "4", "client_ids": ["b", "x"]}))
        .await
        .json();
    http.post("/api/v1/broadcast", &json!({"topic": "news", "payload": "5", "client_ids": ["a"]}))
        .await
        .json();
    http.post("/api/v1/broadcast", &json!({"topic": "news", "payload": "6"})).await.json();
    for (client, wanted) in
        [(&mut a, ["1", "\u{ff}\0", "2", "3", "5", "6"]), (&mut b, ["1", "\u{ff}\0", "2", "3", "4", "6"])]
    {
        for payload in wanted {
            let wanted: Vec<u8> = payload.chars().map(|char| char as u8).collect();
            assert_eq!(client.payload().await, wanted);
        }
    }
    assert_eq!(world.broker.snapshot().retained_messages, 1);
    http.post("/api/v1/unsubscribe", &json!({"topic": "t", "client_id": "a"})).await.json();
    http.post("/api/v1/unsubscribe", &json!({"topic": "t", "client_id": "a"})).await.problem(404);
    assert_eq!(world.broker.snapshot().subscriptions, 1);
}

/// JSON or, as in 2018, a form, whatever is asked for.
#[tokio::test]
async fn a_body_may_be_json_or_a_form() {
    let world = World::start().await;
    let mut client = world.connect("a b", false).await;
    let http = world.http();
    let both = async |path: &str, form: &str, json: serde_json::Value| {
        let done = (http.form(path, form).await, http.post(path, &json).await);
        assert_eq!(done.0.status, done.1.status, "{path}: {done:?}");
        assert_eq!(done.0.body, done.1.body, "{path}");
        assert!(matches!(done.0.status, 200 | 204), "{path}: {done:?}");
    };
    // Each name that the client identifier has had.
    for name in ["client_id", "clientID", "clientId"] {
        let form = format!("qos=2&topic=t%2F%2B&{name}=a+b");
        both("/api/v1/subscribe", &form, json!({"qos": 2, "topic": "t/+", name: "a b"})).await;
    }
    let subscriptions = http.get("/api/v1/subscriptions/a%20b").await.json();
    assert_eq!((&subscriptions["total_count"], &subscriptions["list"][0]["qos"]), (&json!(1), &json!(2)));
    let form = "qos=1&topic=t%2F1&payload=%2FwA%3D&payload_encoding=base64&retain=true";
    let json =
        json!({"qos": 1, "topic": "t/1", "payload": "/wA=", "payload_encoding": "base64", "retain": true});
    both("/api/v1/publish", form, json).await;
    both("/api/v1/broadcast", "topic=news&payload=%E2%82%AC", json!({"topic": "news", "payload": "€"})).await;
    for payload in [b"\xff\0".as_slice(), b"\xff\0", "€".as_bytes(), "€".as_bytes()] {
        assert_eq!(client.payload().await, payload);
    }
    assert_eq!(world.broker.snapshot().retained_messages, 1);
    let done = http.form("/api/v1/unsubscribe", "topic=t%2F%2B&clientID=a+b").await.json();
    assert_eq!(done, json!({"code": 0, "result": []}));
    both("/api/v1/bans", "username=x&seconds=60", json!({"username": "x", "seconds": 60})).await;
}

#[tokio::test]
async fn what_cannot_be_published_is_refused() {
    let world = World::start().await;
    let http = world.http();
    for (wrong, what) in [
        (json!({"topic": "a/#"}), "topic"),
        (json!({"topic": ""}), "topic"),
        (json!({"topic": "a", "qos": 3}), "qos"),
        (json!({"topic": "a", "payload": "?", "payload_encoding": "base64"}), "base64"),
        (json!({"topic": "a", "payload": "x".repeat(3 * 1024 * 1024)}), "packet"),
    ] {
        assert!(http.post("/api/v1/publish", &wrong).await.problem(400).contains(what), "{what}");
    }
    let mistyped = json!({"topic": "a", "retained": true});
    assert!(http.post("/api/v1/publish", &mistyped).await.problem(422).contains("`retained`"));
    let half = json!([{"topic": "a", "retain": true, "payload": "x"}, {"topic": "+"}]);
    http.post("/api/v1/publish/batch", &half).await.problem(400);
    assert_eq!(world.broker.snapshot().retained_messages, 0);
    http.post("/api/v1/broadcast", &json!({"topic": "a", "retain": true})).await.problem(400);
    http.post("/api/v1/subscribe", &json!({"topic": "a", "client_id": "unknown"})).await.problem(404);
    http.post("/api/v1/subscribe", &json!({"topic": "a/#/b", "client_id": "x"})).await.problem(400);
}
