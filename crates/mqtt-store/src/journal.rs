//! Looks through the engine's journal before the engine does.
//!
//! After a crash the last batch may be torn, and the engine drops it, rightly: it was not acknowledged. But the engine
//! drops as silently what follows a damaged byte in the middle, and that was. So every batch of ours ends with a number,
//! one more than the batch before, and says whether that had been synced by then: if behind the damage there is one that
//! says so of a batch that cannot be read, the store is not opened. A number is believed only with the store's seal: what is
//! behind a torn place may be a payload, and a client may put whatever it likes there, a whole batch too.
//!
//! After a clean end that left all of it in sorted files the engine need not read it again: then it is emptied.
//!
//! The journal's files are `N.jnl`, oldest first, each a series of batches and then zeros:
//!
//! ```text
//! batch   1, items: u32, sequence: u64; the items; 3, xxh3 of the items: u64, "FJL", 3     (integers little endian)
//! item    2, kind: u8, compression: u8 (0), keyspace: u64, key length: u16, length: u32, stored length: u32, key, value
//!         4, keyspace: u64
//! ```

use std::{
    fs::{File, OpenOptions},
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use mqtt_broker::store::StoreError;
use xxhash_rust::xxh3::Xxh3;

use crate::{
    directory::{damage, failed},
    encoding::{MARK_KEY, MarkFound, mark_at},
};

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const TRAILER: [u8; 4] = [b'F', b'J', b'L', 3];

/// So much of a file is in memory at a time.
const PIECE: usize = 1 << 18;

/// What a journal holds.
#[derive(Default)]
pub(crate) struct Found {
    /// The number of its last batch, if it has one.
    pub(crate) last: Option<u64>,
    /// How many bytes its batches take.
    pub(crate) bytes: u64,
    /// How many of them are in its last file.
    pub(crate) bytes_in_last: u64,
}

/// Checks the journal in this directory, and cuts off a torn last batch. `synced` is the number of a batch that is known
/// to have been synced, `seed` what seals are made with.
pub(crate) fn check(directory: &Path, synced: u64, seed: u64) -> Result<Found, StoreError> {
    let files = files(directory)?;
    if files.is_empty() {
        return Err(damage(directory, "the engine's journal is missing"));
    }
    let Found { mut last, mut bytes, mut bytes_in_last } = Found::default();
    let mut torn: Option<Torn> = None;
    for (path, _) in &files {
        let mut journal = Journal::open(path, seed)?;
        let mut valid_len = 0;
        if torn.is_none() {
            while let Some(MarkFound { number, is_sealed, .. }) = journal.batch()? {
                if !is_sealed {
                    return Err(damage(
                        path,
                        &format!("batch {number} is not of the store that the log is of"),
                    ));
                }
                if let Some(last) = last
                    && last.checked_add(1) != Some(number)
                {
                    let what = format!("batch {number} follows batch {last}, what lay between is lost");
                    return Err(damage(path, &what));
                }
                last = Some(number);
                valid_len = journal.position;
            }
        }
        bytes += valid_len;
        bytes_in_last = valid_len;
        let rest = journal.rest(valid_len)?;
        if rest.is_clean {
            continue;
        }
        if let Some(torn) = torn {
            return Err(torn.before(path));
        }
        torn = Some(Torn { path: path.clone(), valid_len, later: rest.latest, known: rest.synced });
    }
    if let Some(torn) = torn {
        torn.resolve(last, synced)?;
    }
    Ok(Found { last, bytes, bytes_in_last })
}

/// Writes what the last file begins with over itself, so many bytes, and syncs it. After a sync that failed the system takes for
/// written what is in memory alone, and the next sync would not write it. The files before were synced.
pub(crate) fn write_again(directory: &Path, len: u64) -> Result<(), StoreError> {
    let Some((path, _)) = files(directory)?.pop() else { return Ok(()) };
    let written = OpenOptions::new().read(true).write(true).open(&path).and_then(|mut file| {
        let mut piece = Vec::new();
        for at in (0..len).step_by(PIECE) {
            piece.clear();
            file.seek(SeekFrom::Start(at))?;
            (&mut file).take((len - at).min(PIECE as u64)).read_to_end(&mut piece)?;
            file.seek(SeekFrom::Start(at))?;
            file.write_all(&piece)?;
        }
        file.sync_data()
    });
    written.map_err(|error| failed("write", &path, &error))
}

/// Empties a journal of which nothing is needed. Of several files the engine has a use for the older ones: then none is.
pub(crate) fn empty(directory: &Path) -> Result<(), StoreError> {
    match &files(directory)?[..] {
        [(path, _)] => cut(path, 0),
        _ => Ok(()),
    }
}

fn cut(path: &Path, len: u64) -> Result<(), StoreError> {
    let cut = OpenOptions::new().write(true).open(path).and_then(|file| {
        file.set_len(len)?;
        file.sync_all()
    });
    cut.map_err(|error| failed("repair", path, &error))
}

/// A place in the journal where it cannot be read on.
struct Torn {
    path: PathBuf,
    valid_len: u64,
    /// The greatest number of a batch behind that place.
    later: Option<u64>,
    /// The greatest of one that was synced, as those behind that place say; 0 if none does.
    known: u64,
}

impl Torn {
    /// Why the store is not opened, if there is more in a later file. In every mode the engine syncs a file before it begins
    /// the next one, so no loss of power explains this; and it would read on there.
    fn before(self, later: &Path) -> StoreError {
        let what = format!("at byte {}: it was whole when {} was begun", self.valid_len, later.display());
        damage(&self.path, &what)
    }

    /// Cuts the journal off there, if nothing is lost by it that was promised.
    fn resolve(self, last: Option<u64>, synced: u64) -> Result<(), StoreError> {
        let Self { path, valid_len, later, known } = self;
        let place = format!("byte {valid_len} of {}", path.display());
        let unreadable = |batches: String| {
            damage(&path, &format!("at byte {valid_len}: batches {batches} cannot be read"))
        };
        match last {
            Some(last) if last < known.max(synced) => {
                return Err(unreadable(format!("{} to {}", last + 1, known.max(synced))));
            }
            None if known > synced => return Err(unreadable(format!("up to {known}"))),
            _ => {}
        }
        let first = last.map(|last| last.saturating_add(1));
        match later.filter(|later| Some(*later) != first) {
            Some(later) => {
                tracing::warn!(
                    "the journal is torn at {place}: batches {} to {later} were not synced before power was lost, \
                     and are dropped",
                    first.map_or_else(|| "before".into(), |first| first.to_string())
                );
            }
            None => {
                tracing::info!("the journal is torn at {place}: a batch that nobody was told of is dropped");
            }
        }
        cut(&path, valid_len)
    }
}

/// The journal's files, oldest first.
fn files(directory: &Path) -> Result<Vec<(PathBuf, u64)>, StoreError> {
    let mut files: Vec<(PathBuf, u64)> = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(|error| failed("read", directory, &error))? {
        let path = entry.map_err(|error| failed("read", directory, &error))?.path();
        if path.extension().is_some_and(|extension| extension == "jnl") {
            let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
            let number = number.filter(|_| path.is_file());
            let number = number.ok_or_else(|| damage(&path, "is no name of a journal file"))?;
            files.push((path, number));
        }
    }
    files.sort_unstable_by_key(|(_, number)| *number);
    for pair in files.windows(2) {
        if let [(_, one), (path, two)] = pair
            && one.checked_add(1) != Some(*two)
        {
            return Err(damage(path, "the journal file before it is missing"));
        }
    }
    Ok(files)
}

struct Journal<'a> {
    path: &'a Path,
    seed: u64,
    file: BufReader<File>,
    len: u64,
    position: u64,
    bytes: Vec<u8>,
}

/// What follows the last whole batch.
struct Rest {
    /// Nothing but zeros.
    is_clean: bool,
    /// The greatest number of a batch in it.
    latest: Option<u64>,
    /// The greatest of a batch that was synced, as those in it say of the ones before them; 0 if none does.
    synced: u64,
}

impl<'a> Journal<'a> {
    fn open(path: &'a Path, seed: u64) -> Result<Self, StoreError> {
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (len, file) = opened.map_err(|error| failed("open", path, &error))?;
        let file = BufReader::with_capacity(1 << 18, file);
        Ok(Self { path, seed, file, len, position: 0, bytes: Vec::new() })
    }

    /// Reads a batch: its mark. `None` where there is no whole batch of ours.
    fn batch(&mut self) -> Result<Option<MarkFound>, StoreError> {
        self.try_batch().map_err(|error| failed("read", self.path, &error))
    }

    fn try_batch(&mut self) -> io::Result<Option<MarkFound>> {
        let Some([START, i0, i1, i2, i3, ..]) = self.take::<13>()? else { return Ok(None) };
        let (mut hash, mut mark) = (Xxh3::new(), None);
        for _ in 0..u32::from_le_bytes([i0, i1, i2, i3]) {
            if !self.read_item()? {
                return Ok(None);
            }
            hash.update(&self.bytes);
            mark = self.bytes.get(ITEM_HEAD..).and_then(|row| mark_at(row, self.seed));
        }
        let is_whole = match self.take::<13>()? {
            Some([END, checksum @ .., t0, t1, t2, t3]) => {
                u64::from_le_bytes(checksum) == hash.digest() && [t0, t1, t2, t3] == TRAILER
            }
            _ => false,
        };
        Ok(mark.filter(|_| is_whole))
    }

    /// Reads an item into `bytes`.
    fn read_item(&mut self) -> io::Result<bool> {
        self.bytes.clear();
        let Some([tag]) = self.take()? else { return Ok(false) };
        self.bytes.push(tag);
        match tag {
            CLEAR => self.take_more(8),
            ITEM if self.take_more(ITEM_HEAD - 1)? => {
                let stored = match self.bytes[..] {
                    [.., k0, k1, _, _, _, _, v0, v1, v2, v3] => {
                        u64::from(u16::from_le_bytes([k0, k1]))
                            + u64::from(u32::from_le_bytes([v0, v1, v2, v3]))
                    }
                    _ => return Ok(false),
                };
                // A damaged length must not take memory that the file could not fill.
                if stored > self.len.saturating_sub(self.position) {
                    return Ok(false);
                }
                self.take_more(stored as usize)
            }
            _ => Ok(false),
        }
    }

    fn take<const N: usize>(&mut self) -> io::Result<Option<[u8; N]>> {
        let mut bytes = [0; N];
        match self.file.read_exact(&mut bytes) {
            Ok(()) => {
                self.position += N as u64;
                Ok(Some(bytes))
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn take_more(&mut self, len: usize) -> io::Result<bool> {
        let begin = self.bytes.len();
        self.bytes.resize(begin + len, 0);
        match self.file.read_exact(self.bytes.get_mut(begin..).unwrap_or_default()) {
            Ok(()) => {
                self.position += len as u64;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn rest(mut self, from: u64) -> Result<Rest, StoreError> {
        self.try_rest(from).map_err(|error| failed("read", self.path, &error))
    }

    fn try_rest(&mut self, from: u64) -> io::Result<Rest> {
        /// What of a piece is looked at again with the next one: no less than a key and its value.
        const OVERLAP: usize = 64;
        /// Compared with a page at a time: fast without optimisation too, and no more of them in the program.
        const ZEROS: &[u8] = &[0; 4096];
        self.file.seek(SeekFrom::Start(from))?;
        let mut rest = Rest { is_clean: true, latest: None, synced: 0 };
        let mut piece = Vec::new();
        loop {
            let kept = piece.len().min(OVERLAP);
            piece.drain(..piece.len() - kept);
            if (&mut self.file).take(PIECE as u64).read_to_end(&mut piece)? == 0 {
                return Ok(rest);
            }
            if piece.chunks(ZEROS.len()).all(|page| ZEROS.starts_with(page)) {
                continue;
            }
            rest.is_clean = false;
            let marks = (0..piece.len()).filter_map(|at| {
                let bytes = piece.get(at..).filter(|bytes| bytes.starts_with(MARK_KEY))?;
                mark_at(bytes, self.seed).filter(|mark| mark.is_sealed)
            });
            for MarkFound { number, after_synced, .. } in marks {
                rest.latest = rest.latest.max(Some(number));
                if after_synced {
                    rest.synced = rest.synced.max(number.saturating_sub(1));
                }
            }
        }
    }
}

/// The bytes of an item before its key.
const ITEM_HEAD: usize = 1 + 1 + 1 + 8 + 2 + 4 + 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::{Encoder, Table, Value};

    const PAGE: usize = 4096;
    const SEED: u64 = 5;

    fn mark(seed: u64) -> Vec<u8> {
        let value = Value::mark(7, true, 9, seed);
        [MARK_KEY, &Encoder::default().encode(Table::Meta, MARK_KEY, &value)].concat()
    }

    /// What is found in a file of zeros into which these bytes were written.
    fn rest_of(len: usize, bytes: &[u8], at: usize) -> Rest {
        let mut content = vec![0; len];
        content[at..at + bytes.len()].copy_from_slice(bytes);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        Journal::open(file.path(), SEED).unwrap().rest(0).unwrap()
    }

    #[test]
    fn zeros_are_clean_however_many() {
        for len in [0, 1, PAGE, PAGE + 1, PIECE, 2 * PIECE + 1] {
            let rest = rest_of(len, &[], 0);
            assert!(rest.is_clean && rest.latest.is_none(), "{len} zeros");
        }
    }

    #[test]
    fn the_number_of_a_batch_is_found_wherever_it_stands_among_zeros() {
        let mark = mark(SEED);
        let len = 2 * PIECE + 3 * PAGE;
        for at in [0, PAGE - 1, PAGE, PIECE - mark.len(), PIECE - 1, PIECE, PIECE + 5, len - mark.len()] {
            let rest = rest_of(len, &mark, at);
            assert!(!rest.is_clean, "at byte {at}");
            assert_eq!((rest.latest, rest.synced), (Some(7), 6), "at byte {at}");
        }
    }

    #[test]
    fn a_number_without_the_seal_of_the_store_is_none() {
        let rest = rest_of(PAGE, &mark(SEED + 1), 100);
        assert!(!rest.is_clean && rest.latest.is_none());
    }

    #[test]
    fn what_is_written_again_is_what_was_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.jnl");
        let content: Vec<u8> = (0..2 * PIECE + 5).map(|at| (at % 251) as u8).collect();
        for len in [0, 1, PIECE - 1, PIECE, PIECE + 1, content.len()] {
            std::fs::write(&path, &content).unwrap();
            write_again(directory.path(), len as u64).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), content, "{len}");
        }
    }
}
