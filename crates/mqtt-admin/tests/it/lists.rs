//! Lists of clients, sessions and subscriptions, under the names of 2018.

use serde_json::{Value, json};

use crate::World;

fn names(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Fields of the system of 2018.
const PAGE: [&str; 6] = ["list", "page", "page_size", "current_count", "total_count", "total_page"];
const CLIENT: [&str; 6] =
    ["client_id", "username", "remote_addr", "clean_session", "keep_alive", "connected_at"];
const SESSION: [&str; 13] = [
    "client_id",
    "status",
    "remote_addr",
    "clean_session",
    "subscriptions",
    "max_inflight",
    "inflight_len",
    "max_msg_queue",
    "msg_queue_len",
    "msg_queue_dropped",
    "connected_at",
    "offline_at",
    "username",
];
const SUBSCRIPTION: [&str; 4] = ["client_id", "qos", "name", "at"];

fn has_all(value: &Value, wanted: &[&str]) {
    let names = names(value);
    assert!(wanted.iter().all(|name| names.contains(name)), "{names:?}");
}

#[tokio::test]
async fn lists_have_the_fields_of_2018() {
    let world = World::start().await;
    let _client = world.connect("a", true).await;
    world.http().form("/api/v1/subscribe", "qos=1&topic=t%2F%2B&clientID=a").await.json();
    let page = world.http().get("/api/v1/clients").await.json();
    has_all(&page, &PAGE);
    has_all(&page["list"][0], &CLIENT);
    assert_eq!(page["list"][0]["client_id"], "a");
    assert_eq!((&page["total_count"], &page["page"], &page["page_size"]), (&json!(1), &json!(1), &json!(20)));
    has_all(&world.http().get("/api/v1/client/a").await.json(), &CLIENT);
    let page = world.http().get("/api/v1/sessions").await.json();
    has_all(&page["list"][0], &SESSION);
    let session = world.http().get("/api/v1/session/a").await.json();
    has_all(&session, &SESSION);
    assert_eq!((&session["status"], &session["subscriptions"]), (&json!("online"), &json!(1)));
    assert_eq!(session["offline_at"], "0001-01-01T00:00:00Z");
    for path in ["/api/v1/subscriptions", "/api/v1/subscriptions/a"] {
        let page = world.http().get(path).await.json();
        has_all(&page, &PAGE);
        has_all(&page["list"][0], &SUBSCRIPTION);
        assert_eq!((&page["list"][0]["name"], &page["list"][0]["qos"]), (&json!("t/+"), &json!(1)));
    }
    assert_eq!(world.http().get("/api/v1/subscriptions/unknown").await.json()["total_count"], 0);
    world.http().get("/api/v1/client/unknown").await.problem(404);
    world.http().get("/api/v1/session/unknown").await.problem(404);
}

#[tokio::test]
async fn clients_are_filtered_sorted_and_paged() {
    let world = World::start().await;
    let mut clients = Vec::new();
    for n in 0..25 {
        clients.push(world.connect(&format!("c/{n:02}"), n % 2 == 0).await);
    }
    let http = world.http();
    let mut seen = Vec::new();
    let mut path = "/api/v1/clients?per-page=10&clean_session=true".to_owned();
    loop {
        let page = http.get(&path).await.json();
        assert_eq!((&page["total_count"], &page["total_page"]), (&json!(13), &json!(2)));
        seen.extend(page["list"].as_array().unwrap().iter().map(|client| client["client_id"].clone()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/api/v1/clients?per-page=10&clean_session=true&cursor={cursor}");
    }
    let wanted: Vec<Value> = (0..25).step_by(2).map(|n| json!(format!("c/{n:02}"))).collect();
    assert_eq!(seen, wanted);
    let last = http.get("/api/v1/clients?per-page=10&page=7&order=desc").await.json();
    assert_eq!((&last["page"], &last["current_count"]), (&json!(3), &json!(5)));
    assert_eq!(last["list"][4]["client_id"], "c/00");
    world.broker.subscribe("c/07", &"x".try_into().unwrap(), mqtt_broker::QoS::AtMostOnce).unwrap();
    let sorted = http.get("/api/v1/sessions?sort=subscriptions&per-page=1").await.json();
    assert_eq!(sorted["list"][0]["client_id"], "c/07");
    assert_eq!(http.get("/api/v1/client/c%2F07").await.json()["client_id"], "c/07");
    assert_eq!(http.get("/api/v1/clients?client_id=07&remote_addr=127.").await.json()["total_count"], 1);
    assert_eq!(http.get("/api/v1/clients?username=x").await.json()["total_count"], 0);
}

/// Filters may have 64 KiB, a request's head no more either: what a cursor holds of them is short.
#[tokio::test]
async fn long_filters_are_paged_too() {
    let world = World::start().await;
    let _client = world.connect("a", true).await;
    let filters: Vec<String> = (0..7).map(|n| format!("{}{n}", "\u{1}".repeat(65_000))).collect();
    for filter in &filters {
        let filter = filter.as_str().try_into().unwrap();
        world.broker.subscribe("a", &filter, mqtt_broker::QoS::AtMostOnce).unwrap();
    }
    let (mut seen, mut path) = (Vec::new(), "/api/v1/subscriptions?per-page=2".to_owned());
    loop {
        let page = world.http().get(&path).await.json();
        let names = page["list"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap());
        seen.extend(names.map(str::to_owned));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/api/v1/subscriptions?per-page=2&cursor={cursor}");
    }
    seen.sort_unstable();
    assert!(seen == filters, "{} of {}", seen.len(), filters.len());
}

#[tokio::test]
async fn a_client_is_disconnected_and_a_session_ended() {
    let world = World::start().await;
    let mut client = world.connect("a", false).await;
    let http = world.http();
    assert_eq!(http.delete("/api/v1/client/a").await.status, 204);
    client.expect_end().await;
    http.delete("/api/v1/client/a").await.problem(404);
    let session = http.get("/api/v1/session/a").await.json();
    assert_eq!((&session["status"], &session["remote_addr"]), (&json!("offline"), &json!("")));
    assert_eq!(http.delete("/api/v1/session/a").await.status, 204);
    http.delete("/api/v1/session/a").await.problem(404);
    http.get("/api/v1/session/a").await.problem(404);
}

/// What sends a request takes these names for a way through the path, so they can stand in the query.
#[tokio::test]
async fn clients_that_no_path_can_name_are_named_in_the_query() {
    let world = World::start().await;
    let http = world.http();
    let mut plain = world.connect("-", false).await;
    for name in [".", ".."] {
        let mut client = world.connect(name, false).await;
        client.subscribe("t/+", mqtt_broker::QoS::AtMostOnce).await;
        for path in ["client", "session"] {
            let one = http.get(&format!("/api/v1/{path}/-?client_id={name}")).await.json();
            assert_eq!(one["client_id"], name);
        }
        let queue = http.get(&format!("/api/v1/session/-/queue?client_id={name}&limit=1")).await.json();
        assert_eq!(queue, json!({"list": []}));
        http.get(&format!("/api/v1/client/-/events?client_id={name}")).await.problem(501);
        let page = http.get(&format!("/api/v1/subscriptions/-?client_id={name}&per-page=5")).await.json();
        assert_eq!((&page["total_count"], &page["list"][0]["client_id"]), (&json!(1), &json!(name)));
        assert_eq!(http.delete(&format!("/api/v1/client/-?client_id={name}")).await.status, 204);
        client.expect_end().await;
        assert_eq!(http.delete(&format!("/api/v1/session/-?client_id={name}")).await.status, 204);
        http.get(&format!("/api/v1/session/-?client_id={name}")).await.problem(404);
    }
    plain.ping().await;
    assert_eq!(http.get("/api/v1/client/-").await.json()["client_id"], "-");
    let with_another = http.get("/api/v1/client/-?client_id=unknown").await;
    with_another.problem(404);
}
