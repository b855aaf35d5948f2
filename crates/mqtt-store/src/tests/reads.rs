//! Parts of queues that are read while more comes in.

use std::{collections::VecDeque, sync::mpsc};

use mqtt_broker::{
    Message, QoS,
    store::{MessageKey, QueuePage, QueueRead, Record},
};
use mqtt_codec::PacketId;

use super::power_loss::start;
use crate::{
    Durability, StoreOptions, desk::Desk, engine::double::Disk, inbox::Inbox, wal::Wal, writer::Writer,
};

fn queued(key: MessageKey) -> Record {
    let message = Message::new(&"t".try_into().unwrap(), &[7; 100], QoS::AtLeastOnce);
    Record::Queued { session: 1, key, qos: QoS::AtLeastOnce, retain: false, message }
}

fn started() -> Record {
    Record::SessionStarted { session: 1, client_id: "one".into() }
}

fn sent(key: MessageKey) -> Record {
    Record::Sent { session: 1, key, packet_id: PacketId::FIRST }
}

fn done(key: MessageKey) -> Record {
    Record::Done { session: 1, key }
}

fn read(after: MessageKey) -> QueueRead {
    QueueRead { session: 1, after, most_bytes: 1_000 }
}

/// A writer whose engine has messages with these keys.
fn writer(keys: std::ops::RangeInclusive<MessageKey>) -> Writer<Disk> {
    let writer = start(&Disk::default(), Durability::Os);
    writer.append(vec![started()]);
    for key in keys {
        writer.append_one(queued(key));
    }
    writer.settle().unwrap();
    writer
}

fn page(writer: &Writer<Disk>, after: MessageKey) -> QueuePage {
    let (sender, page) = mpsc::channel();
    writer.read(read(after), Box::new(move |page| drop(sender.send(page))));
    page.recv().unwrap()
}

fn keys(page: &QueuePage) -> Vec<MessageKey> {
    page.messages.iter().map(|queued| queued.key).collect()
}

/// A client works off what has waited, while as much is published: who reads on behind what was sent need not wait.
#[test]
fn the_engine_is_not_told_for_the_sake_of_what_it_has() {
    let options = StoreOptions::new("").durability(Durability::Os);
    let wal = Wal::new(Disk::default(), 0, u64::MAX, Durability::Os);
    let desk = Desk::new(wal, Inbox::new(Some(1_000)), &options);
    let mut told = 0;
    for after in 1..=100 {
        desk.append_one(queued(1_000 + after));
        desk.append_one(sent(after));
        desk.append_one(done(after));
        desk.read(read(after), Box::new(|_| {}));
        let taken = desk.next(VecDeque::new(), false).unwrap();
        told += u32::from(taken.mark.is_some());
        assert_eq!(taken.asks.len(), 1);
        assert_eq!(taken.asks[0].1, 1_001, "from there on the engine does not know");
    }
    assert_eq!(told, 0);
}

/// What it does not have it is told of first.
#[test]
fn the_engine_is_told_of_what_it_is_asked_for() {
    let options = StoreOptions::new("").durability(Durability::Os);
    for appended in [queued(6), done(6), sent(7), started(), Record::SessionEnded { session: 1 }] {
        let wal = Wal::new(Disk::default(), 0, u64::MAX, Durability::Os);
        let desk = Desk::new(wal, Inbox::new(Some(1_000)), &options);
        desk.append_one(appended);
        desk.read(read(5), Box::new(|_| {}));
        let taken = desk.next(VecDeque::new(), false).unwrap();
        assert_eq!((taken.mark, taken.slots.len()), (Some(1), 1));
        assert_eq!(taken.asks[0].1, MessageKey::MAX);
    }
}

/// From the first to the last, once and in order, wherever they are.
#[test]
fn what_comes_in_while_a_queue_is_read_comes_after_it() {
    let writer = writer(1..=100);
    let (mut seen, mut next) = (Vec::new(), 101);
    loop {
        if next <= 200 {
            writer.append_one(queued(next));
            next += 1;
        }
        let page = page(&writer, seen.last().copied().unwrap_or_default());
        for key in keys(&page) {
            writer.append_one(sent(key));
            writer.append_one(done(key));
            seen.push(key);
        }
        if page.is_last && next > 200 {
            break;
        }
    }
    assert_eq!(seen, (1..=200).collect::<Vec<_>>());
}

/// A page that is not full before what the engine does not have yet has that, too.
#[test]
fn a_page_goes_on_where_the_engine_ends() {
    let writer = writer(1..=3);
    writer.append_one(queued(4));
    let all = page(&writer, 0);
    assert_eq!((keys(&all), all.is_last), (vec![1, 2, 3, 4], true));
    writer.append_one(done(2));
    writer.append_one(queued(5));
    assert_eq!(keys(&page(&writer, 0)), [1, 3, 4, 5], "what is done with is not read");
}
