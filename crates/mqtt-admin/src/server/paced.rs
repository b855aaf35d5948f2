//! [`Paced`]: a socket whose other end has to read what it is sent, at a least rate.
//!
//! A bound on each write alone would not do: whoever reads a little in time, again and again, would have a connection for
//! as long as he likes. What is bounded is the time spent waiting for him, less what the bytes that he took were worth.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

/// Bytes a second. Whoever is waited for and takes fewer has used up our patience sooner or later.
pub(super) const LEAST_RATE: u64 = 16 * 1024;

/// A socket that gives an error of the kind `TimedOut` once its other end was waited for too long.
pub(super) struct Paced<S> {
    socket: S,
    /// How long it may be waited for at the most.
    patience: Duration,
    /// How much of that is left.
    left: Duration,
    waiting: Option<Waiting>,
}

struct Waiting {
    since: Instant,
    until: Pin<Box<Sleep>>,
}

impl<S> Paced<S> {
    pub(super) fn new(socket: S, patience: Duration) -> Self {
        Self { socket, patience, left: patience, waiting: None }
    }

    /// What became of an attempt to write, `taken` bytes of it.
    fn note<T>(
        &mut self,
        cx: &mut Context<'_>,
        attempt: Poll<io::Result<T>>,
        taken: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        let Poll::Ready(outcome) = attempt else {
            let left = self.left;
            let waiting = self
                .waiting
                .get_or_insert_with(|| Waiting { since: Instant::now(), until: Box::pin(sleep(left)) });
            ready!(waiting.until.as_mut().poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        };
        if let Some(waiting) = self.waiting.take() {
            self.left = self.left.saturating_sub(waiting.since.elapsed());
        }
        let taken = outcome.as_ref().map_or(0, taken) as u64;
        let worth = Duration::from_micros(taken.saturating_mul(1_000_000) / LEAST_RATE);
        self.left = self.left.saturating_add(worth).min(self.patience);
        Poll::Ready(outcome)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let attempt = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.note(cx, attempt, |&taken| taken)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let attempt = Pin::new(&mut self.socket).poll_write_vectored(cx, parts);
        self.note(cx, attempt, |&taken| taken)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let attempt = Pin::new(&mut self.socket).poll_flush(cx);
        self.note(cx, attempt, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let attempt = Pin::new(&mut self.socket).poll_shutdown(cx);
        self.note(cx, attempt, |()| 0)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);
    const ANSWER: usize = 1024 * 1024;
    const BUFFER: usize = 1024;

    /// Sends an answer to somebody who reads so many bytes after each rest. What becomes of it, and after how long.
    async fn answered(bytes: usize, rest: Duration) -> (io::Result<()>, Duration) {
        let (ours, mut theirs) = duplex(BUFFER);
        let mut paced = Paced::new(ours, PATIENCE);
        let reader = tokio::spawn(async move {
            let mut read = vec![0; bytes];
            while theirs.read_exact(&mut read).await.is_ok() {
                sleep(rest).await;
            }
        });
        let begun = Instant::now();
        let outcome = paced.write_all(&vec![0; ANSWER]).await;
        let took = begun.elapsed();
        reader.abort();
        (outcome, took)
    }

    /// No single write of it takes longer than a second.
    #[tokio::test(start_paused = true)]
    async fn a_byte_at_a_time_is_too_slow() {
        for bytes in [1, BUFFER / 2, BUFFER] {
            let (outcome, took) = answered(bytes, Duration::from_secs(1)).await;
            assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::TimedOut, "{bytes}");
            assert!(took >= PATIENCE && took < PATIENCE * 2, "{bytes}: {took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_least_rate_an_answer_may_take_as_long_as_it_takes() {
        let (outcome, took) = answered(BUFFER, Duration::from_millis(60)).await;
        outcome.unwrap();
        assert!(took > PATIENCE * 2, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_waited_for_once() {
        let (outcome, took) = answered(BUFFER, PATIENCE * 10).await;
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(took >= PATIENCE && took < PATIENCE + Duration::from_secs(1), "{took:?}");
    }
}
