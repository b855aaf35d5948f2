//! [`Message`]: one application message, decoded once and shared by everybody who waits for it.
//!
//! It knows nothing of packet identifiers and DUP: those belong to a delivery, not to a message.

use std::{
    cell::{Cell, OnceCell},
    fmt, str,
    sync::Arc,
};

use mqtt_codec::{QoS, TopicName};

use crate::store::MessageKey;

/// A message as it was published: topic, payload, QoS and RETAIN. Immutable, and cheap to clone.
///
/// It is one allocation that owns exactly its bytes, so a message that waits for a day pins no read buffer.
#[derive(Clone, PartialEq, Eq)]
pub struct Message(Arc<[u8]>);

/// How the allocation is laid out: flags, topic length (big endian), topic, payload.
const HEAD: usize = 3;
const QOS_BITS: u8 = 0b011;
const RETAIN_BIT: u8 = 0b100;

impl Message {
    /// A message that is not retained.
    pub fn new(topic: &TopicName, payload: &[u8], qos: QoS) -> Self {
        Self::from_parts(topic.as_bytes(), payload, qos, false)
    }

    /// The same message with RETAIN set.
    #[must_use]
    pub fn retained(&self) -> Self {
        self.with_retain(true)
    }

    pub(crate) fn with_retain(&self, retain: bool) -> Self {
        Self::from_parts(self.topic_bytes(), self.payload(), self.qos(), retain)
    }

    /// `topic` is a valid topic name, so its length fits 16 bits.
    pub(crate) fn from_parts(topic: &[u8], payload: &[u8], qos: QoS, retain: bool) -> Self {
        let mut bytes = Vec::with_capacity(HEAD + topic.len() + payload.len());
        bytes.push(qos.as_u8() | if retain { RETAIN_BIT } else { 0 });
        bytes.extend_from_slice(&(topic.len() as u16).to_be_bytes());
        bytes.extend_from_slice(topic);
        bytes.extend_from_slice(payload);
        Self(bytes.into())
    }

    /// The topic name as text.
    pub fn topic(&self) -> &str {
        str::from_utf8(self.topic_bytes()).unwrap_or_default()
    }

    /// The topic name as its UTF-8 bytes.
    pub fn topic_bytes(&self) -> &[u8] {
        self.0.get(HEAD..HEAD + self.topic_len()).unwrap_or_default()
    }

    pub(crate) fn topic_name(&self) -> Option<TopicName> {
        TopicName::new(self.topic_bytes().to_vec()).ok()
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        self.0.get(HEAD + self.topic_len()..).unwrap_or_default()
    }

    /// The QoS that it was published with.
    pub fn qos(&self) -> QoS {
        QoS::from_u8(self.flags() & QOS_BITS).unwrap_or_default()
    }

    /// Whether it was published with RETAIN.
    pub fn retain(&self) -> bool {
        self.flags() & RETAIN_BIT != 0
    }

    /// What it counts against a limit in bytes: topic and payload.
    pub fn size(&self) -> usize {
        self.0.len() - HEAD
    }

    fn flags(&self) -> u8 {
        self.0.first().copied().unwrap_or_default()
    }

    fn topic_len(&self) -> usize {
        match *self.0 {
            [_, high, low, ..] => usize::from(u16::from_be_bytes([high, low])),
            _ => 0,
        }
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
    /// Its key in the store, once it is there; 0 until then.
    pub(crate) key: Cell<MessageKey>,
    shared: OnceCell<Message>,
}

impl<'a> Outgoing<'a> {
    pub(crate) fn new(topic: &'a [u8], payload: &'a [u8], qos: QoS) -> Self {
        Self { topic, payload, qos, key: Cell::new(0), shared: OnceCell::new() }
    }

    pub(crate) fn of(message: &'a Message) -> Self {
        let shared = OnceCell::from(message.clone());
        Self {
            topic: message.topic_bytes(),
            payload: message.payload(),
            qos: message.qos(),
            key: Cell::new(0),
            shared,
        }
    }

    /// The message to keep. Made at the first call, shared by all.
    pub(crate) fn message(&self) -> &Message {
        self.shared.get_or_init(|| Message::from_parts(self.topic, self.payload, self.qos, false))
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
        let outgoing = Outgoing::new(b"t", b"p", QoS::AtLeastOnce);
        let (first, second) = (outgoing.message().clone(), outgoing.message().clone());
        assert!(Arc::ptr_eq(&first.0, &second.0));
    }
}
