//! Very many clients, gone through page by page while others come and go. `cargo xtask bench scraping --in-process 100000` does
//! the same with a hundred thousand, where it takes no minutes: in a release build.

#[path = "../../examples/crowd/members.rs"]
mod members;

use mqtt_admin::AdminOptions;
use mqtt_broker::{Broker, Limits};
use serde_json::Value;

use self::members::Crowd;
use crate::World;

/// Those that come and go stand in the lists among those that stay.
fn stays(number: usize) -> String {
    format!("c/{number:06}/a stays")
}

fn goes(number: usize) -> String {
    format!("c/{number:06}/b goes")
}

/// All pages of a list; after each some leave and some come.
async fn all_pages(world: &World, crowd: &mut Crowd, path: &str, size: usize) -> Vec<Value> {
    let per_page = (size / 10).min(1_000);
    let (mut items, mut cursor, mut round) = (Vec::new(), String::new(), 0);
    loop {
        let page = world.http().get(&format!("{path}&per-page={per_page}{cursor}")).await.json();
        assert!(page["total_count"].as_u64().unwrap() >= size as u64);
        items.extend(page["list"].as_array().unwrap().iter().cloned());
        let Some(next) = page["next_cursor"].as_str() else { return items };
        cursor = format!("&cursor={next}");
        for n in 0..20 {
            let number = (round * 20 + n) * 7 % size;
            crowd.leave(&goes(number));
            crowd.join(&goes(number + 3), number);
        }
        round += 1;
    }
}

/// Every client that stayed is among the items, once.
fn each_once(items: &[Value], size: usize) {
    let name = |item: &Value| item["client_id"].as_str().unwrap().to_owned();
    let mut stayed: Vec<String> = items.iter().map(name).filter(|name| name.ends_with("stays")).collect();
    stayed.sort_unstable();
    assert!(stayed.iter().eq((0..size).map(stays).collect::<Vec<_>>().iter()), "{} of {size}", stayed.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_are_paged_through_while_others_come_and_go() {
    const SIZE: usize = 20_000;
    let world = World::start().await;
    let mut crowd = Crowd::new(&world.broker);
    (0..SIZE).for_each(|number| crowd.join(&stays(number), number));
    (0..SIZE).step_by(100).for_each(|number| crowd.join(&goes(number), number));
    let items = all_pages(&world, &mut crowd, "/api/v1/clients?", SIZE).await;
    each_once(&items, SIZE);
    let last = world.http().get("/api/v1/clients?client_id=stays&page=20&per-page=1000").await.json();
    assert_eq!(last["list"][999]["client_id"], stays(SIZE - 1));
    let one = world.http().get("/api/v1/clients?client_id=/019999/a&username=user-059").await.json();
    assert_eq!((&one["total_count"], &one["list"][0]["client_id"]), (&1.into(), &stays(19_999).into()));
}

/// What sessions are sorted by, and whether the greatest come first unless the request says otherwise.
const COLUMNS: [(&str, bool); 12] = [
    ("client_id", false),
    ("username", false),
    ("connected_at", false),
    ("subscriptions", true),
    ("inflight_len", true),
    ("msg_queue_len", true),
    ("msg_queue_bytes", true),
    ("msg_queue_dropped", true),
    ("messages_received", true),
    ("messages_sent", true),
    ("bytes_received", true),
    ("bytes_sent", true),
];

#[tokio::test(flavor = "multi_thread")]
async fn in_every_order_each_client_is_found_once() {
    const SIZE: usize = 1_000;
    let mut limits = Limits::default();
    (limits.max_inflight, limits.max_queued_messages) = (1, 2);
    let world = World::with(Broker::builder().limits(limits), (), AdminOptions::default()).await;
    let mut crowd = Crowd::new(&world.broker);
    (0..SIZE).for_each(|number| crowd.join(&stays(number), number));
    (0..SIZE).step_by(10).for_each(|number| crowd.join(&goes(number), number));
    for (column, greatest_first) in COLUMNS {
        let opposite = if greatest_first { "&order=asc" } else { "&order=desc" };
        for (order, descends) in [("", greatest_first), (opposite, !greatest_first)] {
            let path = format!("/api/v1/sessions?sort={column}{order}");
            let items = all_pages(&world, &mut crowd, &path, SIZE).await;
            each_once(&items, SIZE);
            // Numbers and text: what is not of a kind compares equal.
            let key = |item: &Value| (item[column].as_u64(), item[column].as_str().map(str::to_owned));
            let keys: Vec<_> = items.iter().map(key).collect();
            let is_sorted = keys.is_sorted_by(|a, b| if descends { a >= b } else { a <= b });
            assert!(is_sorted, "{path}");
            let different = keys.iter().collect::<std::collections::HashSet<_>>().len();
            assert!(different > 1, "{column} is the same everywhere: nothing is shown by its order");
        }
    }
}
