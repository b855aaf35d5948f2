//! The verbs of `gmqtt admin` that change something: they take a token with the role `write`.

use std::time::Duration;

use serde_json::{Value, json};

use super::table::Output;
use crate::{api_client::ApiClient, quantity};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Act {
    /// Close a client's connection; its Will is published, and its session stays unless it is clean
    Disconnect {
        /// Its client identifier
        client_id: String,
    },
    /// End a session: its connection, its subscriptions, and what waits for it
    EndSession {
        /// Its client identifier
        client_id: String,
    },
    /// Subscribe a client, as if it had asked
    Subscribe {
        /// Its client identifier
        client_id: String,
        /// The topic filter
        filter: String,
        /// The highest QoS
        #[arg(short, long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
        qos: u8,
    },
    /// Remove a subscription of a client
    Unsubscribe {
        /// Its client identifier
        client_id: String,
        /// The topic filter
        filter: String,
    },
    /// Publish a message, whoever may publish to its topic; its receivers' rights still hold
    Publish {
        /// The topic
        topic: String,
        /// The message
        message: String,
        /// Its QoS
        #[arg(short, long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
        qos: u8,
        /// Keep it for future subscribers; an empty message removes what is kept
        #[arg(short, long)]
        retain: bool,
    },
    /// Give a message to every connected client that may have it, whatever it subscribes to
    Broadcast {
        /// The topic
        topic: String,
        /// The message
        message: String,
        /// Its QoS
        #[arg(short, long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
        qos: u8,
    },
    /// Delete retained messages; subscribers keep what they have
    DeleteRetained {
        /// A topic filter: one topic, or those of a branch
        filter: String,
    },
    /// Refuse whoever is meant, and disconnect them
    Ban {
        #[command(flatten)]
        target: Target,
        /// Why, for whoever reads the list
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
        /// How long; for ever, unless given
        #[arg(long = "for", value_name = "TIME", value_parser = some_time)]
        time: Option<Duration>,
    },
    /// End a ban
    Unban {
        #[command(flatten)]
        target: Target,
    },
    /// Read the configuration again
    Reload,
    /// What is logged; with a level, log that from here on
    LogLevel {
        /// error, warn, info, debug, trace, off, or one for a part: `info,mqtt_broker=debug`
        level: Option<String>,
    },
    /// Back the store up, while the broker runs
    Backup {
        /// The name of the new directory, below a place that the broker chooses
        name: String,
    },
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Target {
    /// A client identifier
    #[arg(long, value_name = "ID")]
    client: Option<String>,
    /// A user name
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// An address, or a network: 192.0.2.0/24
    #[arg(long, value_name = "ADDRESS")]
    network: Option<String>,
}

impl Target {
    /// As the API calls it.
    fn named(&self) -> Option<(&'static str, &String)> {
        let all = [("client_id", &self.client), ("username", &self.user), ("network", &self.network)];
        all.into_iter().find_map(|(kind, value)| Some((kind, value.as_ref()?)))
    }
}

impl Act {
    pub(super) async fn run(&self, api: &ApiClient, output: Output) -> anyhow::Result<()> {
        match self {
            Self::Disconnect { client_id } => {
                api.delete(&["client", client_id], &[]).await?;
                output.done(&format!("{client_id} is disconnected"))
            }
            Self::EndSession { client_id } => {
                api.delete(&["session", client_id], &[]).await?;
                output.done(&format!("the session of {client_id} has ended"))
            }
            Self::Subscribe { client_id, filter, qos } => {
                let body = json!({"client_id": client_id, "topic": filter, "qos": qos});
                api.post(&["subscribe"], &body).await?;
                output.done(&format!("{client_id} is subscribed to {filter}"))
            }
            Self::Unsubscribe { client_id, filter } => {
                let body = json!({"client_id": client_id, "topic": filter});
                api.post(&["unsubscribe"], &body).await?;
                output.done(&format!("{client_id} is not subscribed to {filter} any more"))
            }
            Self::Publish { topic, message, qos, retain } => {
                let body = json!({"topic": topic, "payload": message, "qos": qos, "retain": retain});
                api.post(&["publish"], &body).await?;
                output.done(&format!("published to {topic}"))
            }
            Self::Broadcast { topic, message, qos } => {
                let body = json!({"topic": topic, "payload": message, "qos": qos});
                api.post(&["broadcast"], &body).await?;
                output.done(&format!("given to all under {topic}"))
            }
            Self::DeleteRetained { filter } => {
                output.done(&format!("{} deleted", delete_retained(api, filter).await?))
            }
            Self::Ban { target, reason, time } => {
                let Some((kind, value)) = target.named() else { return Ok(()) };
                let body = json!({kind: value, "reason": reason, "seconds": time.map(whole_seconds)});
                api.post(&["bans"], &body).await?;
                output.done(&format!("{value} is banned"))
            }
            Self::Unban { target } => {
                let Some((kind, value)) = target.named() else { return Ok(()) };
                api.delete(&["bans"], &[(kind, value.clone())]).await?;
                output.done(&format!("{value} may connect again"))
            }
            Self::Reload => report(output, &api.post(&["reload"], &Value::Null).await?),
            Self::LogLevel { level: None } => output.value(&api.get(&["log-level"], &[]).await?),
            Self::LogLevel { level: Some(level) } => {
                output.value(&api.put(&["log-level"], &json!({"level": level})).await?)
            }
            Self::Backup { name } => report(output, &api.post(&["backup"], &json!({"name": name})).await?),
        }
    }
}

/// How many there were: a request deletes so many at most, and says whether to ask again.
async fn delete_retained(api: &ApiClient, filter: &str) -> anyhow::Result<u64> {
    let mut deleted = 0;
    loop {
        let done = api.delete(&["retained"], &[("filter", filter.to_owned())]).await?;
        deleted += done.get("forgotten").and_then(Value::as_u64).unwrap_or_default();
        if done.get("may_be_more").and_then(Value::as_bool) != Some(true) {
            return Ok(deleted);
        }
    }
}

fn some_time(text: &str) -> Result<Duration, String> {
    let time = quantity::finite(text)?;
    if time.is_zero() { Err("for no time at all".to_owned()) } else { Ok(time) }
}

/// Rounded up: a ban of no second would be none.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add((time.subsec_nanos() > 0).into())
}

fn report(output: Output, answer: &Value) -> anyhow::Result<()> {
    match answer.get("report").and_then(Value::as_str) {
        Some(report) if !output.json => output.done(report),
        _ => output.value(answer),
    }
}
