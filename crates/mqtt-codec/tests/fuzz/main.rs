//! Fuzz targets. As plain tests they run on stable with random input; a fuzzing engine can drive the same functions for
//! as long as it likes. Where bytes are wanted they come from the corpus, changed here and there: random bytes alone
//! hardly ever get past a fixed header.

#[path = "../corpus/mod.rs"]
#[allow(dead_code, reason = "the bytes alone are of use here")]
mod corpus;
#[path = "../stream/mod.rs"]
mod stream;

use std::iter;

use bytes::{Bytes, BytesMut};
use mqtt_codec::{DecodeError, Delivery, Frame, Packet, PacketId, PublishRef, TopicName, encode_publish};

use crate::{
    corpus::cases,
    stream::{decode_all, pieces},
};

/// Bytes in place of others: where, how many to take out, what to put in.
type Change = (u16, u8, Vec<u8>);

#[test]
fn any_bytes() {
    bolero::check!().for_each(judge);
}

#[test]
fn nearly_packets() {
    let cases: Vec<_> =
        cases().into_iter().map(|case| case.bytes).filter(|bytes| bytes.len() < 300).collect();
    bolero::check!().with_type::<(Vec<u8>, Vec<Change>, Vec<u8>)>().for_each(|(picks, changes, lens)| {
        let picked = picks.iter().filter_map(|pick| cases.get(usize::from(*pick) % cases.len())).take(6);
        let mut bytes = picked.flatten().copied().collect::<Vec<_>>();
        for (at, out, new) in changes {
            let start = usize::from(*at) % (bytes.len() + 1);
            let end = (start + usize::from(*out)).min(bytes.len());
            bytes.splice(start..end, new.iter().copied());
        }
        judge(&bytes);

        let lens: Vec<_> = lens.iter().map(|len| usize::from(*len) + 1).collect();
        if !lens.is_empty() {
            assert_eq!(
                decode_all(pieces(&bytes, &lens), usize::MAX),
                decode_all(iter::once(&bytes[..]), usize::MAX)
            );
        }
    });
}

#[test]
fn any_publish() {
    bolero::check!().with_type::<(u16, bool, bool, String, Vec<u8>)>().for_each(
        |(id, dup, retain, topic, payload)| {
            let Ok(topic) = TopicName::try_from(topic.as_str()) else { return };
            let delivery = match PacketId::new(*id) {
                None => Delivery::AtMostOnce,
                Some(packet_id) if id % 2 == 1 => Delivery::AtLeastOnce { packet_id, dup: *dup },
                Some(packet_id) => Delivery::ExactlyOnce { packet_id, dup: *dup },
            };
            let mut bytes = Vec::new();
            encode_publish(&mut bytes, delivery, *retain, topic.as_bytes(), payload).unwrap();
            let frame = Frame::split(&bytes, bytes.len()).unwrap().unwrap();
            let read = PublishRef::decode(&frame).unwrap();
            assert_eq!(read, PublishRef { delivery, retain: *retain, topic: topic.as_str(), payload });
        },
    );
}

/// The three ways in agree, and what they read can be written and read again.
fn judge(bytes: &[u8]) {
    let (packets, error) = decode_all(iter::once(bytes), usize::MAX);
    let (mut borrowed, mut rest) = (Vec::new(), bytes);
    let borrowed_error = loop {
        match decode_borrowed(rest) {
            Ok(Some((packet, len))) => {
                borrowed.push(packet);
                rest = &rest[len..];
            }
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    assert_eq!((&borrowed, borrowed_error), (&packets, error));

    let mut out = BytesMut::new();
    for packet in &packets {
        packet.encode(&mut out).unwrap();
    }
    assert_eq!(decode_all(iter::once(&out[..]), usize::MAX), (packets, None));
}

fn decode_borrowed(bytes: &[u8]) -> Result<Option<(Packet, usize)>, DecodeError> {
    let Some(frame) = Frame::split(bytes, usize::MAX)? else { return Ok(None) };
    let packet = Packet::decode(&frame, &Bytes::copy_from_slice(&bytes[..frame.len]))?;
    if let Packet::Publish(owned) = &packet {
        let PublishRef { delivery, retain, topic, payload } = PublishRef::decode(&frame)?;
        assert_eq!((delivery, retain), (owned.delivery, owned.retain));
        assert_eq!((topic, payload), (owned.topic.as_str(), &owned.payload[..]));
    }
    Ok(Some((packet, frame.len)))
}
