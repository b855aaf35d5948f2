//! Connections that are lost between their listener and their worker, which takes a system that is out of room.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::Handle,
    task::yield_now,
    time::timeout,
};

use super::*;
use crate::{
    close_reason::CloseReason,
    net::{transport::ByteStream, websocket::WebSocketOptions, workers::Attach},
};

/// Where a socket is lost.
#[derive(Clone, Copy, Debug)]
enum Lost {
    /// It cannot leave the worker that accepted it.
    Leaving,
    /// The worker that it is for cannot take it.
    Arriving,
}

/// A socket that does not survive a move, and says nothing.
struct Frail(Lost);

/// Brings two of them.
struct Bringing {
    lost: Lost,
    brought: AtomicUsize,
}

const REFUSED: io::ErrorKind = io::ErrorKind::QuotaExceeded;

impl Movable for Frail {
    fn detach(self) -> io::Result<Attach<Self>> {
        match self.0 {
            Lost::Leaving => Err(REFUSED.into()),
            Lost::Arriving => Ok(Box::new(|| Err(REFUSED.into()))),
        }
    }
}

impl Accepted for Frail {
    type Socket = Self;

    fn attach(self) -> io::Result<Self> {
        Ok(self)
    }

    fn detach(self) -> io::Result<Attach<Self>> {
        Movable::detach(self)
    }
}

impl ByteStream for Frail {}

impl AsyncRead for Frail {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Frail {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl Movable for Bringing {
    fn detach(self) -> io::Result<Attach<Self>> {
        Ok(Box::new(|| Ok(self)))
    }
}

impl Listening for Bringing {
    type Accepted = Frail;

    fn poll_accept(&self, _: &mut Context<'_>) -> Poll<io::Result<(Frail, Peer)>> {
        if self.brought.fetch_add(1, Ordering::Relaxed) < 2 {
            Poll::Ready(Ok((Frail(self.lost), Peer::Inet(SocketAddr::from(([127, 0, 0, 1], 1))))))
        } else {
            Poll::Pending
        }
    }
}

/// Within WebSocket connections are spread over all workers: the second one has to go to the second worker.
#[tokio::test]
async fn a_connection_that_its_worker_cannot_take_is_counted_and_gives_its_place_back() {
    for lost in [Lost::Leaving, Lost::Arriving] {
        let broker = Broker::builder().workers([Handle::current(), Handle::current()]).build();
        let listener = Transport::tcp().websocket(WebSocketOptions::default()).into();
        broker.accept(listener, Bringing { lost, brought: AtomicUsize::new(0) }).unwrap();
        let counted = async {
            while broker.counts().closed_for(&CloseReason::Io(REFUSED)) == 0 {
                yield_now().await;
            }
        };
        timeout(Duration::from_mins(1), counted).await.unwrap_or_else(|_| panic!("not counted: {lost:?}"));
        assert_eq!(broker.snapshot().connections, 1, "{lost:?}: the other one is there still");
        broker.shutdown(Duration::from_mins(1)).await.unwrap();
    }
}
