//! The last hour, for charts.

use axum::{Json, extract::State};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::{
    admin::Admin,
    history::Columns,
    input::Asked,
    problem::{Problem, Result},
};

/// Which part of the past.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Query {
    /// `hour`, unless given.
    #[serde(default)]
    #[param(inline)]
    span: Span,
    /// Only what came after this: the last `at_ms` of an earlier answer.
    #[serde(default)]
    after_ms: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Span {
    /// The last hour, every ten seconds.
    #[default]
    Hour,
    /// The last five minutes, every second.
    Minutes,
}

/// The last hour in numbers.
#[utoipa::path(get, path = "/api/v1/history", tag = "broker", params(Query),
    responses((status = 200, body = Columns), (status = 400, body = Problem)))]
pub(super) async fn history(State(admin): State<Admin>, Asked(query): Asked<Query>) -> Result<Json<Columns>> {
    Ok(Json(admin.shared().history.columns(query.span == Span::Minutes, query.after_ms)))
}
