//! A broker without a socket: `SansIoConnection`, driven by hand.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, mpsc},
    task::{Context, Poll, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use mqtt_broker::{
    Broker, CloseReason, ConnectDecision, DropReason, Limits, Message, PublishDecision, QoS, QueueFullPolicy,
    RefusalReason, SansIoConnection, SubscribeDecision, SubscribeRefusal, TraceFilter, store::MemoryStore,
};
use mqtt_codec::{TopicFilter, TopicName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const CONNACK: [u8; 4] = [0x20, 2, 0, 0];

fn from() -> SocketAddr {
    ([192, 0, 2, 1], 4711).into()
}

/// A CONNECT with clean session, a keep alive of 10 s and this letter for a client identifier.
fn connect(client_id: u8) -> Vec<u8> {
    [b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x0a\x00\x01".as_slice(), &[client_id]].concat()
}

fn transmitted(connection: &mut SansIoConnection, now: Instant) -> Vec<u8> {
    let mut out = Vec::new();
    while connection.poll_transmit(now, Waker::noop(), &mut out) {}
    out
}

fn connected(broker: &Broker, client_id: u8, now: Instant) -> SansIoConnection {
    let mut connection = SansIoConnection::new(broker, from(), now);
    connection.handle_bytes(now, &connect(client_id));
    assert_eq!(transmitted(&mut connection, now), CONNACK);
    connection
}

#[test]
fn a_message_goes_from_one_connection_to_another() {
    let (broker, now) = (Broker::builder().build(), Instant::now());
    let mut subscriber = connected(&broker, b's', now);
    subscriber.handle_bytes(now, b"\x82\x06\x00\x01\x00\x01t\x01");
    assert_eq!(transmitted(&mut subscriber, now), [0x90, 3, 0, 1, 1]);
    let mut publisher = connected(&broker, b'p', now);
    // In two pieces, as a transport may bring it.
    publisher.handle_bytes(now, b"\x32\x07\x00\x01");
    publisher.handle_bytes(now, b"t\x00\x05hi");
    assert_eq!(transmitted(&mut publisher, now), [0x40, 2, 0, 5]);
    assert_eq!(transmitted(&mut subscriber, now), b"\x32\x07\x00\x01t\x00\x01hi");
    assert_eq!(broker.counts().publishes_sent, [0, 1, 0]);
}

/// A waker that asks for something, as its owner may: inline, on the thread that wakes it.
struct Asks<F>(F);

impl<F: Fn() + Send + Sync> Wake for Asks<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

/// Whether this comes to an end. If it does not, its thread is left to itself.
fn ends(act: impl FnOnce() + Send + 'static) -> bool {
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        act();
        done.send(())
    });
    is_done.recv_timeout(Duration::from_secs(20)).is_ok()
}

/// It was woken while its session was locked, and waited for its own thread.
#[test]
fn who_is_woken_for_more_that_is_withheld_may_look_at_the_session() {
    let (broker, now) = (Broker::builder().on_deliver(|_| false).build(), Instant::now());
    let connect = b"\x10\x0d\x00\x04MQTT\x04\x00\x00\x00\x00\x01k";
    let mut kept = SansIoConnection::new(&broker, from(), now);
    kept.handle_bytes(now, connect);
    kept.handle_loss(now);
    let topic = TopicName::try_from("t").unwrap();
    broker.subscribe("k", &TopicFilter::try_from("t").unwrap(), QoS::AtLeastOnce).unwrap();
    for _ in 0..300 {
        broker.publish(&Message::new(&topic, b"x", QoS::AtLeastOnce));
    }
    let mut kept = SansIoConnection::new(&broker, from(), now);
    kept.handle_bytes(now, connect);
    assert!(ends(move || {
        let looks = Asks(move || drop(broker.session("k")));
        kept.poll_transmit(now, &Arc::new(looks).into(), &mut Vec::new());
    }));
}

/// All traces were locked while one was woken.
#[test]
fn who_is_woken_by_a_trace_may_begin_another() {
    let (broker, now) = (Broker::builder().build(), Instant::now());
    let mut trace = broker.trace(TraceFilter::Client("k".into()));
    let other = broker.clone();
    let begins = Asks(move || drop(other.trace(TraceFilter::Client("k".into()))));
    assert!(trace.poll_next(&mut Context::from_waker(&Arc::new(begins).into())).is_pending());
    assert!(ends(move || {
        drop(connected(&broker, b'k', now));
        drop(trace);
    }));
}

/// After so much work others should have their turn; nobody came back to it.
#[test]
fn a_burst_that_makes_much_work_is_handled_to_its_end() {
    let (broker, now) = (Broker::builder().build(), Instant::now());
    let filter = || TopicFilter::try_from("t").unwrap();
    let _subscribers: Vec<_> = (0..100).map(|_| broker.subscriber(&[filter()]).unwrap()).collect();
    let mut publisher = connected(&broker, b'p', now);
    let many = (1..=200_u16).flat_map(|id| [&b"\x32\x05\x00\x01t"[..], &id.to_be_bytes()].concat());
    publisher.handle_bytes(now, &many.collect::<Vec<_>>());
    assert_eq!(transmitted(&mut publisher, now).len(), 200 * 4);
    publisher.handle_bytes(now, &[0xc0, 0]);
    assert_eq!(transmitted(&mut publisher, now), [0xd0, 0]);
    assert_eq!(broker.session("p").unwrap().messages_received, 200);
}

/// What had waited, for a hook or for others' turn, was not; nor what came with CONNECT, or before its session was known.
#[test]
fn a_session_counts_all_that_comes() {
    for asks in [false, true] {
        let mut builder = Broker::builder();
        if asks {
            builder = builder
                .on_connect(|_| async { ConnectDecision::Accept })
                .on_publish(|_| PublishDecision::Later(Box::pin(async { PublishDecision::Pass })));
        }
        let (broker, now) = (builder.build(), Instant::now());
        let mut publisher = SansIoConnection::new(&broker, from(), now);
        let bytes = [&connect(b'p')[..], b"\x32\x05\x00\x01t\x00\x01", b"\x30\x03\x00\x01t"].concat();
        let (begin, end) = bytes.split_at(5);
        publisher.handle_bytes(now, begin);
        publisher.handle_bytes(now, end);
        while publisher.poll_decision(now, &mut Context::from_waker(Waker::noop())) {}
        assert_eq!(transmitted(&mut publisher, now), [&CONNACK[..], &[0x40, 2, 0, 1]].concat());
        let session = broker.session("p").unwrap();
        assert_eq!((session.messages_received, session.bytes_received), (2, bytes.len() as u64), "{asks}");
    }
}

/// It came behind its successor, and the subscriber took it for the last word.
#[test]
fn a_retained_message_that_was_replaced_does_not_come_behind_its_successor() {
    let topic = || TopicName::try_from("t").unwrap();
    let (asked, is_asked) = mpsc::channel();
    let (done, is_done) = mpsc::channel();
    let is_done = Mutex::new(is_done);
    let broker = Broker::builder().on_deliver(move |request| {
        if request.retain {
            asked.send(()).unwrap();
            is_done.lock().unwrap().recv().unwrap();
        }
        true
    });
    let (broker, now) = (broker.build(), Instant::now());
    broker.publish(&Message::new(&topic(), b"old", QoS::AtLeastOnce).retained());
    let other = broker.clone();
    let replaces = thread::spawn(move || {
        is_asked.recv().unwrap();
        other.publish(&Message::new(&topic(), b"new", QoS::AtLeastOnce).retained());
        done.send(()).unwrap();
    });
    let mut subscriber = connected(&broker, b's', now);
    subscriber.handle_bytes(now, b"\x82\x06\x00\x01\x00\x01t\x01");
    let said = transmitted(&mut subscriber, now);
    replaces.join().unwrap();
    assert_eq!(said, b"\x90\x03\x00\x01\x01\x32\x08\x00\x01t\x00\x01new");
}

/// Room was asked for once, and by their number, and the later ones drove the earlier ones out [MQTT-3.3.1-6].
#[test]
fn retained_messages_wait_for_room_in_bytes() {
    let mut limits = Limits::default();
    (limits.max_pending_bytes, limits.max_queued_bytes) = (1, 1_000);
    let (broker, now) = (Broker::builder().limits(limits).build(), Instant::now());
    for (n, len) in [300; 9].into_iter().chain([1_500]).chain([300; 10]).enumerate() {
        let topic = TopicName::try_from(&*format!("r/{n:02}")).unwrap();
        broker.publish(&Message::new(&topic, &vec![b'x'; len], QoS::AtLeastOnce).retained());
    }
    for granted in [0, 1] {
        let mut subscriber = connected(&broker, b's', now);
        subscriber.handle_bytes(now, &[&b"\x82\x06\x00\x01\x00\x01#"[..], &[granted]].concat());
        let said = transmitted(&mut subscriber, now);
        let places: Vec<_> = (0..20)
            .map(|n| format!("r/{n:02}"))
            .map(|topic| said.windows(4).position(|bytes| bytes == topic.as_bytes()))
            .collect();
        assert!(places.is_sorted() && places.iter().all(Option::is_some), "QoS {granted}: {places:?}");
        assert_eq!(broker.counts().dropped_for(DropReason::QueueFull), 0);
    }
}

/// Of what clients had published it said no, and after a restart of all; who handed it on to another broker lost RETAIN.
#[test]
fn a_message_says_whether_it_was_published_with_retain() {
    let (store, now) = (MemoryStore::default(), Instant::now());
    let broker = Broker::builder().build_on(store.clone()).unwrap();
    let topic = |text: &str| TopicName::try_from(text).unwrap();
    let mut local = broker.subscriber(&[TopicFilter::try_from("#").unwrap()]).unwrap();
    let mut publisher = connected(&broker, b'p', now);
    publisher.handle_bytes(now, b"\x31\x04\x00\x01tx\x30\x04\x00\x01tx");
    broker.publish(&Message::new(&topic("u"), b"x", QoS::AtMostOnce).retained());
    let mut context = Context::from_waker(Waker::noop());
    for (topic, retain) in [("t", true), ("t", false), ("u", true)] {
        let Poll::Ready(Some(received)) = local.poll_recv(&mut context) else { panic!("a message") };
        let found = (received.message.topic(), received.message.retain(), received.retain);
        assert_eq!(found, (topic, retain, false));
    }
    for broker in [broker, Broker::builder().build_on(store).unwrap()] {
        for topic in ["t", "u"].map(topic) {
            let kept = broker.retained_message(&topic).unwrap();
            assert_eq!(kept, Message::new(&topic, b"x", QoS::AtMostOnce).retained());
        }
    }
}

/// They filled the queue as far as they fitted, and what came then drove one out, was dropped itself, or ended who had subscribed.
#[test]
fn what_is_published_finds_room_beside_retained_messages() {
    for queue_full in [QueueFullPolicy::DropOldest, QueueFullPolicy::DropNewest, QueueFullPolicy::Disconnect]
    {
        let mut limits = Limits::default();
        (limits.max_pending_bytes, limits.max_queued_messages, limits.queue_full) = (1, 4, queue_full);
        let (broker, now) = (Broker::builder().limits(limits).build(), Instant::now());
        let publish = |topic: &str, retained: bool| {
            let message = Message::new(&TopicName::try_from(topic).unwrap(), b"x", QoS::AtLeastOnce);
            broker.publish(&if retained { message.retained() } else { message });
        };
        (0..10).for_each(|n| publish(&format!("r/{n}"), true));
        let mut subscriber = connected(&broker, b's', now);
        subscriber.handle_bytes(now, b"\x82\x06\x00\x01\x00\x01#\x01");
        let mut said = Vec::new();
        subscriber.poll_transmit(now, Waker::noop(), &mut said);
        (0..3).for_each(|n| publish(&format!("live/{n}"), false));
        said.extend(transmitted(&mut subscriber, now));
        let came = |topic: &str| said.windows(topic.len()).filter(|bytes| *bytes == topic.as_bytes()).count();
        let retained = (0..10).map(|n| format!("r/{n}"));
        let mut topics = retained.chain((0..3).map(|n| format!("live/{n}")));
        assert!(topics.all(|topic| came(&topic) == 1), "{queue_full:?}: {said:?}");
        assert_eq!(broker.counts().dropped_for(DropReason::QueueFull), 0);
    }
}

/// No listener does it, so nobody does unless he is told the time.
#[test]
fn sessions_and_retained_messages_expire_when_the_broker_is_told_the_time() {
    let mut limits = Limits::default();
    (limits.session_expiry, limits.retained_expiry) =
        (Some(Duration::from_mins(1)), Some(Duration::from_mins(1)));
    let (broker, now) = (Broker::builder().limits(limits).build(), Instant::now());
    for n in 0..300_u16 {
        let [high, low] = n.to_be_bytes().map(|byte| b'a' + byte % 16);
        let middle = b'a' + (n / 16 % 16) as u8;
        let mut kept = SansIoConnection::new(&broker, from(), now);
        let connect = [b"\x10\x0f\x00\x04MQTT\x04\x00\x00\x00\x00\x03".as_slice(), &[high, middle, low]];
        kept.handle_bytes(now, &connect.concat());
        // QoS 0, RETAIN: to a topic of its own.
        kept.handle_bytes(now, &[0x31, 6, 0, 3, high, middle, low, b'x']);
        kept.handle_loss(now);
    }
    let kept = || (broker.snapshot().sessions, broker.snapshot().retained_messages);
    assert!(!broker.tick(now));
    assert_eq!(kept(), (300, 300));
    let later = now + Duration::from_mins(2);
    assert!(broker.tick(later), "a part of them");
    assert!(kept().0 > 0);
    while broker.tick(later) {}
    assert_eq!(kept(), (0, 0));
    assert_eq!(broker.counts().sessions_expired, 300);
}

/// They were forgotten in one go, with all that they had subscribed to.
#[test]
fn few_sessions_expire_at_a_time_if_they_have_many_subscriptions() {
    let mut limits = Limits::default();
    limits.session_expiry = Some(Duration::from_mins(1));
    let (broker, now) = (Broker::builder().limits(limits).build(), Instant::now());
    for client_id in *b"abcd" {
        let mut kept = SansIoConnection::new(&broker, from(), now);
        kept.handle_bytes(
            now,
            &[&b"\x10\x0d\x00\x04MQTT\x04\x00\x00\x00\x00\x01"[..], &[client_id]].concat(),
        );
        let client_id = char::from(client_id).to_string();
        for n in 0..600 {
            let filter = TopicFilter::try_from(&*format!("{client_id}/{n}")).unwrap();
            broker.subscribe(&client_id, &filter, QoS::AtMostOnce).unwrap();
        }
        kept.handle_loss(now);
    }
    let later = now + Duration::from_mins(2);
    let mut kept = Vec::new();
    while broker.tick(later) {
        kept.push(broker.snapshot().sessions);
    }
    assert_eq!(kept, [2, 0]);
}

/// It was said to have been absent since its client was last heard, which may be a week ago if it only receives; and that the broker
/// was shut down.
#[test]
fn a_connection_that_is_dropped_was_lost_in_that_moment() {
    let (tell, told) = mpsc::channel();
    let broker = Broker::builder().on_close(move |_, reason| _ = tell.send(reason.clone())).build();
    let heard_at = Instant::now();
    let mut kept = SansIoConnection::new(&broker, from(), heard_at);
    kept.handle_bytes(heard_at, b"\x10\x0d\x00\x04MQTT\x04\x00\x00\x00\x00\x01k");
    let dropped_at = Instant::now();
    drop(kept);
    assert_eq!(told.try_recv(), Ok(CloseReason::ConnectionLost));
    assert!(broker.session("k").unwrap().absent_since >= Some(dropped_at));
}

/// Who ended it knows why, and its driver had not heard of it yet.
#[test]
fn a_connection_that_others_have_ended_tells_why_when_it_is_dropped() {
    let (tell, told) = mpsc::channel();
    let broker = Broker::builder().on_close(move |_, reason| _ = tell.send(reason.clone())).build();
    let kicked = connected(&broker, b'k', Instant::now());
    assert!(broker.client("k").unwrap().disconnect());
    drop(kicked);
    assert_eq!(told.try_recv(), Ok(CloseReason::Kicked));
}

/// The same of a connection over TCP: its task goes with its runtime.
#[test]
fn a_connection_whose_runtime_is_dropped_was_lost_in_that_moment() {
    let broker = Broker::builder().build();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = runtime.block_on(async {
        let addr = broker.listen("127.0.0.1:0").await.unwrap();
        let mut client = tokio::net::TcpStream::connect(addr).await.unwrap();
        client.write_all(b"\x10\x0d\x00\x04MQTT\x04\x00\x00\x00\x00\x01k").await.unwrap();
        client.read_exact(&mut [0; 4]).await.unwrap();
        client
    });
    let dropped_at = Instant::now();
    drop(runtime);
    assert!(broker.session("k").unwrap().absent_since >= Some(dropped_at));
    drop(client);
}

#[test]
fn time_comes_from_outside() {
    let (broker, now) = (Broker::builder().build(), Instant::now());
    let mut silent = SansIoConnection::new(&broker, from(), now);
    let due = silent.poll_timeout().expect("a time to CONNECT");
    assert_eq!(due, now + Limits::default().connect_timeout);
    silent.handle_timeout(due);
    assert_eq!(silent.closed(), Some(&CloseReason::ConnectTimeout));

    let mut kept = connected(&broker, b'k', now);
    let due = kept.poll_timeout().expect("a keep alive");
    assert_eq!(due, now + Duration::from_secs(15));
    kept.handle_bytes(now + Duration::from_secs(5), &[0xc0, 0]);
    kept.handle_timeout(due);
    assert_eq!(kept.closed(), None);
    kept.handle_loss(due);
    assert_eq!(kept.closed(), Some(&CloseReason::ConnectionLost));
}

/// Nothing was ever sent, a timer was always due, and a keep alive was cut to none [MQTT-3.1.2-24].
#[test]
fn limits_of_nothing_stop_nothing() {
    let mut limits = Limits::default();
    (limits.max_pending_bytes, limits.max_keep_alive_secs) = (0, Some(0));
    limits.retry_interval = Some(Duration::ZERO);
    let (broker, now) = (Broker::builder().limits(limits).build(), Instant::now());
    let mut subscriber = connected(&broker, b's', now);
    assert_eq!(subscriber.poll_timeout(), Some(now + Duration::from_secs(15)));
    subscriber.handle_timeout(now);
    assert_eq!(subscriber.poll_timeout(), Some(now + Duration::from_secs(15)));
    subscriber.handle_bytes(now, b"\x82\x06\x00\x01\x00\x01t\x00");
    transmitted(&mut subscriber, now);
    broker.publish(&Message::new(&TopicName::try_from("t").unwrap(), b"x", QoS::AtMostOnce));
    assert_eq!(transmitted(&mut subscriber, now), b"\x30\x04\x00\x01tx");
}

#[test]
fn a_hook_decides_and_may_await() {
    let broker = Broker::builder()
        .on_connect(|request| async move {
            if &*request.client.client_id == "a" { ConnectDecision::Accept } else { panic!("as tests may") }
        })
        .build();
    let now = Instant::now();
    let mut cx = Context::from_waker(Waker::noop());
    let mut decided = |client_id| {
        let mut connection = SansIoConnection::new(&broker, from(), now);
        connection.handle_bytes(now, &connect(client_id));
        assert!(!connection.wants_bytes());
        assert!(connection.poll_decision(now, &mut cx));
        assert!(!connection.poll_decision(now, &mut cx));
        (transmitted(&mut connection, now), connection.closed().cloned())
    };
    assert_eq!(decided(b'a'), (CONNACK.to_vec(), None));
    assert_eq!(decided(b'b').1, Some(CloseReason::HookFailed));
}

/// Nobody asked about the second one, and the client waited for ever.
#[test]
fn a_hook_that_decides_at_once_about_two_filters_is_polled_once() {
    let builder =
        Broker::builder().on_subscribe(|request| async move { SubscribeDecision::Grant(request.qos) });
    let (broker, now) = (builder.build(), Instant::now());
    let mut subscriber = connected(&broker, b's', now);
    subscriber.handle_bytes(now, b"\x82\x0a\x00\x01\x00\x01t\x01\x00\x01u\x00");
    assert!(subscriber.poll_decision(now, &mut Context::from_waker(Waker::noop())));
    assert_eq!(transmitted(&mut subscriber, now), [0x90, 4, 0, 1, 1, 0]);
}

#[test]
fn a_taken_over_connection_learns_it_when_it_is_polled() {
    let (broker, now) = (Broker::builder().build(), Instant::now());
    let mut older = connected(&broker, b'c', now);
    let _newer = connected(&broker, b'c', now);
    transmitted(&mut older, now);
    assert_eq!(older.closed(), Some(&CloseReason::TakenOver));
}

/// They were handed out still, and nobody was left to end them: who waited for the end of a subscriber's messages waited for ever.
#[tokio::test]
async fn after_a_shutdown_nobody_gets_a_session() {
    let (broker, now) = (Broker::builder().build(), Instant::now());
    let (mut earlier, mut waiting) =
        (connected(&broker, b'e', now), SansIoConnection::new(&broker, from(), now));
    let mut subscriber = broker.subscriber(&[]).unwrap();
    broker.shutdown(Duration::from_secs(10)).await.unwrap();
    assert!(subscriber.recv().await.is_none());
    transmitted(&mut earlier, now);
    assert_eq!(earlier.closed(), Some(&CloseReason::Shutdown));

    assert_eq!(broker.subscriber(&[]).err(), Some(SubscribeRefusal::ShutDown));
    for connection in [&mut waiting, &mut SansIoConnection::new(&broker, from(), now)] {
        connection.handle_bytes(now, &connect(b'e'));
        assert_eq!(transmitted(connection, now), [0x20, 2, 0, 3]);
        assert!(connection.closed().is_some());
    }
    assert_eq!(broker.counts().refused_for(RefusalReason::ShutDown), 2);
}
