//! Frames encoded once and patched in place, and the few fields read back from what a server sends.
//!
//! Only the packets that a benchmark client says or hears; the codec is the place for the whole of MQTT.

use mqtt_codec::{MAX_REMAINING_LEN, QoS};

use crate::stream::{STAMP_BYTES, Stamp};

/// What a payload holds behind its stamp.
pub(crate) const FILLER: u8 = 0x1f;

/// What a PUBLISH has room for beside the longest topic and a packet identifier.
pub(crate) const MAX_PAYLOAD_BYTES: usize = MAX_REMAINING_LEN - (2 + u16::MAX as usize) - 2;

/// The upper four bits of the first byte: what a frame is.
pub(crate) mod packet_type {
    pub(crate) const CONNACK: u8 = 2;
    pub(crate) const PUBLISH: u8 = 3;
    pub(crate) const PUBACK: u8 = 4;
    pub(crate) const PUBREC: u8 = 5;
    pub(crate) const PUBREL: u8 = 6;
    pub(crate) const PUBCOMP: u8 = 7;
    pub(crate) const SUBACK: u8 = 9;
    pub(crate) const UNSUBACK: u8 = 11;
}

/// What a CONNECT says.
pub(crate) struct Connect<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) clean_session: bool,
    pub(crate) keep_alive_secs: u16,
    pub(crate) user_name: Option<&'a str>,
    pub(crate) password: Option<&'a str>,
}

impl Connect<'_> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let flags = u8::from(self.clean_session) << 1
            | u8::from(self.password.is_some()) << 6
            | u8::from(self.user_name.is_some()) << 7;
        let strings = [Some(self.client_id), self.user_name, self.password];
        let length = 10 + strings.iter().flatten().map(|text| 2 + text.len()).sum::<usize>();
        fixed_header(out, 0x10, length);
        string(out, "MQTT");
        out.extend_from_slice(&[4, flags]);
        out.extend_from_slice(&self.keep_alive_secs.to_be_bytes());
        for text in strings.into_iter().flatten() {
            string(out, text);
        }
    }
}

pub(crate) fn subscribe(out: &mut Vec<u8>, packet_id: u16, filters: &[String], qos: QoS) {
    fixed_header(out, 0x82, 2 + filters.iter().map(|filter| 3 + filter.len()).sum::<usize>());
    out.extend_from_slice(&packet_id.to_be_bytes());
    for filter in filters {
        string(out, filter);
        out.push(qos.as_u8());
    }
}

pub(crate) fn unsubscribe(out: &mut Vec<u8>, packet_id: u16, filters: &[String]) {
    fixed_header(out, 0xa2, 2 + filters.iter().map(|filter| 2 + filter.len()).sum::<usize>());
    out.extend_from_slice(&packet_id.to_be_bytes());
    for filter in filters {
        string(out, filter);
    }
}

pub(crate) fn pingreq(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xc0, 0]);
}

pub(crate) fn disconnect(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xe0, 0]);
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
pub(crate) fn acknowledge(out: &mut Vec<u8>, packet_type: u8, packet_id: [u8; 2]) {
    // Of the four only PUBREL has a flag set.
    let flags = if packet_type == packet_type::PUBREL { 2 } else { 0 };
    out.extend_from_slice(&[packet_type << 4 | flags, 2, packet_id[0], packet_id[1]]);
}

/// One PUBLISH, encoded once: before each sending only the stamp, the identifier and, if asked, digits of the topic
/// are written over.
pub(crate) struct PublishFrame {
    bytes: Vec<u8>,
    topic_at: usize,
    packet_id_at: Option<usize>,
    stamp_at: usize,
}

impl PublishFrame {
    /// A payload of `payload_bytes`, which are at least those of the stamp.
    pub(crate) fn new(topic: &str, qos: QoS, retain: bool, payload_bytes: usize) -> Self {
        let payload_bytes = payload_bytes.max(STAMP_BYTES);
        let id_bytes = if qos == QoS::AtMostOnce { 0 } else { 2 };
        let mut bytes = Vec::new();
        let length = 2 + topic.len() + id_bytes + payload_bytes;
        fixed_header(&mut bytes, 0x30 | qos.as_u8() << 1 | u8::from(retain), length);
        string(&mut bytes, topic);
        let topic_at = bytes.len() - topic.len();
        let packet_id_at = (id_bytes > 0).then_some(bytes.len());
        let stamp_at = bytes.len() + id_bytes;
        bytes.resize(stamp_at + payload_bytes, FILLER);
        Self { bytes, topic_at, packet_id_at, stamp_at }
    }

    pub(crate) fn stamp(&mut self, stamp: Stamp) {
        stamp.write(&mut self.bytes[self.stamp_at..]);
    }

    /// No effect on QoS 0.
    pub(crate) fn packet_id(&mut self, packet_id: u16) {
        if let Some(at) = self.packet_id_at {
            self.bytes[at..at + 2].copy_from_slice(&packet_id.to_be_bytes());
        }
    }

    /// Writes `number` in decimal over the `digits` bytes of the topic that begin at `offset`.
    pub(crate) fn topic_digits(&mut self, offset: usize, digits: usize, mut number: usize) {
        let at = self.topic_at + offset;
        for place in self.bytes[at..at + digits].iter_mut().rev() {
            *place = b'0' + (number % 10) as u8;
            number /= 10;
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The fields of a PUBLISH that a benchmark looks at.
pub(crate) struct Publish<'a> {
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) topic: &'a [u8],
    pub(crate) packet_id: [u8; 2],
    pub(crate) payload: &'a [u8],
}

impl<'a> Publish<'a> {
    /// `None` if the body is shorter than it says.
    pub(crate) fn read(head: u8, body: &'a [u8]) -> Option<Self> {
        let qos = head >> 1 & 3;
        let (length, rest) = body.split_first_chunk::<2>()?;
        let (topic, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        let (packet_id, payload) = if qos == 0 {
            ([0; 2], rest)
        } else {
            let (packet_id, payload) = rest.split_first_chunk::<2>()?;
            (*packet_id, payload)
        };
        Some(Self { qos, retain: head & 1 == 1, topic, packet_id, payload })
    }
}

/// A PUBLISH (QoS 1, retained) without payload: it clears what is retained under `topic`.
pub(crate) fn clear_retained(out: &mut Vec<u8>, topic: &str, packet_id: u16) {
    fixed_header(out, 0x33, 4 + topic.len());
    string(out, topic);
    out.extend_from_slice(&packet_id.to_be_bytes());
}

/// The packet identifier that opens the body of most packets.
pub(crate) fn leading_packet_id(body: &[u8]) -> Option<[u8; 2]> {
    body.first_chunk::<2>().copied()
}

fn fixed_header(out: &mut Vec<u8>, head: u8, mut length: usize) {
    out.push(head);
    loop {
        let low = (length & 0x7f) as u8;
        length >>= 7;
        if length == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Longer than 65,535 bytes cannot be said; topics and names of a benchmark are checked where they are read.
fn string(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&text.as_bytes()[..usize::from(length)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_is_patched_without_moving() {
        let mut frame = PublishFrame::new("s/000/x", QoS::AtLeastOnce, false, 64);
        frame.packet_id(0x1234);
        frame.topic_digits(2, 3, 42);
        let stamp = Stamp { publisher: 3, sequence: 9, sent_ns: 77 };
        frame.stamp(stamp);
        assert_eq!(frame.bytes()[..2], [0x32, 2 + 7 + 2 + 64]);
        let read = Publish::read(frame.bytes()[0], &frame.bytes()[2..]).unwrap();
        assert_eq!((read.qos, read.packet_id), (1, [0x12, 0x34]));
        assert_eq!(frame.bytes()[4..11], *b"s/042/x");
        assert_eq!(read.payload.len(), 64);
        assert_eq!(Stamp::read(read.payload), Some(stamp));
    }

    #[test]
    fn the_largest_payload_fits_beside_the_longest_topic() {
        let mut header = Vec::new();
        fixed_header(&mut header, 0x32, 2 + usize::from(u16::MAX) + 2 + MAX_PAYLOAD_BYTES);
        assert_eq!(header, [0x32, 0xff, 0xff, 0xff, 0x7f]);
    }

    #[test]
    fn a_connect_has_the_fields_of_its_flags() {
        let mut out = Vec::new();
        Connect {
            client_id: "c",
            clean_session: true,
            keep_alive_secs: 300,
            user_name: Some("u"),
            password: Some("p"),
        }
        .encode(&mut out);
        let expected = b"\x10\x13\0\x04MQTT\x04\xc2\x01\x2c\0\x01c\0\x01u\0\x01p";
        assert_eq!(out, expected);
    }
}
