//! The codec, beside the codecs of other crates in the same run: `cargo bench -p mqtt-benches --bench codec`.
//!
//! Everybody decodes the same stream of equal packets from a full buffer and encodes the same packet into a buffer that is
//! large enough. `mqtt-codec, borrowed` is the path of a broker: a `Frame` and a `PublishRef` in, `encode_publish` out.

mod peers;

use std::{hint::black_box, time::Duration};

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use mqtt_codec::{
    Connect, Credentials, Decoder, Delivery, Frame, Packet, PacketId, Publish, PublishRef, QoS, Subscribe,
    TopicFilter, TopicName, Utf8Bytes, Will, encode_publish,
};

const MAX_PACKET_SIZE: usize = 1024 * 1024;
/// Inputs that are made ready at a time: enough that the clock does not count, few enough to stay in the cache.
const BATCH: BatchSize = BatchSize::NumIterations(16);

type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30)
        .configure_from_args();
    for (name, payload_len) in [("16 B", 16), ("256 B", 256), ("4 KiB", 4096), ("64 KiB", 65_536)] {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            bench(&mut criterion, &format!("PUBLISH {name} QoS {qos}"), &publish(qos, payload_len));
        }
    }
    bench(&mut criterion, "CONNECT", &connect());
    bench(&mut criterion, "SUBSCRIBE 1", &subscribe(1));
    bench(&mut criterion, "SUBSCRIBE 100", &subscribe(100));
    criterion.final_summary();
}

fn publish(qos: QoS, payload_len: usize) -> Packet {
    let packet_id = PacketId::FIRST;
    let delivery = match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce { packet_id, dup: false },
        QoS::ExactlyOnce => Delivery::ExactlyOnce { packet_id, dup: false },
    };
    let topic = TopicName::try_from("home/kitchen/sensor1").unwrap();
    Packet::Publish(Publish { delivery, retain: false, topic, payload: vec![b'x'; payload_len].into() })
}

fn connect() -> Packet {
    let will = Will {
        topic: TopicName::try_from("home/kitchen/status").unwrap(),
        message: Bytes::from_static(b"offline"),
        qos: QoS::AtLeastOnce,
        retain: true,
    };
    let credentials = Credentials {
        user_name: Utf8Bytes::try_from("kitchen").unwrap(),
        password: Some(Bytes::from_static(b"correct horse battery staple")),
    };
    Packet::Connect(Box::new(Connect {
        clean_session: true,
        keep_alive_secs: 60,
        client_id: Utf8Bytes::try_from("kitchen-sensor-000001").unwrap(),
        will: Some(will),
        credentials: Some(credentials),
    }))
}

fn subscribe(count: usize) -> Packet {
    let filter = |i| (TopicFilter::new(format!("home/+/sensor{i:03}/#")).unwrap(), QoS::AtLeastOnce);
    Packet::Subscribe(Subscribe { packet_id: PacketId::FIRST, filters: (0..count).map(filter).collect() })
}

fn bench(criterion: &mut Criterion, name: &str, packet: &Packet) {
    let mut bytes = BytesMut::new();
    packet.encode(&mut bytes).unwrap();
    let count = (256 * 1024 / bytes.len()).clamp(4, 64);
    let stream = bytes.repeat(count);
    let throughput = Throughput::ElementsAndBytes { elements: count as u64, bytes: stream.len() as u64 };

    let mut group = criterion.benchmark_group(format!("decode {name}"));
    group.throughput(throughput.clone());
    decode(&mut group, packet, &stream);
    peers::decode(&mut group, &stream);
    group.finish();

    let mut group = criterion.benchmark_group(format!("encode {name}"));
    group.throughput(throughput);
    encode(&mut group, packet, count, stream.len());
    peers::encode(&mut group, &bytes, count, stream.len());
    group.finish();
}

fn decode(group: &mut Group<'_>, packet: &Packet, stream: &[u8]) {
    if matches!(packet, Packet::Publish(_)) {
        group.bench_function("mqtt-codec, borrowed", |bencher| {
            bencher.iter(|| {
                let mut rest = black_box(stream);
                while let Some(frame) = Frame::split(rest, MAX_PACKET_SIZE).unwrap() {
                    black_box(PublishRef::decode(&frame).unwrap());
                    rest = &rest[frame.len..];
                }
            });
        });
    }
    group.bench_function("mqtt-codec", |bencher| {
        decode_all(bencher, stream, |buffer| {
            let mut decoder = Decoder::new(MAX_PACKET_SIZE);
            while let Some(packet) = decoder.decode(buffer).unwrap() {
                black_box(packet);
            }
        });
    });
}

fn encode(group: &mut Group<'_>, packet: &Packet, count: usize, len: usize) {
    if let Packet::Publish(Publish { delivery, retain, topic, payload }) = packet {
        group.bench_function("mqtt-codec, borrowed", |bencher| {
            let mut out = Vec::with_capacity(len);
            bencher.iter(|| {
                out.clear();
                for _ in 0..count {
                    let (topic, payload) = (black_box(topic).as_bytes(), black_box(payload));
                    encode_publish(&mut out, *delivery, *retain, topic, payload).unwrap();
                }
                black_box(&out);
            });
        });
    }
    group.bench_function("mqtt-codec", |bencher| {
        encode_all(bencher, count, len, |out| black_box(packet).encode(out).unwrap());
    });
}

/// Times `decode` on a full buffer, which it empties.
fn decode_all(bencher: &mut criterion::Bencher<'_>, stream: &[u8], decode: impl FnMut(&mut BytesMut)) {
    bencher.iter_batched_ref(|| BytesMut::from(stream), decode, BATCH);
}

/// Times `count` calls of `encode` into a buffer of enough capacity.
fn encode_all(
    bencher: &mut criterion::Bencher<'_>,
    count: usize,
    len: usize,
    mut encode: impl FnMut(&mut BytesMut),
) {
    let mut out = BytesMut::with_capacity(len);
    bencher.iter(|| {
        out.clear();
        for _ in 0..count {
            encode(&mut out);
        }
        black_box(&out);
    });
}
