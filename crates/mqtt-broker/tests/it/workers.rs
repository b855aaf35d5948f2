//! A broker whose connections are spread over several runtimes: where they listen, and that they move unharmed.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

#[cfg(feature = "websocket")]
use mqtt_broker::WebSocketOptions;
use mqtt_broker::{Broker, PublishDecision, Transport};
use mqtt_codec::{Packet, Puback};
#[cfg(feature = "tls")]
use test_certificates::Authority;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    runtime::{Builder, Handle, Runtime},
};
use tokio_util::sync::{CancellationToken, DropGuard};

#[cfg(feature = "tls")]
use crate::tls::{listen_tls, shake_hands, trusting};
#[cfg(feature = "websocket")]
use crate::websocket::{Frames, start_websocket};
use crate::{
    Q1,
    client::{Client, connect, id, persistent, publish},
    filter,
    journal::{eventually, soon},
    limits, local_message, start,
};

/// Runtimes with a thread each.
struct Workers {
    handles: Vec<Handle>,
    threads: Vec<ThreadId>,
    _until_dropped: DropGuard,
}

impl Workers {
    fn start(count: usize) -> Self {
        let stop = CancellationToken::new();
        let start = |_| {
            let (runtime, stop) = (Builder::new_current_thread().enable_all().build().unwrap(), stop.clone());
            let handle = runtime.handle().clone();
            let thread = thread::spawn(move || runtime.block_on(stop.cancelled()));
            (handle, thread.thread().id())
        };
        let (handles, threads) = (0..count).map(start).unzip();
        Self { handles, threads, _until_dropped: stop.drop_guard() }
    }
}

#[tokio::test]
async fn the_first_worker_listens_and_serves_while_there_is_little_to_do() {
    let (workers, seen) = (Workers::start(2), Arc::new(Mutex::new(HashSet::new())));
    let (in_accept, in_publish) = (Arc::clone(&seen), Arc::clone(&seen));
    let builder = Broker::builder().workers(workers.handles.clone());
    let builder = builder.on_accept(move |_| {
        in_accept.lock().unwrap().insert(thread::current().id());
        true
    });
    let builder = builder.on_publish(move |_| {
        in_publish.lock().unwrap().insert(thread::current().id());
        PublishDecision::Pass
    });
    let (_broker, address) = start(builder).await;
    for name in ["a", "b", "c"] {
        Client::connected(address, name).await.publish("t", name, Q1).await;
    }
    assert_eq!(*seen.lock().unwrap(), HashSet::from([workers.threads[0]]));
}

/// They cannot move when there is more to do, so they are not all left to the first worker at a quiet time.
#[cfg(feature = "websocket")]
#[tokio::test]
async fn connections_that_cannot_move_are_spread_from_the_beginning() {
    let (workers, seen) = (Workers::start(2), Arc::new(Mutex::new(Vec::new())));
    let in_publish = Arc::clone(&seen);
    let builder = Broker::builder().workers(workers.handles.clone()).on_publish(move |_| {
        in_publish.lock().unwrap().push(thread::current().id());
        PublishDecision::Pass
    });
    let (_broker, address) = start_websocket(builder, WebSocketOptions::default()).await;
    for name in ["a", "b", "c", "d"] {
        let mut client = Frames::connected(TcpStream::connect(address).await.unwrap(), name).await;
        client.send(Packet::Publish(publish("t", name, Q1, id(1)))).await;
        assert_eq!(client.recv().await, Packet::Puback(Puback { packet_id: id(1) }));
    }
    assert_eq!(*seen.lock().unwrap(), [&workers.threads[..], &workers.threads[..]].concat());
}

/// A broker each of whose messages keeps its worker busy for a while, so that a second one is needed.
struct Busy {
    broker: Broker,
    both: HashSet<ThreadId>,
    /// Where each client was served.
    seen: Arc<Mutex<HashMap<String, HashSet<ThreadId>>>>,
    _workers: Workers,
}

impl Busy {
    fn start() -> Self {
        let workers = Workers::start(2);
        let seen = Arc::<Mutex<HashMap<_, HashSet<_>>>>::default();
        let in_publish = Arc::clone(&seen);
        let builder = Broker::builder().workers(workers.handles.clone()).on_publish(move |request| {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(3) {}
            let client_id = request.client.client_id.to_string();
            in_publish.lock().unwrap().entry(client_id).or_default().insert(thread::current().id());
            PublishDecision::Pass
        });
        let both = workers.threads.iter().copied().collect();
        Self { broker: builder.build(), both, seen, _workers: workers }
    }

    fn has_moved(&self) -> bool {
        self.seen.lock().unwrap().values().any(|threads| *threads == self.both)
    }

    /// What is on the way when a client moves arrives once, in order.
    async fn moves_unharmed<S: AsyncRead + AsyncWrite + Unpin>(&self, streams: [S; 2]) {
        const BATCH: u16 = 20;
        let mut subscriber = self.broker.subscriber(&[filter("#")]).unwrap();
        let names = ["a", "b"];
        let mut clients = streams.map(Client::over);
        for (client, name) in clients.iter_mut().zip(names) {
            client.connect(connect(name)).await;
            client.publish(name, "0", Q1).await;
        }
        let mut sent = 0;
        let moving = async {
            while !self.has_moved() {
                for (client, name) in clients.iter_mut().zip(names) {
                    let messages = (1..=BATCH)
                        .map(|n| Packet::Publish(publish(name, &(sent + n).to_string(), Q1, id(sent + n))));
                    client.send_all(&messages.collect::<Vec<_>>()).await;
                }
                // A batch stays on the way, so that there is always something to do.
                for client in &mut clients {
                    for n in sent.saturating_sub(BATCH)..sent {
                        assert_eq!(client.recv().await, Packet::Puback(Puback { packet_id: id(n + 1) }));
                    }
                }
                sent += BATCH;
            }
        };
        soon("a connection to move", moving).await;
        let mut next = HashMap::from(names.map(|name| (name.to_owned(), 0)));
        for _ in 0..(usize::from(sent) + 1) * names.len() {
            let message = local_message(&mut subscriber).await.message;
            let next = next.get_mut(message.topic()).unwrap();
            assert_eq!(message.payload(), next.to_string().as_bytes());
            *next += 1;
        }
    }
}

#[tokio::test]
async fn a_connection_moves_when_its_worker_is_too_busy_and_loses_nothing() {
    let busy = Busy::start();
    let address = busy.broker.listen("127.0.0.1:0").await.unwrap();
    let tcp = || async { TcpStream::connect(address).await.unwrap() };
    busy.moves_unharmed([tcp().await, tcp().await]).await;
}

#[tokio::test]
async fn so_does_one_behind_a_proxy() {
    let busy = Busy::start();
    let behind_proxies = Transport::tcp().proxy_protocol("127.0.0.1".parse().unwrap());
    let address = busy.broker.listen_with("127.0.0.1:0", behind_proxies).await.unwrap();
    let introduced = || async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 1883\r\n").await.unwrap();
        stream
    };
    busy.moves_unharmed([introduced().await, introduced().await]).await;
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn so_does_one_within_tls() {
    let (busy, authority) = (Busy::start(), Authority::new("a"));
    let address = listen_tls(&busy.broker, &authority).await;
    let within_tls = || async { shake_hands(address, trusting(&authority, None)).await.unwrap() };
    busy.moves_unharmed([within_tls().await, within_tls().await]).await;
}

fn another_runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Whether a session that its client has left expires.
fn lets_sessions_expire(broker: &Broker, address: SocketAddr) {
    another_runtime().block_on(async {
        drop(Client::accepted(address, persistent("absent")).await);
        eventually("the end of the session", || broker.session("absent").is_none()).await;
    });
}

/// It went with the runtime that had called `listen`, which the broker itself does not need.
#[test]
fn housekeeping_is_the_first_workers() {
    let workers = Workers::start(1);
    let soon = limits(|limits| limits.session_expiry = Some(Duration::from_millis(1)));
    let broker = Broker::builder().workers(workers.handles.clone()).limits(soon).build();
    let address = another_runtime().block_on(broker.listen("127.0.0.1:0")).unwrap();
    lets_sessions_expire(&broker, address);
}

/// There was a task on the runtime that had called `listen`, and nobody ran it to its end.
#[test]
fn a_shutdown_needs_the_workers_alone() {
    let workers = Workers::start(1);
    let broker = Broker::builder().workers(workers.handles.clone()).build();
    let kept = another_runtime();
    kept.block_on(broker.listen("127.0.0.1:0")).unwrap();
    assert_eq!(another_runtime().block_on(broker.shutdown(Duration::from_secs(5))), Ok(()));
}

/// It had begun once, and was not begun again.
#[test]
fn housekeeping_goes_on_with_the_next_listener_when_its_runtime_is_gone() {
    let soon = limits(|limits| limits.session_expiry = Some(Duration::from_millis(1)));
    let broker = Broker::builder().limits(soon).build();
    another_runtime().block_on(broker.listen("127.0.0.1:0")).unwrap();
    let listens = Runtime::new().unwrap();
    let address = listens.block_on(broker.listen("127.0.0.1:0")).unwrap();
    lets_sessions_expire(&broker, address);
}
