//! Attacks by connections: many, slow, or in each other's way.

use std::{collections::VecDeque, io};

use crate::{
    Scene,
    peer::{Peer, connect},
};

const HELD: usize = 500;
/// After so many more a connection is looked at: the broker had the time to close it.
const LATER: usize = 50;
/// How many connections that came lately are kept open.
const KEPT: usize = 100;

/// All stay for as long as the broker lets them, and are replaced then.
pub(super) fn slowloris(scene: &Scene<'_>) -> io::Result<()> {
    let request = connect("slow");
    let begin = || Peer::open(scene.target.tcp).map(|peer| (peer, 0));
    let mut slow: Vec<(Peer, usize)> = Vec::new();
    for number in scene.pace(HELD as u32) {
        let earlier = number.checked_sub(LATER).and_then(|earlier| slow.get(earlier % HELD));
        scene.count(earlier.is_some_and(|(peer, _)| peer.is_kept()));
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
    let mut kept = Kept::new(scene, KEPT, Peer::is_let_in);
    for number in scene.pace(500) {
        let mut peer = Peer::open(scene.target.tcp)?;
        let _ = peer.send(&connect(&format!("flood-{number}")));
        kept.add(peer);
    }
    Ok(())
}

pub(super) fn take_over(scene: &Scene<'_>) -> io::Result<()> {
    let mut kept = Kept::new(scene, 2, Peer::is_let_in);
    for _ in scene.pace(300) {
        let mut peer = Peer::open(scene.target.tcp)?;
        let _ = peer.send(&connect("the one and only"));
        kept.add(peer);
    }
    Ok(())
}

/// The connections that came last. One that goes is counted, if by then the broker has shown that it took it.
pub(super) struct Kept<'a> {
    scene: &'a Scene<'a>,
    most: usize,
    is_taken: fn(&Peer) -> bool,
    peers: VecDeque<Peer>,
}

impl<'a> Kept<'a> {
    pub(super) fn new(scene: &'a Scene<'a>, most: usize, is_taken: fn(&Peer) -> bool) -> Self {
        Self { scene, most, is_taken, peers: VecDeque::new() }
    }

    /// Lets the oldest go.
    pub(super) fn add(&mut self, peer: Peer) {
        self.peers.push_back(peer);
        if self.peers.len() > self.most {
            let oldest = self.peers.pop_front();
            self.scene.count(oldest.is_some_and(|peer| (self.is_taken)(&peer)));
        }
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        for peer in &self.peers {
            // Some have come just now, and need not have been closed yet.
            self.scene.count(peer.is_answered() && (self.is_taken)(peer));
        }
    }
}
