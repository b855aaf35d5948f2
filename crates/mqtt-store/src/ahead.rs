//! Recovery with several hands: threads read and check rows while their caller puts to use what was read before. One reads the sessions,
//! another what belongs to none.

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

/// As [`reader::recover`], but what belongs to no session comes in between. Records that came before an error have been visited.
pub(crate) fn recover<R: Reads + Sync>(engine: &R, visit: &mut dyn FnMut(Record)) -> Result<(), StoreError> {
    let (sender, chunks) = sync_channel(MOST_WAITING);
    // Whichever way this ends, nobody is to wait for somebody to take a chunk: the channel ends with it.
    thread::scope(move |scope| {
        let start = |name: &str, read: Read<R>| {
            let mut chunk = Chunk { sender: sender.clone(), records: Vec::new(), bytes: 0 };
            let read = move || {
                let outcome = read(engine, &mut |record| chunk.push(record));
                chunk.hand_over();
                outcome
            };
            let started = thread::Builder::new().name(name.into()).spawn_scoped(scope, read);
            started.map_err(|error| writer::no_thread(&error))
        };
        let sessions = start("store-sessions", reader::recover_sessions)?;
        let the_rest = start("store-rest", reader::recover_the_rest)?;
        drop(sender);
        for chunk in chunks {
            chunk.into_iter().for_each(&mut *visit);
        }
        [sessions, the_rest]
            .into_iter()
            .try_for_each(|reading| reading.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

type Read<R> = fn(&R, &mut dyn FnMut(Record)) -> Result<(), StoreError>;

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
