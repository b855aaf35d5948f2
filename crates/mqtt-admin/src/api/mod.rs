//! The routes of the API: a file for each thing that it is about. Who may use them is decided here, for all at once.

mod bans;
mod clients;
pub(crate) mod counters;
mod health;
mod history;
mod messages;
mod metrics;
mod retained;
mod sessions;
mod subscriptions;
mod system;
mod trace;
mod view;
mod watch;

use std::{convert::Infallible, time::Instant};

use axum::{
    Extension, Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response, sse::Event},
};
use serde::Serialize;
use tokio::time::timeout;
use utoipa::{
    OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    admin::Admin,
    auth::{Bearer, Role},
    dashboard,
    problem::Problem,
};

#[derive(OpenApi)]
#[openapi(info(
    title = "gmqtt",
    description = "Look at an MQTT broker, and act on it. Every request needs `Authorization: Bearer TOKEN`; a token is for \
                   reading, or for all. Errors are `application/problem+json` (RFC 9457). Times are RFC 3339.",
))]
struct Description;

/// All routes, ready to be served.
pub(crate) fn router(admin: &Admin) -> Router {
    let guarded: OpenApiRouter<Admin> = guarded();
    let (guarded, _) = guarded.split_for_parts();
    let guarded = guarded
        .fallback(async || Problem::not_found("there is nothing at this path; see /api/openapi.json"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "see /api/openapi.json for what may be done here")
        })
        .layer(DefaultBodyLimit::max(admin.shared().options.max_body_size))
        .layer(from_fn_with_state(admin.clone(), in_time))
        .layer(from_fn_with_state(admin.clone(), authorize))
        .with_state(admin.clone());
    let (open, _) = open().split_for_parts();
    open.merge(dashboard::router()).with_state(admin.clone()).merge(guarded).layer(from_fn(plainly))
}

/// The API's own description.
pub(crate) fn description() -> utoipa::openapi::OpenApi {
    let all: OpenApiRouter<Admin> = guarded().merge(open());
    let mut description =
        OpenApiRouter::<Admin>::with_openapi(Description::openapi()).merge(all).into_openapi();
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    description.components.get_or_insert_default().add_security_scheme("token", bearer);
    description.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], &str>("token", [])]);
    description
}

/// What needs a token.
fn guarded() -> OpenApiRouter<Admin> {
    OpenApiRouter::new()
        .routes(routes!(metrics::metrics))
        .routes(routes!(system::overview))
        .routes(routes!(history::history))
        .routes(routes!(system::websockets))
        .routes(routes!(watch::messages))
        .routes(routes!(watch::topics))
        .routes(routes!(clients::list))
        .routes(routes!(clients::get, clients::disconnect))
        .routes(routes!(clients::events))
        .routes(routes!(sessions::list))
        .routes(routes!(sessions::queue))
        .routes(routes!(retained::list, retained::forget))
        .routes(routes!(retained::get))
        .routes(routes!(bans::list, bans::ban, bans::forgive))
        .routes(routes!(trace::trace))
        .routes(routes!(sessions::get, sessions::end))
        .routes(routes!(subscriptions::list))
        .routes(routes!(subscriptions::of_client))
        .routes(routes!(subscriptions::subscribe))
        .routes(routes!(subscriptions::unsubscribe))
        .routes(routes!(messages::publish))
        .routes(routes!(messages::publish_batch))
        .routes(routes!(messages::broadcast))
        .routes(routes!(system::config))
        .routes(routes!(system::reload))
        .routes(routes!(system::log_level, system::set_log_level))
        .routes(routes!(system::backup))
}

/// What needs none.
fn open() -> OpenApiRouter<Admin> {
    OpenApiRouter::new()
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
        .routes(routes!(health::openapi))
        .routes(routes!(health::page))
}

/// Lets through who shows a token that allows it, and writes down who changed what.
async fn authorize(State(admin): State<Admin>, mut request: Request, next: Next) -> Response {
    let bearer = match bearer_of(&admin, &request) {
        Ok(bearer) => bearer,
        Err(problem) => return ([(header::WWW_AUTHENTICATE, "Bearer")], problem).into_response(),
    };
    let is_change = !matches!(*request.method(), Method::GET | Method::HEAD);
    let role = if is_change { Role::Write } else { Role::Read };
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    if bearer.role < role {
        tracing::warn!(target: AUDIT, token = bearer.name, %method, path, "refused: the token is for reading");
        return Problem::new(
            StatusCode::FORBIDDEN,
            "this token is for reading; this takes one with the role write",
        )
        .into_response();
    }
    request.extensions_mut().insert(bearer.clone());
    let response = next.run(request).await;
    if is_change {
        let (status, what) = (response.status().as_u16(), response.extensions().get::<Noted>());
        let what = what.map(|Noted(what)| what.as_str());
        tracing::info!(target: AUDIT, token = bearer.name, %method, path, what, status, "change");
    }
    response
}

/// Where the audit log goes: `--log-level gmqtt::audit=info` shows it alone.
const AUDIT: &str = "gmqtt::audit";

/// What a change was about, for the audit log; what it carried is not in it.
#[derive(Clone)]
struct Noted(String);

fn noted(what: String) -> Extension<Noted> {
    Extension(Noted(what))
}

/// What a live stream consists of.
type Sent = std::result::Result<Event, Infallible>;

fn json(value: &impl Serialize) -> Event {
    // A struct of numbers and text is always spelled.
    Event::default().json_data(value).unwrap_or_default()
}

fn bearer_of(admin: &Admin, request: &Request) -> Result<Bearer, Problem> {
    let shown = request.headers().get(header::AUTHORIZATION).and_then(|shown| shown.to_str().ok());
    let secret = shown.and_then(|shown| {
        let (scheme, secret) = shown.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(secret.trim())
    });
    let refused = |detail: &str| Problem::new(StatusCode::UNAUTHORIZED, detail);
    let secret = secret.ok_or_else(|| refused("show a token: `Authorization: Bearer TOKEN`"))?;
    admin.bearer_of(secret).ok_or_else(|| refused("this token is not, or no longer, accepted"))
}

/// A client that sends its request slowly is not waited for.
async fn in_time(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let options = &admin.shared().options;
    let limit =
        if request.uri().path() == system::BACKUP { options.backup_timeout } else { options.request_timeout };
    let begun = Instant::now();
    timeout(limit, next.run(request)).await.unwrap_or_else(|_| {
        tracing::debug!(elapsed = ?begun.elapsed(), "a request of the API took too long");
        Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("not done within {}", humantime::format_duration(limit)),
        )
        .into_response()
    })
}

/// Nobody keeps an answer, frames a page of ours, or takes it for something else.
async fn plainly(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let all = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in all {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
