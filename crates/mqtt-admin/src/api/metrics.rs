//! `/metrics`: the broker in numbers, for Prometheus and its kin, in OpenMetrics text.

use axum::{extract::State, http::header, response::IntoResponse};

use crate::{admin::Admin, problem::Result};

/// Metrics in OpenMetrics text.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, body = str)))]
pub(super) async fn metrics(State(admin): State<Admin>) -> Result<impl IntoResponse> {
    let text = admin.heavy(|_| String::from("# EOF\n")).await?;
    Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text))
}
