//! The end of a broker: in order, complete, and reported if it is not.

use std::{
    fs,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use mqtt_broker::{Broker, ConnectDecision, ShutdownTimeout, SubscribeDecision};
use mqtt_codec::{Connect, Packet};
use tokio::runtime;

use crate::{
    Q0, Q1,
    client::{Client, connect, id, persistent, subscribe, will},
    filter,
    journal::{Journal, eventually},
    limits, message, start,
};

const LONG: Duration = Duration::from_secs(15);

/// How many sockets of this process have this local port, listening or connected.
fn sockets_at(port: u16) -> usize {
    let own: Vec<String> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| Some(fs::read_link(entry.ok()?.path()).ok()?.to_string_lossy().into_owned()))
        .collect();
    let table = fs::read_to_string("/proc/self/net/tcp").unwrap();
    let has_port = |local: &str| local.ends_with(&format!(":{port:04X}"));
    let is_own = |inode: &str| own.contains(&format!("socket:[{inode}]"));
    let fields = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    fields.filter(|fields| has_port(fields[1]) && is_own(fields[9])).count()
}

/// Clients in every state in which a shutdown may find them.
async fn in_every_state(address: SocketAddr) -> Vec<Client> {
    let silent = Client::open(address).await;
    let mut half_a_connect = Client::open(address).await;
    half_a_connect.send_bytes(&[0x10, 20, 0, 4]).await;
    let mut in_on_connect = Client::open(address).await;
    in_on_connect.send(Packet::Connect(Box::new(connect("hang")))).await;
    let mut in_on_subscribe = Client::connected(address, "subscriber").await;
    in_on_subscribe.send(subscribe(id(1), &[("hang", Q0)])).await;
    let idle = Client::connected(address, "idle").await;
    let mut half_a_publish = Client::connected(address, "half").await;
    half_a_publish.send_bytes(&[0x32, 100, 0, 1, b't']).await;
    let (mut with_backlog, _) = Client::accepted(address, persistent("backlog")).await;
    with_backlog.subscribe("#", Q1).await;
    vec![silent, half_a_connect, in_on_connect, in_on_subscribe, idle, half_a_publish, with_backlog]
}

#[test]
fn no_task_and_no_socket_is_left() {
    let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let outside = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let builder = Broker::builder()
        .limits(limits(|limits| limits.hook_timeout = Duration::from_hours(1)))
        .on_connect(|request| async move {
            if &*request.client.client_id == "hang" {
                std::future::pending::<()>().await;
            }
            ConnectDecision::Accept
        })
        .on_subscribe(|request| async move {
            if request.filter.as_str() == "hang" {
                std::future::pending::<()>().await;
            }
            SubscribeDecision::Grant(request.qos)
        });
    let (broker, address) = runtime.block_on(start(builder));
    let second_address = runtime.block_on(broker.listen("127.0.0.1:0")).unwrap();
    let mut local = broker.subscriber(&[filter("#")]).unwrap();

    let clients = outside.block_on(in_every_state(address));
    for _ in 0..100 {
        broker.publish(&message("t", "x", Q1));
    }
    outside.block_on(eventually("all of them", || broker.snapshot().connections == clients.len()));
    assert_eq!(sockets_at(address.port()), clients.len() + 1);
    assert_ne!(runtime.metrics().num_alive_tasks(), 0);

    assert_eq!(runtime.block_on(broker.shutdown(LONG)), Ok(()));
    outside.block_on(async {
        eventually("the end of every task", || runtime.metrics().num_alive_tasks() == 0).await;
    });
    assert_eq!((sockets_at(address.port()), sockets_at(second_address.port())), (0, 0));
    assert_eq!(broker.snapshot().connections, 0);
    drop(std::net::TcpListener::bind(address).expect("the port is free again"));
    outside.block_on(async {
        for mut client in clients {
            while client.next().await.is_some() {} // And then its end.
        }
        assert!(crate::journal::soon("the end of the local subscriber", local.recv()).await.is_none());
    });
}

/// When the first client is told, nobody can connect any more.
#[tokio::test]
async fn listeners_go_first_then_clients_with_their_wills_then_on_stop() {
    let (journal, still_open) = (Journal::default(), Arc::new(AtomicBool::new(false)));
    let (wills, closes, stops) = (journal.clone(), journal.clone(), journal.clone());
    let port = Arc::new(std::sync::OnceLock::<SocketAddr>::new());
    let (hook_port, is_open) = (Arc::clone(&port), Arc::clone(&still_open));
    let (broker, address) = start(
        Broker::builder()
            .on_will(move |client, _| {
                wills.note(format!("will of {}", client.client_id));
                mqtt_broker::WillDecision::Pass
            })
            .on_close(move |client, reason| {
                let connected = std::net::TcpStream::connect(hook_port.get().unwrap()).is_ok();
                is_open.fetch_or(connected, Ordering::Relaxed);
                closes.note(format!("end of {}: {reason:?}", client.client_id));
            })
            .on_stop(move || stops.note("stop")),
    )
    .await;
    port.set(address).unwrap();
    let (mut absent, _) = Client::accepted(address, persistent("absent")).await;
    absent.subscribe("will", Q1).await;
    absent.disconnect().await;
    journal.until(1, "end of absent: Disconnected").await;
    still_open.store(false, Ordering::Relaxed);

    let mut clients = Vec::new();
    for client_id in ["a", "b", "c"] {
        let request = Connect { will: will("will", b"w", Q1, true), ..connect(client_id) };
        clients.push(Client::accepted(address, request).await.0);
    }
    broker.shutdown(LONG).await.unwrap();
    assert!(!still_open.load(Ordering::Relaxed), "a listener was open when a client had been closed");
    let lines = journal.lines();
    assert_eq!((journal.count("will of"), journal.count("end of")), (3, 4));
    assert_eq!((journal.count("stop"), lines.last().unwrap().as_str()), (1, "stop"));
    assert_eq!(broker.session("absent").unwrap().queued_messages, 3, "a Will for each");
    assert_eq!(broker.snapshot().retained_messages, 1);
    for mut client in clients {
        client.expect_end().await;
    }
}

/// A listener that is busy is waited for before any client is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn no_client_is_closed_while_a_listener_is_open() {
    let (release, blocked) = mpsc::channel::<()>();
    let (blocked, is_second) = (Mutex::new(blocked), AtomicBool::new(false));
    let (broker, address) = start(Broker::builder().on_accept(move |_| {
        if is_second.swap(true, Ordering::Relaxed) {
            let _ = tokio::task::block_in_place(|| blocked.lock().unwrap().recv_timeout(LONG));
        }
        true
    }))
    .await;
    let mut client = Client::connected(address, "a").await;
    let mut second = Client::open(address).await;
    eventually("the second one's hook", || broker.snapshot().connections == 2).await;
    let mut shutdown = std::pin::pin!(broker.shutdown(LONG));
    assert!(poll_once(shutdown.as_mut()).is_pending());
    for _ in 0..100 {
        client.ping().await;
    }
    release.send(()).unwrap();
    assert_eq!(shutdown.await, Ok(()));
    client.expect_end().await;
    second.expect_end().await;
}

/// A client that takes its time over the last bytes is reported, and the next call finds it gone.
#[tokio::test]
async fn a_deadline_that_is_not_met_is_reported() {
    let journal = Journal::default();
    let stops = journal.clone();
    let (broker, address) = start(Broker::builder().on_stop(move || stops.note("stop"))).await;
    let _willing = Client::connected(address, "willing").await;
    let mut deaf = Client::open_small(address).await;
    deaf.connect(connect("deaf")).await;
    deaf.subscribe("t", Q0).await;
    let payload = "x".repeat(64 * 1024);
    let backlog = || broker.session("deaf").unwrap().queued_messages;
    while backlog() == 0 {
        broker.publish(&message("t", &payload, Q0));
        tokio::task::yield_now().await;
    }
    let timeout = broker.shutdown(Duration::from_millis(100)).await.unwrap_err();
    assert_eq!(timeout, ShutdownTimeout { connections: 1 });
    assert_eq!(
        timeout.to_string(),
        "1 connections were still open when the time for the shutdown had run out"
    );
    assert_eq!(journal.lines(), [""; 0], "it has not stopped yet");
    assert_eq!(broker.shutdown(LONG).await, Ok(()));
    assert_eq!(broker.shutdown(Duration::ZERO).await, Ok(()));
    assert_eq!(journal.lines(), ["stop"]);
}

#[tokio::test]
async fn whoever_calls_too_waits_for_the_same_end() {
    let journal = Journal::default();
    let stops = journal.clone();
    let (broker, address) = start(Broker::builder().on_stop(move || stops.note("stop"))).await;
    let mut client = Client::connected(address, "a").await;
    let (one, other) = (broker.clone(), broker.clone());
    let (first, second) = tokio::join!(one.shutdown(LONG), other.shutdown(LONG));
    assert_eq!((first, second, journal.lines()), (Ok(()), Ok(()), vec!["stop".to_owned()]));
    client.expect_end().await;
}

/// One who gives up waiting leaves a shutdown that has begun, and that another can wait for.
#[tokio::test]
async fn a_shutdown_that_was_given_up_can_be_taken_up() {
    let journal = Journal::default();
    let stops = journal.clone();
    let (broker, address) = start(Broker::builder().on_stop(move || stops.note("stop"))).await;
    let mut client = Client::connected(address, "a").await;
    {
        let given_up = std::pin::pin!(broker.shutdown(LONG));
        assert!(poll_once(given_up).is_pending());
    }
    assert_eq!(broker.shutdown(LONG).await, Ok(()));
    assert_eq!(journal.lines(), ["stop"]);
    client.expect_end().await;
}

fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
    future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}

#[tokio::test]
async fn a_broker_that_never_listened_stops_too_and_serves_nobody_after() {
    let journal = Journal::default();
    let stops = journal.clone();
    let broker = Broker::builder().on_stop(move || stops.note("stop")).build();
    let mut local = broker.subscriber(&[filter("t")]).unwrap();
    broker.shutdown(Duration::ZERO).await.unwrap();
    assert_eq!(journal.lines(), ["stop"]);
    assert!(crate::journal::soon("its end", local.recv()).await.is_none());
    assert!(broker.listen("127.0.0.1:0").await.is_err());
}

/// What was acknowledged to a persistent client's publisher is still there, to be looked at.
#[tokio::test]
async fn the_state_can_still_be_read() {
    let (broker, address) = start(Broker::builder()).await;
    let (mut client, _) = Client::accepted(address, persistent("a")).await;
    client.subscribe("t", Q1).await;
    broker.publish(&message("t", "x", Q1));
    broker.shutdown(LONG).await.unwrap();
    let session = broker.session("a").unwrap();
    assert!(session.client.is_none());
    assert_eq!((session.inflight_messages + session.queued_messages, session.subscriptions), (1, 1));
}
