//! To publish: to whoever subscribes, or to clients whatever they subscribe to.

use axum::{Extension, Json, extract::State};
use base64::{Engine, engine::general_purpose::STANDARD};
use mqtt_broker::{Message, TopicName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Noted,
    subscriptions::{Done, qos_of},
};
use crate::{
    admin::Admin,
    input::Body,
    problem::{Problem, Result},
};

/// A message to publish.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Publish {
    /// A topic name.
    topic: String,
    /// Text, unless `payload_encoding` says otherwise.
    #[serde(default)]
    payload: String,
    #[serde(default)]
    #[schema(inline)]
    payload_encoding: Encoding,
    #[serde(default)]
    qos: u8,
    /// Keep it for future subscribers; with an empty payload, forget the one that is kept.
    #[serde(default)]
    retain: bool,
    /// Only to these clients, as far as they subscribe to it; nothing is retained then.
    #[serde(default)]
    client_ids: Option<Vec<String>>,
}

/// How bytes are spelled in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Encoding {
    /// As text in UTF-8.
    #[default]
    Plain,
    /// In base64, the alphabet with `+` and `/`, padded.
    Base64,
}

/// Messages to publish, in this order; either all are well-formed, or none is published.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(transparent)]
pub(super) struct Batch(Vec<Publish>);

const LARGEST_BATCH: usize = 1_000;

impl Publish {
    fn message(&self, admin: &Admin) -> Result<Message> {
        let wrong = |error| Problem::bad_request(format!("`topic` is no topic name: {error}"));
        let topic = TopicName::try_from(self.topic.as_str()).map_err(wrong)?;
        let decoded;
        let payload = match self.payload_encoding {
            Encoding::Plain => self.payload.as_bytes(),
            Encoding::Base64 => {
                decoded = STANDARD
                    .decode(&self.payload)
                    .map_err(|error| Problem::bad_request(format!("`payload` is not base64: {error}")))?;
                &decoded
            }
        };
        let most = admin.broker().limits().max_packet_size;
        if topic.as_bytes().len() + payload.len() > most {
            return Err(Problem::bad_request(format!(
                "topic and payload have {} bytes, more than the {most} that a packet may have",
                topic.as_bytes().len() + payload.len()
            )));
        }
        let message = Message::new(&topic, payload, qos_of(self.qos)?);
        Ok(if self.retain { message.retained() } else { message })
    }

    fn send(&self, admin: &Admin, message: &Message) {
        match &self.client_ids {
            None => admin.broker().publish(message),
            Some(ids) => {
                admin.broker().publish_to(message, &ids.iter().map(String::as_str).collect::<Vec<_>>());
            }
        }
    }
}

/// Publish a message. No access rule is applied.
#[utoipa::path(post, path = "/api/v1/publish", tag = "messages", request_body = Publish,
    responses((status = 200, body = Done), (status = 400, body = Problem)))]
pub(super) async fn publish(
    State(admin): State<Admin>,
    Extension(noted): Extension<Noted>,
    Body(publish): Body<Publish>,
) -> Result<Json<Done>> {
    let message = publish.message(&admin)?;
    noted.say(format!("publish to {:?}", publish.topic));
    admin.heavy(move |admin| publish.send(admin, &message)).await?;
    Ok(Done::DONE)
}

/// Publish several messages, 1,000 at most.
#[utoipa::path(post, path = "/api/v1/publish/batch", tag = "messages", request_body = Batch,
    responses((status = 200, body = Done), (status = 400, body = Problem)))]
pub(super) async fn publish_batch(
    State(admin): State<Admin>,
    Extension(noted): Extension<Noted>,
    Body(Batch(batch)): Body<Batch>,
) -> Result<Json<Done>> {
    if batch.len() > LARGEST_BATCH {
        return Err(Problem::bad_request(format!("a batch has {LARGEST_BATCH} messages at most")));
    }
    let messages: Vec<Message> =
        batch.iter().map(|publish| publish.message(&admin)).collect::<Result<_>>()?;
    noted.say(format!("publish {} messages", messages.len()));
    let send_all = move |admin: &Admin| {
        batch.iter().zip(&messages).for_each(|(publish, message)| publish.send(admin, message));
    };
    admin.heavy(send_all).await?;
    Ok(Done::DONE)
}

/// Give a message to all connected clients, or to those of `client_ids`, whatever they subscribe to. Nothing is retained.
#[utoipa::path(post, path = "/api/v1/broadcast", tag = "messages", request_body = Publish,
    responses((status = 200, body = Done), (status = 400, body = Problem)))]
pub(super) async fn broadcast(
    State(admin): State<Admin>,
    Extension(noted): Extension<Noted>,
    Body(publish): Body<Publish>,
) -> Result<Json<Done>> {
    if publish.retain {
        return Err(Problem::bad_request("`retain`: a broadcast is not retained"));
    }
    let message = publish.message(&admin)?;
    noted.say(format!("broadcast {:?}", publish.topic));
    let send = move |admin: &Admin| {
        let ids: Option<Vec<&str>> =
            publish.client_ids.as_ref().map(|ids| ids.iter().map(String::as_str).collect());
        admin.broker().broadcast(&message, ids.as_deref());
    };
    admin.heavy(send).await?;
    Ok(Done::DONE)
}
