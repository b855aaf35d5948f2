//! What another connection of the same client, or the end of the process, does between two steps of one packet. A hook is where a
//! test can get in between.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Waker},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use mqtt_broker::{
    Broker, Builder, Event, Message, PublishDecision, SansIoConnection, WillDecision,
    store::{MemoryStore, Record},
};
use mqtt_codec::{
    Connack, Connect, Decoder, Packet, Puback, Pubcomp, Publish, Pubrec, Pubrel, TopicName, Unsubscribe,
};

use crate::{
    Q0, Q1, Q2,
    client::{connect, credentials, id, persistent, publish, subscribe, will},
    durability::Groups,
    filter,
};

/// A client with a session that stays, and without a socket.
struct Hand(SansIoConnection);

/// What another thread does, from the first time on that a hook is asked: the client comes once more, say.
#[derive(Clone, Default)]
struct Second(Arc<Parts>);

#[derive(Default)]
struct Parts {
    broker: OnceLock<Broker>,
    has_come: AtomicBool,
    act: Mutex<Option<JoinHandle<Hand>>>,
    was_early: AtomicBool,
}

/// It would have done all that it wants to by then, if it did not have to wait.
const LONG: Duration = Duration::from_millis(100);

impl Hand {
    fn join(broker: &Broker, client_id: &str) -> (Self, Vec<Packet>) {
        Self::join_as(broker, persistent(client_id))
    }

    fn join_as(broker: &Broker, connect: Connect) -> (Self, Vec<Packet>) {
        Self::join_saying(broker, connect, &[])
    }

    /// Sends these together with CONNECT.
    fn join_saying(broker: &Broker, connect: Connect, more: &[&Packet]) -> (Self, Vec<Packet>) {
        let from = SocketAddr::from(([192, 0, 2, 1], 4711));
        let mut new = Self(SansIoConnection::new(broker, from, Instant::now()));
        let said = new.ask_all(&[&[&Packet::Connect(Box::new(connect))], more].concat());
        (new, said)
    }

    /// What it is told when it has said this, whatever hooks are asked.
    fn ask(&mut self, packet: &Packet) -> Vec<Packet> {
        self.ask_all(&[packet])
    }

    /// The same for packets that come together.
    fn ask_all(&mut self, packets: &[&Packet]) -> Vec<Packet> {
        let mut bytes = Vec::new();
        for packet in packets {
            packet.encode(&mut bytes).unwrap();
        }
        self.0.handle_bytes(Instant::now(), &bytes);
        while self.0.poll_decision(Instant::now(), &mut Context::from_waker(Waker::noop())) {}
        self.say()
    }

    fn say(&mut self) -> Vec<Packet> {
        let mut out = Vec::new();
        while self.0.poll_transmit(Instant::now(), Waker::noop(), &mut out) {}
        let (mut bytes, mut decoder) = (BytesMut::from(Bytes::from(out)), Decoder::new(usize::MAX));
        std::iter::from_fn(|| decoder.decode(&mut bytes).unwrap()).collect()
    }

    /// The payloads that it is sent.
    fn payloads(&mut self) -> Vec<Bytes> {
        let payload = |packet| match packet {
            Packet::Publish(Publish { payload, .. }) => Some(payload),
            _ => None,
        };
        self.say().into_iter().filter_map(payload).collect()
    }
}

impl Second {
    /// To be called in a hook.
    fn strike(&self, act: impl FnOnce(&Broker) -> Hand + Send + 'static) {
        if self.0.has_come.swap(true, Ordering::SeqCst) {
            return;
        }
        let broker = self.0.broker.get().unwrap().clone();
        let other = thread::spawn(move || act(&broker));
        thread::sleep(LONG);
        self.0.was_early.store(other.is_finished(), Ordering::SeqCst);
        *self.0.act.lock().unwrap() = Some(other);
    }

    fn knows(&self, broker: &Broker) {
        self.0.broker.set(broker.clone()).ok().unwrap();
    }

    /// The client's second connection. It had to wait for the first one's packets.
    fn hand(&self) -> Hand {
        let hand = self.0.act.lock().unwrap().take().unwrap().join().unwrap();
        assert!(!self.0.was_early.load(Ordering::SeqCst));
        hand
    }
}

fn message(payload: &str) -> Packet {
    Packet::Publish(publish("t", payload, Q2, id(1)))
}

fn pubrec(number: u16) -> Packet {
    Packet::Pubrec(Pubrec { packet_id: id(number) })
}

fn pubrel(number: u16) -> Packet {
    Packet::Pubrel(Pubrel { packet_id: id(number) })
}

fn pubcomp(number: u16) -> Packet {
    Packet::Pubcomp(Pubcomp { packet_id: id(number) })
}

/// The identifier was known from before the question on, to the second connection too: the message that it repeated was
/// acknowledged, and nobody ever had it. [MQTT-4.3.3-2]
#[test]
fn a_second_connection_repeats_a_message_about_which_a_hook_is_asked() {
    let [q1, q2] = [Q1, Q2].map(|qos| Packet::Publish(publish("t", "once", qos, id(1))));
    for (message, answer) in [(q1, Packet::Puback(Puback { packet_id: id(1) })), (q2, pubrec(1))] {
        let (second, broker) = (Arc::new(OnceLock::new()), Arc::new(OnceLock::<Broker>::new()));
        let (joins, asked) = (Arc::clone(&second), Arc::clone(&broker));
        let built = Broker::builder().on_publish(move |_| {
            let (joins, asked) = (Arc::clone(&joins), Arc::clone(&asked));
            PublishDecision::Later(Box::pin(async move {
                joins.get_or_init(|| Mutex::new(Hand::join(asked.get().unwrap(), "c").0));
                PublishDecision::Pass
            }))
        });
        let broker = broker.get_or_init(|| built.build());
        let (mut receiver, _) = Hand::join(broker, "receiver");
        receiver.ask(&subscribe(id(1), &[("t", Q2)]));
        let (mut first, _) = Hand::join(broker, "c");
        assert_eq!((first.ask(&message), receiver.payloads()), (vec![], vec![]));
        let mut second = second.get().unwrap().lock().unwrap();
        assert_eq!(second.ask(&message), [answer]);
        assert_eq!(receiver.payloads(), ["once"]);
    }
}

/// The store heard of the identifier after it had heard that it was free again: a new message was taken for a repeated one.
/// [MQTT-4.3.3-2]
#[test]
fn a_second_connection_is_done_with_a_message_before_the_first_is_passed_on() {
    let second = Second::default();
    let asked = second.clone();
    let broker = Broker::builder().on_publish(move |_| {
        asked.strike(|broker| {
            let (mut hand, _) = Hand::join(broker, "c");
            let said = (hand.ask(&message("one")), hand.ask(&pubrel(1)));
            assert_eq!(said, (vec![pubrec(1)], vec![pubcomp(1)]));
            hand
        });
        PublishDecision::Pass
    });
    let store = MemoryStore::default();
    let broker = broker.build_on(store.clone()).unwrap();
    second.knows(&broker);
    let (mut receiver, _) = Hand::join(&broker, "receiver");
    receiver.ask(&subscribe(id(1), &[("t", Q2)]));
    let (mut first, _) = Hand::join(&broker, "c");
    first.ask(&message("one"));
    drop(second.hand());
    assert_eq!(receiver.payloads(), ["one"]);
    drop((receiver, first, second, broker));

    let broker = Broker::builder().build_on(store).unwrap();
    let (mut again, _) = Hand::join(&broker, "c");
    assert_eq!(again.ask(&message("two")), [pubrec(1)]);
    let (mut receiver, said) = Hand::join(&broker, "receiver");
    assert_eq!(said.len(), 3, "CONNACK, the first one again, and the second: {said:?}");
    assert_eq!(receiver.payloads(), [""; 0]);
}

/// It was acknowledged, and what came behind it overtook it on its way to who receives both. [MQTT-4.6.0-6]
#[test]
fn a_second_connection_waits_for_a_message_that_is_being_passed_on() {
    let second = Second::default();
    let asked = second.clone();
    let broker = Broker::builder().on_deliver(move |_| {
        asked.strike(|broker| {
            let (mut hand, _) = Hand::join(broker, "c");
            assert_eq!(hand.ask(&message("one")), [pubrec(1)]);
            hand
        });
        true
    });
    let broker = broker.build();
    second.knows(&broker);
    let (mut receiver, _) = Hand::join(&broker, "receiver");
    receiver.ask(&subscribe(id(1), &[("t", Q2)]));
    let (mut first, _) = Hand::join(&broker, "c");
    first.ask(&message("one"));
    drop(second.hand());
    assert_eq!(receiver.payloads(), ["one"]);
}

/// It was another user's, who may not have it; or it came behind the answer to the second connection's UNSUBSCRIBE.
#[test]
fn a_second_connection_waits_for_the_retained_messages_of_the_first() {
    let unsubscribe = Packet::Unsubscribe(Unsubscribe { packet_id: id(2), filters: vec![filter("t")] });
    for (user_name, packet) in [("other", Packet::Pingreq), ("user", unsubscribe)] {
        let second = Second::default();
        let asked = second.clone();
        let broker = Broker::builder().on_deliver(move |request| {
            let (packet, user) = (packet.clone(), credentials(user_name, ""));
            asked.strike(move |broker| {
                let connect = Connect { credentials: user, ..persistent("c") };
                let (mut hand, _) = Hand::join_as(broker, connect);
                hand.ask(&packet);
                hand
            });
            request.client.user_name.as_deref() == Some("user")
        });
        let broker = broker.build();
        second.knows(&broker);
        let topic = TopicName::try_from("t").unwrap();
        broker.publish(&Message::new(&topic, b"retained", Q0).retained());
        let connect = Connect { credentials: credentials("user", ""), ..persistent("c") };
        let (mut first, _) = Hand::join_as(&broker, connect);
        first.ask(&subscribe(id(1), &[("t", Q1)]));
        assert_eq!(second.hand().payloads(), [""; 0], "{user_name}");
    }
}

/// It removed what the second connection had been granted.
#[test]
fn a_second_connection_subscribes_while_the_first_unsubscribes() {
    let second = Second::default();
    let asked = second.clone();
    let broker = Broker::builder().on_unsubscribe(move |_, _| {
        asked.strike(|broker| {
            let (mut hand, _) = Hand::join(broker, "c");
            hand.ask(&subscribe(id(1), &[("t", Q1)]));
            hand
        });
    });
    let broker = broker.build();
    second.knows(&broker);
    let (mut first, _) = Hand::join(&broker, "c");
    first.ask(&subscribe(id(1), &[("t", Q1)]));
    first.ask(&Packet::Unsubscribe(Unsubscribe { packet_id: id(2), filters: vec![filter("t")] }));
    let mut second = second.hand();
    let (mut publisher, _) = Hand::join(&broker, "publisher");
    publisher.ask(&message("for the second"));
    assert_eq!(second.payloads(), ["for the second"]);
}

/// What has come with the packet that a first connection is at.
fn a_retained_message_of_a_first_connection(act: fn(&Broker), comes_with_connect: bool) -> Bytes {
    let second = Second::default();
    let asked = second.clone();
    let broker = Broker::builder().on_publish(move |_| {
        asked.strike(move |broker| {
            act(broker);
            let (mut hand, _) = Hand::join(broker, "c");
            hand.ask(&retained("newest", 3));
            hand
        });
        PublishDecision::Pass
    });
    let broker = broker.build();
    second.knows(&broker);
    let old = [&retained("older", 1), &retained("old", 2)];
    let (with_connect, behind) = old.split_at(if comes_with_connect { 2 } else { 0 });
    let (mut first, _) = Hand::join_saying(&broker, persistent("c"), with_connect);
    first.ask_all(behind);
    drop(second.hand());
    retained_at(&broker)
}

fn retained_at(broker: &Broker) -> Bytes {
    let (mut reader, _) = Hand::join(broker, "reader");
    let said = reader.ask(&subscribe(id(1), &[("t", Q1)]));
    match &said[..] {
        [_, Packet::Publish(Publish { payload, .. })] => payload.clone(),
        other => panic!("{other:?}"),
    }
}

fn retained(payload: &str, number: u16) -> Packet {
    Packet::Publish(Publish { retain: true, ..publish("t", payload, Q1, id(number)) })
}

/// It was replaced by what the first connection had sent earlier.
#[test]
fn a_second_connection_retains_what_is_newest() {
    for comes_with_connect in [false, true] {
        assert_eq!(a_retained_message_of_a_first_connection(|_| {}, comes_with_connect), "newest");
    }
}

#[test]
fn who_comes_back_after_its_session_was_ended_retains_what_is_newest() {
    let act = |broker: &Broker| assert!(broker.end_session("c"));
    for comes_with_connect in [false, true] {
        assert_eq!(a_retained_message_of_a_first_connection(act, comes_with_connect), "newest");
    }
}

/// Ends a first connection that has a Will, or several connections; its client comes once more just when the hook is asked about that.
fn what_is_retained_after_a_will(first: Connect, end: fn(&Broker, Hand), builder: Builder) -> Bytes {
    let second = Second::default();
    let asked = second.clone();
    let broker = builder.on_will(move |_, _| {
        asked.strike(|broker| {
            let (mut hand, _) = Hand::join(broker, "c");
            hand.ask(&retained("newest", 1));
            hand
        });
        WillDecision::Pass
    });
    let broker = broker.build();
    second.knows(&broker);
    let (first, _) = Hand::join_as(&broker, Connect { will: will("t", b"gone", Q1, true), ..first });
    end(&broker, first);
    drop(second.hand());
    retained_at(&broker)
}

/// Each way in which a connection may end so that its Will is due.
const ENDS: [fn(&Broker, Hand); 5] = [
    |_, mut first| first.0.handle_loss(Instant::now()),
    |_, mut first| first.0.handle_bytes(Instant::now(), &[0xf0, 0]),
    |broker, _first| assert!(broker.end_session("c")),
    |broker, _first| drop(Hand::join(broker, "c")),
    |broker, _first| drop(Hand::join_as(broker, connect("c"))),
];

/// Who had come back to say that it was there again was taken to be gone.
#[test]
fn a_will_does_not_come_behind_what_the_next_connection_publishes() {
    for (n, end) in ENDS.into_iter().enumerate() {
        for first in [persistent("c"), connect("c")] {
            let clean = first.clean_session;
            let retained = what_is_retained_after_a_will(first, end, Broker::builder());
            assert_eq!(retained, "newest", "{n} {clean}");
        }
    }
}

#[test]
fn a_second_connection_is_told_of_after_the_end_of_the_first() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let tells = Arc::clone(&told);
    let builder = Broker::builder().observer(move |event: &Event<'_>| {
        tells.lock().unwrap().push(match event {
            Event::Connected { client, .. } if &*client.client_id == "c" => "connected",
            Event::Disconnected { client, .. } if &*client.client_id == "c" => "disconnected",
            Event::SessionCreated { client_id: "c" } => "created",
            Event::SessionEnded { client_id: "c", .. } => "ended",
            _ => return,
        });
    });
    what_is_retained_after_a_will(connect("c"), ENDS[0], builder);
    let one = ["created", "connected", "ended", "disconnected"];
    assert_eq!(told.lock().unwrap()[..6], [&one[..], &one[..2]].concat());
}

/// It has nothing to settle any more. It would keep all connections of its thread waiting for as long as an end takes.
#[test]
fn a_connection_whose_session_is_being_ended_does_not_wait_for_that() {
    let first = Arc::new(Mutex::new(None::<Hand>));
    let (second, ends) = (Second::default(), Arc::clone(&first));
    let strikes = second.clone();
    let broker = Broker::builder()
        .on_will(move |_, _| {
            let mut first = ends.lock().unwrap().take().unwrap();
            strikes.strike(move |_| {
                first.say();
                first
            });
            WillDecision::Pass
        })
        .build();
    second.knows(&broker);
    let connect = Connect { will: will("t", b"gone", Q1, true), ..persistent("c") };
    *first.lock().unwrap() = Some(Hand::join_as(&broker, connect).0);
    assert!(broker.end_session("c"));
    assert!(second.0.was_early.load(Ordering::SeqCst));
    let first = second.0.act.lock().unwrap().take().unwrap().join().unwrap();
    assert!(first.0.closed().is_some());
}

/// It is asked in the turn that it would wait for, while the session that is over still has its place.
#[test]
fn a_hook_that_is_asked_about_a_will_connects_the_same_client() {
    for (n, end) in ENDS.into_iter().enumerate().take(3) {
        for first in [persistent("c"), connect("c")] {
            let (second, broker) = (Arc::new(Mutex::new(None)), Arc::new(OnceLock::<Broker>::new()));
            let (joins, asked) = (Arc::clone(&second), Arc::clone(&broker));
            let built = Broker::builder().on_will(move |_, _| {
                *joins.lock().unwrap() = Some(Hand::join(asked.get().unwrap(), "c"));
                WillDecision::Pass
            });
            let broker = broker.get_or_init(|| built.build());
            let goes_on = !first.clean_session && n < 2;
            let connect = Connect { will: will("t", b"gone", Q1, true), ..first };
            end(broker, Hand::join_as(broker, connect).0);
            let (mut second, said) = second.lock().unwrap().take().unwrap();
            assert_eq!(said, [Packet::Connack(Connack::Accepted { session_present: goes_on })], "{n}");
            assert_eq!(second.ask(&Packet::Pingreq), [Packet::Pingresp]);
            assert_eq!(broker.snapshot().sessions, 1);
            assert!(broker.end_session("c"));
            assert_eq!(broker.snapshot().sessions, 0);
        }
    }
}

/// It would wait for itself.
#[test]
fn a_hook_that_connects_its_own_client_does_not_wait() {
    let (second, broker) = (Arc::new(Mutex::new(None)), Arc::new(OnceLock::<Broker>::new()));
    let (joins, asked) = (Arc::clone(&second), Arc::clone(&broker));
    let built = Broker::builder().on_publish(move |_| {
        *joins.lock().unwrap() = Some(Hand::join(asked.get().unwrap(), "c").0);
        PublishDecision::Drop
    });
    let broker = broker.get_or_init(|| built.build());
    let (mut first, _) = Hand::join(broker, "c");
    first.ask(&retained("x", 1));
    let mut second = second.lock().unwrap().take().unwrap();
    assert_eq!(second.ask(&Packet::Pingreq), [Packet::Pingresp]);
}

/// Copies of one message for one session had one key: who was done with one was done with all, and the identifier of the other was
/// given to a new message. [MQTT-4.4.0-1]
#[test]
fn each_copy_of_a_message_is_kept_for_itself() {
    let store = MemoryStore::default();
    let broker = Broker::builder().build_on(store.clone()).unwrap();
    let (mut receiver, _) = Hand::join(&broker, "receiver");
    receiver.ask(&subscribe(id(1), &[("t", Q2), ("$share/group/t", Q2)]));
    let (mut publisher, _) = Hand::join(&broker, "publisher");
    assert_eq!(publisher.ask(&message("twice")), [pubrec(1)]);
    assert_eq!(receiver.payloads(), ["twice", "twice"]);
    assert_eq!((receiver.ask(&pubrec(1)), receiver.ask(&pubcomp(1))), (vec![pubrel(1)], vec![]));
    assert_eq!(receiver.ask(&pubrec(2)), [pubrel(2)]);
    drop((receiver, publisher, broker));

    let broker = Broker::builder().build_on(store).unwrap();
    let (_, said) = Hand::join(&broker, "receiver");
    assert_eq!(said[1..], [pubrel(2)]);
}

/// One after the other, the next connection's CONNACK could be kept between them: after a kill a void Will was published, and a
/// session that had been discarded was there again. [MQTT-3.1.2-10] [MQTT-3.1.2-6]
#[test]
fn what_ends_together_is_one_group() {
    let store = Groups::default();
    let broker = Broker::builder().build_on(store.clone()).unwrap();
    let groups = || store.take();
    let (mut client, _) =
        Hand::join_as(&broker, Connect { will: will("w", b"x", Q1, false), ..persistent("c") });
    groups();
    client.ask(&Packet::Disconnect);
    assert!(
        matches!(groups()[..], [ref group] if matches!(group[..], [Record::SessionDetached { .. }, Record::WillCleared { .. }]))
    );
    let (_clean, _) = Hand::join_as(&broker, Connect { will: will("w", b"x", Q1, false), ..connect("c") });
    assert!(
        matches!(groups()[..], [ref group] if matches!(group[..], [Record::SessionEnded { .. }, Record::WillSet { .. }]))
    );
}
