//! The verbs of `gmqtt admin` that change nothing.

use anyhow::Context;
use clap::value_parser;
use serde_json::Value;

use super::{
    given,
    table::{
        Column, Output,
        Show::{Number, Payload, Text, Time},
    },
};
use crate::api_client::ApiClient;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Look {
    /// The broker in numbers
    Overview,
    /// Connected clients
    Clients(Sessions),
    /// Sessions, connected or not
    Sessions(Sessions),
    /// One client: its session, and what it subscribes to
    Client {
        /// Its client identifier
        client_id: String,
    },
    /// Subscriptions
    Subscriptions {
        /// Only those with this in their filter
        #[arg(long, value_name = "TEXT")]
        filter: Option<String>,
        /// Only those of clients with this in their identifier
        #[arg(long, value_name = "TEXT")]
        client: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Retained messages
    Retained {
        /// A topic filter
        #[arg(default_value = "#")]
        filter: String,
        #[command(flatten)]
        limit: Limit,
    },
    /// The oldest messages that wait for a client; they stay where they are
    Queue {
        /// Its client identifier
        client_id: String,
        /// At most so many, up to 1000
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = value_parser!(u16).range(1..=1_000))]
        limit: u16,
    },
    /// What happened to a client lately
    Events {
        /// Its client identifier
        client_id: String,
    },
    /// Who may not connect
    Bans,
    /// The configuration in force, without its secrets
    Config,
}

#[derive(Debug, clap::Args)]
pub(super) struct Sessions {
    /// Only those with this in their client identifier
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Only those with this user name
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only those whose address begins like this
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
    /// The most loaded first; names and times begin with the least
    #[arg(long, value_name = "FIELD", default_value = "client_id", value_parser = SORTED_BY)]
    sort: String,
    #[command(flatten)]
    limit: Limit,
}

#[derive(Debug, clap::Args)]
pub(super) struct Limit {
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
}

/// All that the API sorts by.
const SORTED_BY: [&str; 12] = [
    "client_id",
    "username",
    "connected_at",
    "subscriptions",
    "inflight_len",
    "msg_queue_len",
    "msg_queue_bytes",
    "msg_queue_dropped",
    "messages_received",
    "messages_sent",
    "bytes_received",
    "bytes_sent",
];

/// Of clients and of sessions: what tells one from another, what is particular to either, and how loaded it is.
const WHO: [Column; 3] = [
    Column("CLIENT", "client_id", Text),
    Column("USER", "username", Text),
    Column("ADDRESS", "remote_addr", Text),
];
const OF_CLIENTS: [Column; 1] = [Column("CONNECTED", "connected_at", Time)];
const OF_SESSIONS: [Column; 2] =
    [Column("STATUS", "status", Text), Column("SUBSCRIPTIONS", "subscriptions", Number)];
const LOAD: [Column; 4] = [
    Column("INFLIGHT", "inflight_len", Number),
    Column("QUEUED", "msg_queue_len", Number),
    Column("BYTES", "msg_queue_bytes", Number),
    Column("DROPPED", "msg_queue_dropped", Number),
];

const SUBSCRIPTIONS: &[Column] = &[
    Column("CLIENT", "client_id", Text),
    Column("FILTER", "name", Text),
    Column("QOS", "qos", Number),
    Column("SINCE", "at", Time),
];

const MESSAGES: &[Column] = &[
    Column("TOPIC", "topic", Text),
    Column("QOS", "qos", Number),
    Column("BYTES", "payload_bytes", Number),
    Column("PAYLOAD", "payload", Payload),
];

const EVENTS: &[Column] =
    &[Column("AT", "at", Time), Column("EVENT", "event", Text), Column("DETAIL", "detail", Text)];

const BANS: &[Column] = &[
    Column("KIND", "kind", Text),
    Column("WHO", "value", Text),
    Column("SECONDS LEFT", "seconds_left", Number),
    Column("BY", "origin", Text),
    Column("REASON", "reason", Text),
];

impl Look {
    pub(super) async fn run(&self, api: &ApiClient, output: Output) -> anyhow::Result<()> {
        match self {
            Self::Overview => output.value(&api.get(&["overview"], &[]).await?),
            Self::Clients(sessions) => sessions.show(api, output, "clients", &OF_CLIENTS).await,
            Self::Sessions(sessions) => sessions.show(api, output, "sessions", &OF_SESSIONS).await,
            Self::Client { client_id } => {
                let mut session = api.get(&["session", client_id], &[]).await?;
                let filters = api.list(&["subscriptions", client_id], &[], usize::MAX).await?;
                if output.json {
                    if let Some(session) = session.as_object_mut() {
                        session.insert("subscriptions".into(), Value::Array(filters));
                    }
                    return output.value(&session);
                }
                output.value(&session)?;
                output.list(SUBSCRIPTIONS, &filters)
            }
            Self::Subscriptions { filter, client, limit } => {
                let query = given([("name", filter), ("client_id", client)]);
                output.list(SUBSCRIPTIONS, &api.list(&["subscriptions"], &query, limit.limit).await?)
            }
            Self::Retained { filter, limit } => {
                let query = [("filter", filter.clone())];
                let (came, end) = api.list_by_topic(&["retained"], &query, limit.limit).await;
                if end.is_err() && came.is_empty() {
                    return end;
                }
                output.list(MESSAGES, &came)?;
                end.context("there is more behind these, which cannot be asked for: narrow the filter")
            }
            Self::Queue { client_id, limit } => {
                let query = [("limit", limit.to_string())];
                let waiting = api.get(&["session", client_id, "queue"], &query).await?;
                output.list(MESSAGES, list_of(&waiting))
            }
            Self::Events { client_id } => {
                output.list(EVENTS, list_of(&api.get(&["client", client_id, "events"], &[]).await?))
            }
            Self::Bans => {
                let bans = api.get(&["bans"], &[]).await?;
                output.list(BANS, bans.as_array().map(Vec::as_slice).unwrap_or_default())
            }
            Self::Config => output.value(&api.get(&["config"], &[]).await?),
        }
    }
}

impl Sessions {
    async fn show(
        &self,
        api: &ApiClient,
        output: Output,
        which: &str,
        particular: &[Column],
    ) -> anyhow::Result<()> {
        let mut query =
            given([("client_id", &self.search), ("username", &self.user), ("remote_addr", &self.address)]);
        query.push(("sort", self.sort.clone()));
        let rows = api.list(&[which], &query, self.limit.limit).await?;
        output.list(&[&WHO[..], particular, &LOAD[..]].concat(), &rows)
    }
}

fn list_of(page: &Value) -> &[Value] {
    page.get("list").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}
