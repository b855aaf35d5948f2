//! A writer that waits for messages to be done with loses none, and makes nobody wait for ever.

use std::time::{Duration, Instant};

use mqtt_broker::{
    Message, QoS,
    store::{MessageKey, Record, SessionKey},
};

use super::power_loss::{reopened, start};
use crate::{Durability, engine::double::Disk, writer::Writer};

const SESSION: SessionKey = 1;

fn queued(key: MessageKey) -> Record {
    let qos = QoS::AtLeastOnce;
    let message = Message::new(&"t".try_into().unwrap(), b"a payload", qos);
    Record::Queued { session: SESSION, key, qos, retain: false, message }
}

fn done(key: MessageKey) -> Record {
    Record::Done { session: SESSION, key }
}

/// A writer that has seen for a while that it pays to wait, and the next key.
fn patient(disk: &Disk) -> (Writer, MessageKey) {
    let writer = start(disk, Durability::Os);
    writer.append(vec![Record::SessionStarted { session: SESSION, client_id: "a".into() }]);
    let (mut key, begun) = (1, Instant::now());
    while begun.elapsed() < Duration::from_millis(100) {
        let mark = writer.append((key..key + 50).map(queued).collect());
        writer.append((key..key + 50).map(done).collect());
        key += 50;
        writer.wait(mark).unwrap();
    }
    (writer, key)
}

#[test]
fn what_is_never_done_with_is_written_all_the_same() {
    let disk = Disk::default();
    let (writer, key) = patient(&disk);
    writer.wait(writer.append(vec![queued(key)])).unwrap();
    let left = reopened(&disk.after_crash());
    assert!(left.contains(&queued(key)), "{left:?}");
}

#[test]
fn the_end_of_a_patient_writer_writes_everything() {
    let disk = Disk::default();
    let (writer, key) = patient(&disk);
    writer.append(vec![queued(key)]);
    assert!(writer.close().is_some());
    assert!(reopened(&disk).contains(&queued(key)));
}

/// Messages that are done with in the batch that queued them cost no row.
#[test]
fn nothing_is_left_of_what_was_done_with() {
    let disk = Disk::default();
    let (writer, key) = patient(&disk);
    writer.wait(writer.append(vec![queued(key), done(key)])).unwrap();
    let left = reopened(&disk.after_crash());
    assert!(!left.iter().any(|record| matches!(record, Record::Queued { .. })), "{left:?}");
}
