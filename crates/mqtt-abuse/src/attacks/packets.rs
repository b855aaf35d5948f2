//! Attacks by packets: none, too long ones, and too many.

use std::io;

use crate::{Scene, peer::Peer};

const HUGE_HELD: usize = 300;

pub(super) fn random_bytes(scene: &Scene<'_>) -> io::Result<()> {
    const CHUNK: usize = 16 * 1024;
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let mut peers = [Peer::open(scene.target.tcp)?, Peer::connected(scene.target.tcp, "random")?];
    for number in scene.pace((1024 * 1024 / CHUNK) as u32) {
        let chunk: Vec<u8> = (0..CHUNK).map(|_| noise.byte()).collect();
        let is_connected = number.is_multiple_of(2);
        let [stranger, client] = &mut peers;
        let peer = if is_connected { client } else { stranger };
        let is_sent = peer.send(&chunk).is_ok();
        scene.count(is_sent);
        if !is_sent {
            let fresh = Peer::open(scene.target.tcp)?;
            *peer = if is_connected { fresh.introduced("random")? } else { fresh };
        }
    }
    Ok(())
}

/// Every tenth announces more than it may.
pub(super) fn huge_lengths(scene: &Scene<'_>) -> io::Result<()> {
    /// A PUBLISH of 2 MiB, and one of the longest that can be spelled.
    const ALLOWED: [u8; 5] = [0x30, 0xfb, 0xff, 0x7f, 0];
    const BEYOND: [u8; 5] = [0x30, 0xff, 0xff, 0xff, 0x7f];
    let mut peers = Vec::new();
    for number in scene.pace(500) {
        match peers.get_mut(number % HUGE_HELD) {
            None => {
                let mut peer = Peer::connected(scene.target.tcp, &format!("huge-{number}"))?;
                let head = if number.is_multiple_of(10) { BEYOND } else { ALLOWED };
                scene.count(peer.send(&head).and_then(|()| peer.send(&[b't'; 1024])).is_ok());
                peers.push(peer);
            }
            Some(peer) => {
                scene.count(peer.send(b"x").is_ok());
            }
        }
    }
    Ok(())
}

pub(super) fn pings(scene: &Scene<'_>) -> io::Result<()> {
    const AT_ONCE: usize = 1000;
    let pings: Vec<u8> = [0xc0, 0].repeat(AT_ONCE);
    let open = |number: usize| Peer::connected(scene.target.tcp, &format!("ping-{number}"));
    let mut peers = (0..4).map(open).collect::<io::Result<Vec<_>>>()?;
    for number in scene.pace((200_000 / AT_ONCE) as u32) {
        let number = number % peers.len();
        let Some(peer) = peers.get_mut(number) else { continue };
        let reads = number.is_multiple_of(2);
        if reads {
            peer.drain();
        }
        // Who reads nothing is held back by the broker: what does not fit is not sent.
        let is_sent = peer.send(&pings).is_ok();
        scene.count(is_sent);
        if reads && !is_sent {
            *peer = open(number)?;
        }
    }
    Ok(())
}

/// The same bytes each time, so that a run can be repeated.
struct Noise(u64);

impl Noise {
    fn byte(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.to_le_bytes()[3]
    }
}
