//! What is published, as it is published: a subscriber inside the process whose messages go out as server-sent events.
//!
//! A flood does not become a flood of events: an event holds what a short span brought, some messages whole and the others
//! counted, or a line for each topic.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use axum::{
    extract::State,
    http::StatusCode,
    response::sse::{Event, KeepAlive, Sse},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::stream::{Stream, unfold};
use mqtt_broker::{LocalMessage, LocalSubscriber};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::OwnedSemaphorePermit,
    task::consume_budget,
    time::{Instant, timeout_at},
};
use utoipa::{IntoParams, ToSchema};

use super::{
    Sent, json,
    subscriptions::{filter_to_watch, refused},
};
use crate::{
    admin::Admin,
    clock::rfc3339,
    input::Asked,
    problem::{Problem, Result},
};

/// What to watch.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Query {
    /// A topic filter, of no shared subscription.
    filter: String,
}

/// What a span brought.
#[allow(clippy::struct_field_names, reason = "they are messages")]
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct Messages {
    /// The first of them.
    messages: Vec<Watched>,
    /// How many more there were.
    skipped: u64,
    /// What their topics and payloads take.
    #[serde(skip)]
    bytes: usize,
}

/// A message, as a subscriber gets it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Watched {
    topic: String,
    #[serde(flatten)]
    content: Content,
}

/// A message without its topic.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Content {
    at: String,
    qos: u8,
    retain: bool,
    /// In bytes.
    size: usize,
    /// The payload in base64; its first 4 KiB, or 256 bytes among topics.
    payload: String,
}

/// What a second brought, topic by topic.
#[allow(clippy::struct_field_names, reason = "they are topics")]
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct Topics {
    /// At most 1,000, with names of 2 MiB.
    topics: Vec<Topic>,
    /// Messages to other topics.
    other_messages: u64,
    /// Their payloads, in bytes.
    other_bytes: u64,
}

/// A topic, and what was published to it within a second.
#[allow(clippy::struct_field_names, reason = "it is the topic's name")]
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Topic {
    topic: String,
    /// 0 if it is only retained.
    messages: u64,
    /// Payloads.
    bytes: u64,
    /// The last of them.
    last: Content,
}

/// What is made of the messages of a span, and sent as one event.
trait Gathered: Default + Send + 'static {
    const SPAN: Duration;
    /// Whether a span begins with a message; else one without any makes an event too.
    const BEGINS_WITH_A_MESSAGE: bool;
    fn add(&mut self, message: &LocalMessage);
    fn event(self) -> Event;
}

/// A subscriber, and its place among those that may be at a time.
struct Watch {
    subscriber: LocalSubscriber,
    _place: OwnedSemaphorePermit,
}

const SPAN: Duration = Duration::from_millis(200);
const WHOLE_IN_A_SPAN: usize = 50;
const SECOND: Duration = Duration::from_secs(1);
const TOPICS_IN_A_SECOND: usize = 1_000;
const PAYLOAD: usize = 4 * 1024;
const PAYLOAD_OF_A_TOPIC: usize = 256;
/// Topics and payloads of one event. JSON makes six bytes of a character at most.
const BYTES_OF_AN_EVENT: usize = 2 * 1024 * 1024;

/// Messages as they are published: server-sent events, each a `Messages`. Retained ones come first.
#[utoipa::path(get, path = "/api/v1/watch/messages", tag = "messages", params(Query),
    responses((status = 200, body = Messages, content_type = "text/event-stream"), (status = 400, body = Problem),
        (status = 429, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn messages(
    State(admin): State<Admin>,
    Asked(query): Asked<Query>,
) -> Result<Sse<impl Stream<Item = Sent>>> {
    Watch::begin(&admin, &query).map(Watch::stream::<Messages>)
}

/// Topics as they are published to: a server-sent event each second, each a `Topics`.
#[utoipa::path(get, path = "/api/v1/watch/topics", tag = "messages", params(Query),
    responses((status = 200, body = Topics, content_type = "text/event-stream"), (status = 400, body = Problem),
        (status = 429, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn topics(
    State(admin): State<Admin>,
    Asked(query): Asked<Query>,
) -> Result<Sse<impl Stream<Item = Sent>>> {
    Watch::begin(&admin, &query).map(Watch::stream::<ByTopic>)
}

impl Watch {
    fn begin(admin: &Admin, query: &Query) -> Result<Self> {
        let filter = filter_to_watch(&query.filter)?;
        let place = admin.stream()?;
        let refused = |refusal| refused("filter", StatusCode::SERVICE_UNAVAILABLE, refusal);
        let subscriber = admin.broker().subscriber(&[filter]).map_err(refused)?;
        Ok(Self { subscriber, _place: place })
    }

    fn stream<G: Gathered>(self) -> Sse<impl Stream<Item = Sent>> {
        let events = unfold(self, async |mut watch| {
            let gathered = watch.gather::<G>().await?;
            Some((Ok(gathered.event()), watch))
        });
        Sse::new(events).keep_alive(KeepAlive::default())
    }

    /// What comes from now on until a span is over; `None` once the broker has shut down.
    async fn gather<G: Gathered>(&mut self) -> Option<G> {
        let mut gathered = G::default();
        if G::BEGINS_WITH_A_MESSAGE {
            gathered.add(&self.subscriber.recv().await?);
        }
        let end = Instant::now() + G::SPAN;
        while let Ok(message) = timeout_at(end, self.subscriber.recv()).await {
            gathered.add(&message?);
            consume_budget().await; // In a flood there is always a next one, and others want to run too.
        }
        Some(gathered)
    }
}

impl Gathered for Messages {
    const SPAN: Duration = SPAN;
    const BEGINS_WITH_A_MESSAGE: bool = true;

    fn add(&mut self, message: &LocalMessage) {
        let message_bytes = message.message.topic().len() + message.message.payload().len().min(PAYLOAD);
        if self.messages.len() < WHOLE_IN_A_SPAN && self.bytes + message_bytes <= BYTES_OF_AN_EVENT {
            self.bytes += message_bytes;
            self.messages.push(Watched::of(message));
        } else {
            self.skipped += 1;
        }
    }

    fn event(self) -> Event {
        json(&self)
    }
}

/// [`Topics`] in the making.
#[derive(Default)]
struct ByTopic {
    topics: HashMap<String, (u64, u64, Head)>,
    /// The names of these.
    bytes: usize,
    other_messages: u64,
    other_bytes: u64,
}

impl Gathered for ByTopic {
    const SPAN: Duration = SECOND;
    const BEGINS_WITH_A_MESSAGE: bool = false;

    fn add(&mut self, message: &LocalMessage) {
        // What was retained before is shown, but was not published within this second.
        let published = u64::from(!message.retain);
        let bytes = published * message.message.payload().len() as u64;
        let topic = message.message.topic();
        if let Some((messages, total, last)) = self.topics.get_mut(topic) {
            *messages += published;
            *total += bytes;
            last.replace(message, PAYLOAD_OF_A_TOPIC);
        } else if self.topics.len() < TOPICS_IN_A_SECOND && self.bytes + topic.len() <= BYTES_OF_AN_EVENT {
            self.bytes += topic.len();
            let last = Head::of(message, PAYLOAD_OF_A_TOPIC);
            self.topics.insert(topic.to_owned(), (published, bytes, last));
        } else {
            self.other_messages += published;
            self.other_bytes += bytes;
        }
    }

    fn event(self) -> Event {
        let topics = self.topics.into_iter().map(|(topic, (messages, bytes, last))| Topic {
            topic,
            messages,
            bytes,
            last: last.shown(),
        });
        json(&Topics {
            topics: topics.collect(),
            other_messages: self.other_messages,
            other_bytes: self.other_bytes,
        })
    }
}

/// What is shown of a message. It keeps no more of the payload than that.
struct Head {
    qos: u8,
    retain: bool,
    size: usize,
    payload: Vec<u8>,
}

impl Head {
    fn of(message: &LocalMessage, most: usize) -> Self {
        let mut head = Self { qos: 0, retain: false, size: 0, payload: Vec::new() };
        head.replace(message, most);
        head
    }

    fn replace(&mut self, LocalMessage { message, retain, .. }: &LocalMessage, most: usize) {
        let payload = message.payload();
        (self.qos, self.retain, self.size) = (message.qos().as_u8(), *retain, payload.len());
        self.payload.clear();
        self.payload.extend_from_slice(payload.get(..most).unwrap_or(payload));
    }

    fn shown(&self) -> Content {
        Content {
            at: rfc3339(SystemTime::now()),
            qos: self.qos,
            retain: self.retain,
            size: self.size,
            payload: STANDARD.encode(&self.payload),
        }
    }
}

impl Watched {
    fn of(message: &LocalMessage) -> Self {
        let topic = message.message.topic().to_owned();
        Self { topic, content: Head::of(message, PAYLOAD).shown() }
    }
}
