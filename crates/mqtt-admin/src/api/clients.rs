//! Connected clients: a list, one of them, and its end.

use axum::{Extension, Json, extract::State, http::StatusCode};
use mqtt_broker::SessionSnapshot;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    Noted,
    view::{Client, SortBy},
};
use crate::{
    admin::Admin,
    events::Past,
    input::{Asked, Name, Named},
    list::{Order, Page, Selection},
    problem::{Problem, Result},
};

/// Which clients or sessions, in which order, which page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Query {
    /// The `next_cursor` of the page before.
    pub(super) cursor: Option<String>,
    /// The number of a page, from 1, in place of a cursor.
    pub(super) page: Option<usize>,
    /// Items a page, 20 unless given, 1,000 at most.
    #[serde(rename = "per-page")]
    pub(super) per_page: Option<usize>,
    /// Sorted by this; `client_id` unless given.
    #[serde(default)]
    #[param(inline)]
    pub(super) sort: SortBy,
    /// In this direction; the most loaded first unless given, names and times ascending.
    #[param(inline)]
    pub(super) order: Option<Order>,
    /// Only those with this in their client identifier.
    pub(super) client_id: Option<String>,
    /// Only those with this user name.
    pub(super) username: Option<String>,
    /// Only those whose address begins like this.
    pub(super) remote_addr: Option<String>,
    /// Only those whose session is clean, or is not.
    pub(super) clean_session: Option<bool>,
}

impl Query {
    pub(super) fn selection(&self) -> Result<Selection> {
        let order = self.order.unwrap_or(self.sort.default_order());
        Selection::new(self.cursor.as_deref(), self.page, self.per_page, order)
    }

    pub(super) fn wants(&self, session: &SessionSnapshot) -> bool {
        let info = session.client.as_ref();
        self.client_id.as_ref().is_none_or(|part| session.client_id.contains(part.as_str()))
            && self
                .username
                .as_ref()
                .is_none_or(|name| info.is_some_and(|info| info.user_name.as_deref() == Some(name)))
            && self
                .remote_addr
                .as_ref()
                .is_none_or(|head| info.is_some_and(|info| info.peer.to_string().starts_with(head.as_str())))
            && self.clean_session.is_none_or(|clean| session.clean_session == clean)
    }
}

/// Connected clients, a page at a time.
#[utoipa::path(get, path = "/api/v1/clients", tag = "clients", params(Query),
    responses((status = 200, body = Page<Client>), (status = 400, body = Problem)))]
pub(super) async fn list(
    State(admin): State<Admin>,
    Asked(query): Asked<Query>,
) -> Result<Json<Page<Client>>> {
    let selection = query.selection()?;
    admin
        .heavy(move |admin| {
            let is_wanted = |session: &SessionSnapshot| session.client.is_some() && query.wants(session);
            let connected = admin.broker().all_sessions().filter(is_wanted);
            let page = selection.page_of(connected, |session| query.sort.place(admin, session));
            Json(page.filter_map(|session| Client::of(admin, &session)))
        })
        .await
}

/// A connected client.
#[utoipa::path(get, path = "/api/v1/client/{client_id}", tag = "clients", params(("client_id" = String, Path), Named),
    responses((status = 200, body = Client), (status = 404, body = Problem)))]
pub(super) async fn get(State(admin): State<Admin>, Name(client_id): Name) -> Result<Json<Client>> {
    let session = admin.broker().session(&client_id);
    let client = session.and_then(|session| Client::of(&admin, &session));
    client.map(Json).ok_or_else(|| Problem::not_found(format!("{client_id:?} is not connected")))
}

/// Close a client's connection. Its Will is published; its session stays unless it is clean.
#[utoipa::path(delete, path = "/api/v1/client/{client_id}", tag = "clients", params(("client_id" = String, Path), Named),
    responses((status = 204, description = "it is being closed"), (status = 404, body = Problem)))]
pub(super) async fn disconnect(
    State(admin): State<Admin>,
    Extension(noted): Extension<Noted>,
    Name(client_id): Name,
) -> Result<StatusCode> {
    noted.say(format!("disconnect {client_id:?}"));
    let closed = admin.broker().client(&client_id).is_some_and(|client| client.disconnect());
    if !closed {
        return Err(Problem::not_found(format!("{client_id:?} is not connected")));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// What happened to a client lately, oldest first.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub(super) struct Events {
    list: Vec<Past>,
}

/// What happened to a client lately: when it connected and from where, to what it subscribed, why it was disconnected. Bounded:
/// of clients that were quiet for long nothing is known.
#[utoipa::path(get, path = "/api/v1/client/{client_id}/events", tag = "clients", params(("client_id" = String, Path), Named),
    responses((status = 200, body = Events), (status = 501, body = Problem)))]
pub(super) async fn events(State(admin): State<Admin>, Name(client_id): Name) -> Result<Json<Events>> {
    let events = admin.shared().options.events.as_ref();
    let events = events.ok_or(crate::operations::OperationError::Unavailable)?;
    Ok(Json(Events { list: events.of(&client_id) }))
}
