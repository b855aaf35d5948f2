//! `/metrics`, behind a token like everything else: scrapers can show one.

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};

use crate::{
    admin::Admin,
    metrics,
    problem::{Problem, Result},
};

/// Metrics in OpenMetrics text.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, body = str)))]
pub(super) async fn metrics(State(admin): State<Admin>) -> Result<impl IntoResponse> {
    let text = admin.heavy(metrics::text).await?;
    let text = text
        .map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written"))?;
    Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text))
}
