//! What every [`Store`] has to do, as a test that an implementation calls.

use std::{
    sync::{Arc, mpsc},
    task::{Wake, Waker},
    time::{Duration, SystemTime},
};

use mqtt_codec::{PacketId, QoS, TopicFilter, TopicName};

use super::{Mark, QueuePage, QueueRead, QueuedMessage, Record, Store};
use crate::message::Message;

/// How long a store may take to make a group durable before the check gives up on it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Checks a store. `open` opens it on the same place every time; what an earlier one kept must be there.
///
/// # Panics
/// If the store breaks the contract; the message says how.
///
/// # Examples
///
/// ```
/// use mqtt_broker::store::{MemoryStore, contract};
///
/// let store = MemoryStore::default();
/// contract::check(|| store.clone());
/// ```
pub fn check<S: Store>(open: impl Fn() -> S) {
    let store = open();
    assert_eq!(recovered(&store), [], "a new store is empty");
    assert_eq!(store.failure(), None);
    let mark = store.append(history());
    wait_until_durable(&store, mark);
    let later = store.append(vec![Record::SessionEnded { session: 3 }]);
    assert!(later > mark, "marks grow");
    wait_until_durable(&store, later);
    drop(store);
    let store = open();
    let expected = store.expected();
    let is_enough = |expected, there_are| expected == 0 || expected >= there_are;
    assert!(
        is_enough(expected.subscriptions, 2) && is_enough(expected.retained, 2),
        "room is made for less than there is: {expected:?}"
    );
    assert_eq!(recovered(&store), survivors(), "what was durable is there again, and in order");
    check_queue_reads(&store);
    let mark = store.append(vec![Record::SessionEnded { session: 1 }, Record::SessionEnded { session: 2 }]);
    wait_until_durable(&store, mark);
    drop(store);
    let store = open();
    assert_eq!(of_sessions(&store), [], "nothing of an ended session is left");
    // The next process begins its numbers anew behind those that it was told of.
    let again = vec![Record::SessionStarted { session: 1, client_id: "again".into() }];
    let mark = store.append(again.clone());
    wait_until_durable(&store, mark);
    drop(store);
    assert_eq!(
        of_sessions(&open()),
        again,
        "a number that comes again brings nothing of the earlier session"
    );
}

fn of_sessions(store: &impl Store) -> Vec<Record> {
    let is_another = |record: &Record| {
        matches!(record, Record::Retained { .. } | Record::WillSet { .. } | Record::SessionDetached { .. })
    };
    recovered(store).into_iter().filter(|record| !is_another(record)).collect()
}

/// A queue is read in parts, each as it is when it is asked for.
fn check_queue_reads(store: &impl Store) {
    let queued =
        |key| Record::Queued { session: 1, key, qos: QoS::AtLeastOnce, retain: true, message: message(key) };
    let keys = |after, most_bytes| {
        let QueuePage { messages, is_last } = page(store, QueueRead { session: 1, after, most_bytes });
        for queued in messages.iter().filter(|queued| queued.key > 12) {
            let (key, qos) = (queued.key, QoS::AtLeastOnce);
            assert_eq!(*queued, QueuedMessage { key, qos, retain: true, message: message(key) });
        }
        (messages.iter().map(|queued| queued.key).collect::<Vec<_>>(), is_last)
    };
    assert_eq!(keys(0, usize::MAX), (vec![12], true), "what is being sent does not wait any more");
    store.append((20..24).map(queued).collect());
    assert_eq!(keys(0, usize::MAX), (vec![12, 20, 21, 22, 23], true), "in their order, as soon as appended");
    assert_eq!(keys(0, 0), (vec![12], false), "at least one");
    assert_eq!(keys(12, 0), (vec![20], false));
    assert_eq!(keys(22, 0), (vec![23], true), "the end is told with the last one");
    assert_eq!(keys(23, 0), (vec![], true));
    store.append(vec![
        Record::Sent { session: 1, key: 12, packet_id: PacketId::FIRST },
        Record::Done { session: 1, key: 12 },
        Record::Sent { session: 1, key: 20, packet_id: PacketId::FIRST },
        Record::Done { session: 1, key: 22 },
    ]);
    assert_eq!(keys(0, usize::MAX), (vec![21, 23], true));
    let nobody = QueueRead { session: 77, after: 0, most_bytes: usize::MAX };
    assert_eq!(page(store, nobody), QueuePage { messages: Vec::new(), is_last: true });
}

fn page(store: &impl Store, read: QueueRead) -> QueuePage {
    let (sender, pages) = mpsc::channel();
    // The check may have given up, and be gone.
    store.read_queue(read, Box::new(move |page| drop(sender.send(page))));
    pages.recv_timeout(PATIENCE).expect("a part of a queue that was asked for")
}

/// Everything that a session can go through, in one group.
fn history() -> Vec<Record> {
    let (one, two) = (PacketId::FIRST, PacketId::FIRST.next());
    let queued =
        |session, key, qos| Record::Queued { session, key, qos, retain: false, message: message(key) };
    vec![
        Record::SessionStarted { session: 1, client_id: "one".into() },
        Record::SessionStarted { session: 2, client_id: "two".into() },
        Record::SessionStarted { session: 3, client_id: "three".into() },
        Record::Subscribed { session: 1, filter: filter("a/+"), qos: QoS::AtMostOnce },
        Record::Subscribed { session: 1, filter: filter("b"), qos: QoS::ExactlyOnce },
        Record::Subscribed { session: 1, filter: filter("a/+"), qos: QoS::AtLeastOnce },
        Record::Subscribed { session: 2, filter: filter("c"), qos: QoS::AtLeastOnce },
        Record::Unsubscribed { session: 2, filter: filter("c") },
        queued(1, 10, QoS::AtLeastOnce),
        queued(2, 10, QoS::ExactlyOnce),
        queued(3, 10, QoS::ExactlyOnce),
        queued(1, 11, QoS::ExactlyOnce),
        queued(1, 12, QoS::ExactlyOnce),
        Record::Sent { session: 1, key: 10, packet_id: one },
        Record::Sent { session: 1, key: 11, packet_id: two },
        Record::Released { session: 1, key: 11 },
        Record::Done { session: 1, key: 10 },
        Record::Received { session: 2, packet_id: one },
        Record::Received { session: 2, packet_id: two },
        Record::Forgotten { session: 2, packet_id: one },
        Record::SessionDetached { session: 1, at: moment() },
        Record::SessionDetached { session: 2, at: moment() },
        Record::SessionAttached { session: 2 },
        Record::WillSet { key: 2, client_id: "two".into(), will: message(7) },
        Record::WillSet { key: 9, client_id: "clean".into(), will: message(8) },
        Record::WillCleared { key: 9 },
        Record::Retained { message: message(1).retained(), expires_at: None },
        Record::Retained { message: message(2).retained(), expires_at: Some(moment()) },
        Record::Retained { message: message(3).retained(), expires_at: None },
        Record::RetainedCleared { topic: topic(3) },
    ]
}

/// What is left of it after the end of session 3.
fn survivors() -> Vec<Record> {
    let two = PacketId::FIRST.next();
    vec![
        Record::SessionStarted { session: 1, client_id: "one".into() },
        Record::Subscribed { session: 1, filter: filter("a/+"), qos: QoS::AtLeastOnce },
        Record::Subscribed { session: 1, filter: filter("b"), qos: QoS::ExactlyOnce },
        Record::Queued { session: 1, key: 11, qos: QoS::ExactlyOnce, retain: false, message: message(11) },
        Record::Sent { session: 1, key: 11, packet_id: two },
        Record::Released { session: 1, key: 11 },
        Record::Queued { session: 1, key: 12, qos: QoS::ExactlyOnce, retain: false, message: message(12) },
        Record::SessionDetached { session: 1, at: moment() },
        Record::SessionStarted { session: 2, client_id: "two".into() },
        Record::Queued { session: 2, key: 10, qos: QoS::ExactlyOnce, retain: false, message: message(10) },
        Record::Received { session: 2, packet_id: two },
        Record::WillSet { key: 2, client_id: "two".into(), will: message(7) },
        Record::Retained { message: message(1).retained(), expires_at: None },
        Record::Retained { message: message(2).retained(), expires_at: Some(moment()) },
    ]
}

fn recovered(store: &impl Store) -> Vec<Record> {
    let mut records = Vec::new();
    let outcome = store.recover(&mut |record| records.push(record));
    assert_eq!(outcome, Ok(()));
    // These may come between the others.
    records.sort_by_key(|record| matches!(record, Record::WillSet { .. } | Record::Retained { .. }));
    records
}

fn wait_until_durable(store: &impl Store, mark: Mark) {
    struct Sender(mpsc::Sender<()>);

    impl Wake for Sender {
        fn wake(self: Arc<Self>) {
            // The check may have seen the mark by itself, and be gone.
            let _ = self.0.send(());
        }
    }

    while store.durable() < mark {
        let (sender, woken) = mpsc::channel();
        store.wake_at(mark, &Waker::from(Arc::new(Sender(sender))));
        if store.durable() >= mark {
            break;
        }
        let outcome = woken.recv_timeout(PATIENCE);
        assert!(outcome.is_ok(), "nobody was woken for {mark:?}; durable is {:?}", store.durable());
        assert_eq!(store.failure(), None);
    }
}

fn moment() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123)
}

fn topic(n: u64) -> TopicName {
    TopicName::new(format!("topic/{n}").into_bytes()).expect("a valid topic")
}

fn filter(text: &str) -> TopicFilter {
    TopicFilter::try_from(text).expect("a valid filter")
}

fn message(n: u64) -> Message {
    Message::new(&topic(n), format!("payload {n}").as_bytes(), QoS::ExactlyOnce)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    #[test]
    fn the_memory_store_keeps_the_contract() {
        let store = MemoryStore::default();
        check(|| store.clone());
    }
}
