//! What comes in, what becomes of it, and what is left of it.

use mqtt_broker::{Message, PacketId, QoS};

use super::*;

fn queued(session: SessionKey, key: MessageKey) -> Record {
    let message = Message::new(&"t".try_into().unwrap(), b"a payload", QoS::AtLeastOnce);
    Record::Queued { session, key, qos: QoS::AtLeastOnce, retain: false, message }
}

fn sent(session: SessionKey, key: MessageKey) -> Record {
    Record::Sent { session, key, packet_id: PacketId::FIRST }
}

fn done(session: SessionKey, key: MessageKey) -> Record {
    Record::Done { session, key }
}

/// An inbox of an empty engine, with these groups of one record.
fn inbox(records: impl IntoIterator<Item = Record>) -> Inbox {
    let mut inbox = Inbox::new(Some(0));
    for record in records {
        inbox.push(1, record);
    }
    inbox
}

fn speaks_of(inbox: &Inbox, session: SessionKey, after: MessageKey) -> bool {
    inbox.silent_until(session, after) < MessageKey::MAX
}

fn told(slots: VecDeque<Slot>) -> Vec<Record> {
    Later::default().unpack(slots.into_iter(), u64::MAX).collect()
}

fn all(mut inbox: Inbox) -> Vec<Record> {
    let mut slots = VecDeque::new();
    inbox.take(&mut slots);
    assert_eq!((inbox.bytes(), inbox.len()), (0, 0));
    told(slots)
}

#[test]
fn a_message_that_was_done_with_leaves_nothing() {
    let mut inbox = inbox([queued(1, 5), sent(1, 5), queued(1, 6), done(1, 5)]);
    assert!(inbox.push(1, done(1, 6)).is_some(), "to be dropped elsewhere");
    assert_eq!((inbox.bytes(), inbox.len()), (0, 0));
}

#[test]
fn what_stands_behind_another_leaves_an_empty_place() {
    let mut inbox = inbox([queued(1, 5), queued(1, 6), queued(1, 7), done(1, 6)]);
    assert_eq!(inbox.len(), 3);
    inbox.push(1, done(1, 5));
    assert_eq!(inbox.len(), 1, "the places at the front are let go of");
    inbox.push(1, sent(1, 7));
    assert_eq!(all(inbox), [queued(1, 7), sent(1, 7)]);
}

#[test]
fn texts_count_too() {
    let long = "x".repeat(1_000);
    let filter = || long.as_str().try_into().unwrap();
    for record in [
        Record::SessionStarted { session: 1, client_id: long.as_str().into() },
        Record::Subscribed { session: 1, filter: filter(), qos: QoS::AtLeastOnce },
        Record::Unsubscribed { session: 1, filter: filter() },
        Record::RetainedCleared { topic: long.as_str().try_into().unwrap() },
    ] {
        assert_eq!(inbox([record]).bytes(), RECORD_BYTES + 1_000);
    }
}

fn counted(message_of: &Record) -> usize {
    size(message_of) - RECORD_BYTES
}

/// One of 2 MiB for 17 sessions counted as 34, and had everybody wait for the engine.
#[test]
fn a_message_for_many_is_counted_once() {
    let mut inbox = inbox((1..=17).map(|session| queued(session, 5)));
    assert_eq!(inbox.bytes(), counted(&queued(1, 5)) + 17 * RECORD_BYTES);
    for left in (0..17).rev() {
        inbox.take_until(1, 1, &mut VecDeque::new());
        assert_eq!(inbox.bytes(), left * RECORD_BYTES, "the first that goes takes it along");
    }
}

#[test]
fn a_message_for_several_is_counted_until_all_are_done_with_it() {
    let first = queued(9, 4);
    let mut inbox = inbox([first.clone()].into_iter().chain((1..=4).map(|session| queued(session, 5))));
    let places = 5 * RECORD_BYTES + counted(&first);
    for (session, left) in [(2, 1), (1, 1), (4, 1), (3, 0)] {
        assert_eq!(inbox.bytes(), places + counted(&queued(1, 5)));
        inbox.push(1, done(session, 5));
        assert_eq!(inbox.bytes(), places + left * counted(&queued(1, 5)), "{session}");
    }
    inbox.push(1, done(9, 4));
    assert_eq!((inbox.bytes(), inbox.len()), (0, 0));
}

#[test]
fn an_empty_place_takes_memory_until_it_is_gone() {
    let mut inbox = inbox([queued(1, 5)]);
    let before = inbox.bytes();
    for key in 6..106 {
        inbox.push(1, queued(1, key));
        inbox.push(1, done(1, key));
    }
    assert_eq!(inbox.bytes(), before + 100 * RECORD_BYTES);
    inbox.push(1, done(1, 5));
    assert_eq!((inbox.bytes(), inbox.len()), (0, 0));
}

/// Behind who has just connected, or a message that nobody is done with, 131,072 empty places went through the cache.
#[test]
fn empty_places_are_never_many() {
    let (absent, group) = (queued(9, 1), [3, 4].map(|session| queued(session, 2)));
    let mut inbox = inbox([absent.clone()].into_iter().chain(group.clone()));
    let mut bytes = inbox.bytes();
    for key in 3..10_000 {
        for record in [queued(1, key), queued(2, key), sent(2, key), sent(1, key)] {
            inbox.push(1, record);
        }
        for session in [1, 2] {
            assert!(inbox.push(1, done(session, key)).is_some(), "{session}, {key}");
        }
        assert!(inbox.len() <= EMPTY_PLACES + 7 && inbox.places.len() <= inbox.len(), "{key}");
    }
    bytes += (inbox.len() - 3) * RECORD_BYTES;
    assert_eq!(inbox.bytes(), bytes);
    inbox.push(1, done(3, 2));
    inbox.push(1, sent(4, 2));
    assert_eq!(all(inbox), [absent, group[1].clone(), sent(4, 2)]);
}

/// Whatever goes and wherever it stands, the others are found.
#[test]
fn gaps_close_around_what_stays() {
    let (mut inbox, mut slots, mut waiting) = (Inbox::new(Some(0)), VecDeque::new(), Vec::new());
    let mut random = 1_usize;
    for key in 1..20_000 {
        for session in 0..key % 4 {
            inbox.push(key, queued(session, key));
            waiting.push((session, key));
        }
        while waiting.len() > 300 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (session, key) = waiting.remove((random >> 40) % waiting.len());
            assert!(inbox.push(key, done(session, key)).is_some(), "{session}, {key}");
        }
        assert!(inbox.len() <= 2 * (EMPTY_PLACES + waiting.len()), "{key}");
        if key % 1_000 == 0 {
            assert!(inbox.take_until(key - 200, usize::MAX, &mut slots));
            let is_taken = |(_, queued): &mut (SessionKey, MessageKey)| *queued <= key - 200;
            let expected: Vec<_> =
                waiting.extract_if(.., is_taken).map(|(session, key)| queued(session, key)).collect();
            assert_eq!(told(std::mem::take(&mut slots)), expected);
            assert!(inbox.places.len() <= inbox.len(), "{key}");
        }
    }
    let expected: Vec<_> = waiting.into_iter().map(|(session, key)| queued(session, key)).collect();
    assert_eq!(all(inbox), expected);
}

#[test]
fn what_is_old_goes_by_itself() {
    let mut inbox = Inbox::new(Some(0));
    for (mark, record) in [(1, queued(1, 5)), (1, queued(2, 5)), (2, queued(1, 6)), (3, queued(1, 7))] {
        inbox.push(mark, record);
    }
    inbox.push(4, done(1, 6));
    let mut slots = VecDeque::new();
    assert_eq!(inbox.middle(), 2);
    assert!(!inbox.take_until(2, 1, &mut slots), "one at a time");
    assert!(inbox.take_until(2, 9, &mut slots));
    assert_eq!(told(slots), [queued(1, 5), queued(2, 5)]);
    inbox.push(5, done(2, 5));
    inbox.push(6, sent(1, 7));
    assert_eq!(all(inbox), [queued(1, 7), sent(1, 7), done(2, 5)]);
}

#[test]
fn it_knows_of_whom_it_speaks() {
    let over = Record::SessionEnded { session: 5 };
    let mut inbox = inbox([queued(1, 5), queued(2, 6), sent(3, 4), done(3, 4), over]);
    for (session, after, expected) in [
        (1, 4, true),
        (1, 5, false),
        (2, 5, true),
        (2, 6, false),
        (3, 3, true),
        (3, 4, false),
        (4, 0, false),
        (5, 9, true),
    ] {
        assert_eq!(speaks_of(&inbox, session, after), expected, "{session} after {after}");
    }
    inbox.take(&mut VecDeque::new());
    assert!(!speaks_of(&inbox, 1, 4));
}

/// Who reads on behind what he was sent need not wait for what is new.
#[test]
fn it_knows_from_where_on_it_speaks() {
    let new = Record::SessionStarted { session: 3, client_id: "three".into() };
    let messages = [done(1, 5), queued(1, 20), sent(1, 20), queued(1, 30), queued(2, 21), queued(3, 40)];
    let inbox = inbox(messages.into_iter().chain([new]));
    for (session, after, expected) in [
        (1, 4, 5),
        (1, 5, 20),
        (1, 18, 20),
        (1, 20, 21),
        (1, 29, 30),
        (1, 30, MessageKey::MAX),
        (2, 0, 21),
        (3, 0, 1),
        (4, 0, MessageKey::MAX),
    ] {
        assert_eq!(inbox.silent_until(session, after), expected, "{session} after {after}");
    }
}

/// Under load it is never taken as a whole.
#[test]
fn it_forgets_of_whom_it_speaks_no_more() {
    let (mut inbox, mut slots) = (Inbox::new(Some(0)), VecDeque::new());
    for session in 1..10_000 {
        inbox.push(session, Record::SessionEnded { session });
        inbox.push(session, queued(10_000, session));
        inbox.push(session, done(10_000, session));
        assert!(speaks_of(&inbox, session, 9));
        assert!(inbox.take_until(session, 9, &mut slots));
        assert!(!speaks_of(&inbox, session, 9) && !speaks_of(&inbox, 10_000, 0));
        slots.clear();
    }
    assert!(inbox.spoken.len() < 10, "{}", inbox.spoken.len());
}

/// What was said first may have been about the latest, and be gone.
#[test]
fn it_speaks_of_a_session_until_the_last_word_is_gone() {
    let mut inbox = Inbox::new(Some(9));
    for (mark, record) in [(1, queued(1, 12)), (2, sent(1, 3)), (3, done(1, 3)), (4, queued(2, 13))] {
        inbox.push(mark, record);
    }
    let mut slots = VecDeque::new();
    for (mark, expected) in [(1, true), (2, true), (3, false), (4, false)] {
        inbox.take_until(mark, 9, &mut slots);
        assert_eq!(speaks_of(&inbox, 1, 2), expected, "after {mark}");
    }
    inbox.push(5, sent(1, 4));
    assert!(speaks_of(&inbox, 1, 3) && !speaks_of(&inbox, 1, 4), "what was said before is forgotten");
}

/// The engine knew of a message that it was under way, and of one before it, which it had been told of earlier, that it was not; the
/// log had neither yet when the process ended, and the next one sent the later message first.
#[test]
fn the_engine_knows_no_more_than_up_to_its_mark() {
    let mut inbox = Inbox::new(Some(0));
    let released = Record::Released { session: 1, key: 5 };
    for (mark, record) in
        [(1, queued(1, 5)), (2, queued(1, 6)), (3, sent(1, 5)), (4, released.clone()), (5, sent(1, 6))]
    {
        inbox.push(mark, record);
    }
    let (mut later, mut slots) = (Later::default(), VecDeque::new());
    let mut tell = |inbox: &mut Inbox, mark| -> Vec<_> {
        inbox.take_until(mark, 9, &mut slots);
        later.unpack(mem::take(&mut slots).into_iter(), mark).collect()
    };
    assert_eq!(tell(&mut inbox, 1), [queued(1, 5)]);
    inbox.push(6, done(1, 6));
    assert_eq!(tell(&mut inbox, 3), [sent(1, 5)]);
    inbox.push(7, done(1, 5));
    assert_eq!(tell(&mut inbox, 7), [released, done(1, 5)]);
    assert!(later.sent().is_empty());
}

/// Nobody is to be sent twice what the engine will only hear of.
#[test]
fn what_is_under_way_is_known_before_the_engine_is_told() {
    let mut inbox = inbox([queued(1, 5), queued(2, 5), queued(1, 6)]);
    inbox.push(2, sent(1, 6));
    inbox.push(2, sent(2, 5));
    let (mut later, mut slots) = (Later::default(), VecDeque::new());
    inbox.take_until(1, 9, &mut slots);
    assert_eq!(later.unpack(slots.into_iter(), 1).count(), 3);
    assert_eq!(later.sent(), [(1, vec![6]), (2, vec![5])].into_iter().collect());
}

#[test]
fn what_became_of_a_message_follows_it() {
    let other = queued(2, 6);
    let left = all(inbox([queued(1, 5), other.clone(), sent(1, 5), Record::Released { session: 1, key: 5 }]));
    let released = Record::Released { session: 1, key: 5 };
    assert_eq!(left, [queued(1, 5), sent(1, 5), released, other]);
}

#[test]
fn each_receiver_is_done_for_itself() {
    let mut inbox = Inbox::new(Some(0));
    (1..=8).for_each(|session| drop(inbox.push(1, queued(session, 5))));
    inbox.push(1, done(2, 5));
    inbox.push(1, done(9, 5));
    let rest = [1, 3, 4, 5, 6, 7, 8].map(|session| queued(session, 5));
    assert_eq!(all(inbox), [&rest[..], &[done(9, 5)]].concat());
}

#[test]
fn a_message_for_many_is_left_to_the_ledger() {
    let mut inbox = Inbox::new(Some(0));
    let group: Vec<_> = (1..=9).map(|session| queued(session, 5)).collect();
    for record in &group {
        inbox.push(1, record.clone());
    }
    inbox.push(1, done(2, 5));
    assert_eq!(all(inbox), [&group[..], &[done(2, 5)]].concat());
}

/// A key that comes again, or came in an earlier process, may have a row that has to go.
#[test]
fn the_end_of_a_message_that_may_have_been_written_is_kept() {
    let again = [queued(1, 5), queued(1, 6), queued(1, 5), done(1, 5), done(1, 6)];
    assert_eq!(all(inbox(again.clone())), again);
    for newest in [None, Some(5)] {
        let mut inbox = Inbox::new(newest);
        inbox.push(1, queued(1, 5));
        inbox.push(1, done(1, 5));
        assert_eq!(all(inbox), [queued(1, 5), done(1, 5)]);
    }
    let mut inbox = inbox([queued(1, 5)]);
    inbox.take(&mut VecDeque::new());
    inbox.push(1, queued(1, 5));
    inbox.push(1, done(1, 5));
    assert_eq!(all(inbox), [queued(1, 5), done(1, 5)]);
}
