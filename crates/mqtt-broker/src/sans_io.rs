//! [`SansIoConnection`]: a client's connection over a transport that the broker does not know.

use std::{
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use crate::{
    broker::Broker,
    client::Peer,
    close_reason::CloseReason,
    connection::{Connection, Question},
    entrance::Entrance,
    net,
    place::Place,
};

/// One connection of a broker, without socket, runtime and clock: bytes go in, bytes come out, time is an argument.
///
/// This is how a broker runs over a transport of one's own, or in a test that needs no network. After every `handle_*`, and
/// whenever a waker is woken, call [`poll_decision`](Self::poll_decision), if the broker has hooks that await, and
/// [`poll_transmit`](Self::poll_transmit), in turns until both return `false`; then read [`poll_timeout`](Self::poll_timeout). Once
/// [`closed`](Self::closed) gives a reason, write what is left, close the transport and drop the connection.
///
/// Where no listener does it, sessions, retained messages and bans expire when [`Broker::tick`] is called, once a second.
///
/// It is not counted among [`Limits::max_connections`](crate::Limits::max_connections), no accept hook is asked about it,
/// a hook may take as long as it likes to decide, and a shutdown ends its session without waiting for it. A CONNECT after that is
/// refused with "server unavailable".
///
/// ```
/// use std::{task::Waker, time::Instant};
/// use mqtt_broker::{Broker, SansIoConnection};
///
/// let broker = Broker::builder().build();
/// let mut connection = SansIoConnection::new(&broker, ([127, 0, 0, 1], 4711).into(), Instant::now());
/// connection.handle_bytes(Instant::now(), b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a");
/// let mut connack = Vec::new();
/// assert!(connection.poll_transmit(Instant::now(), Waker::noop(), &mut connack));
/// assert_eq!(connack, [0x20, 2, 0, 0]);
/// ```
pub struct SansIoConnection {
    connection: Connection,
    /// A hook that is deciding.
    asked: Option<Question>,
    /// The store kept up when it was last asked.
    store_keeps_up: bool,
}

impl SansIoConnection {
    /// A connection from this address that was just made, and waits for its CONNECT.
    pub fn new(broker: &Broker, from: SocketAddr, now: Instant) -> Self {
        let core = broker.core().clone();
        let entrance = Arc::new(Entrance::without_listener(core.limits.clone()));
        let place = Place::uncounted(core, entrance);
        Self { connection: Connection::new(place, Peer::Inet(from), now), asked: None, store_keeps_up: true }
    }

    /// Whether bytes may be handed in now. If not, hold the client back: what is handed in nevertheless is kept. It may be that a hook
    /// decides, or that the store does not keep up: the waker of [`poll_transmit`](Self::poll_transmit) is woken when it does.
    pub fn wants_bytes(&self) -> bool {
        self.store_keeps_up && self.connection.wants_bytes()
    }

    /// Bytes came from the client: any number, packets need not be whole.
    pub fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) {
        let core = self.connection.core().clone();
        self.connection.handle_bytes(now, bytes, &mut core.burst());
    }

    /// The moment that [`poll_timeout`](Self::poll_timeout) named has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if !self.store_keeps_up {
            // Before its silence is judged. Whoever is woken when that is over has said so by `poll_transmit`.
            self.store_keeps_up = self.connection.store_keeps_up(now, Waker::noop());
        }
        let core = self.connection.core().clone();
        self.connection.handle_timeout(now, &mut core.burst());
    }

    /// The transport is gone. Dropping the connection says the same, with the time of the system's clock.
    pub fn handle_loss(&mut self, now: Instant) {
        let core = self.connection.core().clone();
        self.connection.handle_loss(now, CloseReason::ConnectionLost, &mut core.burst());
    }

    /// Lets hooks go on that decide about this client, until one has to wait: its task is woken when it can go on. `true` if
    /// one has decided, and there may be something to transmit.
    pub fn poll_decision(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        let core = self.connection.core().clone();
        let (mut burst, mut has_decided) = (core.burst(), false);
        loop {
            self.asked = self.asked.take().or_else(|| self.connection.poll_question());
            let Some(question) = &mut self.asked else { return has_decided };
            let Poll::Ready(answer) = question.poll(cx) else { return has_decided };
            self.asked = None;
            self.connection.handle_answer(now, answer, &mut burst);
            has_decided = true;
        }
    }

    /// Goes on with packets that made so much work that others should have their turn in between, and appends to `out` what is
    /// ready for the client. `false` says that there is nothing to do: `waker` is woken when that changes.
    pub fn poll_transmit(&mut self, now: Instant, waker: &Waker, out: &mut Vec<u8>) -> bool {
        let core = self.connection.core().clone();
        let mut burst = core.burst();
        if self.connection.is_interrupted() {
            self.connection.handle_held(now, &mut burst);
        }
        let is_busy = self.connection.poll_transmit(now, waker, out, &mut burst);
        if core.durability.is_on() {
            self.store_keeps_up = self.connection.store_keeps_up(now, waker);
        }
        is_busy || self.connection.is_interrupted()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due, unless something else is handled before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.connection.poll_timeout()
    }

    /// Why the connection has ended, once it has.
    pub fn closed(&self) -> Option<&CloseReason> {
        self.connection.closed()
    }
}

impl Drop for SansIoConnection {
    fn drop(&mut self) {
        self.connection.abandon(net::now(), CloseReason::ConnectionLost);
    }
}

impl std::fmt::Debug for SansIoConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SansIoConnection").field("closed", &self.closed()).finish_non_exhaustive()
    }
}
