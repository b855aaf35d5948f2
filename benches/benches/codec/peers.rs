//! The same work by other crates. What they encode is what they make of our bytes.

use std::hint::black_box;

use bytes::BytesMut;
use mqtt::{Decodable, Encodable, packet::VariablePacket};
use rumqttc::mqttbytes::v4 as rumqttc_v4;

use crate::{Group, MAX_PACKET_SIZE, decode_all, encode_all};

pub(crate) fn decode(group: &mut Group<'_>, stream: &[u8]) {
    group.bench_function("mqttbytes", |bencher| {
        decode_all(bencher, stream, |buffer| {
            while !buffer.is_empty() {
                black_box(mqttbytes::v4::read(buffer, MAX_PACKET_SIZE).unwrap());
            }
        });
    });
    group.bench_function("rumqttc", |bencher| {
        decode_all(bencher, stream, |buffer| {
            while !buffer.is_empty() {
                black_box(rumqttc_v4::Packet::read(buffer, MAX_PACKET_SIZE).unwrap());
            }
        });
    });
    group.bench_function("mqtt-protocol", |bencher| {
        bencher.iter(|| {
            let mut rest = black_box(stream);
            while !rest.is_empty() {
                black_box(VariablePacket::decode(&mut rest).unwrap());
            }
        });
    });
}

pub(crate) fn encode(group: &mut Group<'_>, packet: &[u8], count: usize, len: usize) {
    group.bench_function("mqttbytes", |bencher| {
        let packet = mqttbytes::v4::read(&mut BytesMut::from(packet), MAX_PACKET_SIZE).unwrap();
        encode_all(bencher, count, len, |out| {
            match black_box(&packet) {
                mqttbytes::v4::Packet::Connect(packet) => packet.write(out),
                mqttbytes::v4::Packet::Publish(packet) => packet.write(out),
                mqttbytes::v4::Packet::Subscribe(packet) => packet.write(out),
                _ => unreachable!("the packets of this benchmark"),
            }
            .unwrap();
        });
    });
    group.bench_function("rumqttc", |bencher| {
        let packet = rumqttc_v4::Packet::read(&mut BytesMut::from(packet), MAX_PACKET_SIZE).unwrap();
        encode_all(bencher, count, len, |out| {
            black_box(&packet).write(out, MAX_PACKET_SIZE).unwrap();
        });
    });
    group.bench_function("mqtt-protocol", |bencher| {
        let packet = VariablePacket::decode(&mut &*packet).unwrap();
        let mut out = Vec::with_capacity(len);
        bencher.iter(|| {
            out.clear();
            for _ in 0..count {
                black_box(&packet).encode(&mut out).unwrap();
            }
            black_box(&out);
        });
    });
}
