//! How records look in the log: a byte that says what it is, and whether it is the last one of its group; then what it says.

use std::sync::Arc;

use mqtt_broker::{
    Message,
    store::{MessageKey, Record},
};
use mqtt_codec::{PacketId, QoS, TopicFilter, TopicName};

use crate::encoding::{Body, moment, nanos, text, write_message};

const STARTED: u8 = 0;
const ATTACHED: u8 = 1;
const DETACHED: u8 = 2;
const ENDED: u8 = 3;
const SUBSCRIBED: u8 = 4;
const UNSUBSCRIBED: u8 = 5;
const QUEUED: u8 = 6;
/// The message is the one of the record before, for another session.
const QUEUED_TOO: u8 = 7;
const SENT: u8 = 8;
const RELEASED: u8 = 9;
const DONE: u8 = 10;
const RECEIVED: u8 = 11;
const FORGOTTEN: u8 = 12;
const RETAINED: u8 = 13;
const RETAINED_CLEARED: u8 = 14;
const WILL_SET: u8 = 15;
const WILL_CLEARED: u8 = 16;

const LAST_OF_ITS_GROUP: u8 = 0x80;

/// Appends a group.
pub(super) fn write(group: &[Record], out: &mut Vec<u8>) {
    let (mut before, mut at) = (None, out.len());
    for record in group {
        at = out.len();
        write_record(record, before, out);
        before = Some(record);
    }
    if let Some(tag) = out.get_mut(at) {
        *tag |= LAST_OF_ITS_GROUP;
    }
}

fn write_record(record: &Record, before: Option<&Record>, out: &mut Vec<u8>) {
    match record {
        Record::SessionStarted { session, client_id } => {
            head(out, STARTED, *session);
            write_bytes(client_id.as_bytes(), out);
        }
        Record::SessionAttached { session } => head(out, ATTACHED, *session),
        Record::SessionDetached { session, at } => pair(out, DETACHED, *session, nanos(*at)),
        Record::SessionEnded { session } => head(out, ENDED, *session),
        Record::Subscribed { session, filter, qos } => {
            head(out, SUBSCRIBED, *session);
            out.push(qos.as_u8());
            write_bytes(filter.as_bytes(), out);
        }
        Record::Unsubscribed { session, filter } => {
            head(out, UNSUBSCRIBED, *session);
            write_bytes(filter.as_bytes(), out);
        }
        Record::Queued { session, key, qos, retain, message } => {
            let flags = qos.as_u8() | u8::from(*retain) << 2;
            if before.is_some_and(|before| has_message(before, *key, message)) {
                head(out, QUEUED_TOO, *session);
                out.push(flags);
            } else {
                pair(out, QUEUED, *session, *key);
                out.push(flags);
                write_sized(message, out);
            }
        }
        Record::Sent { session, key, packet_id } => {
            pair(out, SENT, *session, *key);
            out.extend_from_slice(&packet_id.get().to_be_bytes());
        }
        Record::Released { session, key } => pair(out, RELEASED, *session, *key),
        Record::Done { session, key } => pair(out, DONE, *session, *key),
        Record::Received { session, packet_id } => {
            head(out, RECEIVED, *session);
            out.extend_from_slice(&packet_id.get().to_be_bytes());
        }
        Record::Forgotten { session, packet_id } => {
            head(out, FORGOTTEN, *session);
            out.extend_from_slice(&packet_id.get().to_be_bytes());
        }
        Record::Retained { message, expires_at } => {
            head(out, RETAINED, expires_at.map_or(0, nanos));
            out.push(u8::from(expires_at.is_some()));
            write_sized(message, out);
        }
        Record::RetainedCleared { topic } => {
            out.push(RETAINED_CLEARED);
            write_bytes(topic.as_bytes(), out);
        }
        Record::WillSet { key, client_id, will } => {
            head(out, WILL_SET, *key);
            write_bytes(client_id.as_bytes(), out);
            write_sized(will, out);
        }
        Record::WillCleared { key } => head(out, WILL_CLEARED, *key),
    }
}

/// Whether the record before has this very message, for whomever.
fn has_message(before: &Record, key: MessageKey, message: &Message) -> bool {
    matches!(before, Record::Queued { key: other, message: of, .. } if *other == key
        && std::ptr::eq(of.payload(), message.payload())
        && std::ptr::eq(of.topic_bytes(), message.topic_bytes())
        && (of.qos(), of.retain()) == (message.qos(), message.retain()))
}

fn head(out: &mut Vec<u8>, tag: u8, number: u64) {
    let mut bytes = [tag; 9];
    if let Some((_, rest)) = bytes.split_first_mut() {
        rest.copy_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(&bytes);
}

fn pair(out: &mut Vec<u8>, tag: u8, one: u64, two: u64) {
    head(out, tag, one);
    out.extend_from_slice(&two.to_be_bytes());
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn write_sized(message: &Message, out: &mut Vec<u8>) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    write_message(message, out);
    let len = (out.len() - at - 4) as u32;
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&len.to_be_bytes());
    }
}

/// Reads groups one after the other.
pub(super) struct Groups<'a> {
    body: Body<'a>,
    /// The message that the record before has.
    before: Option<(MessageKey, Message)>,
}

impl<'a> Groups<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self { body: Body::new(body), before: None }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.body.is_empty()
    }

    /// The next group; `None` if the bytes are none.
    pub(super) fn next_group(&mut self) -> Option<Vec<Record>> {
        let mut group = Vec::new();
        loop {
            let tag = self.body.u8()?;
            group.push(self.read(tag & !LAST_OF_ITS_GROUP)?);
            if tag & LAST_OF_ITS_GROUP != 0 {
                self.before = None;
                return Some(group);
            }
        }
    }

    fn read(&mut self, tag: u8) -> Option<Record> {
        let body = &mut self.body;
        Some(match tag {
            STARTED => Record::SessionStarted { session: body.u64()?, client_id: client_id(body)? },
            ATTACHED => Record::SessionAttached { session: body.u64()? },
            DETACHED => Record::SessionDetached { session: body.u64()?, at: moment(body.u64()?) },
            ENDED => Record::SessionEnded { session: body.u64()? },
            SUBSCRIBED => {
                let (session, qos) = (body.u64()?, QoS::from_u8(body.u8()?)?);
                Record::Subscribed { session, filter: filter(body)?, qos }
            }
            UNSUBSCRIBED => Record::Unsubscribed { session: body.u64()?, filter: filter(body)? },
            QUEUED | QUEUED_TOO => {
                let session = body.u64()?;
                let new = if tag == QUEUED { Some(body.u64()?) } else { None };
                let flags = body.u8()?;
                let (key, message) = match new {
                    Some(key) => (key, message(body)?),
                    None => self.before.clone()?,
                };
                self.before = Some((key, message.clone()));
                let (qos, retain) = (QoS::from_u8(flags & 3)?, flags & 4 != 0);
                Record::Queued { session, key, qos, retain, message }
            }
            SENT => {
                let (session, key) = (body.u64()?, body.u64()?);
                Record::Sent { session, key, packet_id: PacketId::new(body.u16()?)? }
            }
            RELEASED => Record::Released { session: body.u64()?, key: body.u64()? },
            DONE => Record::Done { session: body.u64()?, key: body.u64()? },
            RECEIVED => Record::Received { session: body.u64()?, packet_id: PacketId::new(body.u16()?)? },
            FORGOTTEN => Record::Forgotten { session: body.u64()?, packet_id: PacketId::new(body.u16()?)? },
            RETAINED => {
                let (at, expires) = (body.u64()?, body.flag()?);
                Record::Retained { message: message(body)?, expires_at: expires.then(|| moment(at)) }
            }
            RETAINED_CLEARED => {
                Record::RetainedCleared { topic: TopicName::new(bytes(body)?.to_vec()).ok()? }
            }
            WILL_SET => {
                Record::WillSet { key: body.u64()?, client_id: client_id(body)?, will: message(body)? }
            }
            WILL_CLEARED => Record::WillCleared { key: body.u64()? },
            _ => return None,
        })
    }
}

fn bytes<'a>(body: &mut Body<'a>) -> Option<&'a [u8]> {
    let len = body.u32()?;
    body.take(len as usize)
}

fn client_id(body: &mut Body<'_>) -> Option<Arc<str>> {
    text(bytes(body)?).map(Arc::from)
}

fn filter(body: &mut Body<'_>) -> Option<TopicFilter> {
    TopicFilter::new(bytes(body)?.to_vec()).ok()
}

fn message(body: &mut Body<'_>) -> Option<Message> {
    Body::new(bytes(body)?).message()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::tests::records;

    proptest! {
        #[test]
        fn groups_read_back(groups in records::groups(0..20)) {
            let mut bytes = Vec::new();
            for group in &groups {
                write(group, &mut bytes);
            }
            let mut read = Groups::new(&bytes);
            for group in &groups {
                prop_assert_eq!(read.next_group(), Some(group.clone()));
            }
            prop_assert!(read.is_at_end());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..200)) {
            let mut read = Groups::new(&bytes);
            while !read.is_at_end() && read.next_group().is_some() {}
        }
    }

    /// However many it is for, a message is written once.
    #[test]
    fn a_message_for_many_stands_there_once() {
        let message = records::message(1);
        let queued = |session| Record::Queued {
            session,
            key: 1,
            qos: QoS::AtLeastOnce,
            retain: session == 2,
            message: message.clone(),
        };
        let group: Vec<_> = (1..=3).map(queued).collect();
        let mut bytes = Vec::new();
        write(&group, &mut bytes);
        assert!(bytes.len() < message.size() + 100, "{} bytes", bytes.len());
        assert_eq!(Groups::new(&bytes).next_group(), Some(group));
    }
}
