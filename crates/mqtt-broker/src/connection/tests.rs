//! A `Connection` alone, fed and drained by hand: what happens in which order when the socket takes nothing for a while.

mod rates;

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, SystemTime},
};

use bytes::{Bytes, BytesMut};
use mqtt_codec::{
    Connect, Decoder, Delivery, Packet, PacketId, Puback, Publish, Pubrec, QoS, Subscribe, TopicFilter,
    TopicName, Unsubscribe, Utf8Bytes, Will,
};

use super::*;
use crate::{
    durability::Durability,
    entrance::Entrance,
    event::{DropReason, SessionEnd},
    hooks::HookSet,
    limits::{Limits, QueueFullPolicy},
    message::{Message, Outgoing},
    net,
    place::Place,
    simulation::SlowStore,
    store::{DeliverPage, Mark, QueueRead, Record, Store, StoreError},
};

/// A connected client with a subscription to everything, at a moment of its own.
struct Fixture {
    core: Arc<Core>,
    connection: Connection,
    now: Instant,
}

impl Fixture {
    fn new(limits: Limits) -> Self {
        Self::on(Durability::default(), limits)
    }

    fn on(durability: Durability, limits: Limits) -> Self {
        let core = Core::new(limits, HookSet::default(), Vec::new(), durability, net::now());
        let now = net::now();
        let mut fixture = Self { connection: connection(&core, now), core, now };
        fixture.hear(&connect());
        let filters = vec![(TopicFilter::try_from("#").unwrap(), QoS::ExactlyOnce)];
        fixture.hear(&Packet::Subscribe(Subscribe { packet_id: PacketId::FIRST, filters }));
        fixture.say();
        fixture
    }

    fn hear(&mut self, packet: &Packet) {
        let mut bytes = Vec::new();
        packet.encode(&mut bytes).unwrap();
        self.connection.handle_bytes(self.now, &bytes, &mut self.core.burst());
    }

    /// Everything that the socket would get now.
    fn say(&mut self) -> Vec<Packet> {
        let mut out = Vec::new();
        while self.connection.poll_transmit(self.now, Waker::noop(), &mut out, &mut self.core.burst()) {}
        let mut bytes = BytesMut::from(Bytes::from(out));
        let mut decoder = Decoder::new(usize::MAX);
        std::iter::from_fn(|| decoder.decode(&mut bytes).unwrap()).collect()
    }

    fn publish(&self, payload: &str, qos: QoS) {
        let message = Message::new(&TopicName::try_from("t").unwrap(), payload.as_bytes(), qos);
        self.core.publish_message(self.now, &message, Vec::new(), &mut self.core.burst());
    }

    /// The time comes for what `poll_timeout` names.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.connection.handle_timeout(self.now, &mut self.core.burst());
    }
}

fn connection(core: &Arc<Core>, now: Instant) -> Connection {
    let entrance = Arc::new(Entrance::without_listener(core.limits.clone()));
    Connection::new(
        Place::uncounted(Arc::clone(core), entrance),
        Peer::Inet(([127, 0, 0, 1], 1883).into()),
        now,
    )
}

/// Of the client, with a session that stays and a Will that goes to itself.
fn connect() -> Packet {
    let topic = TopicName::try_from("t").unwrap();
    let message = Bytes::from_static(b"will");
    Packet::Connect(Box::new(Connect {
        clean_session: false,
        keep_alive_secs: 0,
        client_id: Utf8Bytes::try_from("client").unwrap(),
        will: Some(Will { topic, message, qos: QoS::AtLeastOnce, retain: false }),
        credentials: None,
    }))
}

const INTERVAL: Duration = Duration::from_secs(1);

fn retrying() -> Fixture {
    Fixture::new(Limits { retry_interval: Some(INTERVAL), ..Limits::default() })
}

fn is_publish(packet: &Packet) -> bool {
    matches!(packet, Packet::Publish(_))
}

/// There may be very many that do nothing.
#[test]
fn a_client_that_rests_has_nothing_under_way() {
    let mut client = Fixture::new(Limits::default());
    assert!(client.connection.inbound.is_none(), "CONNACK and SUBACK have left");
    let (begin, end) = ([0xC0], [0]);
    client.connection.handle_bytes(client.now, &begin, &mut client.core.burst());
    client.say();
    assert!(client.connection.has_partial(), "half a PINGREQ");
    client.connection.handle_bytes(client.now, &end, &mut client.core.burst());
    assert_eq!(client.say(), [Packet::Pingresp]);
    assert!(client.connection.inbound.is_none());
}

/// A packet of two mebibytes stayed in memory for each of its filters that the store had yet to write.
#[test]
fn a_filter_on_its_way_to_the_store_does_not_keep_its_packet() {
    let store = SlowStore::new(1);
    let durability = Durability::on(Arc::new(store.clone()), (net::now(), SystemTime::UNIX_EPOCH));
    let client = Fixture::on(durability, Limits::default());
    let session = &client.connection.attachment().unwrap().session;
    let packet = Bytes::from(vec![b'a'; 1_000]);
    let filter = TopicFilter::new(packet.slice(..5)).unwrap();
    client.core.subscribe(session, &filter, QoS::AtLeastOnce, None).unwrap();
    drop(filter);
    assert!(packet.is_unique());
    let filter = TopicFilter::new(packet.slice(..5)).unwrap();
    client.core.unsubscribe(session, &filter).unwrap();
    drop(filter);
    assert!(packet.is_unique());
}

/// Nothing is read from it then, PINGREQ neither, and it was cut off for its silence.
#[test]
fn nobody_is_silent_while_the_store_does_not_keep_up() {
    let store = SlowStore::new(1);
    let durability = Durability::on(Arc::new(store), (net::now(), SystemTime::UNIX_EPOCH));
    let mut client = Fixture::on(durability, Limits { max_keep_alive_secs: Some(1), ..Limits::default() });
    let large = Publish {
        delivery: Delivery::AtLeastOnce { packet_id: PacketId::FIRST, dup: false },
        retain: false,
        topic: TopicName::try_from("t").unwrap(),
        payload: vec![0; MOST_UNSETTLED].into(),
    };
    client.hear(&Packet::Publish(large));
    assert!(!client.connection.store_keeps_up(client.now + Duration::from_secs(1), Waker::noop()));
    client.pass(Duration::from_secs(2));
    assert!(client.connection.closed().is_none());
    client.pass(Duration::from_secs(1));
    assert!(client.connection.closed().is_some(), "somebody listens again, or nobody has come to");
}

/// More topics than a publisher knows by itself, round and round, while subscriptions come and go.
#[test]
fn a_publisher_of_many_topics_reaches_who_is_subscribed_now() {
    let mut client = Fixture::new(Limits::default());
    let topics: Vec<String> = (0..100).map(|n| format!("{}/{}/{n}", n % 2, "x".repeat(n % 50))).collect();
    let filter = |text: &str| TopicFilter::try_from(text).unwrap();
    for (filters, leave, expected) in [
        (vec!["#"], "#", 100),
        (vec!["+/+/17", "1/#"], "1/#", 50),
        (vec![], "none", 1),
        (vec![topics[40].as_str(), topics[60].as_str()], "none", 3),
    ] {
        if !filters.is_empty() {
            let filters = filters.iter().map(|text| (filter(text), QoS::AtMostOnce)).collect();
            client.hear(&Packet::Subscribe(Subscribe { packet_id: PacketId::FIRST, filters }));
        }
        client.say();
        for round in 0..4 {
            for topic in &topics {
                let topic = TopicName::try_from(topic.as_str()).unwrap();
                let (payload, delivery) = (Bytes::from_static(b"x"), Delivery::AtMostOnce);
                client.hear(&Packet::Publish(Publish { delivery, retain: false, topic, payload }));
            }
            assert_eq!(client.say().len(), expected, "round {round}");
        }
        let filters = vec![filter(leave)];
        client.hear(&Packet::Unsubscribe(Unsubscribe { packet_id: PacketId::FIRST, filters }));
    }
}

/// The message was to be repeated while the socket took nothing; then PUBREC came, and its PUBREL went first: the client
/// had forgotten the identifier when the repeated PUBLISH came, and took it for a new message. [MQTT-4.3.3-1]
#[test]
fn pubrel_does_not_overtake_a_repeated_publish() {
    let mut client = retrying();
    client.publish("once", QoS::ExactlyOnce);
    assert!(client.say().iter().any(is_publish));
    client.pass(INTERVAL);
    client.say();
    client.pass(INTERVAL);
    client.hear(&Packet::Pubrec(Pubrec { packet_id: PacketId::FIRST }));
    let said = client.say();
    assert!(matches!(said[0], Packet::Pubrel(_)), "{said:?}");
    assert!(!said.iter().any(is_publish), "{said:?}");
}

/// The same, when it was the store that kept everything back.
#[test]
fn pubrel_does_not_overtake_a_repeated_publish_that_waits_for_the_store() {
    let store = SlowStore::new(1);
    let durability = Durability::on(Arc::new(store.clone()), (net::now(), SystemTime::UNIX_EPOCH));
    let mut client = Fixture::on(durability, Limits { retry_interval: Some(INTERVAL), ..Limits::default() });
    client.publish("once", QoS::ExactlyOnce);
    store.pass(1);
    assert!(client.say().iter().any(is_publish));
    client.pass(INTERVAL);
    client.say();
    client.publish("another", QoS::ExactlyOnce);
    client.pass(INTERVAL);
    assert_eq!(client.say(), [], "the store has not kept the other's identifier yet");
    client.hear(&Packet::Pubrec(Pubrec { packet_id: PacketId::FIRST }));
    store.pass(2);
    let said = client.say();
    assert!(matches!(said[0], Packet::Pubrel(_)), "{said:?}");
    assert_eq!(said.iter().filter(|packet| is_publish(packet)).count(), 1, "{said:?}");
}

/// The store made the session's records durable between the question whether CONNACK may leave and the one whether messages
/// may: a PUBLISH was the first packet. [MQTT-3.2.0-1]
#[test]
fn no_message_overtakes_connack_whenever_the_store_is_done() {
    for looks in 0..8 {
        let store = Hasty { store: SlowStore::new(1), looks: Arc::new(usize::MAX.into()) };
        let durability = Durability::on(Arc::new(store.clone()), (net::now(), SystemTime::UNIX_EPOCH));
        let mut client = Fixture::on(durability, Limits::default());
        client.publish("unacknowledged", QoS::AtLeastOnce);
        store.store.pass(1);
        assert!(client.say().iter().any(is_publish));
        client.connection = connection(&client.core, client.now);
        client.hear(&connect());
        store.looks.store(looks, Ordering::Relaxed);
        // Woken as often as it takes.
        let said: Vec<Packet> = (0..=looks).flat_map(|_| client.say()).collect();
        assert!(matches!(said[0], Packet::Connack(_)), "after {looks} looks: {said:?}");
        assert!(said.iter().any(is_publish), "after {looks} looks: {said:?}");
    }
}

/// Everything becomes durable after so many looks at how much is.
#[derive(Clone)]
struct Hasty {
    store: SlowStore,
    looks: Arc<AtomicUsize>,
}

impl Store for Hasty {
    fn append(&self, group: Vec<Record>) -> Mark {
        self.store.append(group)
    }

    fn durable(&self) -> Mark {
        if self.looks.load(Ordering::Relaxed) == 0 {
            return Mark(u64::MAX);
        }
        self.looks.fetch_sub(1, Ordering::Relaxed);
        self.store.durable()
    }

    fn wake_at(&self, mark: Mark, waker: &Waker) {
        self.store.wake_at(mark, waker);
    }

    fn failure(&self) -> Option<StoreError> {
        self.store.failure()
    }

    fn recover(&self, visit: &mut dyn FnMut(Record)) -> Result<(), StoreError> {
        self.store.recover(visit)
    }

    fn read_queue(&self, read: QueueRead, deliver: DeliverPage) {
        self.store.read_queue(read, deliver);
    }
}

#[test]
fn what_is_repeated_does_not_pile_up_while_the_socket_takes_nothing() {
    let mut client = retrying();
    client.publish("again", QoS::AtLeastOnce);
    client.say();
    for _ in 0..10 {
        client.pass(INTERVAL);
    }
    assert_eq!(client.say().len(), 0, "the first interval only marks what is there");
    for _ in 0..10 {
        client.pass(INTERVAL);
    }
    assert_eq!(client.say().len(), 1);
    client.hear(&Packet::Puback(Puback { packet_id: PacketId::FIRST }));
    client.pass(INTERVAL);
    assert_eq!(client.say().len(), 0);
}

/// The Will of the connection that it took over filled its queue, and so it was to end before it was open: it kept the
/// session for ever.
#[test]
fn a_connection_that_is_told_to_end_while_it_connects_gives_its_session_back() {
    let limits = Limits { max_inflight: 1, max_queued_messages: 0, ..Limits::default() };
    let mut client = Fixture::new(Limits { queue_full: QueueFullPolicy::Disconnect, ..limits });
    client.publish("inflight", QoS::AtLeastOnce);
    let later = connection(&client.core, client.now);
    let _earlier = std::mem::replace(&mut client.connection, later);
    client.hear(&connect());
    client.say();
    assert_eq!(client.connection.closed(), Some(&CloseReason::SlowConsumer));
    assert!(!client.core.sessions.get("client").unwrap().lock().is_connected());
}

/// A retained message found the queue full, which ended the connection; the others were forgotten with it.
#[test]
fn retained_messages_that_are_due_outlive_the_connection() {
    let mut client = Fixture::new(Limits {
        max_inflight: 1,
        max_queued_messages: 0,
        queue_full: QueueFullPolicy::Disconnect,
        ..Limits::default()
    });
    for topic in ["r/1", "r/2", "r/3"] {
        let message = Message::new(&TopicName::try_from(topic).unwrap(), b"retained", QoS::AtLeastOnce);
        let (core, now) = (&client.core, client.now);
        core.retain(now, &Outgoing::of(&message), &mut core.burst());
    }
    let filters = vec![(TopicFilter::try_from("r/#").unwrap(), QoS::AtLeastOnce)];
    client.hear(&Packet::Subscribe(Subscribe { packet_id: PacketId::FIRST, filters }));
    client.say();
    assert_eq!(client.connection.closed(), None, "they wait where they are");
    client.publish("live", QoS::AtLeastOnce);
    client.say();
    assert_eq!(client.connection.closed(), Some(&CloseReason::SlowConsumer));
    assert!(client.core.sessions.get("client").unwrap().lock().has_retained_due());
}

/// A waker that counts.
#[derive(Default)]
struct Alarm(std::sync::atomic::AtomicUsize);

impl std::task::Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

/// A SUBSCRIBE to ten thousand filters, each with a look at thousands of retained topics, held up everybody on the thread.
#[test]
fn a_look_up_that_finds_nothing_lets_others_have_their_turn() {
    let mut client = Fixture::new(Limits::default());
    for n in 0..20_000 {
        let topic = TopicName::try_from(format!("{n}/topic").as_str()).unwrap();
        let retained = Message::new(&topic, b"x", QoS::AtMostOnce).retained();
        client.core.publish_message(client.now, &retained, Vec::new(), &mut client.core.burst());
    }
    client.say();
    let filters = vec![(TopicFilter::try_from("+/nothing").unwrap(), QoS::AtMostOnce)];
    client.hear(&Packet::Subscribe(Subscribe { packet_id: PacketId::FIRST, filters }));
    let alarm = Arc::new(Alarm::default());
    let (mut turns, mut called) = (0, 0);
    loop {
        turns += 1;
        let waker = Waker::from(Arc::clone(&alarm));
        while client.connection.poll_transmit(client.now, &waker, &mut Vec::new(), &mut client.core.burst()) {
        }
        let calls = alarm.0.load(std::sync::atomic::Ordering::Relaxed);
        if calls == called {
            break;
        }
        called = calls;
    }
    assert!(turns > 3, "all of it in {turns} turns");
}

/// One short filter that was kept had kept the whole packet, of two megabytes, with it.
#[test]
fn a_subscription_keeps_its_own_bytes_and_not_its_packet() {
    let mut client = Fixture::new(Limits::default());
    let filters = ["a", "b"].map(|text| (TopicFilter::try_from(text).unwrap(), QoS::AtMostOnce)).to_vec();
    client.hear(&Packet::Subscribe(Subscribe { packet_id: PacketId::FIRST, filters }));
    client.say();
    let session = client.core.sessions.get("client").unwrap();
    let kept = session.subscriptions.lock().end();
    assert_eq!(kept.len(), 3);
    assert!(kept.into_iter().all(|filter| filter.into_bytes().is_unique()));
}

/// A publisher's read of many short messages, each to many receivers, held up everybody on the thread for seconds.
#[test]
fn a_burst_to_many_receivers_lets_others_have_their_turn() {
    let mut publisher = Fixture::new(Limits::default());
    let receivers: Vec<_> = (0..1_000)
        .map(|n| {
            let connect = Packet::Connect(Box::new(Connect {
                clean_session: true,
                keep_alive_secs: 0,
                client_id: Utf8Bytes::try_from(format!("receiver{n}").as_str()).unwrap(),
                will: None,
                credentials: None,
            }));
            let filters = vec![(TopicFilter::try_from("t").unwrap(), QoS::AtMostOnce)];
            let subscribe = Packet::Subscribe(Subscribe { packet_id: PacketId::FIRST, filters });
            let mut connection = connection(&publisher.core, publisher.now);
            for packet in [connect, subscribe] {
                let mut bytes = Vec::new();
                packet.encode(&mut bytes).unwrap();
                connection.handle_bytes(publisher.now, &bytes, &mut publisher.core.burst());
            }
            connection
        })
        .collect();
    let mut bytes = Vec::new();
    for _ in 0..100 {
        mqtt_codec::encode_publish(&mut bytes, mqtt_codec::Delivery::AtMostOnce, false, b"t", b"").unwrap();
    }
    Packet::Pingreq.encode(&mut bytes).unwrap();
    let (core, connection, now) = (&publisher.core, &mut publisher.connection, publisher.now);
    connection.handle_bytes(now, &bytes, &mut core.burst());
    let mut turns = 1;
    while connection.is_interrupted() {
        assert!(!connection.wants_bytes());
        connection.handle_held(now, &mut core.burst());
        turns += 1;
    }
    assert!((5..50).contains(&turns), "{turns} turns");
    assert!(connection.wants_bytes());
    assert_eq!(core.counters.snapshot().publishes_received[0], 100);
    assert!(publisher.say().contains(&Packet::Pingresp), "what stood behind was not forgotten");
    drop(receivers);
}

/// Each made all publishers find their routes anew; and many clients subscribe anew whenever they connect.
#[test]
fn who_subscribes_as_before_changes_no_route() {
    let mut client = Fixture::new(Limits::default());
    client.core.publish_message(client.now, &retained("x"), Vec::new(), &mut client.core.burst());
    client.say();
    let before = client.core.generation();
    let mut ask = |count: usize, qos| {
        for n in 0..count {
            let filter =
                TopicFilter::try_from(if n == 0 { "#".to_owned() } else { n.to_string() }.as_str()).unwrap();
            client.hear(&Packet::Subscribe(Subscribe {
                packet_id: PacketId::FIRST,
                filters: vec![(filter, qos)],
            }));
        }
        (client.say().iter().filter(|packet| is_publish(packet)).count(), client.core.generation() - before)
    };
    assert_eq!(ask(1, QoS::ExactlyOnce), (1, 0), "the retained message comes again");
    assert_eq!(ask(1, QoS::AtMostOnce), (1, 1), "with another QoS");
    assert_eq!(ask(40, QoS::AtMostOnce), (1, 40), "39 more");
    assert_eq!(ask(40, QoS::AtMostOnce), (1, 40), "and again");
}

fn retained(payload: &str) -> Message {
    Message::new(&TopicName::try_from("t").unwrap(), payload.as_bytes(), QoS::AtMostOnce).retained()
}

/// Others wait for as long as for many messages.
#[test]
fn many_filters_are_much_work() {
    let mut client = Fixture::new(Limits::default());
    let filters: Vec<_> = (0..1_000).map(|n| TopicFilter::try_from(&*format!("x/{n}")).unwrap()).collect();
    let asked_for = filters.iter().map(|filter| (filter.clone(), QoS::AtMostOnce)).collect();
    let subscribe = Packet::Subscribe(Subscribe { packet_id: PacketId::FIRST, filters: asked_for });
    let unsubscribe = Packet::Unsubscribe(Unsubscribe { packet_id: PacketId::FIRST, filters });
    for packet in [subscribe, unsubscribe] {
        let mut bytes = Vec::new();
        (0..3).for_each(|_| packet.encode(&mut bytes).unwrap());
        client.connection.handle_bytes(client.now, &bytes, &mut client.core.burst());
        assert!(client.connection.is_interrupted());
        client.connection.handle_held(client.now, &mut client.core.burst());
        assert!(!client.connection.is_interrupted());
        assert_eq!(client.say().len(), 3);
    }
}

/// They were gone with the connection, and nobody had counted them.
#[test]
fn qos_0_messages_that_wait_for_a_connection_that_ends_are_counted_as_lost() {
    let ends: [fn(&mut Fixture); 3] = [
        |client| {
            client.connection.handle_loss(client.now, CloseReason::ConnectionLost, &mut client.core.burst());
        },
        |client| {
            let mut second = connection(&client.core, client.now);
            std::mem::swap(&mut client.connection, &mut second);
            client.hear(&connect());
        },
        |client| {
            let session = client.core.sessions.get("client").unwrap();
            client.core.end_session(&session, SessionEnd::Removed, client.now, &mut client.core.burst());
        },
    ];
    for end in ends {
        let limits = Limits { max_pending_bytes: 1, queue_qos0_messages: false, ..Limits::default() };
        let mut client = Fixture::new(limits);
        (0..3).for_each(|n| client.publish(&n.to_string(), QoS::AtMostOnce));
        let session = client.core.sessions.get("client").unwrap();
        end(&mut client);
        let reason = DropReason::Qos0WhileAbsent;
        assert_eq!(client.core.counters.snapshot().dropped_for(reason), 2, "one was with the socket");
        let state = session.lock();
        let losses = state.seldom.get().map(|parts| parts.losses.by_reason()).unwrap_or_default();
        assert_eq!(losses[reason as usize], 2);
    }
}

#[test]
fn many_filters_that_go_with_their_session_are_much_work() {
    let client = Fixture::new(Limits::default());
    let session = client.core.sessions.get("client").unwrap();
    for n in 0..1_024 {
        let filter = TopicFilter::try_from(&*format!("x/{n}")).unwrap();
        client.core.subscribe(&session, &filter, QoS::AtMostOnce, None).unwrap();
    }
    let mut burst = client.core.burst();
    assert!(client.core.end_session(&session, SessionEnd::Removed, client.now, &mut burst));
    assert!(burst.is_spent());
}
