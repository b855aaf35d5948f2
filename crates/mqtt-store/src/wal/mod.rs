//! [`Wal`]: the write-ahead log: what was appended, in the order in which it came. It is durable here long before the engine
//! has it, which is told later, and only of what is left by then.
//!
//! A few files, written one after the other and over and over: a file may be written again once the engine has all that
//! is in it. Each is a series of frames, which begin at multiples of 8 bytes; what lies behind the latest is of earlier rounds.
//!
//! ```text
//! frame    head: seeded xxh3-64 of the rest of the head 8, "GQ3F", flags 4 (1: synced before anybody was told),
//!          groups before it 8, length of the body 8, seeded xxh3-64 of the body 8
//!          body: groups of records
//! ```
//!
//! The seed is the store's own secret: what a client sends in a payload is never taken for a frame.

mod files;
mod record;
mod replay;

use std::collections::VecDeque;

use mqtt_broker::store::{Record, StoreError};
use xxhash_rust::xxh3::xxh3_64_with_seed;

pub(crate) use self::{
    files::Files,
    replay::{Replayed, replay},
};
use crate::options::Durability;

/// How many files there are. All may be in use; then the one that is being written grows.
pub(crate) const FILES: usize = 4;
/// With so many times what they have in all the log is full: a start has to read it.
const MOST_ROUNDS: u64 = 2;
const MAGIC: u32 = u32::from_be_bytes(*b"GQ3F");
const HEAD: usize = 40;
const ALIGNMENT: usize = 8;
const SYNCED: u32 = 1;

/// Where the log's files are. Numbers are below [`FILES`].
pub(crate) trait Medium: Send + 'static {
    /// What the checksums are seeded with: nobody else knows it.
    fn seed(&self) -> u64;

    fn read(&self, file: usize) -> Result<Vec<u8>, StoreError>;

    fn len(&self, file: usize) -> Result<u64, StoreError>;

    fn write(&self, file: usize, at: u64, bytes: &[u8]) -> Result<(), StoreError>;

    /// Makes a file shorter. Neither this nor the next has to be durable, and errors are of no consequence.
    fn cut(&self, file: usize, len: u64) -> Result<(), StoreError>;

    /// Makes a file longer.
    fn grow(&self, file: usize, from: u64, by: usize) -> Result<(), StoreError>;

    /// What was written survives the loss of power.
    fn sync(&self, file: usize) -> Result<(), StoreError>;

    /// Makes all files empty, and that durable.
    fn clear(&self) -> Result<(), StoreError>;

    /// A problem with this byte of a file, in words.
    fn damage(&self, file: usize, at: u64, what: &str) -> StoreError;
}

pub(crate) struct Wal<M> {
    medium: M,
    durability: Durability,
    /// From this length on the next file is written.
    file_bytes: u64,
    active: usize,
    len: u64,
    /// How long the files are on the disk.
    lengths: [u64; FILES],
    /// Files with groups that the engine may not have, oldest first.
    full: VecDeque<Full>,
    free: VecDeque<usize>,
    /// Groups that were written.
    groups: u64,
    /// Groups that the engine has: it may be ahead.
    known: u64,
}

struct Full {
    file: usize,
    /// The number of groups up to its end.
    until: u64,
    len: u64,
}

/// Groups on their way to the log.
pub(crate) struct Frame {
    /// Begins with room for its head.
    bytes: Vec<u8>,
    groups: u64,
}

impl Default for Frame {
    fn default() -> Self {
        Self { bytes: vec![0; HEAD], groups: 0 }
    }
}

impl Frame {
    pub(crate) fn push(&mut self, group: &[Record]) {
        record::write(group, &mut self.bytes);
        self.groups += 1;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.groups == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - HEAD
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.truncate(HEAD);
        self.groups = 0;
        if self.bytes.capacity() > MOST_SPARE_BYTES {
            self.bytes.shrink_to(MOST_SPARE_BYTES);
        }
    }

    /// Writes its head, and rounds its length up.
    fn seal(&mut self, seed: u64, groups_before: u64, durability: Durability) -> &[u8] {
        let len = self.len() as u64;
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
        let Some((head, body)) = self.bytes.split_first_chunk_mut::<HEAD>() else { return &[] };
        let body = body.get(..len as usize).unwrap_or_default();
        let synced = durability == Durability::Sync;
        *head = Head { synced, groups_before, len, checksum: xxh3_64_with_seed(body, seed) }.encode(seed);
        &self.bytes
    }
}

struct Head {
    synced: bool,
    groups_before: u64,
    len: u64,
    checksum: u64,
}

impl Head {
    fn encode(&self, seed: u64) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        let flags = if self.synced { SYNCED } else { 0 };
        let [_, a, b, c, d] = bytes.as_chunks_mut::<8>().0 else { return bytes };
        *a = (u64::from(MAGIC) << 32 | u64::from(flags)).to_be_bytes();
        *b = self.groups_before.to_be_bytes();
        *c = self.len.to_be_bytes();
        *d = self.checksum.to_be_bytes();
        let checksum = xxh3_64_with_seed(&bytes[8..], seed);
        bytes[..8].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    /// The head that these bytes begin with.
    fn decode(bytes: &[u8], seed: u64) -> Option<Self> {
        let head = bytes.first_chunk::<HEAD>()?;
        let ([checksum, what, groups, len, body], []) = head.as_chunks::<8>() else { return None };
        let (what, checksum) = (u64::from_be_bytes(*what), u64::from_be_bytes(*checksum));
        if what >> 32 != u64::from(MAGIC) || xxh3_64_with_seed(&head[8..], seed) != checksum {
            return None;
        }
        Some(Self {
            synced: what & u64::from(SYNCED) != 0,
            groups_before: u64::from_be_bytes(*groups),
            len: u64::from_be_bytes(*len),
            checksum: u64::from_be_bytes(*body),
        })
    }
}

/// How much longer a file becomes at a time, ahead of what is written.
pub(crate) const GROWTH: usize = 256 * 1024;
/// What a frame that was written keeps of its memory.
const MOST_SPARE_BYTES: usize = 1024 * 1024;

impl<M: Medium> Wal<M> {
    /// A log whose files are all free, after so many groups.
    pub(crate) fn new(medium: M, groups: u64, file_bytes: u64, durability: Durability) -> Self {
        let (full, free) = (VecDeque::new(), (1..FILES).collect());
        // Not to know a length costs no more than to make the file as long again.
        let lengths = std::array::from_fn(|file| medium.len(file).unwrap_or_default());
        let known = groups;
        let mut log =
            Self { medium, durability, file_bytes, active: 0, len: 0, lengths, full, free, groups, known };
        for file in 0..FILES {
            log.cut_to_size(file);
        }
        log
    }

    /// Writes a frame, and syncs it if that is promised.
    pub(crate) fn write(&mut self, frame: &mut Frame) -> Result<(), StoreError> {
        if self.len >= self.file_bytes
            && let Some(next) = self.free.pop_front()
        {
            self.full.push_back(Full { file: self.active, until: self.groups, len: self.len });
            (self.active, self.len) = (next, 0);
            self.forget(self.known);
        }
        let bytes = frame.seal(self.medium.seed(), self.groups, self.durability);
        let end = self.len + bytes.len() as u64;
        if let Some(length) = self.lengths.get_mut(self.active).filter(|length| end > **length) {
            if self.durability == Durability::Sync {
                // Where a file has its length, a sync need not write that down too.
                let _ = self.medium.grow(self.active, *length, GROWTH);
                *length += GROWTH as u64;
            }
            *length = end.max(*length);
        }
        self.medium.write(self.active, self.len, bytes)?;
        if self.durability == Durability::Sync {
            self.medium.sync(self.active)?;
        }
        self.len = end;
        self.groups += frame.groups;
        Ok(())
    }

    /// Groups that were written, by whomever.
    pub(crate) fn groups(&self) -> u64 {
        self.groups
    }

    /// Gives back what a file has become too long by while the engine did not follow.
    fn cut_to_size(&mut self, file: usize) {
        if let Some(length) = self.lengths.get_mut(file)
            && *length / 2 > self.file_bytes
            && self.medium.cut(file, self.file_bytes).is_ok()
        {
            *length = self.file_bytes;
        }
    }

    /// Nothing in it is needed any more.
    pub(crate) fn clear(&self) -> Result<(), StoreError> {
        self.medium.clear()
    }

    /// The engine has so many groups, and will have them after whatever ours survives.
    pub(crate) fn forget(&mut self, groups: u64) {
        self.known = groups.max(self.known);
        while let Some(Full { file, .. }) = self.full.pop_front_if(|full| full.until <= self.known) {
            self.free.push_back(file);
            self.cut_to_size(file);
        }
    }

    /// So many groups the engine should be told of, because half of the files are full of what it does not have: those in the
    /// oldest, of which the least is still of any use. 0 if there is room.
    pub(crate) fn old_groups(&self) -> u64 {
        self.full.front().filter(|_| self.full.len() >= FILES / 2).map_or(0, |full| full.until)
    }

    /// It has so much that the engine does not have, and no free file, that nothing more should be written until the engine has
    /// the [old groups](Self::old_groups), of which there are some then.
    pub(crate) fn is_full(&self) -> bool {
        let held = || self.full.iter().map(|full| full.len).sum::<u64>() + self.len;
        self.free.is_empty() && held() / (MOST_ROUNDS * FILES as u64) >= self.file_bytes
    }
}
