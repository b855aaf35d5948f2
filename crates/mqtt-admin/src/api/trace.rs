//! A live trace as a stream of server-sent events: what happens to one client, topic or address.

use std::{net::IpAddr, time::SystemTime};

use axum::{
    extract::State,
    response::sse::{KeepAlive, Sse},
};
use futures_util::stream::{Stream, poll_fn};
use mqtt_broker::{TraceFilter, TraceRecord, Traced, TracedMessage};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Sent, json, subscriptions::filter_to_watch};
use crate::{
    admin::Admin,
    clock::rfc3339,
    input::Asked,
    problem::{Problem, Result},
};

/// What to trace; exactly one of the three.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Query {
    /// One client.
    client_id: Option<String>,
    /// Messages whose topic this filter, of no shared subscription, matches.
    filter: Option<String>,
    /// Clients from this address.
    address: Option<String>,
}

/// Something that happened.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Record {
    at: String,
    client_id: String,
    /// Where it is connected from.
    remote_addr: Option<String>,
    /// `connected`, `packet`, `published`, `delivered`, `dropped` or `closed`.
    #[schema(value_type = String)]
    event: &'static str,
    /// The type of a packet, or the reason of a drop or an end.
    detail: Option<String>,
    topic: Option<String>,
    payload_bytes: Option<usize>,
    qos: Option<u8>,
    retain: Option<bool>,
    /// So many records before this one were lost, because the stream was read too slowly.
    lost: u64,
}

impl Record {
    fn of(admin: &Admin, record: &TraceRecord) -> Self {
        let (event, detail, message): (_, _, Option<&TracedMessage>) = match &record.what {
            Traced::Connected => ("connected", None, None),
            Traced::Packet(packet_type) => ("packet", Some(format!("{packet_type:?}").to_uppercase()), None),
            Traced::Published(message) => ("published", None, Some(message)),
            Traced::Delivered(message) => ("delivered", None, Some(message)),
            Traced::Dropped(message, reason) => ("dropped", Some(reason.to_string()), Some(message)),
            Traced::Closed(reason) => ("closed", Some(reason.to_string()), None),
            _ => ("other", None, None),
        };
        let clock = admin.shared().clock;
        Self {
            at: record.at.map_or_else(|| rfc3339(SystemTime::now()), |at| clock.rfc3339(at)),
            client_id: record.client_id.to_string(),
            remote_addr: record.peer.map(|peer| peer.to_string()),
            event,
            detail,
            topic: message.map(|message| message.topic.clone()),
            payload_bytes: message.map(|message| message.payload_bytes),
            qos: message.map(|message| message.qos.as_u8()),
            retain: message.map(|message| message.retain),
            lost: record.lost,
        }
    }
}

fn wanted(query: Query) -> Result<TraceFilter> {
    match (query.client_id, query.filter, query.address) {
        (Some(client_id), None, None) => Ok(TraceFilter::Client(client_id.into())),
        (None, Some(text), None) => filter_to_watch(&text).map(TraceFilter::Topic),
        (None, None, Some(address)) => {
            let wrong = |_| Problem::bad_request("`address` must be an IP address, without a port");
            address.parse::<IpAddr>().map(TraceFilter::Address).map_err(wrong)
        }
        _ => Err(Problem::bad_request("give exactly one of `client_id`, `filter` and `address`")),
    }
}

/// A trace: an event for each record, until you close the connection. Payloads are not in it.
#[utoipa::path(get, path = "/api/v1/trace", tag = "broker", params(Query),
    responses((status = 200, body = Record, content_type = "text/event-stream"), (status = 400, body = Problem),
        (status = 429, body = Problem, description = "there are as many live streams as there may be")))]
pub(super) async fn trace(
    State(admin): State<Admin>,
    Asked(query): Asked<Query>,
) -> Result<Sse<impl Stream<Item = Sent>>> {
    let wanted = wanted(query)?;
    let place = admin.stream()?;
    let mut trace = admin.broker().trace(wanted);
    let records = poll_fn(move |cx| {
        let _held = &place;
        trace.poll_next(cx).map(|record| Some(Ok(json(&Record::of(&admin, &record)))))
    });
    Ok(Sse::new(records).keep_alive(KeepAlive::default()))
}
