//! What holds for all packets and for all bytes.

use bytes::BytesMut;
use mqtt_codec::{Frame, TopicFilter, TopicName, TopicNameError};
use proptest::{collection::vec, prelude::*};

use crate::{
    corpus::cases,
    strategy::{packet, topic_name},
    stream::{decode_all, pieces},
};

/// Corpus cases one after the other, some of their bytes changed: nearly packets.
pub(crate) fn nearly_packets() -> impl Strategy<Value = Vec<u8>> {
    let cases: Vec<Vec<u8>> =
        cases().into_iter().map(|case| case.bytes).filter(|bytes| bytes.len() < 300).collect();
    let change = (any::<prop::sample::Index>(), any::<u8>());
    (vec(prop::sample::select(cases), 1..6), vec(change, 0..3)).prop_map(|(cases, changes)| {
        let mut bytes = cases.concat();
        for (index, byte) in changes {
            if !bytes.is_empty() {
                let at = index.index(bytes.len());
                bytes[at] = byte;
            }
        }
        bytes
    })
}

proptest! {
    #[test]
    fn round_trip(packets in vec(packet(), 1..6)) {
        let mut bytes = BytesMut::new();
        for packet in &packets {
            let before = bytes.len();
            packet.encode(&mut bytes).unwrap();
            prop_assert_eq!(bytes.len() - before, packet.encoded_len());
        }
        prop_assert_eq!(decode_all(std::iter::once(&bytes[..]), usize::MAX), (packets, None));
    }

    #[test]
    fn chunking_changes_nothing(bytes in nearly_packets(), lens in vec(1..30_usize, 1..8), max in 4..400_usize) {
        let whole = decode_all(std::iter::once(&bytes[..]), max);
        prop_assert_eq!(decode_all(pieces(&bytes, &lens), max), whole);
    }

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..200)) {
        decode_all(std::iter::once(&bytes[..]), 1000);
    }

    /// Whatever is accepted is written back, and then read as the same packet.
    #[test]
    fn what_is_read_can_be_written(bytes in nearly_packets()) {
        let (packets, _) = decode_all(std::iter::once(&bytes[..]), usize::MAX);
        for packet in packets {
            let mut out = BytesMut::new();
            packet.encode(&mut out).unwrap();
            prop_assert_eq!(Frame::announced_len(&out, usize::MAX), Ok(Some(out.len())));
            prop_assert_eq!(decode_all(std::iter::once(&out[..]), usize::MAX), (vec![packet], None));
        }
    }

    /// The fast check of a topic name against the standard's sentences. [MQTT-3.3.2-1] [MQTT-3.3.2-2] [MQTT-4.7.3-2]
    #[test]
    fn topic_name_check_equals_its_definition(
        text in "[a-z/äß漢🦀]{1,40}",
        changes in vec((any::<prop::sample::Index>(), prop_oneof![Just(0_u8), Just(b'+'), Just(b'#'), any::<u8>()]), 0..3),
    ) {
        let mut bytes = text.into_bytes();
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        let expected = match std::str::from_utf8(&bytes) {
            Err(_) => Err(TopicNameError::NotUtf8),
            Ok(text) if text.contains('\0') => Err(TopicNameError::Nul),
            Ok(text) if text.contains(['+', '#']) => Err(TopicNameError::Wildcard),
            Ok(text) => Ok(text),
        };
        prop_assert_eq!(TopicName::check(&bytes), expected);
    }

    /// A topic name is a filter; with a wildcard level put in, it is a filter and no name. [MQTT-4.7.1-1]
    #[test]
    fn names_are_filters_but_not_the_other_way_round(name in topic_name()) {
        prop_assert!(TopicFilter::check(name.as_bytes()).is_ok());
        let mut wild = name.as_bytes().to_vec();
        wild.truncate(60_000);
        let Ok(text) = String::from_utf8(wild) else { return Ok(()) };
        for filter in [format!("{text}/+"), format!("+/{text}"), format!("{text}/#")] {
            prop_assert!(TopicFilter::check(filter.as_bytes()).is_ok());
            prop_assert_eq!(TopicName::check(filter.as_bytes()), Err(TopicNameError::Wildcard));
        }
    }
}
