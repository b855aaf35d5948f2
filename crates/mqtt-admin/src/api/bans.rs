//! Who may not connect: the list, and to ban and forgive.

use std::time::Duration;

use axum::{Extension, Json, extract::State, http::StatusCode};
use mqtt_broker::{Ban as BrokerBan, BanError, BanOrigin, BanTarget};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Noted;
use crate::{
    admin::Admin,
    input::{Asked, Body},
    problem::{Problem, Result},
};

/// A ban in force.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ban {
    /// `network`, `client_id` or `username`.
    #[schema(value_type = String)]
    kind: &'static str,
    value: String,
    reason: String,
    /// `operator`, `configuration`, or `flapping`: the broker itself.
    #[schema(value_type = String)]
    origin: &'static str,
    /// How long it will last; null: for ever.
    seconds_left: Option<u64>,
}

/// Who; exactly one of the three.
#[derive(Debug, Default, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Target {
    /// An address, or a network: `192.0.2.0/24`.
    network: Option<String>,
    client_id: Option<String>,
    username: Option<String>,
}

/// A ban to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewBan {
    /// An address, or a network: `192.0.2.0/24`. Exactly one of this and the next two.
    network: Option<String>,
    client_id: Option<String>,
    username: Option<String>,
    /// Why, for whoever reads the list.
    #[serde(default)]
    reason: String,
    /// How long, 1 at least; unless given, for ever.
    #[schema(minimum = 1)]
    seconds: Option<u64>,
}

impl Target {
    fn resolve(self) -> Result<BanTarget> {
        match (self.network, self.client_id, self.username) {
            (Some(network), None, None) => {
                let wrong = |error| Problem::bad_request(format!("`network`: {error}"));
                network.parse().map(BanTarget::Network).map_err(wrong)
            }
            (None, Some(client_id), None) => Ok(BanTarget::ClientId(client_id.into())),
            (None, None, Some(username)) => Ok(BanTarget::User(username.into())),
            _ => Err(Problem::bad_request("give exactly one of `network`, `client_id` and `username`")),
        }
    }
}

impl Ban {
    fn of(ban: &BrokerBan) -> Self {
        let (kind, value) = match &ban.target {
            BanTarget::Network(network) => ("network", network.to_string()),
            BanTarget::ClientId(client_id) => ("client_id", client_id.to_string()),
            BanTarget::User(user) => ("username", user.to_string()),
            other => ("other", other.to_string()),
        };
        let origin = match ban.origin {
            BanOrigin::Flapping => "flapping",
            BanOrigin::Configuration => "configuration",
            _ => "operator",
        };
        let seconds_left = ban.time_left.map(|left| left.as_secs());
        Self { kind, value, reason: ban.reason.to_string(), origin, seconds_left }
    }
}

/// The bans in force, networks first.
#[utoipa::path(get, path = "/api/v1/bans", tag = "bans", responses((status = 200, body = [Ban])))]
pub(super) async fn list(State(admin): State<Admin>) -> Result<Json<Vec<Ban>>> {
    admin.heavy(|admin| Json(admin.broker().bans().iter().map(Ban::of).collect())).await
}

/// Ban a network, a client identifier or a user. Connected clients that it names are disconnected.
#[utoipa::path(post, path = "/api/v1/bans", tag = "bans", request_body = NewBan,
    responses((status = 204, description = "banned"), (status = 400, body = Problem),
        (status = 409, body = Problem, description = "there are as many bans as there may be"),
        (status = 500, body = Problem, description = "banned, but a restart will undo it")))]
pub(super) async fn ban(
    State(admin): State<Admin>,
    Extension(noted): Extension<Noted>,
    Body(wanted): Body<NewBan>,
) -> Result<StatusCode> {
    let NewBan { network, client_id, username, reason, seconds } = wanted;
    if seconds == Some(0) {
        return Err(Problem::bad_request("`seconds` must be 1 or more"));
    }
    let target = Target { network, client_id, username }.resolve()?;
    if matches!(&target, BanTarget::ClientId(client_id) if client_id.is_empty()) {
        return Err(Problem::bad_request("`client_id` is empty: no client has such a one"));
    }
    noted.say(format!("ban {target}"));
    let ban = move |admin: &Admin| {
        let time = seconds.map(Duration::from_secs);
        admin.broker().ban(target, &reason, time).map_err(|error| match error {
            BanError::TooLong => Problem::bad_request(error.to_string()),
            _ => Problem::new(StatusCode::CONFLICT, error.to_string()),
        })?;
        keep(admin)
    };
    admin.heavy(ban).await??;
    Ok(StatusCode::NO_CONTENT)
}

fn keep(admin: &Admin) -> Result<()> {
    admin.shared().operations.keep_bans().map_err(|error| {
        let detail = format!("done, but a restart will undo it: {error}");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    })
}

/// End a ban.
#[utoipa::path(delete, path = "/api/v1/bans", tag = "bans", params(Target),
    responses((status = 204, description = "forgiven"), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 500, body = Problem, description = "forgiven, but a restart will undo it")))]
pub(super) async fn forgive(
    State(admin): State<Admin>,
    Extension(noted): Extension<Noted>,
    Asked(target): Asked<Target>,
) -> Result<StatusCode> {
    let target = target.resolve()?;
    noted.say(format!("end the ban of {target}"));
    let forgive = move |admin: &Admin| {
        if !admin.broker().unban(&target) {
            return Err(Problem::not_found(format!("there is no ban of just {target}")));
        }
        keep(admin)
    };
    admin.heavy(forgive).await??;
    Ok(StatusCode::NO_CONTENT)
}
