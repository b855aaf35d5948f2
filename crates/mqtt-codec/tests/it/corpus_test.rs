//! Every case of `corpus/packets.txt`, through each way in and each way out.

use bytes::{Bytes, BytesMut};
use mqtt_codec::{DecodeError, Decoder, Frame, Packet, PublishRef};

use crate::{
    corpus::{Case, Outcome, cases},
    describe::describe,
};

/// What `Frame` and `Packet::decode` make of the bytes at the head of `bytes`.
fn decode(bytes: &[u8]) -> Result<Option<Packet>, DecodeError> {
    let Some(frame) = Frame::split(bytes, usize::MAX)? else { return Ok(None) };
    Packet::decode(&frame, &Bytes::copy_from_slice(&bytes[..frame.len])).map(Some)
}

fn expect(case: &Case, result: &Result<Option<Packet>, DecodeError>) {
    let same = match (case.outcome, result) {
        (Outcome::Packet(value) | Outcome::PacketSpelledOtherwise(value), Ok(Some(packet))) => {
            describe(packet) == value
        }
        (Outcome::Refused(error), Err(refused)) => format!("{refused:?}") == error,
        (Outcome::Unfinished, Ok(None)) => true,
        _ => false,
    };
    let got = match result {
        Ok(Some(packet)) => describe(packet),
        Ok(None) => "...".to_owned(),
        Err(error) => format!("{error:?}"),
    };
    assert!(same, "{}: {}\nexpected {:?}\ngot      {got}", case.section, case.about, case.outcome);
}

/// [MQTT-1.5.3-1] [MQTT-1.5.3-2] [MQTT-1.5.3-3] [MQTT-2.2.2-1] [MQTT-2.2.2-2] [MQTT-2.3.1-1] [MQTT-3.1.2-1]
/// [MQTT-3.1.2-2] [MQTT-3.1.2-3] [MQTT-3.1.2-9] [MQTT-3.1.2-11] [MQTT-3.1.2-13] [MQTT-3.1.2-14] [MQTT-3.1.2-15]
/// [MQTT-3.1.2-18] [MQTT-3.1.2-19] [MQTT-3.1.2-20] [MQTT-3.1.2-21] [MQTT-3.1.2-22] [MQTT-3.1.3-1] [MQTT-3.1.3-3]
/// [MQTT-3.1.3-4] [MQTT-3.1.3-5] [MQTT-3.1.3-10] [MQTT-3.1.3-11] [MQTT-3.2.2-4] [MQTT-3.3.1-2] [MQTT-3.3.1-4]
/// [MQTT-3.3.2-1] [MQTT-3.3.2-2] [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.8.3-1] [MQTT-3.8.3-3] [MQTT-3.8.3-4]
/// [MQTT-3.9.3-2] [MQTT-3.10.1-1] [MQTT-3.10.3-1] [MQTT-3.10.3-2] [MQTT-3.14.1-1] [MQTT-4.7.1-1] [MQTT-4.7.1-2]
/// [MQTT-4.7.1-3] [MQTT-4.7.3-1] [MQTT-4.7.3-2] [MQTT-4.7.3-3]
#[test]
fn decodes() {
    for case in cases() {
        expect(&case, &Decoder::new(usize::MAX).decode(&mut BytesMut::from(&case.bytes[..])));
        expect(&case, &decode(&case.bytes));
    }
}

#[test]
fn decodes_a_publish_in_place() {
    for case in cases() {
        let Ok(Some(packet)) = decode(&case.bytes) else { continue };
        let Packet::Publish(owned) = packet else { continue };
        let frame = Frame::split(&case.bytes, usize::MAX).unwrap().unwrap();
        let borrowed = PublishRef::decode(&frame).unwrap();
        assert_eq!((borrowed.delivery, borrowed.retain), (owned.delivery, owned.retain));
        assert_eq!((borrowed.topic, borrowed.payload), (owned.topic.as_str(), &owned.payload[..]));
    }
}

#[test]
fn encodes() {
    for case in cases() {
        let Ok(Some(packet)) = decode(&case.bytes) else { continue };
        let mut out = BytesMut::from(&b"before"[..]);
        packet.encode(&mut out).unwrap();
        let out = out.strip_prefix(b"before").unwrap();
        assert_eq!(packet.encoded_len(), out.len(), "{}", case.about);
        let as_it_came = matches!(case.outcome, Outcome::Packet(_));
        assert_eq!(out == case.bytes, as_it_came, "{}: {out:02x?}", case.about);
    }
}

/// Each case byte by byte: nothing before its last byte but waiting or the refusal it ends in.
#[test]
fn decodes_byte_by_byte() {
    for case in cases().into_iter().filter(|case| case.bytes.len() < 70_000) {
        let (mut decoder, mut buffer) = (Decoder::new(usize::MAX), BytesMut::new());
        let mut result = Ok(None);
        for byte in &case.bytes {
            assert!(matches!(result, Ok(None)), "{}: too early", case.about);
            buffer.extend_from_slice(&[*byte]);
            result = decoder.decode(&mut buffer);
            if result.is_err() {
                break;
            }
        }
        expect(&case, &result);
    }
}

/// Nobody adds a variant to `DecodeError` without a case that shows it; but for those that no bytes lead to.
#[test]
fn every_decode_error_has_a_case() {
    let source = include_str!("../../src/error.rs");
    let (_, variants) = source.split_once("pub enum DecodeError {").unwrap();
    let (variants, _) = variants.split_once("\n}").unwrap();
    let is_variant = |line: &&str| line.starts_with("    ") && line[4..].starts_with(char::is_uppercase);
    let variants: Vec<_> = variants
        .lines()
        .filter(is_variant)
        .map(|line| line.trim().split(|c: char| !c.is_alphanumeric()).next().unwrap())
        .collect();
    assert!(variants.len() > 20);
    let cases = cases();
    for variant in variants.into_iter().filter(|variant| !["PacketTooLarge", "NotAPublish"].contains(variant))
    {
        let shows =
            |case: &Case| matches!(case.outcome, Outcome::Refused(error) if error.starts_with(variant));
        assert!(cases.iter().any(shows), "packets.txt has no case of {variant}");
    }
}
