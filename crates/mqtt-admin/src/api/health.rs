//! What needs no token: whether the process lives and serves, and the description of the API.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};

use crate::{
    admin::Admin,
    dashboard, openapi_json,
    problem::{Problem, Result},
};

/// Whether the process lives.
#[utoipa::path(get, path = "/livez", tag = "health", security(()), responses((status = 200, body = str)))]
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// Whether the broker serves clients: not if its store has failed.
#[utoipa::path(get, path = "/readyz", tag = "health", security(()),
    responses((status = 200, body = str), (status = 503, body = Problem, description = "the store has failed")))]
pub(super) async fn readyz(State(admin): State<Admin>) -> Result<&'static str> {
    match admin.broker().store_failure() {
        None => Ok("ok\n"),
        Some(_) => {
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the store has failed; the log says why"))
        }
    }
}

/// This description.
#[utoipa::path(get, path = "/api/openapi.json", tag = "health", security(()),
    responses((status = 200, description = "OpenAPI 3.1")))]
pub(super) async fn openapi() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], openapi_json())
}

/// A page to try the API.
#[utoipa::path(get, path = "/api", tag = "health", security(()), responses((status = 200, body = str, content_type = "text/html")))]
pub(super) async fn page(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    dashboard::serve("api.html", &admin, &headers)
}
