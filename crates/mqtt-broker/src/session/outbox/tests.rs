//! The queue of one client: what it costs when it is full, and in which order it is emptied.

use bytes::{Bytes, BytesMut};
use mqtt_codec::{Decoder, Packet, PacketId, TopicName};

use std::{iter, sync::Arc};

use super::{super::inflight::Acknowledged, *};
use crate::{
    limits::QueueFullPolicy,
    store::{MemoryStore, Record, Store},
};

const Q0: QoS = QoS::AtMostOnce;
const Q1: QoS = QoS::AtLeastOnce;
const Q2: QoS = QoS::ExactlyOnce;

/// What a payload of one character counts: the topic has one too.
const ONE: usize = 2;

/// The outbox of a client that is absent at first.
struct Client {
    outbox: Outbox,
    limits: Limits,
}

impl Client {
    fn absent(limits: Limits) -> Self {
        Self { outbox: Outbox::default(), limits }
    }

    fn with_room_for(messages: usize, queue_full: QueueFullPolicy) -> Self {
        Self::absent(Limits { max_queued_messages: messages, queue_full, ..Limits::default() })
    }

    /// Pushes a message, and tells the payloads of those that were dropped.
    fn push(&mut self, payload: &str, qos: QoS) -> Vec<String> {
        let message = Message::new(&TopicName::try_from("t").unwrap(), payload.as_bytes(), qos);
        let pushed = self.outbox.push(&Outgoing::of(&message), qos, false, None, &self.limits, Gate::OPEN);
        let text = |message: &Message| String::from_utf8(message.payload().to_vec()).unwrap();
        let dropped = pushed.dropped.iter().map(|(_, dropped)| match dropped {
            Dropped::Incoming => payload.to_owned(),
            Dropped::Waiting(message) => text(message),
        });
        dropped.collect()
    }

    /// Pushes each of these, and says whether nothing was dropped for them.
    fn takes(&mut self, messages: &[(&str, QoS)]) -> bool {
        messages.iter().all(|(payload, qos)| self.push(payload, *qos).is_empty())
    }

    fn connect(&mut self) {
        drop(self.outbox.connect(Owner::Connection, &self.limits, Gate::OPEN));
    }

    /// What the client is sent now: the payloads of PUBLISH packets.
    fn sent(&mut self) -> Vec<String> {
        drop(self.outbox.refill(&self.limits, Gate::OPEN));
        let mut out = Vec::new();
        let _ = self.outbox.take_pending(Waker::noop(), &mut out);
        let mut bytes = BytesMut::from(Bytes::from(out));
        let mut decoder = Decoder::new(usize::MAX);
        let packets = iter::from_fn(|| decoder.decode(&mut bytes).unwrap());
        let payload = |packet| match packet {
            Packet::Publish(publish) => Some(String::from_utf8(publish.payload.to_vec()).unwrap()),
            _ => None,
        };
        packets.filter_map(payload).collect()
    }

    fn puback(&mut self, id: u16) {
        let (acknowledged, _) = self.outbox.puback(PacketId::new(id).unwrap());
        assert_eq!(acknowledged, Acknowledged::Complete);
    }
}

#[test]
fn drop_oldest_takes_the_first_queued_qos_0() {
    for incoming in [Q0, Q1, Q2] {
        let mut client = Client::with_room_for(3, QueueFullPolicy::DropOldest);
        assert!(client.takes(&[("a", Q1), ("b", Q0), ("c", Q0)]));
        assert_eq!(client.push("d", incoming), ["b"]);
        client.connect();
        assert_eq!(client.sent(), ["a", "c", "d"]);
    }
}

#[test]
fn drop_oldest_takes_the_incoming_one_if_it_alone_is_qos_0() {
    let mut client = Client::with_room_for(2, QueueFullPolicy::DropOldest);
    assert!(client.takes(&[("a", Q1), ("b", Q2)]));
    assert_eq!(client.push("c", Q0), ["c"]);
    client.connect();
    assert_eq!(client.sent(), ["a", "b"]);
}

#[test]
fn drop_oldest_takes_the_oldest_if_none_is_qos_0() {
    let mut client = Client::with_room_for(2, QueueFullPolicy::DropOldest);
    assert!(client.takes(&[("a", Q2), ("b", Q1)]));
    assert_eq!(client.push("c", Q1), ["a"]);
    assert_eq!(client.push("d", Q2), ["b"]);
    client.connect();
    assert_eq!(client.sent(), ["c", "d"]);
}

#[test]
fn drop_newest_and_disconnect_take_the_incoming_one() {
    for policy in [QueueFullPolicy::DropNewest, QueueFullPolicy::Disconnect] {
        let mut client = Client::with_room_for(2, policy);
        assert!(client.takes(&[("a", Q0), ("b", Q1)]));
        for qos in [Q0, Q1, Q2] {
            assert_eq!(client.push("c", qos), ["c"], "{policy:?}");
        }
        client.connect();
        assert_eq!(client.sent(), ["a", "b"], "{policy:?}");
    }
}

#[test]
fn nothing_waits_where_nothing_may() {
    let mut client = Client::with_room_for(0, QueueFullPolicy::DropOldest);
    for qos in [Q0, Q1, Q2] {
        assert_eq!(client.push("a", qos), ["a"]);
    }
    client.connect();
    assert!(client.takes(&[("b", Q1)]), "what can be sent at once need not wait");
}

#[test]
fn qos_0_waits_for_an_absent_client_only_if_it_may() {
    let mut client = Client::absent(Limits { queue_qos0_messages: false, ..Limits::default() });
    assert_eq!(client.push("a", Q0), ["a"]);
    assert!(client.takes(&[("b", Q1)]));
    client.limits.queue_qos0_messages = true;
    assert!(client.takes(&[("c", Q0)]));
    client.connect();
    assert_eq!(client.sent(), ["b", "c"]);
}

/// Whatever `queue_qos0_messages` says: it is about the absent.
#[test]
fn qos_0_waits_for_a_connected_client_that_does_not_keep_up() {
    let limits = Limits { queue_qos0_messages: false, max_pending_bytes: 1, ..Limits::default() };
    let mut client = Client::absent(limits);
    client.connect();
    assert!(client.takes(&[("a", Q0), ("b", Q0), ("c", Q0)]));
    assert_eq!((client.sent(), client.sent()), (vec!["a".to_owned()], vec!["b".to_owned()]));
    client.outbox.disconnect(&client.limits);
    assert_eq!((client.outbox.queued_messages(), client.outbox.queued_bytes()), (0, 0));
}

#[test]
fn bytes_are_bounded_too_and_a_large_message_may_cost_several() {
    let limits = Limits { max_queued_bytes: 4 * ONE, ..Limits::default() };
    let mut client = Client::absent(limits);
    assert!(client.takes(&[("a", Q1), ("b", Q0), ("c", Q1), ("d", Q0)]));
    assert_eq!(client.outbox.queued_bytes(), 4 * ONE);
    assert_eq!(client.push("large", Q1), ["b", "d", "a"]);
    assert_eq!(client.outbox.queued_bytes(), ONE + "tlarge".len());
    client.connect();
    assert_eq!(client.sent(), ["c", "large"]);
    assert_eq!(client.outbox.queued_bytes(), 0);
}

#[test]
fn a_message_for_which_no_room_would_do_costs_nobody_else() {
    let mut client = Client::absent(Limits { max_queued_bytes: 4 * ONE, ..Limits::default() });
    assert!(client.takes(&[("a", Q1), ("b", Q0)]));
    for qos in [Q0, Q1, Q2] {
        assert_eq!(client.push("too large", qos), ["too large"]);
    }
    assert_eq!(client.outbox.queued_messages(), 2);
}

/// QoS 0 makes no room among QoS 1; but those that went before that was clear are told as well.
#[test]
fn victims_are_told_even_if_the_incoming_one_follows_them() {
    let mut client = Client::absent(Limits { max_queued_bytes: 4 * ONE, ..Limits::default() });
    assert!(client.takes(&[("a", Q1), ("b", Q1), ("c", Q1), ("d", Q0)]));
    assert_eq!(client.push("efg", Q0), ["d", "efg"]);
    assert_eq!(client.outbox.queued_bytes(), 3 * ONE);
}

/// [MQTT-4.6.0-5] [MQTT-4.6.0-6]
#[test]
fn one_order_across_qos_0_and_1() {
    let mut client = Client::absent(Limits::default());
    let all = [("a", Q0), ("b", Q1), ("c", Q1), ("d", Q0), ("e", Q2), ("f", Q0)];
    assert!(client.takes(&all));
    client.connect();
    assert_eq!(client.sent(), all.map(|(payload, _)| payload));
}

/// QoS 0 need not wait for the window; each QoS keeps its own order.
#[test]
fn a_closed_window_keeps_back_qos_1_alone() {
    let mut client = Client::absent(Limits { max_inflight: 1, ..Limits::default() });
    assert!(client.takes(&[("a", Q1), ("b", Q1), ("c", Q0), ("d", Q1), ("e", Q0)]));
    client.connect();
    assert_eq!(client.sent(), ["a", "c", "e"]);
    assert!(client.takes(&[("f", Q0)]));
    assert_eq!(client.sent(), ["f"]);
    client.puback(1);
    assert_eq!(client.sent(), ["b"]);
    client.puback(2);
    assert_eq!(client.sent(), ["d"]);
}

#[test]
fn an_open_window_lets_nobody_overtake_who_waits() {
    let mut client = Client::absent(Limits { max_inflight: 1, ..Limits::default() });
    client.connect();
    assert!(client.takes(&[("a", Q1), ("b", Q1)]));
    assert_eq!(client.sent(), ["a"]);
    client.puback(1);
    assert!(client.takes(&[("c", Q1)]), "its publisher comes before the owner has looked");
    assert_eq!(client.sent(), ["b"]);
}

/// One message can reach a client twice, by its own subscription and as a member of a shared one, with one key. Dropping
/// the copy with QoS 0 took the other one out of the store.
#[test]
fn a_dropped_copy_with_qos_0_leaves_the_stored_one_alone() {
    let store = MemoryStore::default();
    let message = Message::new(&TopicName::try_from("t").unwrap(), b"", Q1);
    let queued = Record::Queued { session: 1, key: 5, qos: Q1, retain: false, message: message.clone() };
    let started = Record::SessionStarted { session: 1, client_id: "a".into() };
    store.append(vec![started, queued.clone()]);
    for policy in [QueueFullPolicy::DropOldest, QueueFullPolicy::DropNewest] {
        let mut client = Client::with_room_for(1, policy);
        client.outbox.set_journal(Journal::new(Arc::new(store.clone()), 1));
        let outgoing = Outgoing::of(&message);
        outgoing.key.set(5);
        let dropped: usize = [Q0, Q0]
            .map(|qos| {
                client.outbox.push(&outgoing, qos, false, None, &client.limits, Gate::OPEN).dropped.len()
            })
            .iter()
            .sum();
        assert_eq!(dropped, 1);
    }
    let mut kept = Vec::new();
    store.recover(&mut |record| kept.push(record)).unwrap();
    assert!(kept.contains(&queued), "{kept:?}");
}
