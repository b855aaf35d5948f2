//! A subscriber inside the process: a session like any other, without a socket.

use std::{
    iter,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use mqtt_broker::{
    Broker, DropReason, Event, LocalMessage, LocalSubscriber, Page, Peer, QueueFullPolicy, SubscribeRefusal,
};

use crate::{Q0, Q1, Q2, client::Client, filter, journal::soon, limits, local_message, message, start};

#[tokio::test]
async fn receives_what_matches_in_order() {
    let (broker, address) = start(Broker::builder()).await;
    let mut local = broker.subscriber(&[filter("a/#"), filter("b")]).unwrap();
    let mut client = Client::connected(address, "a").await;
    for (n, qos) in [Q0, Q1, Q2, Q0].into_iter().enumerate() {
        client.publish("a/x", &n.to_string(), qos).await;
        client.publish("elsewhere", "", Q0).await;
        broker.publish(&message("b", &n.to_string(), qos));
    }
    for (n, qos) in [Q0, Q1, Q2, Q0].into_iter().enumerate() {
        for topic in ["a/x", "b"] {
            let received = local_message(&mut local).await;
            let expected = (topic, n.to_string());
            assert_eq!(
                (received.message.topic(), String::from_utf8_lossy(received.message.payload()).into()),
                expected
            );
            assert_eq!((received.message.qos(), received.retain), (qos, false));
        }
    }
}

#[tokio::test]
async fn receives_retained_messages_first() {
    let (broker, _) = start(Broker::builder()).await;
    for n in 0..3_000 {
        broker.publish(&message(&format!("r/{n:04}"), "old", Q1).retained());
    }
    let mut local = broker.subscriber(&[filter("r/+")]).unwrap();
    for n in 0..3_000 {
        let received = local_message(&mut local).await;
        assert_eq!((received.message.topic(), received.retain), (format!("r/{n:04}").as_str(), true));
    }
    broker.publish(&message("r/new", "new", Q1).retained());
    assert!(!local_message(&mut local).await.retain);
}

/// It came behind, and the older value was taken for the last word.
#[tokio::test]
async fn what_is_published_comes_behind_what_was_retained() {
    let (broker, _) = start(Broker::builder()).await;
    broker.publish(&message("t", "old", Q1).retained());
    broker.publish(&message("u", "other", Q1).retained());
    let mut local = broker.subscriber(&[filter("#")]).unwrap();
    broker.publish(&message("t", "new", Q1));
    for expected in ["old", "other", "new"] {
        assert_eq!(local_message(&mut local).await.message.payload(), expected.as_bytes());
    }
}

/// What is there now, and nothing that has to be waited for.
fn received(local: &mut LocalSubscriber) -> Vec<LocalMessage> {
    let mut context = Context::from_waker(Waker::noop());
    let next = || match local.poll_recv(&mut context) {
        Poll::Ready(message) => message,
        Poll::Pending => None,
    };
    iter::from_fn(next).collect()
}

/// Only their number was looked at: beyond the bytes of a queue the later ones drove the earlier ones out, or ended who had asked for
/// them.
#[test]
fn retained_messages_wait_for_room_instead_of_driving_each_other_out() {
    for policy in [QueueFullPolicy::DropOldest, QueueFullPolicy::DropNewest, QueueFullPolicy::Disconnect] {
        let limits = limits(|limits| (limits.max_queued_bytes, limits.queue_full) = (1_000, policy));
        let broker = Broker::builder().limits(limits).build();
        for n in 0..10 {
            broker.publish(&message(&format!("r/{n}"), &"x".repeat(300), Q1).retained());
        }
        let mut local = broker.subscriber(&[filter("r/+")]).unwrap();
        let topics: Vec<_> = received(&mut local).iter().map(|got| got.message.topic().to_owned()).collect();
        assert_eq!(topics, (0..10).map(|n| format!("r/{n}")).collect::<Vec<_>>(), "{policy:?}");
        assert_eq!(broker.counts().dropped_for(DropReason::QueueFull), 0);
    }
}

/// As a message that is published it would not wait here either; but it ends nobody, and keeps nothing up.
#[test]
fn a_retained_message_that_no_queue_has_room_for_is_passed_over() {
    let limits = limits(|limits| {
        (limits.max_queued_bytes, limits.queue_full) = (1_000, QueueFullPolicy::Disconnect);
    });
    let broker = Broker::builder().limits(limits).build();
    for (topic, len) in [("r/1", 1), ("r/2", 1_000), ("r/3", 997)] {
        broker.publish(&message(topic, &"x".repeat(len), Q1).retained());
    }
    let mut local = broker.subscriber(&[filter("r/+")]).unwrap();
    let topics: Vec<_> = received(&mut local).iter().map(|got| got.message.topic().to_owned()).collect();
    assert_eq!(topics, ["r/1", "r/3"]);
    assert_eq!(broker.counts().dropped_for(DropReason::QueueFull), 1);
}

/// They filled the queue to the brim with each message that was taken, and what was published drove something out.
#[test]
fn what_is_retained_leaves_room_for_what_is_published() {
    let broker = Broker::builder().build();
    for n in 0..5_000 {
        broker.publish(&message(&format!("r/{n:04}"), "old", Q1).retained());
    }
    let mut local = broker.subscriber(&[filter("#")]).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    for n in 0..100 {
        for _ in 0..2 {
            broker.publish(&message("live", &n.to_string(), Q1));
        }
        for _ in 0..20 {
            assert!(local.poll_recv(&mut context).is_ready());
        }
    }
    assert_eq!(broker.counts().dropped_for(DropReason::QueueFull), 0);
    assert_eq!(received(&mut local).len(), 5_200 - 100 * 20);
}

/// Without a listener, and without a tick, nothing removes it: it must not be handed out all the same.
#[test]
fn a_retained_message_that_has_expired_is_not_received() {
    let limits = limits(|limits| limits.retained_expiry = Some(Duration::from_nanos(1)));
    let broker = Broker::builder().limits(limits).build();
    let mut local = broker.subscriber(&[]).unwrap();
    broker.publish(&message("t", "old", Q1).retained());
    local.subscribe(&filter("t")).unwrap();
    assert!(local.poll_recv(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(broker.snapshot().retained_messages, 1, "it is still there");
}

#[tokio::test]
async fn filters_come_and_go() {
    let (broker, _) = start(Broker::builder()).await;
    let mut local = broker.subscriber(&[]).unwrap();
    broker.publish(&message("t", "1", Q0));
    local.subscribe(&filter("t")).unwrap();
    broker.publish(&message("t", "2", Q0));
    assert!(local.unsubscribe(&filter("t")));
    assert!(!local.unsubscribe(&filter("t")));
    broker.publish(&message("t", "3", Q0));
    local.subscribe(&filter("t")).unwrap();
    broker.publish(&message("t", "4", Q0));
    assert_eq!(local_message(&mut local).await.message.payload(), b"2");
    assert_eq!(local_message(&mut local).await.message.payload(), b"4");
}

#[tokio::test]
async fn is_listed_while_it_lives_and_forgotten_when_dropped() {
    let (broker, _) = start(Broker::builder()).await;
    let local = broker.subscriber(&[filter("t")]).unwrap();
    let listed = broker.clients(Page::default());
    assert_eq!(
        (listed.len(), &*listed[0].client_id, listed[0].peer),
        (1, local.client_id(), Peer::InProcess)
    );
    assert_eq!(broker.subscriptions_of(local.client_id()).len(), 1);
    assert_eq!(broker.snapshot().connections, 0, "it is no connection");
    broker.publish(&message("t", "nobody fetches it", Q1));
    drop(local);
    let now = broker.snapshot();
    assert_eq!((now.sessions, now.subscriptions), (0, 0));
    assert_eq!(now.counts.dropped_for(DropReason::SessionEnded), 1);
}

#[tokio::test]
async fn ends_when_the_broker_ends_it() {
    let (broker, _) = start(Broker::builder()).await;
    let mut ended = broker.subscriber(&[filter("t")]).unwrap();
    let mut kicked = broker.subscriber(&[filter("t")]).unwrap();
    let (ended_id, kicked_id) = (ended.client_id().to_owned(), kicked.client_id().to_owned());
    let ending = async {
        tokio::task::yield_now().await; // They wait by now.
        assert!(broker.end_session(&ended_id));
        assert!(broker.client(&kicked_id).unwrap().disconnect());
    };
    let waiting = async { tokio::join!(ended.recv(), kicked.recv(), ending) };
    let (first, second, ()) = soon("the end of both", waiting).await;
    assert!(first.is_none() && second.is_none());
    assert!(ended.subscribe(&filter("u")).is_err());
}

/// There was an end without a beginning, and who counts both came below zero.
#[test]
fn its_session_is_announced_from_its_beginning_to_its_end() {
    let (count, counted) = mpsc::channel();
    let broker = Broker::builder().observer(move |event: &Event<'_>| match event {
        Event::SessionCreated { client_id } => count.send(format!("created {client_id}")).unwrap(),
        Event::SessionEnded { client_id, .. } => count.send(format!("ended {client_id}")).unwrap(),
        _ => {}
    });
    let broker = broker.build();
    let local = broker.subscriber(&[]).unwrap();
    let id = local.client_id().to_owned();
    drop(local);
    assert_eq!(counted.try_iter().collect::<Vec<_>>(), [format!("created {id}"), format!("ended {id}")]);
    assert_eq!(broker.counts().sessions_created, 1);
}

/// It was refused as if there were no such session, and had subscribed nevertheless.
#[tokio::test]
async fn who_subscribes_after_a_shutdown_is_told_so_and_has_not() {
    let broker = Broker::builder().build();
    let local = broker.subscriber(&[]).unwrap();
    broker.shutdown(Duration::from_secs(5)).await.unwrap();
    assert_eq!(local.subscribe(&filter("t")), Err(SubscribeRefusal::ShutDown));
    assert_eq!(broker.snapshot().subscriptions, 0);
}

/// Bounded like every client: one that never fetches costs what the limits say.
#[tokio::test]
async fn falls_behind_within_the_limits() {
    let builder = Broker::builder().limits(limits(|limits| limits.max_queued_messages = 10));
    let (broker, _) = start(builder).await;
    let mut local = broker.subscriber(&[filter("t")]).unwrap();
    for n in 0..25 {
        broker.publish(&message("t", &n.to_string(), Q1));
    }
    assert_eq!(broker.session(local.client_id()).unwrap().queued_messages, 10);
    assert_eq!(broker.counts().dropped_for(DropReason::QueueFull), 15);
    for n in 15..25 {
        assert_eq!(local_message(&mut local).await.message.payload(), n.to_string().as_bytes());
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A look-up that takes many turns was left to a poll that nobody was woken for.
#[test]
fn who_waits_is_woken_for_what_another_task_has_subscribed_to() {
    let broker = Broker::builder().build();
    for n in 0..20_000 {
        broker.publish(&message(&format!("a/{n:05}/x"), "x", Q0).retained());
    }
    broker.publish(&message("a/99999/y", "y", Q0).retained());
    let mut local = broker.subscriber(&[]).unwrap();
    let flag = Arc::new(Flag(AtomicBool::new(false)));
    let waker = Arc::clone(&flag).into();
    let mut context = Context::from_waker(&waker);
    assert!(local.poll_recv(&mut context).is_pending());
    local.subscribe(&filter("a/+/y")).unwrap();
    while flag.0.swap(false, Ordering::Relaxed) {
        if let Poll::Ready(received) = local.poll_recv(&mut context) {
            assert_eq!(received.unwrap().message.payload(), b"y");
            return;
        }
    }
    panic!("nobody is woken for the message");
}

/// Polled by hand it wakes whoever polled last.
#[tokio::test]
async fn wakes_who_waits() {
    let (broker, _) = start(Broker::builder()).await;
    let mut local = broker.subscriber(&[filter("t")]).unwrap();
    let flag = Arc::new(Flag(AtomicBool::new(false)));
    let waker = Arc::clone(&flag).into();
    let mut context = Context::from_waker(&waker);
    assert!(local.poll_recv(&mut context).is_pending());
    broker.publish(&message("elsewhere", "x", Q0));
    assert!(!flag.0.load(Ordering::Relaxed));
    broker.publish(&message("t", "x", Q0));
    assert!(flag.0.swap(false, Ordering::Relaxed));
    assert!(matches!(local.poll_recv(&mut context), Poll::Ready(Some(_))));
    assert!(pin!(local.recv()).as_mut().poll(&mut context).is_pending());
    broker.shutdown(Duration::from_secs(5)).await.unwrap();
    assert!(flag.0.load(Ordering::Relaxed));
}
