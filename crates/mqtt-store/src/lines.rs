//! A store as lines of JSON: one line a record, a first line that says what it is, and a last line that says it is whole.
//!
//! For people and for other programs; the store itself never reads it but in `import`. Payloads that are text stand as
//! text, others as hexadecimal digits.

use std::io::{self, BufRead, Write};

use mqtt_broker::{
    Message, PacketId, QoS, TopicFilter, TopicName,
    store::{Record, StoreError},
};
use serde::{Deserialize, Serialize};

use crate::{
    check::Walk,
    encoding::{moment, nanos},
    engine::Reads,
    readable::{PassedOver, Readable},
    reader::recover,
    wal::Medium,
    writer::Writer,
};

const VERSION: u32 = 1;
/// Records that an import appends as one group.
const RECORDS_PER_GROUP: usize = 256;

#[derive(Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    GmqttStore { version: u32 },
    SessionStarted { session: u64, client_id: String },
    SessionAttached { session: u64 },
    SessionDetached { session: u64, at_unix_nanos: u64 },
    SessionEnded { session: u64 },
    Subscribed { session: u64, filter: String, qos: u8 },
    Unsubscribed { session: u64, filter: String },
    Queued { session: u64, key: u64, qos: u8, retain: bool, message: Content },
    Sent { session: u64, key: u64, packet_id: u16 },
    Released { session: u64, key: u64 },
    Done { session: u64, key: u64 },
    Received { session: u64, packet_id: u16 },
    Forgotten { session: u64, packet_id: u16 },
    Retained { message: Content, expires_at_unix_nanos: Option<u64> },
    RetainedCleared { topic: String },
    WillSet { key: u64, client_id: String, will: Content },
    WillCleared { key: u64 },
    End { records: u64 },
}

/// A message.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    topic: String,
    qos: u8,
    retain: bool,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    payload: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    payload_hex: Option<String>,
}

/// Rows that cannot be read are passed over: what there is of the rest is a whole export.
pub(crate) fn export(
    from: &impl Reads,
    out: &mut dyn Write,
    mut walk: Walk<'_>,
) -> Result<PassedOver, StoreError> {
    let from = Readable::new(from);
    let mut records = 0;
    let mut written = write_line(out, &Line::GmqttStore { version: VERSION });
    recover(&from, &mut |record| {
        if written.is_ok() {
            records += 1;
            written = write_line(out, &line_of(record));
            walk.step("records");
        }
    })?;
    let written = written.and_then(|()| write_line(out, &Line::End { records }));
    walk.tell("records");
    written
        .and_then(|()| out.flush())
        .map_err(|error| StoreError::new(format!("cannot write the export: {error}")))?;
    Ok(from.passed_over())
}

pub(crate) fn import<M: Medium>(
    to: &Writer<M>,
    from: &mut dyn BufRead,
    mut walk: Walk<'_>,
) -> Result<(), StoreError> {
    let (mut number, mut records, mut ended) = (0, 0, false);
    let mut group = Vec::new();
    for line in from.lines() {
        number += 1;
        let wrong = |what: &str| StoreError::new(format!("line {number} of the export {what}"));
        let line = line.map_err(|error| wrong(&format!("cannot be read: {error}")))?;
        let line: Line =
            serde_json::from_str(&line).map_err(|error| wrong(&format!("is no record: {error}")))?;
        match line {
            _ if ended => return Err(wrong("comes after its end")),
            Line::GmqttStore { version: VERSION } if number == 1 => {}
            Line::GmqttStore { version } => {
                return Err(wrong(&format!("begins an export of version {version}")));
            }
            _ if number == 1 => return Err(wrong("does not begin an export")),
            Line::End { records: whole } if whole == records => ended = true,
            Line::End { records: whole } => {
                return Err(wrong(&format!("ends it with {whole} records, but there are {records}")));
            }
            line => {
                group.push(record_of(line).ok_or_else(|| wrong("has a value that MQTT does not allow"))?);
                records += 1;
                walk.step("records");
            }
        }
        if group.len() == RECORDS_PER_GROUP {
            to.append(std::mem::take(&mut group));
        }
    }
    if !ended {
        return Err(StoreError::new(format!("the export breaks off after line {number}")));
    }
    walk.tell("records");
    let last = to.append(group);
    to.wait(last)
}

fn write_line(out: &mut dyn Write, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

fn line_of(record: Record) -> Line {
    match record {
        Record::SessionStarted { session, client_id } => {
            Line::SessionStarted { session, client_id: (*client_id).to_owned() }
        }
        Record::SessionAttached { session } => Line::SessionAttached { session },
        Record::SessionDetached { session, at } => {
            Line::SessionDetached { session, at_unix_nanos: nanos(at) }
        }
        Record::SessionEnded { session } => Line::SessionEnded { session },
        Record::Subscribed { session, filter, qos } => {
            Line::Subscribed { session, filter: filter.as_str().to_owned(), qos: qos.as_u8() }
        }
        Record::Unsubscribed { session, filter } => {
            Line::Unsubscribed { session, filter: filter.as_str().to_owned() }
        }
        Record::Queued { session, key, qos, retain, message } => {
            Line::Queued { session, key, qos: qos.as_u8(), retain, message: content_of(&message) }
        }
        Record::Sent { session, key, packet_id } => Line::Sent { session, key, packet_id: packet_id.get() },
        Record::Released { session, key } => Line::Released { session, key },
        Record::Done { session, key } => Line::Done { session, key },
        Record::Received { session, packet_id } => Line::Received { session, packet_id: packet_id.get() },
        Record::Forgotten { session, packet_id } => Line::Forgotten { session, packet_id: packet_id.get() },
        Record::Retained { message, expires_at } => {
            Line::Retained { message: content_of(&message), expires_at_unix_nanos: expires_at.map(nanos) }
        }
        Record::RetainedCleared { topic } => Line::RetainedCleared { topic: topic.as_str().to_owned() },
        Record::WillSet { key, client_id, will } => {
            Line::WillSet { key, client_id: (*client_id).to_owned(), will: content_of(&will) }
        }
        Record::WillCleared { key } => Line::WillCleared { key },
    }
}

/// `None` if a value is not valid, or the line is no record.
fn record_of(line: Line) -> Option<Record> {
    Some(match line {
        Line::SessionStarted { session, client_id } => {
            Record::SessionStarted { session, client_id: client_id.into() }
        }
        Line::SessionAttached { session } => Record::SessionAttached { session },
        Line::SessionDetached { session, at_unix_nanos } => {
            Record::SessionDetached { session, at: moment(at_unix_nanos) }
        }
        Line::SessionEnded { session } => Record::SessionEnded { session },
        Line::Subscribed { session, filter, qos } => {
            let filter = TopicFilter::new(filter.into_bytes()).ok()?;
            Record::Subscribed { session, filter, qos: QoS::from_u8(qos)? }
        }
        Line::Unsubscribed { session, filter } => {
            Record::Unsubscribed { session, filter: TopicFilter::new(filter.into_bytes()).ok()? }
        }
        Line::Queued { session, key, qos, retain, message } => {
            Record::Queued { session, key, qos: QoS::from_u8(qos)?, retain, message: message_of(message)? }
        }
        Line::Sent { session, key, packet_id } => {
            Record::Sent { session, key, packet_id: PacketId::new(packet_id)? }
        }
        Line::Released { session, key } => Record::Released { session, key },
        Line::Done { session, key } => Record::Done { session, key },
        Line::Received { session, packet_id } => {
            Record::Received { session, packet_id: PacketId::new(packet_id)? }
        }
        Line::Forgotten { session, packet_id } => {
            Record::Forgotten { session, packet_id: PacketId::new(packet_id)? }
        }
        Line::Retained { message, expires_at_unix_nanos } => {
            let expires_at = expires_at_unix_nanos.map(moment);
            Record::Retained { message: message_of(message)?, expires_at }
        }
        Line::RetainedCleared { topic } => {
            Record::RetainedCleared { topic: TopicName::new(topic.into_bytes()).ok()? }
        }
        Line::WillSet { key, client_id, will } => {
            Record::WillSet { key, client_id: client_id.into(), will: message_of(will)? }
        }
        Line::WillCleared { key } => Record::WillCleared { key },
        Line::GmqttStore { .. } | Line::End { .. } => return None,
    })
}

fn content_of(message: &Message) -> Content {
    let text = std::str::from_utf8(message.payload()).ok();
    Content {
        topic: message.topic().to_owned(),
        qos: message.qos().as_u8(),
        retain: message.retain(),
        payload: text.map(str::to_owned),
        payload_hex: text.is_none().then(|| hex_of(message.payload())),
    }
}

fn message_of(content: Content) -> Option<Message> {
    let payload = match (content.payload, content.payload_hex) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(hex)) => bytes_of(&hex)?,
        _ => return None,
    };
    let topic = TopicName::new(content.topic.into_bytes()).ok()?;
    let message = Message::new(&topic, &payload, QoS::from_u8(content.qos)?);
    Some(if content.retain { message.retained() } else { message })
}

fn hex_of(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some((digit(*high)? << 4 | digit(*low)?) as u8));
    if rest.is_empty() { bytes.collect() } else { None }
}
