//! [`Link`]: the network between one client and one `Connection`: it delays, it fills up, it is cut at any byte.

use std::collections::VecDeque;

use super::rng::Rng;

/// Both ways of one network connection.
pub(super) struct Link {
    pub(super) to_broker: Pipe,
    pub(super) to_client: Pipe,
}

/// One way: bytes arrive in order, each piece at its time.
pub(super) struct Pipe {
    travelling: VecDeque<(u64, Vec<u8>)>,
    arrived: VecDeque<u8>,
    /// Bytes on the way or arrived and not read; a writer must wait while they are as many as `capacity`.
    len: usize,
    capacity: usize,
    /// Nothing more comes after what is in it.
    closed: bool,
}

impl Link {
    /// What the broker may send before the client reads is bounded; what a client sends is bounded by its script.
    pub(super) fn new(capacity: usize) -> Self {
        Self { to_broker: Pipe::new(usize::MAX), to_client: Pipe::new(capacity) }
    }

    /// The network fails: of what is on the way, each side still gets some, up to any byte.
    pub(super) fn cut(&mut self, rng: &mut Rng) {
        self.to_broker.cut(rng);
        self.to_client.cut(rng);
    }
}

impl Pipe {
    fn new(capacity: usize) -> Self {
        Self { travelling: VecDeque::new(), arrived: VecDeque::new(), len: 0, capacity, closed: false }
    }

    pub(super) fn has_room(&self) -> bool {
        self.closed || self.len < self.capacity
    }

    /// From now on, it takes everything at once.
    pub(super) fn widen(&mut self) {
        self.capacity = usize::MAX;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes as much as there is room for, to arrive at `at` or later. What goes into a closed pipe is lost.
    pub(super) fn write(&mut self, bytes: &[u8], at: u64) -> usize {
        if self.closed {
            return bytes.len();
        }
        let taken = bytes.len().min(self.capacity.saturating_sub(self.len));
        if taken > 0 {
            let at = self.travelling.back().map_or(at, |(earlier, _)| at.max(*earlier));
            self.travelling.push_back((at, bytes[..taken].to_vec()));
            self.len += taken;
        }
        taken
    }

    pub(super) fn arrive(&mut self, now: u64) {
        while let Some((_, bytes)) = self.travelling.pop_front_if(|(at, _)| *at <= now) {
            self.arrived.extend(bytes);
        }
    }

    /// Whether a reader would get something: bytes, or the end.
    pub(super) fn is_readable(&self) -> bool {
        !self.arrived.is_empty() || self.is_at_end()
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.closed && self.len == 0
    }

    pub(super) fn read(&mut self, most: usize) -> Vec<u8> {
        let taken: Vec<u8> = self.arrived.drain(..most.min(self.arrived.len())).collect();
        self.len -= taken.len();
        taken
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    fn cut(&mut self, rng: &mut Rng) {
        self.closed = true;
        let mut kept = rng.size(0, self.len);
        self.len = kept;
        self.arrived.truncate(kept);
        kept -= self.arrived.len();
        for (_, bytes) in &mut self.travelling {
            bytes.truncate(kept);
            kept -= bytes.len();
        }
    }
}
