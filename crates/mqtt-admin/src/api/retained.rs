//! Retained messages: a list by filter, one of them, and to forget them.

use axum::{Extension, Json, extract::State};
use base64::{Engine, engine::general_purpose::STANDARD};
use mqtt_broker::{Message, TopicName};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Noted, subscriptions::filter};
use crate::{
    admin::Admin,
    input::Asked,
    problem::{Problem, Result},
};

/// A message that is kept: for future subscribers, or for a client.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Kept {
    topic: String,
    qos: u8,
    retain: bool,
    payload_bytes: usize,
    /// The payload in base64; its first 4 KiB, unless one message alone is asked for.
    payload: String,
}

/// What of a payload is shown in a list.
const SHOWN: usize = 4 * 1024;
const DEFAULT_SIZE: usize = 100;
const LARGEST_SIZE: usize = 1_000;
/// Topics and payloads of one answer, the last message beyond it included.
const BYTES_OF_AN_ANSWER: usize = 2 * 1024 * 1024;
/// Messages that one request forgets; the answer says if there may be more.
const MOST_FORGOTTEN: usize = 100_000;

/// Which retained messages.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Query {
    /// A topic filter; `#` unless given. `$SYS/#` shows the broker's own.
    filter: Option<String>,
    /// Only those after this topic: the `next_after` of the answer before.
    after: Option<String>,
    /// At most so many, 100 unless given, 1,000 at most; fewer if their topics and payloads are long.
    limit: Option<usize>,
}

/// Retained messages, level by level in the order of their topics.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct List {
    list: Vec<Kept>,
    /// Hand it in as `after` for the next ones. Absent if these were the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_after: Option<String>,
}

/// Which messages to forget.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Forget {
    /// A topic filter: `#` forgets all, a topic without wildcard one.
    filter: String,
}

/// How many were forgotten.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Forgotten {
    forgotten: usize,
    /// There may be more: ask again.
    may_be_more: bool,
}

/// Which one.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct One {
    /// Its topic.
    topic: String,
}

impl Kept {
    pub(super) fn of(message: &Message, qos: u8, retain: bool, most: usize) -> Self {
        let payload = message.payload();
        Self {
            topic: message.topic().to_owned(),
            qos,
            retain,
            payload_bytes: payload.len(),
            payload: STANDARD.encode(payload.get(..most).unwrap_or(payload)),
        }
    }

    pub(super) fn in_list(message: &Message, qos: u8, retain: bool) -> Self {
        Self::of(message, qos, retain, SHOWN)
    }

    /// How many of these, in a list, one answer has.
    pub(super) fn fitting<'a>(messages: impl Iterator<Item = &'a Message>) -> usize {
        let mut bytes = 0;
        let fits = messages.take_while(|message| {
            let has_room = bytes < BYTES_OF_AN_ANSWER;
            bytes += message.topic().len() + message.payload().len().min(SHOWN);
            has_room
        });
        fits.count()
    }
}

pub(super) fn size_of(limit: Option<usize>) -> Result<usize> {
    let limit = limit.unwrap_or(DEFAULT_SIZE);
    if limit == 0 || limit > LARGEST_SIZE {
        return Err(Problem::bad_request(format!("`limit` must be from 1 to {LARGEST_SIZE}")));
    }
    Ok(limit)
}

fn topic_name(name: &str, text: &str) -> Result<TopicName> {
    TopicName::try_from(text)
        .map_err(|error| Problem::bad_request(format!("`{name}` is no topic name: {error}")))
}

/// Retained messages.
#[utoipa::path(get, path = "/api/v1/retained", tag = "retained", params(Query),
    responses((status = 200, body = List), (status = 400, body = Problem)))]
pub(super) async fn list(State(admin): State<Admin>, Asked(query): Asked<Query>) -> Result<Json<List>> {
    let filter = filter("filter", query.filter.as_deref().unwrap_or("#"))?;
    let after = query.after.as_deref().map(|after| topic_name("after", after)).transpose()?;
    let limit = size_of(query.limit)?;
    // One more than asked for tells whether there are more.
    let mut found =
        admin.heavy(move |admin| admin.broker().retained(&filter, after.as_ref(), limit + 1)).await?;
    let shown = Kept::fitting(found.iter().take(limit));
    let has_more = found.len() > shown;
    found.truncate(shown);
    let next_after = found.last().filter(|_| has_more).map(|message| message.topic().to_owned());
    let list = found.iter().map(|message| Kept::in_list(message, message.qos().as_u8(), true)).collect();
    Ok(Json(List { list, next_after }))
}

/// The retained message of a topic, with its whole payload.
#[utoipa::path(get, path = "/api/v1/retained/message", tag = "retained", params(One),
    responses((status = 200, body = Kept), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn get(State(admin): State<Admin>, Asked(One { topic }): Asked<One>) -> Result<Json<Kept>> {
    let message = admin.broker().retained_message(&topic_name("topic", &topic)?);
    let message = message.ok_or_else(|| Problem::not_found(format!("nothing is retained for {topic:?}")))?;
    Ok(Json(Kept::of(&message, message.qos().as_u8(), true, usize::MAX)))
}

/// Forget retained messages. Nobody is told: subscribers keep what they have.
#[utoipa::path(delete, path = "/api/v1/retained", tag = "retained", params(Forget),
    responses((status = 200, body = Forgotten), (status = 400, body = Problem)))]
pub(super) async fn forget(
    State(admin): State<Admin>,
    Extension(noted): Extension<Noted>,
    Asked(query): Asked<Forget>,
) -> Result<Json<Forgotten>> {
    let filter = filter("filter", &query.filter)?;
    noted.say(format!("forget retained messages of {:?}", query.filter));
    let forgotten = admin.heavy(move |admin| admin.broker().clear_retained(&filter, MOST_FORGOTTEN)).await?;
    let may_be_more = forgotten >= MOST_FORGOTTEN;
    Ok(Json(Forgotten { forgotten, may_be_more }))
}
