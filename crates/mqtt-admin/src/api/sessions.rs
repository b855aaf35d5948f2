//! Sessions, connected or not: a list, one of them, and its end.

use axum::{Extension, Json, extract::State, http::StatusCode};

use super::{
    Noted,
    clients::Query,
    retained::{Kept, size_of},
    view::Session,
};
use crate::{
    admin::Admin,
    input::{Asked, Name, Named},
    list::Page,
    problem::{Problem, Result},
};

/// Sessions, connected or not, a page at a time.
#[utoipa::path(get, path = "/api/v1/sessions", tag = "sessions", params(Query),
    responses((status = 200, body = Page<Session>), (status = 400, body = Problem)))]
pub(super) async fn list(
    State(admin): State<Admin>,
    Asked(query): Asked<Query>,
) -> Result<Json<Page<Session>>> {
    let selection = query.selection()?;
    admin
        .heavy(move |admin| {
            let wanted = admin.broker().all_sessions().filter(|session| query.wants(session));
            let page = selection.page_of(wanted, |session| query.sort.place(admin, session));
            Json(page.filter_map(|session| Some(Session::of(admin, &session))))
        })
        .await
}

/// A session.
#[utoipa::path(get, path = "/api/v1/session/{client_id}", tag = "sessions", params(("client_id" = String, Path), Named),
    responses((status = 200, body = Session), (status = 404, body = Problem)))]
pub(super) async fn get(State(admin): State<Admin>, Name(client_id): Name) -> Result<Json<Session>> {
    let session = admin.broker().session(&client_id);
    session
        .map(|session| Json(Session::of(&admin, &session)))
        .ok_or_else(|| Problem::not_found(format!("{client_id:?} has no session")))
}

/// End a session, and its connection if it has one: its subscriptions and what waits for it are gone.
#[utoipa::path(delete, path = "/api/v1/session/{client_id}", tag = "sessions", params(("client_id" = String, Path), Named),
    responses((status = 204, description = "it has ended"), (status = 404, body = Problem)))]
pub(super) async fn end(
    State(admin): State<Admin>,
    Extension(noted): Extension<Noted>,
    Name(client_id): Name,
) -> Result<StatusCode> {
    noted.say(format!("end the session of {client_id:?}"));
    let ended = admin.heavy({
        let client_id = client_id.clone();
        move |admin| admin.broker().end_session(&client_id)
    });
    if !ended.await? {
        return Err(Problem::not_found(format!("{client_id:?} has no session")));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Messages that wait for a client.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub(super) struct Queue {
    list: Vec<Kept>,
}

/// How many.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct QueueQuery {
    /// At most so many, 100 unless given, 1,000 at most; fewer if their topics and payloads are long.
    limit: Option<usize>,
}

/// The oldest messages that wait for a client. They stay where they are.
#[utoipa::path(get, path = "/api/v1/session/{client_id}/queue", tag = "sessions",
    params(("client_id" = String, Path), Named, QueueQuery),
    responses((status = 200, body = Queue), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn queue(
    State(admin): State<Admin>,
    Name(client_id): Name,
    Asked(query): Asked<QueueQuery>,
) -> Result<Json<Queue>> {
    let waiting = admin.broker().queued(&client_id, size_of(query.limit)?).await;
    let waiting = waiting.ok_or_else(|| Problem::not_found(format!("{client_id:?} has no session")))?;
    let shown = Kept::fitting(waiting.iter().map(|queued| &queued.message));
    let list = waiting
        .iter()
        .take(shown)
        .map(|queued| Kept::in_list(&queued.message, queued.qos.as_u8(), queued.retain))
        .collect();
    Ok(Json(Queue { list }))
}
