//! The broker as a whole, and what the program around it can do.

use axum::{Extension, Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    Noted,
    counters::{Counters, Gauges},
};
use crate::{
    admin::{Admin, WebSocketPlace},
    clock::rfc3339,
    input::Body,
    operations::OperationError,
    problem::{Problem, Result},
};

/// The broker in numbers. Rates are the reader's business: all that is counted only grows.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Overview {
    version: &'static str,
    started_at: String,
    uptime_secs: u64,
    /// When these numbers were read.
    at: String,
    /// Open connections, those without a CONNECT included.
    connections: usize,
    sessions: usize,
    subscriptions: usize,
    retained_messages: usize,
    /// Their topics and payloads.
    retained_bytes: usize,
    #[serde(flatten)]
    gauges: Gauges,
    counters: Counters,
}

/// The broker in numbers.
#[utoipa::path(get, path = "/api/v1/overview", tag = "broker", responses((status = 200, body = Overview)))]
pub(super) async fn overview(State(admin): State<Admin>) -> Result<Json<Overview>> {
    let overview = |admin: &Admin| {
        let (snapshot, totals) = (admin.broker().snapshot(), admin.session_totals());
        Overview {
            version: env!("CARGO_PKG_VERSION"),
            started_at: admin.shared().clock.rfc3339(admin.broker().started_at()),
            uptime_secs: admin.broker().uptime().as_secs(),
            at: rfc3339(std::time::SystemTime::now()),
            connections: snapshot.connections,
            sessions: snapshot.sessions,
            subscriptions: snapshot.subscriptions,
            retained_messages: snapshot.retained_messages,
            retained_bytes: snapshot.retained_bytes,
            gauges: totals.into(),
            counters: Counters::of(&snapshot.counts),
        }
    };
    Ok(Json(admin.heavy(overview).await?))
}

/// Where a client in a browser can connect.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WebSockets {
    list: Vec<WebSocketPlace>,
}

/// The broker's WebSocket listeners, for a client in a browser.
#[utoipa::path(get, path = "/api/v1/websockets", tag = "broker", responses((status = 200, body = WebSockets)))]
pub(super) async fn websockets(State(admin): State<Admin>) -> Json<WebSockets> {
    Json(WebSockets { list: admin.shared().options.websockets.clone() })
}

/// The configuration in force; secrets are masked.
#[utoipa::path(get, path = "/api/v1/config", tag = "broker",
    responses((status = 200, body = Object), (status = 501, body = Problem)))]
pub(super) async fn config(State(admin): State<Admin>) -> Result<Json<Value>> {
    let config = admin.heavy(|admin| admin.shared().operations.config()).await?;
    Ok(Json(config?))
}

/// What was done, in a sentence.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Report {
    report: String,
}

/// Read the configuration again.
#[utoipa::path(post, path = "/api/v1/reload", tag = "broker",
    responses((status = 200, body = Report), (status = 400, body = Problem), (status = 501, body = Problem)))]
pub(super) async fn reload(State(admin): State<Admin>) -> Result<Json<Report>> {
    let report = admin.heavy(|admin| admin.shared().operations.reload()).await??;
    Ok(Json(Report { report }))
}

/// What is logged.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LogLevel {
    /// `error`, `warn`, `info`, `debug`, `trace`, `off`, or a level for a part: `info,mqtt_broker=debug`.
    level: String,
}

/// What is logged.
#[utoipa::path(get, path = "/api/v1/log-level", tag = "broker",
    responses((status = 200, body = LogLevel), (status = 501, body = Problem)))]
pub(super) async fn log_level(State(admin): State<Admin>) -> Result<Json<LogLevel>> {
    let level = admin.heavy(|admin| admin.shared().operations.log_level()).await??;
    Ok(Json(LogLevel { level }))
}

/// Log more, or less, until the next start.
#[utoipa::path(put, path = "/api/v1/log-level", tag = "broker", request_body = LogLevel,
    responses((status = 200, body = LogLevel), (status = 400, body = Problem), (status = 501, body = Problem)))]
pub(super) async fn set_log_level(
    State(admin): State<Admin>,
    Extension(noted): Extension<Noted>,
    Body(wanted): Body<LogLevel>,
) -> Result<Json<LogLevel>> {
    noted.say(format!("log {:?}", wanted.level));
    let set = move |admin: &Admin| {
        let operations = &admin.shared().operations;
        operations.set_log_level(&wanted.level)?;
        operations.log_level()
    };
    let level = admin.heavy(set).await??;
    Ok(Json(LogLevel { level }))
}

/// Where to put a backup.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Backup {
    /// The name of a new directory: letters, digits, `-` and `_`.
    name: String,
}

/// Where it may take as long as the store is large.
pub(super) const BACKUP: &str = "/api/v1/backup";

/// Back the store up, while the broker runs.
#[utoipa::path(post, path = "/api/v1/backup", tag = "broker", request_body = Backup,
    responses((status = 200, body = Report), (status = 400, body = Problem), (status = 409, body = Problem),
        (status = 501, body = Problem)))]
pub(super) async fn backup(
    State(admin): State<Admin>,
    Extension(noted): Extension<Noted>,
    Body(Backup { name }): Body<Backup>,
) -> Result<Json<Report>> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.is_empty() || name.len() > 64 || !name.bytes().all(is_plain) {
        return Err(Problem::bad_request("`name` must be 1 to 64 letters, digits, `-` and `_`"));
    }
    noted.say(format!("backup {name}"));
    let report = admin.backup(move |admin| admin.shared().operations.backup(&name)).await??;
    Ok(Json(Report { report }))
}

impl From<OperationError> for Problem {
    fn from(error: OperationError) -> Self {
        let status = match error {
            OperationError::Unavailable => StatusCode::NOT_IMPLEMENTED,
            OperationError::Invalid(_) => StatusCode::BAD_REQUEST,
            OperationError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}
