//! Subscriptions: lists, and to make and remove one for a client.

use axum::{Extension, Json, extract::State, http::StatusCode};
use mqtt_broker::{QoS, SubscribeRefusal, SubscriptionSnapshot, TopicFilter};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Noted, view::Subscription};
use crate::{
    admin::Admin,
    input::{Asked, Body, Name},
    list::{Key, Order, Page, Place, Selection},
    problem::{Problem, Result},
};

/// Which subscriptions, which page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Query {
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// The number of a page, from 1, in place of a cursor.
    page: Option<usize>,
    /// Items a page, 20 unless given, 1,000 at most.
    #[serde(rename = "per-page")]
    per_page: Option<usize>,
    /// Only those with this in their filter.
    name: Option<String>,
    /// Only those with this in their client identifier. Of one client: who, if the path has `-` in his place.
    client_id: Option<String>,
}

impl Query {
    fn wants(&self, subscription: &SubscriptionSnapshot) -> bool {
        self.name.as_ref().is_none_or(|part| subscription.filter.as_str().contains(part.as_str()))
            && self.client_id.as_ref().is_none_or(|part| subscription.client_id.contains(part.as_str()))
    }

    fn page_of(
        &self,
        admin: &Admin,
        all: impl Iterator<Item = SubscriptionSnapshot>,
    ) -> Result<Page<Subscription>> {
        let selection = Selection::new(self.cursor.as_deref(), self.page, self.per_page, Order::Asc)?;
        let wanted = all.filter(|subscription| self.wants(subscription));
        let page = selection.page_of(wanted, |one: &SubscriptionSnapshot| {
            Place::new(Key::Nothing, [&one.client_id, one.filter.as_str()])
        });
        Ok(page.filter_map(|subscription| Some(Subscription::of(admin, &subscription))))
    }
}

/// Subscriptions of all sessions, a page at a time, by client and filter.
#[utoipa::path(get, path = "/api/v1/subscriptions", tag = "subscriptions", params(Query),
    responses((status = 200, body = Page<Subscription>), (status = 400, body = Problem)))]
pub(super) async fn list(
    State(admin): State<Admin>,
    Asked(query): Asked<Query>,
) -> Result<Json<Page<Subscription>>> {
    admin.heavy(move |admin| query.page_of(admin, admin.broker().all_subscriptions()).map(Json)).await?
}

/// Subscriptions of one client; none if it is unknown.
#[utoipa::path(get, path = "/api/v1/subscriptions/{client_id}", tag = "subscriptions",
    params(("client_id" = String, Path), Query),
    responses((status = 200, body = Page<Subscription>), (status = 400, body = Problem)))]
pub(super) async fn of_client(
    State(admin): State<Admin>,
    Name(client_id): Name,
    Asked(query): Asked<Query>,
) -> Result<Json<Page<Subscription>>> {
    let page = move |admin: &Admin| {
        query.page_of(admin, admin.broker().subscriptions_of(&client_id).into_iter()).map(Json)
    };
    admin.heavy(page).await?
}

/// A subscription to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Subscribe {
    #[serde(default)]
    qos: u8,
    /// The filter.
    topic: String,
    /// Whose; `clientID` and `clientId` are understood too.
    #[serde(alias = "clientID", alias = "clientId")]
    client_id: String,
}

/// A subscription to remove.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Unsubscribe {
    /// The filter.
    topic: String,
    /// Whose; `clientID` and `clientId` are understood too.
    #[serde(alias = "clientID", alias = "clientId")]
    client_id: String,
}

/// Done, as the system of 2018 said it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Done {
    /// Always 0.
    code: u8,
    /// Always empty.
    #[schema(value_type = Vec<String>)]
    result: [(); 0],
}

impl Done {
    pub(super) const DONE: Json<Self> = Json(Self { code: 0, result: [] });
}

/// Subscribe a client, connected or with a stored session, as if it had asked; no access rule is applied.
#[utoipa::path(post, path = "/api/v1/subscribe", tag = "subscriptions", request_body = Subscribe,
    responses((status = 200, body = Done), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "a limit is reached")))]
pub(super) async fn subscribe(
    State(admin): State<Admin>,
    Extension(noted): Extension<Noted>,
    Body(wanted): Body<Subscribe>,
) -> Result<Json<Done>> {
    let Subscribe { qos, topic, client_id } = wanted;
    let (filter, qos) = (filter("topic", &topic)?, qos_of(qos)?);
    noted.say(format!("subscribe {client_id:?} to {topic:?}"));
    admin.broker().subscribe(&client_id, &filter, qos).map_err(|refusal| match refusal {
        SubscribeRefusal::NoSession => Problem::not_found(format!("{client_id:?} has no session")),
        refusal => refused("topic", StatusCode::CONFLICT, refusal),
    })?;
    Ok(Done::DONE)
}

/// Remove a subscription of a client.
#[utoipa::path(post, path = "/api/v1/unsubscribe", tag = "subscriptions", request_body = Unsubscribe,
    responses((status = 200, body = Done), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn unsubscribe(
    State(admin): State<Admin>,
    Extension(noted): Extension<Noted>,
    Body(wanted): Body<Unsubscribe>,
) -> Result<Json<Done>> {
    let Unsubscribe { topic, client_id } = wanted;
    let filter = filter("topic", &topic)?;
    noted.say(format!("unsubscribe {client_id:?} from {topic:?}"));
    if !admin.broker().unsubscribe(&client_id, &filter) {
        return Err(Problem::not_found(format!("{client_id:?} does not subscribe to {topic:?}")));
    }
    Ok(Done::DONE)
}

/// What the parameter of this name has.
pub(super) fn filter(name: &str, text: &str) -> Result<TopicFilter> {
    TopicFilter::try_from(text)
        .map_err(|error| Problem::bad_request(format!("`{name}` is no topic filter: {error}")))
}

/// The filter of who looks on. He is no member of a group: what he saw, its members would miss.
pub(super) fn filter_to_watch(text: &str) -> Result<TopicFilter> {
    let Some(shared) = text.strip_prefix("$share/") else { return filter("filter", text) };
    let inner = shared.split_once('/').map_or(shared, |(_, inner)| inner);
    Err(Problem::bad_request(format!(
        "watch `{inner}` itself; a shared subscription would take messages from its members"
    )))
}

pub(super) fn qos_of(qos: u8) -> Result<QoS> {
    QoS::from_u8(qos).ok_or_else(|| Problem::bad_request("`qos` must be 0, 1 or 2"))
}

/// A refused filter, which the parameter of this name has; the status is that of a limit.
pub(super) fn refused(name: &str, full: StatusCode, refusal: SubscribeRefusal) -> Problem {
    match refusal {
        SubscribeRefusal::Filter(_) | SubscribeRefusal::TooLong => {
            Problem::bad_request(format!("`{name}`: {refusal}"))
        }
        SubscribeRefusal::ShutDown => Problem::new(StatusCode::SERVICE_UNAVAILABLE, refusal.to_string()),
        _ => Problem::new(full, refusal.to_string()),
    }
}
