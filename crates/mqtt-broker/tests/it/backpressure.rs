//! Clients that do not read, that dribble, that flood: nobody else waits for them, and they cost what the limits say.
//!
//! Whether somebody else waits is judged by what happens, not by how long it takes: the others' exchanges are awaited
//! while the bad client is at its worst.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mqtt_broker::{Broker, Builder, DropReason, Limits, QueueFullPolicy, SessionSnapshot};
use mqtt_codec::{Connack, Connect, Delivery, Packet};
use tokio::{io::AsyncWriteExt, net::TcpSocket};

use crate::{
    Q0, Q1, Q2,
    client::{Client, connect, id, persistent, publish, subscribe, will},
    journal::{Journal, eventually},
    limits, local_message, message,
};

const KIB: usize = 1024;

/// A broker whose sockets have small buffers, so that little is on its way in the kernel.
fn start_small(builder: Builder) -> (Broker, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(4096).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let broker = builder.build();
    let address = broker.serve(socket.listen(64).unwrap()).unwrap();
    (broker, address)
}

fn tight(limits: &mut Limits) {
    limits.max_pending_bytes = 16 * KIB;
    limits.max_queued_messages = 50;
    limits.max_queued_bytes = 256 * KIB;
}

/// Connected, subscribed to `flood`, and from now on deaf.
async fn deaf(address: SocketAddr, request: Connect, qos: mqtt_broker::QoS) -> Client {
    let mut client = Client::open_small(address).await;
    assert!(matches!(client.connect(request).await, Connack::Accepted { .. }));
    client.subscribe("flood", qos).await;
    client
}

/// Publishes until the queue of the client that does not read has lost messages.
fn flood_until_full(broker: &Broker) {
    let payload = "x".repeat(8 * KIB);
    for _ in 0..10_000 {
        if broker.counts().dropped_for(DropReason::QueueFull) > 0 {
            return;
        }
        broker.publish(&message("flood", &payload, Q1));
    }
    panic!("the queue never was full");
}

fn session(broker: &Broker, client_id: &str) -> SessionSnapshot {
    broker.session(client_id).expect("a session")
}

/// It was not read from either, and cut off for its silence; as often as it came again, for the same message.
#[tokio::test]
async fn a_client_that_takes_long_for_a_message_is_heard_meanwhile() {
    let (broker, address) = start_small(Broker::builder());
    let mut slow = deaf(address, Connect { keep_alive_secs: 1, ..connect("slow") }, Q1).await;
    broker.publish(&message("flood", &"x".repeat(KIB * KIB), Q1));
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        slow.send(Packet::Pingreq).await;
    }
    assert_eq!(slow.message().await.len(), "flood ".len() + KIB * KIB);
    assert_eq!(slow.recv().await, Packet::Pingresp);
}

#[tokio::test]
async fn a_client_that_stops_reading_costs_what_the_limits_say() {
    for qos in [Q0, Q1, Q2] {
        let (broker, address) = start_small(Broker::builder().limits(limits(tight)));
        let mut slow = deaf(address, connect("deaf"), qos).await;
        let mut fast = Client::connected(address, "fast").await;
        fast.subscribe("flood", qos).await;
        let mut publisher = Client::connected(address, "publisher").await;
        let payload = "x".repeat(8 * KIB);
        for n in 0..300 {
            publisher.publish("flood", &format!("{n:03}{payload}"), qos).await;
            assert_eq!(fast.message().await[..9], format!("flood {n:03}"));
            let deaf = session(&broker, "deaf");
            assert!(deaf.queued_messages <= 50 && deaf.queued_bytes <= 256 * KIB, "{deaf:?}");
            assert!(deaf.inflight_messages <= 20, "{deaf:?}");
        }
        assert_ne!(broker.counts().dropped_for(DropReason::QueueFull), 0);
        // It reads again, and the newest is among what it gets.
        slow.message_at_last("299").await;
        assert_eq!(session(&broker, "deaf").queued_bytes, 0);
    }
}

/// Nothing can be written to it, and nothing comes from it; it is told all the same.
#[tokio::test]
async fn a_client_that_stops_reading_can_be_ended() {
    let journal = Journal::default();
    for reason in ["Kicked", "TakenOver", "SlowConsumer", "KeepAliveTimeout", "Shutdown"] {
        let noted = journal.clone();
        let builder = Broker::builder()
            .limits(limits(|limits| {
                tight(limits);
                limits.max_queued_messages = 10_000;
                limits.queue_full = QueueFullPolicy::Disconnect;
            }))
            .on_close(move |client, reason| noted.note(format!("{} {reason:?}", client.client_id)));
        let (broker, address) = start_small(builder);
        let mut watcher = broker.subscriber(&[crate::filter("will")]).unwrap();
        let keep_alive_secs = u16::from(reason == "KeepAliveTimeout");
        let request = Connect { keep_alive_secs, will: will("will", b"", Q1, false), ..persistent("deaf") };
        let _deaf = deaf(address, request, Q1).await;
        if reason == "SlowConsumer" {
            flood_until_full(&broker);
        } else {
            broker.publish(&message("flood", &"x".repeat(8 * KIB), Q1));
            fill_queue_of_a_deaf_client(&broker).await;
        }
        match reason {
            "Kicked" => assert!(broker.client("deaf").unwrap().disconnect()),
            "TakenOver" => drop(Client::accepted(address, persistent("deaf")).await),
            "Shutdown" => broker.shutdown(Duration::from_secs(10)).await.unwrap(),
            _ => {}
        }
        journal.until(1, &format!("deaf {reason}")).await;
        if reason != "Shutdown" {
            local_message(&mut watcher).await;
        }
    }
}

async fn fill_queue_of_a_deaf_client(broker: &Broker) {
    let payload = "x".repeat(8 * KIB);
    for _ in 0..20 {
        broker.publish(&message("flood", &payload, Q1));
        tokio::task::yield_now().await;
    }
    assert!(session(broker, "deaf").queued_messages > 0, "its socket still takes messages");
}

/// Answers are bounded too: who asks and does not listen is not read from any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_asks_and_does_not_listen_is_held_back() {
    const PINGS: usize = 2 * 1024 * 1024;
    let (broker, address) = start_small(Broker::builder());
    let mut other = Client::connected(address, "other").await;
    let mut client = Client::open_small(address).await;
    client.connect(connect("deaf")).await;
    let Client { mut stream, .. } = client;
    let (mut answers, mut questions) = stream.split();

    let asking = async {
        for _ in 0..PINGS / 4096 {
            questions.write_all(&[0xc0, 0].repeat(4096)).await.unwrap();
        }
    };
    let looking = async {
        for n in 0..200 {
            other.publish("t", "x", Q1).await;
            let counts = broker.counts();
            let backlog = counts.bytes_received - counts.bytes_sent;
            assert!(backlog < 512 * KIB as u64, "{backlog} bytes of answers wait after {n} exchanges");
        }
        other
    };
    tokio::pin!(asking);
    let mut other = tokio::select! {
        () = &mut asking => panic!("all {PINGS} questions were read, and no answer"),
        other = looking => other,
    };
    // Once it listens, nothing has been lost.
    let listening = async {
        let mut expected = PINGS * 2;
        let mut buffer = vec![0; 64 * KIB];
        while expected > 0 {
            expected -= tokio::io::AsyncReadExt::read(&mut answers, &mut buffer).await.unwrap();
        }
    };
    crate::journal::soon("all answers", async { tokio::join!(asking, listening) }).await;
    other.ping().await;
}

/// What is repeated on a live connection does not pile up before a socket that takes nothing.
#[tokio::test]
async fn repeating_does_not_pile_up() {
    let change = |limits: &mut Limits| {
        limits.retry_interval = Some(Duration::from_millis(10));
        limits.max_inflight = 60;
    };
    let (broker, address) = start_small(Broker::builder().limits(limits(change)));
    let mut deaf = deaf(address, connect("deaf"), Q1).await;
    let payload = "x".repeat(8 * KIB);
    for _ in 0..50 {
        broker.publish(&message("flood", &payload, Q1));
    }
    let mut witness = Client::connected(address, "witness").await;
    witness.subscribe("witness", Q1).await;
    broker.publish(&message("witness", "", Q1));
    for _ in 0..40 {
        witness.recv_publish().await; // The same one again and again: so many intervals have passed.
    }
    broker.publish(&message("flood", "last", Q1));
    let mut copies = 0;
    loop {
        let publish = deaf.recv_publish().await;
        copies += 1;
        match publish.delivery {
            Delivery::AtLeastOnce { dup: false, .. } if &publish.payload[..] == b"last" => break,
            _ => deaf.acknowledge(&publish).await,
        }
    }
    assert!(copies < 50 * 5, "{copies} copies of 51 messages");
}

/// Every packet comes a byte at a time, and after each byte somebody else is served.
#[tokio::test]
async fn a_client_that_dribbles_delays_nobody() {
    let (broker, address) = crate::start(Broker::builder()).await;
    let mut other = Client::connected(address, "other").await;
    let mut receiver = Client::connected(address, "receiver").await;
    receiver.subscribe("t", Q1).await;
    let mut slow = Client::open(address).await;
    let mut bytes = Vec::new();
    for packet in [
        Packet::Connect(Box::new(connect("slow"))),
        subscribe(id(1), &[("slow", Q0)]),
        Packet::Publish(publish("t", "from the slow one", Q2, id(2))),
    ] {
        packet.encode(&mut bytes).unwrap();
    }
    for byte in bytes {
        assert!(broker.session("slow").is_none_or(|slow| slow.unreleased_messages == 0));
        slow.send_bytes(&[byte]).await;
        other.ping().await;
    }
    assert_eq!(receiver.message().await, "t from the slow one");
    assert!(matches!(slow.recv().await, Packet::Connack(_)));
    assert!(matches!(slow.recv().await, Packet::Suback(_)));
    assert!(matches!(slow.recv().await, Packet::Pubrec(_)));
}

/// Floods at every QoS, to a deaf subscriber too; meanwhile others connect, subscribe, publish and receive.
#[tokio::test]
async fn clients_that_flood_delay_nobody() {
    let (broker, address) = start_small(Broker::builder().limits(limits(tight)));
    let _deaf = deaf(address, connect("deaf"), Q2).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut floods = Vec::new();
    for (n, qos) in [Q0, Q1, Q2].into_iter().enumerate() {
        let mut client = Client::connected(address, &format!("flood {n}")).await;
        let stop = Arc::clone(&stop);
        floods.push(tokio::spawn(async move {
            let mut sent = 0;
            let burst: Vec<Packet> = (0..50)
                .map(|n| Packet::Publish(publish("flood", &"x".repeat(KIB), qos, id(n + 1))))
                .collect();
            while !stop.load(Ordering::Relaxed) {
                client.send_all(&burst).await;
                for _ in 0..if qos == Q0 { 0 } else { 50 } {
                    client.recv().await;
                }
                sent += burst.len();
                tokio::task::yield_now().await;
            }
            sent
        }));
    }
    for n in 0..20 {
        let mut subscriber = Client::connected(address, &format!("other {n}")).await;
        subscriber.subscribe("t", Q1).await;
        let mut publisher = Client::connected(address, "publisher").await;
        for _ in 0..5 {
            publisher.publish("t", "x", Q1).await;
            assert_eq!(subscriber.message().await, "t x");
        }
        let deaf = session(&broker, "deaf");
        assert!(deaf.queued_bytes <= 256 * KIB && deaf.queued_messages <= 50, "{deaf:?}");
    }
    stop.store(true, Ordering::Relaxed);
    for flood in floods {
        assert_ne!(flood.await.unwrap(), 0);
    }
    eventually("the deaf one's queue to be full", || session(&broker, "deaf").queued_messages > 40).await;
}
