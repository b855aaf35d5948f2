//! The task of one network connection: moves bytes between a socket and a [`Connection`], and keeps its time.
//!
//! One hand-written future instead of a `select!`, so that an idle connection is small: it owns no buffer. What is read
//! goes through a buffer that all connections of a thread share; what is written is the outbox's own buffer.

use std::{
    cell::RefCell,
    future::Future,
    io, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncWriteExt, ReadBuf},
    time::{Sleep, sleep_until, timeout},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{
    asked::Asked,
    newcomer::Newcomer,
    now,
    transport::{ByteStream, Socket},
    workers::Berth,
};
use crate::{
    burst::Burst,
    close_reason::{CloseReason, ProtocolViolation},
    connection::Connection,
};

/// What one read takes from a socket at most. Not a power of two: buffers that grow while a load lasts are, and an allocator that keeps
/// blocks of one size together could not give the memory of those back, as this one stays.
const READ_BYTES: usize = 80 * 1024;
/// Reads of one connection before the others of its thread have their turn.
const READS_A_TURN: usize = 8;
/// While more answers than this wait for the socket to take what came before, nothing more is read.
const MOST_UNSENT_ANSWERS: usize = 64 * 1024;
/// How long a closed connection may take to read the last bytes that it is owed.
const FAREWELL: Duration = Duration::from_secs(2);

thread_local! {
    static INPUT: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

/// Serves one connection to its end, or until it moves to another worker.
pub(super) struct ConnectionTask<S>(Option<Service<S>>);

struct Service<S> {
    link: Link<S>,
    connection: Connection,
    /// Behind a pointer, because a connection at rest has none.
    transient: Option<Box<Transient>>,
    timer: Option<Box<Timer>>,
    berth: Berth,
    /// How it moves to another worker, if it can.
    go: Option<Go<S>>,
}

enum Link<S> {
    Up(S),
    /// The connection has ended: its last bytes are being written, if there is anybody to write them to.
    Closing(Option<Box<Farewell>>),
}

/// What a connection has for a while.
#[derive(Default)]
struct Transient {
    /// What the socket has not taken yet.
    unwritten: Unwritten,
    asked: Option<Asked>,
    /// Watched until the client is connected; from then on its session is told.
    stop: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

/// Bytes on their way to the socket, and how many of them it has taken.
#[derive(Default)]
struct Unwritten {
    bytes: Vec<u8>,
    written: usize,
}

type Go<S> = fn(Service<S>, Berth);

/// Behind one more pointer, because every connection has room for it, and none needs it while it lasts.
struct Farewell(Pin<Box<dyn Future<Output = ()> + Send>>);

struct Timer {
    at: Instant,
    sleep: Pin<Box<Sleep>>,
}

/// Whether a step found something to do.
#[derive(PartialEq)]
enum Step {
    Progress,
    Idle,
}

impl<S> Link<S> {
    /// The socket, unless it was taken before.
    fn take(&mut self) -> Option<S> {
        match mem::replace(self, Self::Closing(None)) {
            Self::Up(socket) => Some(socket),
            Self::Closing(_) => None,
        }
    }
}

impl Transient {
    fn is_over(&self) -> bool {
        self.unwritten.is_empty() && self.asked.is_none() && self.stop.is_none()
    }
}

impl Unwritten {
    fn is_empty(&self) -> bool {
        self.written == self.bytes.len()
    }
}

impl<S: ByteStream> Future for ConnectionTask<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let now = now();
        let Some(service) = &mut self.0 else { return Poll::Ready(()) };
        if let Some((go, berth)) = service.moves(now) {
            // What it was woken for it finds out there.
            if let Some(service) = self.0.take() {
                go(service, berth);
            }
            return Poll::Ready(());
        }
        service.poll(cx, now)
    }
}

impl<S> Drop for ConnectionTask<S> {
    /// Only a panic, or a runtime that is dropped, leaves a connection that has not ended.
    fn drop(&mut self) {
        if let Some(service) = &mut self.0 {
            service.connection.abandon(now(), CloseReason::Shutdown);
        }
    }
}

impl<S: ByteStream> ConnectionTask<S> {
    pub(super) fn new(socket: S, newcomer: Newcomer, stop: CancellationToken) -> Self {
        let Newcomer { peer, accepted_at, certificate_user_name, place, berth } = newcomer;
        let connection = Connection::new(place, peer, accepted_at).certified_as(certificate_user_name);
        Self(Some(Service {
            link: Link::Up(socket),
            connection,
            transient: Some(Box::new(Transient {
                stop: Some(Box::pin(stop.cancelled_owned())),
                ..Transient::default()
            })),
            timer: None,
            berth,
            go: None,
        }))
    }
}

impl<S: Socket> ConnectionTask<S> {
    /// The same, but it moves to another worker when it belongs there.
    pub(super) fn that_moves(mut self) -> Self {
        if let Some(service) = &mut self.0 {
            service.go = Some(Service::go_to);
        }
        self
    }
}

impl<S: Socket> Service<S> {
    /// Goes on at another berth.
    fn go_to(mut self, berth: Berth) {
        let Some(socket) = self.link.take() else { return };
        self.timer = None; // It is the old worker's. The next one will be the new one's.
        self.berth = berth.clone();
        berth.take_over(socket, move |socket| {
            match socket {
                Ok(socket) => self.link = Link::Up(socket),
                Err(error) => {
                    let core = Arc::clone(self.connection.core());
                    self.lose(now(), loss(&error), &mut core.burst());
                }
            }
            let berth = self.berth.clone();
            berth.spawn(ConnectionTask(Some(self)));
        });
    }
}

impl<S: ByteStream> Service<S> {
    /// Where it belongs now and how it gets there, unless it must stay: an answer comes to where it was asked for.
    fn moves(&self, now: Instant) -> Option<(Go<S>, Berth)> {
        let has_asked = self.transient.as_ref().is_some_and(|transient| transient.asked.is_some());
        let go = self.go.filter(|_| !has_asked && matches!(self.link, Link::Up(_)))?;
        let counters = &self.connection.core().counters;
        Some((go, self.berth.moved(now, || counters.packets())?))
    }

    fn poll(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        if !matches!(self.link, Link::Closing(_)) {
            let reason = ready!(self.run(cx, now));
            tracing::debug!(%reason, "connection ended");
            self.say_farewell();
        }
        match &mut self.link {
            Link::Closing(Some(farewell)) => farewell.0.as_mut().poll(cx),
            Link::Up(_) | Link::Closing(None) => Poll::Ready(()),
        }
    }

    /// Runs until the connection has ended: write what is ready, collect, decide, read, and again, until nothing moves.
    fn run(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<CloseReason> {
        let core = Arc::clone(self.connection.core());
        let mut burst = core.burst();
        let mut has_rung = self.poll_timer(cx);
        self.poll_stop(cx, now, &mut burst);
        for _ in 0..READS_A_TURN {
            self.poll_write(cx, now, &mut burst);
            let answered = self.poll_answer(cx, now, &mut burst);
            let read = self.poll_read(cx, now, &mut burst);
            let timed_out = mem::take(&mut has_rung);
            if timed_out {
                // After the read: what came in time counts, however late this task runs.
                self.connection.handle_timeout(now, &mut burst);
            }
            burst.settle();
            if let Some(reason) = self.connection.closed() {
                return Poll::Ready(reason.clone());
            }
            // A write alone ends with nothing left to write: nothing that follows it has changed that.
            if !timed_out && [answered, read] == [Step::Idle, Step::Idle] {
                self.poll_stop(cx, now, &mut burst);
                self.arm_timer(cx);
                self.transient.take_if(|transient| transient.is_over());
                return Poll::Pending;
            }
            if burst.is_spent() || burst.gives_way() {
                break;
            }
        }
        self.arm_timer(cx); // A client that is never silent has its time, too.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes until the socket takes no more, or nothing is left.
    fn poll_write(&mut self, cx: &mut Context<'_>, now: Instant, burst: &mut Burst<'_>) {
        // An idle connection owns no buffer.
        let Unwritten { mut bytes, mut written } = self.take_unwritten();
        loop {
            if written == bytes.len() {
                bytes.clear();
                written = 0;
                if !self.connection.poll_transmit(now, cx.waker(), &mut bytes, burst) {
                    self.poll_flush(cx, now, burst);
                    return;
                }
            }
            let rest = bytes.get(written..).unwrap_or_default();
            let Link::Up(socket) = &mut self.link else { return };
            match Pin::new(socket).poll_write(cx, rest) {
                Poll::Pending => {
                    self.connection.handle_wake(now, cx.waker(), burst);
                    self.transient().unwritten = Unwritten { bytes, written };
                    return;
                }
                Poll::Ready(Ok(0)) => self.lose(now, CloseReason::ConnectionLost, burst),
                Poll::Ready(Ok(count)) => written += count,
                Poll::Ready(Err(error)) => self.lose(now, loss(&error), burst),
            }
            if self.connection.closed().is_some() {
                // The farewell owes the client the rest.
                self.transient().unwritten = Unwritten { bytes, written };
                return;
            }
        }
    }

    /// A stream within TLS or WebSocket may have taken more than its socket did. TCP has nothing to flush.
    fn poll_flush(&mut self, cx: &mut Context<'_>, now: Instant, burst: &mut Burst<'_>) {
        if let Link::Up(socket) = &mut self.link
            && let Poll::Ready(Err(error)) = Pin::new(socket).poll_flush(cx)
        {
            self.lose(now, loss(&error), burst);
        }
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>, now: Instant, burst: &mut Burst<'_>) -> Step {
        let has_asked = self.transient.as_ref().is_some_and(|transient| transient.asked.is_some());
        if !has_asked && let Some(question) = self.connection.poll_question() {
            let time_limit = self.connection.limits().hook_timeout;
            self.transient().asked = Some(Asked::new(question, time_limit));
        }
        let Some(transient) = &mut self.transient else { return Step::Idle };
        let Some(asked) = &mut transient.asked else { return Step::Idle };
        let Poll::Ready(answer) = asked.poll(cx) else { return Step::Idle };
        transient.asked = None;
        self.connection.handle_answer(now, answer, burst);
        Step::Progress
    }

    /// One read, into the buffer that the thread's connections share, handled to the end.
    fn poll_read(&mut self, cx: &mut Context<'_>, now: Instant, burst: &mut Burst<'_>) -> Step {
        // What it has subscribed to does not count: a slow client must be heard while it takes a large message.
        if self.connection.unsent_answers() > MOST_UNSENT_ANSWERS {
            return Step::Idle;
        }
        if self.connection.is_interrupted() {
            self.connection.handle_held(now, burst);
            return Step::Progress;
        }
        if !self.connection.wants_bytes() || !self.connection.store_keeps_up(now, cx.waker()) {
            return Step::Idle;
        }
        let largest_packet = self.connection.max_packet_size();
        INPUT.with_borrow_mut(|input| {
            let Link::Up(socket) = &mut self.link else { return Step::Idle };
            socket.set_largest_packet(largest_packet);
            let mut buffer = ReadBuf::new(input);
            match Pin::new(socket).poll_read(cx, &mut buffer) {
                Poll::Pending => return Step::Idle,
                Poll::Ready(Err(error)) => self.lose(now, loss(&error), burst),
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                    self.lose(now, CloseReason::ConnectionLost, burst);
                }
                Poll::Ready(Ok(())) => self.connection.handle_bytes(now, buffer.filled(), burst),
            }
            Step::Progress
        })
    }

    /// Whether the timer has rung.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        self.timer.take_if(|timer| timer.sleep.as_mut().poll(cx).is_ready()).is_some()
    }

    /// A timer that rings too early is cheap; moving it at every packet is not. So it is only ever moved forward in time.
    fn arm_timer(&mut self, cx: &mut Context<'_>) {
        let Some(at) = self.connection.poll_timeout() else {
            self.timer = None;
            return;
        };
        if self.timer.as_ref().is_some_and(|timer| timer.at <= at) {
            return;
        }
        let mut sleep = Box::pin(sleep_until(at.into()));
        if sleep.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        self.timer = Some(Box::new(Timer { at, sleep }));
    }

    fn poll_stop(&mut self, cx: &mut Context<'_>, now: Instant, burst: &mut Burst<'_>) {
        let Some(transient) = &mut self.transient else { return };
        let Some(stop) = &mut transient.stop else { return };
        if stop.as_mut().poll(cx).is_ready() {
            transient.stop = None;
            self.connection.handle_loss(now, CloseReason::Shutdown, burst);
            cx.waker().wake_by_ref();
        } else if self.connection.is_open() {
            // A shutdown that begins from now on finds the session, and tells it.
            transient.stop = None;
        }
    }

    fn transient(&mut self) -> &mut Transient {
        self.transient.get_or_insert_default()
    }

    fn take_unwritten(&mut self) -> Unwritten {
        self.transient.as_mut().map(|transient| mem::take(&mut transient.unwritten)).unwrap_or_default()
    }

    fn lose(&mut self, now: Instant, reason: CloseReason, burst: &mut Burst<'_>) {
        self.connection.handle_loss(now, reason, burst);
    }

    /// Writes what is still owed (a CONNACK that refuses, say), and closes.
    fn say_farewell(&mut self) {
        let Some(mut socket) = self.link.take() else { return };
        let core = Arc::clone(self.connection.core());
        let Unwritten { bytes, written } = self.take_unwritten();
        let mut rest = bytes.get(written..).unwrap_or_default().to_vec();
        self.connection.poll_transmit(now(), Waker::noop(), &mut rest, &mut core.burst());
        let farewell = async move {
            // A stream that was told to close takes no more bytes, but still has its own farewell to send.
            drop(socket.write_all(&rest).await);
            socket.shutdown().await
        };
        // Best effort: the connection is over, whether the client still listens or not.
        let farewell = Box::pin(async move { drop(timeout(FAREWELL, farewell).await) });
        self.link = Link::Closing(Some(Box::new(Farewell(farewell))));
    }
}

fn loss(error: &io::Error) -> CloseReason {
    if let Some(violation) = error.get_ref().and_then(|cause| cause.downcast_ref::<ProtocolViolation>()) {
        return (*violation).into();
    }
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => {
            CloseReason::ConnectionLost
        }
        kind => CloseReason::Io(kind),
    }
}

#[cfg(test)]
mod tests;
