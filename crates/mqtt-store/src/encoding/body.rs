//! What values are made of, written and read.

use std::time::{Duration, SystemTime};

use mqtt_broker::{
    Message,
    store::{MessageKey, QueuedMessage},
};
use mqtt_codec::{QoS, TopicName};

pub(super) fn write_queued(queued: &QueuedMessage, out: &mut Vec<u8>) {
    out.extend_from_slice(&queued.key.to_be_bytes());
    out.push(queued.qos.as_u8() | u8::from(queued.retain) << 2);
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    write_message(&queued.message, out);
    let len = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&len.to_be_bytes());
}

pub(crate) fn write_message(message: &Message, out: &mut Vec<u8>) {
    let topic = message.topic_bytes();
    out.push(message.qos().as_u8() | u8::from(message.retain()) << 2);
    out.extend_from_slice(&(topic.len() as u16).to_be_bytes());
    out.extend_from_slice(topic);
    out.extend_from_slice(message.payload());
}

/// Nanoseconds since 1970; good until 2554.
pub(crate) fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

pub(crate) fn moment(nanos: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos)
}

pub(crate) fn text(bytes: &[u8]) -> Option<Box<str>> {
    std::str::from_utf8(bytes).ok().map(Box::from)
}

/// The rest of a body that is being read.
pub(crate) struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.chunk().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.chunk().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.chunk().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.chunk().map(u64::from_be_bytes)
    }

    pub(crate) fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// The key of a message of a run, its flags, and how many bytes follow.
    pub(super) fn head_of_queued(&mut self) -> Option<(MessageKey, u8, usize)> {
        Some((self.u64()?, self.u8()?, self.u32()? as usize))
    }

    pub(super) fn queued(&mut self) -> Option<QueuedMessage> {
        let (key, flags, len) = self.head_of_queued()?;
        let message = Body(self.take(len)?).message()?;
        Some(QueuedMessage { key, qos: QoS::from_u8(flags & 3)?, retain: flags & 4 != 0, message })
    }

    pub(crate) fn message(&mut self) -> Option<Message> {
        let (flags, topic_len) = (self.u8()?, self.u16()?);
        let topic = TopicName::new(self.take(usize::from(topic_len))?.to_vec()).ok()?;
        let message = Message::new(&topic, self.rest(), QoS::from_u8(flags & 3)?);
        Some(if flags & 4 == 0 { message } else { message.retained() })
    }
}
