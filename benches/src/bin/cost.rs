//! One path through the code, over and over, and nothing else: what `cargo xtask bench cost` counts the instructions of.
//!
//! `cost PATH COUNT`. Counting a run of N and one of 2 N and dividing the difference by N leaves out all that is done
//! once. It measures no time: criterion does that.

use std::{
    env,
    error::Error,
    hint::black_box,
    sync::Arc,
    task::Waker,
    time::{Duration, Instant},
};

use mqtt_broker::{Broker, SansIoConnection};
use mqtt_codec::{Delivery, Frame, PacketId, PublishRef, QoS, TopicFilter, encode_publish};
use mqtt_router::{DeliveryMode, Route, SharedStrategy, Subscriber, Subscriptions};

const TOPIC: &str = "building/floor-3/room-17/temperature";
const PAYLOAD: [u8; 64] = [b'x'; 64];

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let [path, count] = words.as_slice() else { return Err("cost PATH COUNT".into()) };
    let count = count.parse()?;
    match path.as_str() {
        "codec" => codec(count),
        "router" => router(count),
        "deliver-qos0" => deliver(QoS::AtMostOnce, 1, count),
        "deliver-qos0-burst" => deliver(QoS::AtMostOnce, 32, count),
        "deliver-qos1" => deliver(QoS::AtLeastOnce, 1, count),
        "deliver-qos1-burst" => deliver(QoS::AtLeastOnce, 16, count),
        _ => Err(format!("there is no path {path:?}").into()),
    }
}

/// A QoS 1 PUBLISH: found in the bytes, decoded, encoded again.
fn codec(count: usize) -> Result<(), Box<dyn Error>> {
    let bytes = publish(QoS::AtLeastOnce)?;
    let mut out = Vec::with_capacity(bytes.len());
    for _ in 0..count {
        let frame = Frame::split(black_box(&bytes), 1 << 20)?.ok_or("not whole")?;
        let publish = PublishRef::decode(&frame)?;
        out.clear();
        encode_publish(
            &mut out,
            publish.delivery,
            publish.retain,
            publish.topic.as_bytes(),
            publish.payload,
        )?;
        black_box(&out);
    }
    Ok(())
}

/// The receiver of a message among 10,000 subscriptions: 70 exact, 20 `+`, 10 `#` of a hundred.
fn router(count: usize) -> Result<(), Box<dyn Error>> {
    const FILTERS: usize = 10_000;
    let mut subscriptions = Subscriptions::new(128, SharedStrategy::RoundRobin);
    for n in 0..FILTERS {
        let filter = match n % 10 {
            0..7 => format!("site/device-{n:05}/status"),
            7 | 8 => format!("site/device-{n:05}/+"),
            _ => format!("site/device-{n:05}/#"),
        };
        let filter = TopicFilter::new(filter)?;
        subscriptions.subscribe(&filter, &Arc::new(Receiver(n as u64)), QoS::AtLeastOnce)?;
    }
    let topics: Vec<String> = (0..FILTERS).map(|n| format!("site/device-{n:05}/status")).collect();
    let mut route = Route::default();
    for n in 0..count {
        // A prime step, so that neighbours do not follow each other.
        let topic = black_box(&topics[n * 7_919 % FILTERS]);
        subscriptions.route(topic.as_bytes(), DeliveryMode::Once, &mut route);
        black_box(&route);
    }
    Ok(())
}

/// A publisher's bytes into the broker, the subscriber's out of it, and back its acknowledgement: `burst` messages a read.
fn deliver(qos: QoS, burst: usize, count: usize) -> Result<(), Box<dyn Error>> {
    let broker = Broker::builder().build();
    let now = Instant::now();
    let mut subscriber = connected(&broker, b's', now)?;
    let mut subscribe = vec![0x82, (5 + TOPIC.len()) as u8, 0, 1, 0, TOPIC.len() as u8];
    subscribe.extend_from_slice(TOPIC.as_bytes());
    subscribe.push(qos.as_u8());
    subscriber.handle_bytes(now, &subscribe);
    transmit(&mut subscriber, now, &mut Vec::new())?;
    let mut publisher = connected(&broker, b'p', now)?;
    let bytes = publish(qos)?.repeat(burst);
    let (mut out, mut acknowledgements) = (Vec::new(), Vec::new());
    for round in 0..count / burst {
        let now = now + Duration::from_micros(round as u64);
        publisher.handle_bytes(now, black_box(&bytes));
        transmit(&mut publisher, now, &mut out)?;
        out.clear();
        transmit(&mut subscriber, now, &mut out)?;
        if out.len() != bytes.len() {
            return Err(format!("{} bytes came in place of {}", out.len(), bytes.len()).into());
        }
        if qos == QoS::AtLeastOnce {
            acknowledge(&out, &mut acknowledgements)?;
            subscriber.handle_bytes(now, &acknowledgements);
        }
        out.clear();
    }
    Ok(())
}

fn connected(broker: &Broker, client_id: u8, now: Instant) -> Result<SansIoConnection, Box<dyn Error>> {
    let mut connection = SansIoConnection::new(broker, ([127, 0, 0, 1], 4711).into(), now);
    let connect = [b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01".as_slice(), &[client_id]].concat();
    connection.handle_bytes(now, &connect);
    transmit(&mut connection, now, &mut Vec::new())?;
    Ok(connection)
}

fn transmit(
    connection: &mut SansIoConnection,
    now: Instant,
    out: &mut Vec<u8>,
) -> Result<(), Box<dyn Error>> {
    while connection.poll_transmit(now, Waker::noop(), out) {}
    connection.closed().map_or(Ok(()), |reason| Err(reason.to_string().into()))
}

/// A PUBACK for every PUBLISH in `bytes`; all are as long as each other.
fn acknowledge(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Box<dyn Error>> {
    let len = publish(QoS::AtLeastOnce)?.len();
    let id_at = 4 + TOPIC.len();
    out.clear();
    for packet in bytes.chunks(len) {
        out.extend_from_slice(&[0x40, 2]);
        out.extend_from_slice(packet.get(id_at..id_at + 2).ok_or("half a PUBLISH")?);
    }
    Ok(())
}

fn publish(qos: QoS) -> Result<Vec<u8>, Box<dyn Error>> {
    let delivery = match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        _ => Delivery::AtLeastOnce { packet_id: PacketId::FIRST, dup: false },
    };
    let mut bytes = Vec::new();
    encode_publish(&mut bytes, delivery, false, TOPIC.as_bytes(), &PAYLOAD)?;
    Ok(bytes)
}

struct Receiver(u64);

impl Subscriber for Receiver {
    fn id(&self) -> u64 {
        self.0
    }

    fn is_online(&self) -> bool {
        true
    }
}
