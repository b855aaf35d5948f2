//! What decoding allocates: nothing on the hot path, and never more than a packet's own size allows.

use std::hint::black_box;

use allocation_counter::measure;
use bytes::BytesMut;
use mqtt_codec::{Decoder, Delivery, Frame, PacketId, Puback, PublishRef, encode_publish};
use proptest::prelude::*;

use crate::property::nearly_packets;

/// A filter of one character takes 4 bytes in a SUBSCRIBE and 40 in its value: nothing grows more.
const MOST_BYTES_A_BYTE: u64 = 10;
/// The shared buffer's own bookkeeping, and a boxed CONNECT.
const MOST_BYTES_A_PACKET: u64 = 400;

fn decode(mut bytes: BytesMut) {
    let mut decoder = Decoder::new(usize::MAX);
    while let Ok(Some(packet)) = decoder.decode(&mut bytes) {
        black_box(packet);
    }
}

#[test]
fn the_hot_path_does_not_allocate() {
    let mut out = Vec::with_capacity(1000);
    let packet_id = PacketId::FIRST;
    let allocations = measure(|| {
        let delivery = Delivery::AtLeastOnce { packet_id, dup: false };
        encode_publish(&mut out, delivery, false, "home/kitchen/ä".as_bytes(), &[7; 64]).unwrap();
        let frame = Frame::split(&out, 1000).unwrap().unwrap();
        black_box(PublishRef::decode(&frame).unwrap());
        let publish_len = frame.len;
        Puback { packet_id }.encode(&mut out).unwrap();
        let frame = Frame::split(&out[publish_len..], 1000).unwrap().unwrap();
        black_box(Puback::decode(frame.body).unwrap());
    });
    assert_eq!(allocations.count_total, 0);
}

#[test]
fn many_small_filters_stay_within_the_bound() {
    let entries = b"\0\x01a\0".repeat(100_000);
    let mut bytes = BytesMut::from(&b"\x82\x82\xb5\x18\0\x01"[..]);
    bytes.extend_from_slice(&entries);
    let len = bytes.len() as u64;
    let allocations = measure(|| decode(bytes));
    assert!(allocations.bytes_max > 10 * entries.len() as u64 - 1000, "the packet was not even read");
    assert!(allocations.bytes_max <= MOST_BYTES_A_BYTE * len + MOST_BYTES_A_PACKET);
}

#[test]
fn an_announced_body_is_not_allocated() {
    let bytes = BytesMut::from(&b"\x30\xff\xff\xff\x7f\0\x01a"[..]);
    assert!(measure(|| decode(bytes)).bytes_max <= MOST_BYTES_A_PACKET);
}

proptest! {
    #[test]
    fn no_bytes_allocate_more_than_the_bound(bytes in nearly_packets()) {
        let bytes = BytesMut::from(&bytes[..]);
        let len = bytes.len() as u64;
        let allocations = measure(|| decode(bytes));
        prop_assert!(allocations.bytes_max <= MOST_BYTES_A_BYTE * len + MOST_BYTES_A_PACKET);
    }
}
