//! A queue of which only a part is in memory: publishers who are slow between the store and the queue, reads that take
//! their time, and a client that comes and goes, in random order. Every message is delivered once, in order.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use mqtt_codec::{Decoder, Packet, PacketId, Publish, TopicName};
use parking_lot::Mutex;
use proptest::prelude::*;

use super::{super::inflight::Acknowledged, *};
use crate::store::{MemoryStore, Record, Store};

const PUBLISHERS: usize = 3;

struct World {
    store: MemoryStore,
    limits: Limits,
    outbox: Outbox,
    last_key: MessageKey,
    /// Appended, and not pushed yet, by publisher.
    between: [VecDeque<(MessageKey, Message)>; PUBLISHERS],
    published: [u32; PUBLISHERS],
    /// To be asked of the store.
    asked: Vec<PendingRead>,
    /// Read, and not handed over yet.
    read: Arc<Mutex<Vec<(u64, QueuePage)>>>,
    unacknowledged: VecDeque<(PacketId, String)>,
    /// By payload, how often it was acknowledged.
    done: BTreeMap<String, u32>,
    /// The latest message of each publisher that was sent for the first time.
    sent: [Option<u32>; PUBLISHERS],
    dropped: usize,
}

impl World {
    fn new(window: usize, max_inflight: u16, max_queued_messages: usize) -> Self {
        let (store, mut outbox) = (MemoryStore::default(), Outbox::default());
        store.append(vec![Record::SessionStarted { session: 1, client_id: "c".into() }]);
        outbox.set_journal(Journal::new(Arc::new(store.clone()), 1));
        let queue_window_bytes = window;
        let limits = Limits { max_inflight, max_queued_messages, queue_window_bytes, ..Limits::default() };
        Self {
            store,
            limits,
            outbox,
            last_key: 0,
            between: Default::default(),
            published: [0; PUBLISHERS],
            asked: Vec::new(),
            read: Arc::default(),
            unacknowledged: VecDeque::new(),
            done: BTreeMap::new(),
            sent: [None; PUBLISHERS],
            dropped: 0,
        }
    }

    fn append(&mut self, publisher: usize) {
        let text = format!("{publisher} {}", self.published[publisher]);
        self.published[publisher] += 1;
        let (qos, retain) = (QoS::AtLeastOnce, false);
        let message = Message::new(&TopicName::try_from("t").unwrap(), text.as_bytes(), qos);
        self.last_key += 1;
        let (session, key) = (1, self.last_key);
        self.store.append(vec![Record::Queued { session, key, qos, retain, message: message.clone() }]);
        self.between[publisher].push_back((key, message));
    }

    fn push(&mut self, publisher: usize) {
        let Some((key, message)) = self.between[publisher].pop_front() else { return };
        let outgoing = Outgoing::of(&message);
        outgoing.key.set(key);
        let pushed = self.outbox.push(&outgoing, QoS::AtLeastOnce, false, None, &self.limits, Gate::OPEN);
        self.settle(pushed);
    }

    fn settle(&mut self, pushed: Pushed) {
        self.dropped += pushed.dropped.len();
        self.asked.extend(pushed.read);
    }

    /// The store looks.
    fn look(&mut self) {
        if let Some(PendingRead { number, read }) = self.asked.pop() {
            let pages = Arc::clone(&self.read);
            self.store.read_queue(read, Box::new(move |page| pages.lock().push((number, page))));
        }
    }

    /// What it has seen arrives.
    fn hand_over(&mut self) {
        let page = self.read.lock().pop();
        if let Some((number, page)) = page {
            let pushed = self.outbox.add_page(number, page, &self.limits, Gate::OPEN);
            self.settle(pushed);
        }
    }

    /// The client's connection collects, and the client notes what it gets.
    fn collect(&mut self) {
        if self.outbox.owner != Owner::Connection {
            return;
        }
        drop(self.outbox.refill(&self.limits, Gate::OPEN));
        let mut out = Vec::new();
        let _ = self.outbox.take_pending(Waker::noop(), &mut out);
        self.asked.extend(self.outbox.next_read(&self.limits));
        let (mut bytes, mut decoder) = (out[..].into(), Decoder::new(usize::MAX));
        while let Some(Packet::Publish(Publish { delivery, payload, .. })) =
            decoder.decode(&mut bytes).unwrap()
        {
            let Wire::AtLeastOnce { packet_id, dup } = delivery else { panic!("{delivery:?}") };
            let text = String::from_utf8(payload.to_vec()).unwrap();
            if !dup {
                self.note_order(&text);
            }
            self.unacknowledged.push_back((packet_id, text));
        }
    }

    fn note_order(&mut self, text: &str) {
        let (publisher, number) = text.split_once(' ').unwrap();
        let (publisher, number): (usize, u32) = (publisher.parse().unwrap(), number.parse().unwrap());
        let before = self.sent[publisher].replace(number);
        assert!(before < Some(number), "{number} of {publisher} after {before:?}");
    }

    fn acknowledge(&mut self) {
        if let Some((id, text)) = self.unacknowledged.pop_front() {
            assert_eq!(self.outbox.puback(id).0, Acknowledged::Complete, "{text}");
            *self.done.entry(text).or_default() += 1;
        }
    }

    fn come_or_go(&mut self) {
        self.unacknowledged.clear();
        if self.outbox.owner == Owner::Connection {
            self.outbox.disconnect(&self.limits);
        } else {
            drop(self.outbox.connect(Owner::Connection, &self.limits, Gate::OPEN));
        }
    }

    fn step(&mut self, step: u8) {
        let publisher = usize::from(step) % PUBLISHERS;
        match step / 3 {
            0..=7 => self.append(publisher),
            8..=15 => self.push(publisher),
            16..=18 => self.look(),
            19..=21 => self.hand_over(),
            22..=26 => self.collect(),
            27..=31 => self.acknowledge(),
            _ => self.come_or_go(),
        }
    }

    fn come_to_rest(&mut self) {
        for publisher in 0..PUBLISHERS {
            while !self.between[publisher].is_empty() {
                self.push(publisher);
            }
        }
        if self.outbox.owner == Owner::Nobody {
            self.come_or_go();
        }
        for _ in 0..10_000 {
            self.collect();
            self.acknowledge();
            self.look();
            self.hand_over();
        }
    }

    fn left_in_store(&self) -> usize {
        let mut left = 0;
        self.store
            .recover(&mut |record| left += usize::from(matches!(record, Record::Queued { .. })))
            .unwrap();
        left
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(gmqtt_loom) { 0 } else { 512 }))]

    #[test]
    fn every_message_is_delivered_once_and_in_order(
        steps in prop::collection::vec(0_u8..102, 1..400),
        window in prop::sample::select(vec![0, 150, 500, 1 << 20]),
        max_inflight in 1..4_u16,
    ) {
        let mut world = World::new(window, max_inflight, usize::MAX);
        for step in steps {
            world.step(step);
        }
        world.come_to_rest();
        let published: u32 = world.published.iter().sum();
        prop_assert_eq!(world.done.len(), published as usize);
        prop_assert!(world.done.values().all(|times| *times == 1), "{:?}", world.done);
        prop_assert_eq!((world.outbox.queued_messages(), world.outbox.queued_bytes()), (0, 0));
        prop_assert_eq!(world.left_in_store(), 0);
    }

    /// The oldest are dropped, wherever they are; what is dropped is not delivered, and the rest is.
    #[test]
    fn a_full_queue_drops_its_oldest_from_the_store_too(
        steps in prop::collection::vec(0_u8..102, 1..400),
        window in prop::sample::select(vec![0, 150, 500]),
        max_queued_messages in 1..8_usize,
    ) {
        let mut world = World::new(window, 2, max_queued_messages);
        for step in steps {
            world.step(step);
        }
        world.come_to_rest();
        let published: u32 = world.published.iter().sum();
        prop_assert_eq!(world.done.len() + world.dropped, published as usize);
        prop_assert!(world.done.values().all(|times| *times == 1), "{:?}", world.done);
        prop_assert_eq!(world.outbox.queued_messages(), 0);
        prop_assert_eq!(world.left_in_store(), 0);
    }
}

impl World {
    fn publish(&mut self, count: usize) {
        for _ in 0..count {
            self.append(0);
            self.push(0);
        }
    }
}

/// It grew for as long as the oldest had not been read: without end, if more came than could be.
#[test]
fn a_full_queue_exceeds_its_limits_by_little_however_long_a_read_takes() {
    for is_connected in [false, true] {
        let mut world = World::new(500, 1, 16);
        if is_connected {
            world.come_or_go();
        }
        world.publish(200);
        assert!(world.outbox.queued_messages() <= 16 + 2, "{}", world.outbox.queued_messages());
        world.come_to_rest();
        assert_eq!(world.done.len() + world.dropped, 200);
        assert!((16..=20).contains(&world.done.len()), "{}", world.done.len());
        assert_eq!(world.left_in_store(), 0);
    }
}

/// What was read was dropped, all of it, because it was the oldest.
#[test]
fn a_client_gets_what_it_can_take_though_more_comes_than_goes() {
    let mut world = World::new(150, 4, 16);
    world.come_or_go();
    world.publish(30);
    for _ in 0..20 {
        world.look();
        world.publish(30);
        world.hand_over();
        world.collect();
        (0..4).for_each(|_| world.acknowledge());
    }
    assert!(world.done.len() >= 40, "{}", world.done.len());
}

/// A window's worth of each absent client's queue was in memory, once that was full.
#[test]
fn of_an_absent_client_s_full_queue_hardly_anything_is_in_memory() {
    let mut world = World::new(1 << 20, 1, 2_000);
    world.publish(2_000);
    for _ in 0..5 {
        world.publish(1);
        world.look();
        world.hand_over();
    }
    assert_eq!((world.outbox.queued_messages(), world.dropped), (2_000, 5));
    assert!(world.outbox.stored_bytes_in_memory() < 8 * 1024, "{}", world.outbox.stored_bytes_in_memory());
}
