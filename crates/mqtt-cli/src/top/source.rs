//! Where figures come from: the HTTP API of a gmqtt, or what any broker publishes below `$SYS`.

use std::time::Duration;

use anyhow::Context;
use mqtt_codec::{QoS, TopicFilter};
use serde_json::Value;
use tokio::{
    sync::{mpsc, watch},
    time::{interval, sleep},
};

use super::state::{Sort, View};
use crate::{
    api_client::ApiClient,
    client::{Client, Event},
};

/// What a source has found out.
pub(super) enum Update {
    Version(String),
    History(Value),
    Clients(Value),
    Topics(Value),
    /// A value below `$SYS`.
    Sys(String, String),
    /// A message to another topic, with so many bytes.
    Message(String, u64),
    /// What went wrong, or was done.
    Notice(String),
}

/// What is looked at: no more than that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) view: View,
    pub(super) sort: Sort,
    /// Only clients with this in their identifier.
    pub(super) search: String,
}

pub(super) type Updates = mpsc::Sender<Update>;

const CLIENTS: usize = 200;
const PAUSE_AFTER_A_PROBLEM: Duration = Duration::from_secs(1);

/// Asks the API again and again, until nobody wants to know.
pub(super) async fn ask_api(
    api: ApiClient,
    period: Duration,
    mut wanted: watch::Receiver<Wanted>,
    updates: Updates,
) {
    let (mut ticks, mut last_ms, mut version_known) = (interval(period), 0, false);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            changed = wanted.changed() => if changed.is_err() { return },
        }
        let asked = wanted.borrow_and_update().clone();
        let answer = async {
            if !version_known {
                let overview = api.get(&["overview"], &[]).await?;
                let version = overview.get("version").and_then(Value::as_str).unwrap_or_default();
                let _ = updates.send(Update::Version(version.to_owned())).await;
                version_known = true;
            }
            let query = [("span", "minutes".to_owned()), ("after_ms", last_ms.to_string())];
            let history = api.get(&["history"], &query).await?;
            let newest = history.get("at_ms").and_then(Value::as_array).and_then(|at| at.last()?.as_u64());
            last_ms = newest.unwrap_or(last_ms);
            let _ = updates.send(Update::History(history)).await;
            if asked.view == View::Clients {
                let query = [
                    ("sort", asked.sort.field().to_owned()),
                    ("per-page", CLIENTS.to_string()),
                    ("client_id", asked.search),
                ];
                let _ = updates.send(Update::Clients(api.get(&["clients"], &query).await?)).await;
            }
            anyhow::Ok(())
        };
        if let Err(error) = answer.await
            && updates.send(Update::Notice(format!("{error:#}"))).await.is_err()
        {
            return;
        }
    }
}

/// Disconnects a client, and says what came of it.
pub(super) async fn disconnect(api: ApiClient, client_id: String, updates: Updates) {
    let outcome = api.delete(&["client", &client_id], &[]).await;
    let notice =
        outcome.map_or_else(|error| format!("{error:#}"), |_| format!("{client_id} is disconnected"));
    let _ = updates.send(Update::Notice(notice)).await;
}

/// Watches topics as long as they are looked at.
pub(super) async fn watch_topics(api: ApiClient, mut wanted: watch::Receiver<Wanted>, updates: Updates) {
    loop {
        if wanted.wait_for(|wanted| wanted.view == View::Topics).await.is_err() {
            return;
        }
        let query = [("filter", "#".to_owned())];
        let stream = api.events(&["watch", "topics"], &query, |second| {
            // Whoever cannot keep up misses a second.
            let _ = updates.try_send(Update::Topics(second));
            Ok(())
        });
        tokio::select! {
            outcome = stream => {
                if let Err(error) = outcome {
                    let _ = updates.send(Update::Notice(format!("{error:#}"))).await;
                }
                sleep(PAUSE_AFTER_A_PROBLEM).await;
            }
            is_over = async { wanted.wait_for(|wanted| wanted.view != View::Topics).await.is_err() } => {
                if is_over {
                    return;
                }
            }
        }
    }
}

/// Subscribes to `$SYS/#`, and to everything else, for the topics.
pub(super) async fn subscribe_to_sys(mut client: Client, updates: Updates) {
    if let Err(error) = read_sys(&mut client, &updates).await {
        let _ = updates.send(Update::Notice(format!("{error:#}"))).await;
    }
    let _ = client.disconnect().await;
}

async fn read_sys(client: &mut Client, updates: &Updates) -> anyhow::Result<()> {
    loop {
        while let Some(event) = client.poll_event()? {
            match event {
                Event::Connected { .. } => {
                    let filters = [filter("$SYS/#")?, filter("#")?].map(|filter| (filter, QoS::AtMostOnce));
                    client.subscribe(filters.into()).context("cannot subscribe")?;
                }
                Event::Subscribed(_) => {}
                Event::Message(message) => {
                    let topic = message.topic.to_string();
                    let update = if topic.starts_with("$SYS/") {
                        Update::Sys(topic, String::from_utf8_lossy(&message.payload).into_owned())
                    } else if message.retain {
                        continue;
                    } else {
                        Update::Message(topic, message.payload.len() as u64)
                    };
                    if updates.send(update).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
        client.drive().await?;
    }
}

fn filter(text: &str) -> anyhow::Result<TopicFilter> {
    TopicFilter::try_from(text).with_context(|| format!("{text} is no filter"))
}
