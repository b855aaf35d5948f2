//! Streams of packets, whole and in pieces: what the test programs share.

use bytes::BytesMut;
use mqtt_codec::{DecodeError, Decoder, Packet};

/// Everything a stream holds: its packets, and the error it ends in, if it does.
pub(crate) fn decode_all<'a>(
    chunks: impl Iterator<Item = &'a [u8]>,
    max_packet_size: usize,
) -> (Vec<Packet>, Option<DecodeError>) {
    let (mut decoder, mut buffer) = (Decoder::new(max_packet_size), BytesMut::new());
    let mut packets = Vec::new();
    for chunk in chunks {
        buffer.extend_from_slice(chunk);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => break,
                Err(error) => return (packets, Some(error)),
            }
        }
    }
    (packets, None)
}

/// Cuts `bytes` into pieces of these lengths, round and round.
pub(crate) fn pieces<'a>(mut bytes: &'a [u8], lens: &[usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut lens = lens.iter().cycle();
    std::iter::from_fn(move || {
        let (piece, rest) = bytes.split_at((*lens.next()?).min(bytes.len()));
        bytes = rest;
        (!piece.is_empty()).then_some(piece)
    })
}
