//! Hostile traffic: what `cargo xtask abuse` and the tests attack the broker with.
//!
//! An attack is bounded in count and time, and goes to this machine's loopback network alone. It judges nothing: who runs
//! it looks at the broker, and at a well-behaved pair beside it.

mod attacks;
mod pace;
mod peer;

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

pub use self::attacks::ATTACKS;

/// Where a broker listens.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// For MQTT over TCP.
    pub tcp: SocketAddr,
    /// Over TLS.
    pub tls: SocketAddr,
    /// Over WebSocket, at the path `/mqtt`.
    pub websocket: SocketAddr,
}

/// A kind of hostile traffic.
pub struct Attack {
    /// In a table.
    pub name: &'static str,
    /// What it does, how much of it, and how fast.
    pub about: &'static str,
    act: fn(&Scene<'_>) -> io::Result<()>,
}

/// What one attack did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// Packets, connections or handshakes, as the attack has them: those that the broker took. None at all say that the attack
    /// did nothing to it.
    pub acts: u64,
}

/// A target, and how long the attack goes on.
struct Scene<'a> {
    target: Target,
    begin: Instant,
    end: Instant,
    stop: &'a AtomicBool,
    acts: AtomicU64,
}

impl Attack {
    /// The one of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        ATTACKS.iter().find(|attack| attack.name == name)
    }

    /// Attacks for this time, or until `stop` is set, whatever comes first. A connection that the broker closes meanwhile is
    /// no error.
    ///
    /// # Errors
    ///
    /// If the target is not on the loopback network, nobody listens there, or a client or a subscription is refused without which
    /// the attack would be none.
    pub fn run(&self, target: Target, time: Duration, stop: &AtomicBool) -> io::Result<Done> {
        for address in [target.tcp, target.tls, target.websocket] {
            if !address.ip().is_loopback() {
                return Err(io::Error::other(format!("{address} is not on this machine's loopback network")));
            }
        }
        let begin = Instant::now();
        let scene = Scene { target, begin, end: begin + time, stop, acts: AtomicU64::new(0) };
        (self.act)(&scene)?;
        Ok(Done { acts: scene.acts.into_inner() })
    }
}

impl Scene<'_> {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || Instant::now() >= self.end
    }

    /// One more thing was done to the broker, if so.
    fn count(&self, is_done: bool) {
        self.acts.fetch_add(is_done.into(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    /// Who closes every connection at once is no broker, and was attacked by nobody.
    #[test]
    fn what_was_not_taken_was_not_done() {
        let attacks = ATTACKS.iter().map(|attack| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            thread::spawn(move || listener.incoming().for_each(drop));
            let target = Target { tcp: address, tls: address, websocket: address };
            thread::spawn(move || {
                let outcome = attack.run(target, Duration::from_millis(1_500), &AtomicBool::new(false));
                (attack.name, outcome.map_or(0, |done| done.acts))
            })
        });
        let attacks: Vec<_> = attacks.collect();
        for attack in attacks {
            let (name, acts) = attack.join().unwrap();
            assert_eq!(acts, 0, "{name}");
        }
    }
}
