//! [`Message`]: one application message, decoded once and shared by everybody who waits for it.
//!
//! It knows nothing of packet identifiers and DUP: those belong to a delivery, not to a message.

use std::{
    cell::{Cell, OnceCell},
    fmt, ptr, str,
};

use mqtt_codec::{MAX_REMAINING_LEN, QoS, TopicName};
use triomphe::ThinArc;

use crate::store::MessageKey;

/// A message as it was published: topic, payload, QoS and RETAIN. Immutable, and cheap to clone.
///
/// One of more than 256 MiB fits no packet, and is dropped ([`crate::DropReason::TooLong`]) wherever it is published.
///
/// It is one allocation that owns exactly its bytes, so a message that waits for a day pins no read buffer; a clone is one
/// pointer.
#[derive(Clone, PartialEq, Eq)]
pub struct Message(ThinArc<Head, u8>);

/// Topic and payload of most messages.
const MOST_ON_STACK: usize = 256;

/// What stands in the allocation before the topic and the payload.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Head {
    /// A topic's length fits 16 bits.
    topic_len: u16,
    qos: QoS,
    retain: bool,
}

impl Message {
    /// A message that is not retained.
    pub fn new(topic: &TopicName, payload: &[u8], qos: QoS) -> Self {
        Self::from_parts(topic.as_bytes(), payload, qos, false)
    }

    /// The same message with RETAIN set.
    #[must_use]
    pub fn retained(&self) -> Self {
        if self.retain() {
            return self.clone();
        }
        Self::from_parts(self.topic_bytes(), self.payload(), self.qos(), true)
    }

    /// `topic` is a valid topic name, so its length fits 16 bits.
    pub(crate) fn from_parts(topic: &[u8], payload: &[u8], qos: QoS, retain: bool) -> Self {
        let head = Head { topic_len: topic.len() as u16, qos, retain };
        let size = topic.len() + payload.len();
        if size > MOST_ON_STACK {
            return Self(ThinArc::from_header_and_slice(head, &[topic, payload].concat()));
        }
        // Put together on the stack first: a second allocation would cost more than the second copy.
        let mut bytes = [0; MOST_ON_STACK];
        let (front, back) = bytes.split_at_mut(topic.len());
        front.copy_from_slice(topic);
        back[..payload.len()].copy_from_slice(payload);
        Self(ThinArc::from_header_and_slice(head, &bytes[..size]))
    }

    /// Whether there is a PUBLISH that can carry it. What came as one fits another; what was made inside the process may not.
    pub(crate) fn fits_a_packet(&self) -> bool {
        let packet_id_len = if self.qos() == QoS::AtMostOnce { 0 } else { 2 };
        2 + self.size() + packet_id_len <= MAX_REMAINING_LEN
    }

    /// Whether this is the same message, and not one that is equal.
    pub(crate) fn is(&self, other: &Self) -> bool {
        ptr::eq(self.0.ptr(), other.0.ptr())
    }

    /// The topic name as text.
    pub fn topic(&self) -> &str {
        str::from_utf8(self.topic_bytes()).unwrap_or_default()
    }

    /// The topic name as its UTF-8 bytes.
    pub fn topic_bytes(&self) -> &[u8] {
        self.0.slice.get(..self.topic_len()).unwrap_or_default()
    }

    pub(crate) fn topic_name(&self) -> Option<TopicName> {
        TopicName::new(self.topic_bytes().to_vec()).ok()
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        self.0.slice.get(self.topic_len()..).unwrap_or_default()
    }

    /// The QoS that it was published with.
    pub fn qos(&self) -> QoS {
        self.0.header.header.qos
    }

    /// Whether it was published with RETAIN.
    pub fn retain(&self) -> bool {
        self.0.header.header.retain
    }

    /// What it counts against a limit in bytes: topic and payload.
    pub fn size(&self) -> usize {
        self.0.slice.len()
    }

    fn topic_len(&self) -> usize {
        usize::from(self.0.header.header.topic_len)
    }
}

impl fmt::Debug for Message {
    /// Without the payload, which has no place in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic())
            .field("payload_bytes", &self.payload().len())
            .field("qos", &self.qos())
            .field("retain", &self.retain())
            .finish()
    }
}

/// A message on its way to its receivers: borrowed from the publisher's bytes, and made into a shared [`Message`] only
/// if somebody has to keep it.
pub(crate) struct Outgoing<'a> {
    pub(crate) topic: &'a [u8],
    pub(crate) payload: &'a [u8],
    pub(crate) qos: QoS,
    /// As it was published; what a receiver gets says it of the delivery.
    retain: bool,
    /// Its key in the store, once it is there; 0 until then.
    pub(crate) key: Cell<MessageKey>,
    shared: OnceCell<Message>,
}

impl<'a> Outgoing<'a> {
    pub(crate) fn new(topic: &'a [u8], payload: &'a [u8], qos: QoS, retain: bool) -> Self {
        Self { topic, payload, qos, retain, key: Cell::new(0), shared: OnceCell::new() }
    }

    pub(crate) fn of(message: &'a Message) -> Self {
        let shared = OnceCell::from(message.clone());
        Self {
            topic: message.topic_bytes(),
            payload: message.payload(),
            qos: message.qos(),
            retain: message.retain(),
            key: Cell::new(0),
            shared,
        }
    }

    /// The message to keep. Made at the first call, shared by all.
    pub(crate) fn message(&self) -> &Message {
        self.shared.get_or_init(|| Message::from_parts(self.topic, self.payload, self.qos, self.retain))
    }

    pub(crate) fn size(&self) -> usize {
        self.topic.len() + self.payload.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_it_was_given() {
        let topic = TopicName::try_from("a/ü").unwrap();
        let message = Message::new(&topic, b"\0\xff", QoS::ExactlyOnce);
        assert_eq!((message.topic(), message.payload()), ("a/ü", &b"\0\xff"[..]));
        assert_eq!((message.qos(), message.retain(), message.size()), (QoS::ExactlyOnce, false, 6));
        let retained = message.retained();
        assert_eq!((retained.topic(), retained.qos(), retained.retain()), ("a/ü", QoS::ExactlyOnce, true));
    }

    #[test]
    fn is_made_once_however_many_keep_it() {
        let outgoing = Outgoing::new(b"t", b"p", QoS::AtLeastOnce, false);
        let (first, second) = (outgoing.message().clone(), outgoing.message().clone());
        assert!(std::ptr::eq(first.topic_bytes(), second.topic_bytes()));
    }
}
