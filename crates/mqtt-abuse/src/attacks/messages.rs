//! Attacks by messages and subscriptions: legal all of them, and meant to cost.

use std::io;

use bytes::Bytes;
use mqtt_codec::{Delivery, PacketId, QoS};

use crate::{
    Scene,
    peer::{Peer, publish},
};

/// Every filter of ten levels that are `+` or `x`: all match `x/x/x/…`, and the broker finds each by a way of its own.
pub(super) fn subscription_bomb(scene: &Scene<'_>) -> io::Result<()> {
    const LEVELS: u32 = 10;
    let filter = |bits: u32| {
        let level = |level: u32| if bits >> level & 1 == 0 { "+" } else { "x" };
        (0..LEVELS).map(level).collect::<Vec<_>>().join("/")
    };
    let filters: Vec<String> = (0..1 << LEVELS).map(filter).collect();
    let mut clients = Vec::new();
    for number in 0..8 {
        let client = Peer::connected(scene.target.tcp, &format!("bomb-{number}"))?;
        clients.push(client.subscribed(&filters, QoS::AtMostOnce)?);
    }
    let mut publisher = Peer::connected(scene.target.tcp, "bomber")?;
    let topic = ["x"; LEVELS as usize].join("/");
    let message = publish(&topic, &Bytes::from_static(b"x"), Delivery::AtMostOnce, false);
    for _ in scene.pace(50) {
        clients.iter_mut().for_each(Peer::drain);
        scene.count(publisher.send(&message).is_ok());
    }
    Ok(())
}

pub(super) fn retained(scene: &Scene<'_>) -> io::Result<()> {
    let payload = Bytes::from(vec![b'r'; 1024]);
    let mut publisher = Peer::connected(scene.target.tcp, "retainer")?;
    for number in scene.pace(2_000) {
        let topic = format!("retained/{number}");
        let is_sent = publisher.send(&publish(&topic, &payload, Delivery::AtMostOnce, true)).is_ok();
        scene.count(is_sent);
        if !is_sent {
            publisher = Peer::connected(scene.target.tcp, "retainer")?;
        }
    }
    Ok(())
}

pub(super) fn slow_readers(scene: &Scene<'_>) -> io::Result<()> {
    let payload = Bytes::from(vec![b's'; 4096]);
    let mut readers = Vec::new();
    for number in 0..10 {
        let reader = Peer::open_narrow(scene.target.tcp)?.introduced(&format!("slow-{number}"))?;
        readers.push(reader.subscribed(&["slow/#".to_owned()], QoS::AtLeastOnce)?);
    }
    let mut publisher = Peer::connected(scene.target.tcp, "fast")?;
    for number in scene.pace(500) {
        let delivery = Delivery::AtLeastOnce { packet_id: packet_id(number), dup: false };
        publisher.drain();
        scene.count(publisher.send(&publish("slow/x", &payload, delivery, false)).is_ok());
    }
    Ok(())
}

pub(super) fn unreleased(scene: &Scene<'_>) -> io::Result<()> {
    let payload = Bytes::from_static(b"never released");
    let mut publisher = Peer::connected(scene.target.tcp, "never")?;
    for number in scene.pace(2_000) {
        let delivery = Delivery::ExactlyOnce { packet_id: packet_id(number), dup: false };
        publisher.drain();
        let is_sent = publisher.send(&publish("never/released", &payload, delivery, false)).is_ok();
        scene.count(is_sent);
        if !is_sent {
            publisher = Peer::connected(scene.target.tcp, "never")?;
        }
    }
    Ok(())
}

/// Each of the 65,535 in turn.
fn packet_id(number: usize) -> PacketId {
    u16::try_from(number % 65_535 + 1).ok().and_then(PacketId::new).unwrap_or(PacketId::FIRST)
}
