//! Recovery with two hands: a thread reads and checks rows while its caller puts to use what was read before.

use std::{
    panic::resume_unwind,
    sync::mpsc::{SyncSender, sync_channel},
    thread,
};

use mqtt_broker::store::{Record, StoreError};

use crate::{engine::Reads, inbox, reader, writer};

/// What is handed over at a time, at most: often enough that neither waits long for the other.
const MOST_RECORDS: usize = 512;
const MOST_BYTES: usize = 256 * 1024;
/// So many of these may wait: memory must not depend on how much is read.
const MOST_WAITING: usize = 4;

/// As [`reader::recover`]. Records that came before an error have been visited.
pub(crate) fn recover<R: Reads + Sync>(engine: &R, visit: &mut dyn FnMut(Record)) -> Result<(), StoreError> {
    let (sender, chunks) = sync_channel(MOST_WAITING);
    thread::scope(|scope| {
        let read = move || {
            let mut chunk = Chunk { sender, records: Vec::new(), bytes: 0 };
            let outcome = reader::recover(engine, &mut |record| chunk.push(record));
            chunk.hand_over();
            outcome
        };
        let reading = thread::Builder::new().name("store-recovery".into()).spawn_scoped(scope, read);
        let reading = reading.map_err(|error| writer::no_thread(&error))?;
        for chunk in chunks {
            chunk.into_iter().for_each(&mut *visit);
        }
        reading.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

struct Chunk {
    sender: SyncSender<Vec<Record>>,
    records: Vec<Record>,
    bytes: usize,
}

impl Chunk {
    fn push(&mut self, record: Record) {
        self.bytes += inbox::size(&record);
        self.records.push(record);
        if self.records.len() >= MOST_RECORDS || self.bytes >= MOST_BYTES {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        self.bytes = 0;
        let records = std::mem::replace(&mut self.records, Vec::with_capacity(MOST_RECORDS));
        // Nobody takes it only if the visitor has panicked, which then goes on in its own thread.
        let _ = self.sender.send(records);
    }
}
