//! Files that were torn, cut off or changed: a store opens with a beginning of what it had, that has all that was durable
//! and that the damage left; or it does not open, and says what is wrong. It never panics, and never opens on less.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::LazyLock,
    thread,
    time::Duration,
};

use mqtt_broker::{
    Message, QoS, TopicName,
    store::{Record, Store, StoreError},
};
use proptest::{prelude::*, sample::Index};
use xxhash_rust::xxh3::xxh3_64;

use super::scratch;
use crate::{
    Durability, FjallStore, StoreOptions,
    encoding::{Encoder, MARK_KEY, Table, Value},
    engine::Reads,
};

const GROUPS: u64 = 24;

/// A store's directory as it was at some moment, in memory.
#[derive(Clone)]
struct Image(Vec<(PathBuf, Vec<u8>)>);

impl Image {
    fn take(directory: &Path) -> Self {
        let mut files = Vec::new();
        collect(directory, directory, &mut files);
        files.sort();
        Self(files)
    }

    fn lay_out(&self) -> tempfile::TempDir {
        let directory = scratch();
        for (path, bytes) in &self.0 {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        directory
    }

    /// Whatever the log has, the engine has, too.
    fn empty_log(&mut self) {
        let is_of_the_log = |path: &Path| path.starts_with("log") && !path.ends_with("seed");
        self.0.iter_mut().filter(|(path, _)| is_of_the_log(path)).for_each(|(_, bytes)| bytes.clear());
    }

    /// What is in the first of the log's files.
    fn log(&mut self) -> &mut Vec<u8> {
        &mut self.0.iter_mut().find(|(path, _)| path.ends_with("log/0")).unwrap().1
    }

    fn journal(&mut self) -> &mut Vec<u8> {
        let is_journal = |path: &Path| path.extension().is_some_and(|extension| extension == "jnl");
        let mut journals = self.0.iter_mut().filter(|(path, _)| is_journal(path));
        let (_, journal) = journals.next().unwrap();
        assert!(journals.next().is_none());
        journal
    }
}

/// Of a journal and of the log what comes before the zeros that are there ahead: short ones do as well.
fn collect(root: &Path, directory: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
            continue;
        }
        let mut bytes = Vec::new();
        let mut file = fs::File::open(&path).unwrap();
        let is_log = path.parent().is_some_and(|parent| parent.ends_with("log")) && !path.ends_with("seed");
        if is_log || path.extension().is_some_and(|extension| extension == "jnl") {
            file.take(1 << 16).read_to_end(&mut bytes).unwrap();
            let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            assert!(end < 1 << 16, "the test's journals are shorter");
            bytes.truncate(end);
        } else {
            file.read_to_end(&mut bytes).unwrap();
        }
        files.push((path.strip_prefix(root).unwrap().to_owned(), bytes));
    }
}

/// Group `n` retains the message `n`: what is left after the first `n` groups is the messages 0 to `n - 1`.
fn group(n: u64) -> Vec<Record> {
    let topic = TopicName::new(format!("topic/{n:04}").into_bytes()).unwrap();
    let message = Message::new(&topic, &[b'x'; 300], QoS::AtLeastOnce).retained();
    vec![Record::Retained { message, expires_at: None }]
}

fn open(directory: &Path, durability: Durability) -> Result<FjallStore, StoreError> {
    FjallStore::open(StoreOptions::new(directory).durability(durability))
}

/// How many groups are left, if they are the first ones and whole.
fn groups_left(store: &FjallStore) -> Result<u64, StoreError> {
    let mut left = Vec::new();
    store.recover(&mut |record| left.push(record))?;
    let whole: Vec<_> = (0..left.len() as u64).flat_map(group).collect();
    assert_eq!(left, whole, "a beginning of what was there");
    Ok(left.len() as u64)
}

/// What a damaged store says: how many groups it has left, or why it cannot tell.
fn verdict(directory: &Path) -> Result<u64, StoreError> {
    let store = open(directory, Durability::Sync)?;
    let left = groups_left(&store)?;
    let report = store.check(&mut |_| {})?;
    assert!(report.is_ok(), "{:?}", report.problems);
    // It is as good as any: it takes more, and has it after the next start.
    store.wait_until_durable(store.append(group(left)))?;
    store.close()?;
    let store = open(directory, Durability::Sync)?;
    assert_eq!(groups_left(&store)?, left + 1);
    Ok(left)
}

/// A store that was given all groups, one batch of its engine each, and the length of the engine's journal after each of
/// them: as the process would leave it if it were killed, or as it is when it was closed. Its log is of no help any more.
fn history(durability: Durability, closed: bool) -> (Image, Vec<usize>) {
    history_of(durability, closed, (0..GROUPS).map(group))
}

fn history_of(
    durability: Durability,
    closed: bool,
    groups: impl Iterator<Item = Vec<Record>>,
) -> (Image, Vec<usize>) {
    let directory = scratch();
    let store = open(directory.path(), durability).unwrap();
    let mut lengths = vec![Image::take(directory.path()).journal().len()];
    for group in groups {
        store.append(group);
        store.info(&mut |_| {}).unwrap(); // It asks the engine.
        lengths.push(Image::take(directory.path()).journal().len());
    }
    let killed = Image::take(directory.path());
    store.close().unwrap();
    let mut image = if closed { Image::take(directory.path()) } else { killed };
    image.empty_log();
    (image, lengths)
}

/// The same, but the process was killed before its engine was told of anything: the groups are in the log, a frame each.
fn logged_history(durability: Durability) -> (Image, Vec<usize>) {
    let directory = scratch();
    let store = open(directory.path(), durability).unwrap();
    let begun = Image::take(directory.path());
    let mut lengths = vec![0];
    for n in 0..GROUPS {
        store.wait_until_durable(store.append(group(n))).unwrap();
        lengths.push(Image::take(directory.path()).log().len());
    }
    let (mut image, mut killed) = (begun, Image::take(directory.path()));
    *image.log() = killed.log().clone();
    (image, lengths)
}

#[test]
fn a_process_that_was_killed_loses_nothing() {
    for durability in [Durability::Sync, Durability::Os] {
        for (image, _) in [history(durability, false), logged_history(durability)] {
            assert_eq!(verdict(image.lay_out().path()), Ok(GROUPS));
        }
    }
}

/// The last frame is torn at any byte, or pages of it are missing: what was durable before it is there.
#[test]
fn a_torn_last_frame_is_dropped() {
    let (mut image, lengths) = logged_history(Durability::Sync);
    let [.., before, whole] = lengths[..] else { panic!() };
    let saved = image.log().clone();
    for length in (before..whole).step_by(7).chain([before, before + 1, whole]) {
        image.log().truncate(length);
        let expected = if length == whole { GROUPS } else { GROUPS - 1 };
        assert_eq!(verdict(image.lay_out().path()), Ok(expected), "cut at {length} of {whole}");
        image.log().clone_from(&saved);
    }
    for (from, to) in [(before, before + 16), (before + 30, before + 200), (whole - 20, whole - 10)] {
        image.log()[from..to].fill(0);
        assert_eq!(verdict(image.lay_out().path()), Ok(GROUPS - 1), "zeros from {from} to {to}");
        image.log().clone_from(&saved);
    }
}

#[test]
fn damage_in_the_middle_of_the_log_is_refused() {
    let (mut image, lengths) = logged_history(Durability::Sync);
    image.log()[lengths[10] + 60] ^= 1;
    let directory = image.lay_out();
    let error = verdict(directory.path()).unwrap_err().to_string();
    assert!(
        error.contains("log/0") && error.contains("groups 11 to 11") && error.contains("backup"),
        "{error}"
    );
    // And nothing was dropped: the next start says the same.
    assert_eq!(verdict(directory.path()).unwrap_err().to_string(), error);
}

/// Without syncs a loss of power may leave a hole: the rest is dropped, and does not come back when the log goes on.
#[test]
fn a_hole_in_a_log_that_was_not_synced_drops_what_is_behind() {
    let (mut image, lengths) = logged_history(Durability::Os);
    image.log()[lengths[10]..lengths[11]].fill(0);
    assert_eq!(verdict(image.lay_out().path()), Ok(10));
}

#[test]
fn a_file_of_the_log_that_is_gone_is_missed() {
    for (file, image) in
        [("log/0", logged_history(Durability::Sync).0), ("log/3", history(Durability::Sync, true).0)]
    {
        let kept = image.0.into_iter().filter(|(path, _)| path != Path::new(file)).collect();
        let error = verdict(Image(kept).lay_out().path()).unwrap_err().to_string();
        assert!(error.contains(file) && error.contains("backup"), "{error}");
    }
}

/// The last write is torn at any byte: what was durable before it is there.
#[test]
fn a_torn_last_batch_is_dropped() {
    let (mut image, lengths) = history(Durability::Sync, false);
    let [.., before, whole] = lengths[..] else { panic!() };
    for length in (before..whole).step_by(7).chain([before, before + 1, whole - 1, whole]) {
        image.journal().truncate(whole);
        let saved = image.journal().clone();
        image.journal().truncate(length);
        let expected = if length == whole { GROUPS } else { GROUPS - 1 };
        assert_eq!(verdict(image.lay_out().path()), Ok(expected), "cut at {length} of {whole}");
        *image.journal() = saved;
    }
}

/// Pages of the last write reach the disk in any order: some are there, before them zeros.
#[test]
fn a_last_batch_with_a_hole_is_dropped() {
    let (mut image, lengths) = history(Durability::Sync, false);
    let [.., before, whole] = lengths[..] else { panic!() };
    for (from, to) in [(before, before + 60), (before + 40, before + 200), (whole - 30, whole - 20)] {
        let saved = image.journal().clone();
        image.journal()[from..to].fill(0);
        assert_eq!(verdict(image.lay_out().path()), Ok(GROUPS - 1), "zeros from {from} to {to}");
        *image.journal() = saved;
    }
}

/// The engine would drop everything behind the damage without a word.
#[test]
fn damage_in_the_middle_of_the_journal_is_refused() {
    let (mut image, lengths) = history(Durability::Sync, false);
    // The tag of a batch in the middle: the engine takes it for the end.
    image.journal()[lengths[10]] = 0;
    let directory = image.lay_out();
    let error = verdict(directory.path()).unwrap_err().to_string();
    assert!(error.contains("0.jnl") && error.contains("backup"), "{error}");
    // And nothing was cut off: the next start says the same.
    assert_eq!(verdict(directory.path()).unwrap_err().to_string(), error);
}

/// A payload that looks like a batch of one row, which is its mark, as anybody can make it who does not know the seed.
fn forged_batch(number: u64, synced: bool) -> Vec<u8> {
    let value = Encoder::default().encode(Table::Meta, MARK_KEY, &Value::mark(number, synced, 0, 0));
    let (key_len, len) = (MARK_KEY.len() as u16, (value.len() as u32).to_le_bytes());
    let head = [&[2, 0, 0][..], &1_u64.to_le_bytes(), &key_len.to_le_bytes(), &len, &len].concat();
    let item = [&head[..], MARK_KEY, &value].concat();
    let begin = [&[1][..], &1_u32.to_le_bytes(), &1_u64.to_le_bytes()].concat();
    [&begin[..], &item, &[3], &xxh3_64(&item).to_le_bytes(), b"FJL\x03"].concat()
}

fn message_of(payload: &[u8]) -> Vec<Record> {
    let message = Message::new(&"z".try_into().unwrap(), payload, QoS::AtLeastOnce).retained();
    vec![Record::Retained { message, expires_at: None }]
}

/// Any client could have the next start refused.
#[test]
fn a_torn_batch_is_dropped_whatever_a_client_wrote() {
    for (number, synced) in [(3, true), (4, true), (1 << 40, true), (1 << 40, false)] {
        let payload = forged_batch(number, synced);
        let (mut image, _) =
            history_of(Durability::Sync, false, [group(0), message_of(&payload)].into_iter());
        let journal = image.journal();
        let at = journal.windows(payload.len()).position(|bytes| bytes == payload).unwrap();
        journal.truncate(at + payload.len() + 5);
        assert_eq!(verdict(image.lay_out().path()), Ok(1), "{number}, {synced}");
    }
}

/// And could hide damage: what it says was not synced is dropped with a warning.
#[test]
fn damage_is_refused_whatever_a_client_wrote() {
    let forged = message_of(&forged_batch(u64::MAX, false));
    let groups = (0..GROUPS).map(group).chain([forged]);
    let (mut image, lengths) = history_of(Durability::Sync, false, groups);
    image.journal()[lengths[10]] = 0;
    let error = verdict(image.lay_out().path()).unwrap_err().to_string();
    assert!(error.contains("0.jnl") && error.contains("backup"), "{error}");
}

/// Neither the log nor the ends of batches would be known.
#[test]
fn the_seed_of_another_store_is_refused() {
    let (mut image, _) = history(Durability::Sync, false);
    let (_, bytes) = image.0.iter_mut().find(|(path, _)| path.ends_with("log/seed")).unwrap();
    let seed = 7_u64.to_be_bytes();
    *bytes = [seed, xxh3_64(&seed).to_be_bytes()].concat();
    let error = verdict(image.lay_out().path()).unwrap_err().to_string();
    assert!(error.contains("not of the store") && error.contains("backup"), "{error}");
}

/// Without syncs a loss of power may leave a hole, and the mode promises nothing then: the rest is dropped, with a warning.
#[test]
fn a_hole_between_batches_that_were_not_synced_drops_those_after_it() {
    let (mut image, lengths) = history(Durability::Os, false);
    image.journal()[lengths[10]..lengths[11]].fill(0);
    assert_eq!(verdict(image.lay_out().path()), Ok(10));
}

/// Nor had they been when the next start wrote the first batch of its own, with a sync that the loss of power broke off.
#[test]
fn a_hole_before_the_first_batch_of_a_start_drops_those_after_it() {
    let (image, lengths) = history(Durability::Os, false);
    let directory = image.lay_out();
    let store = open(directory.path(), Durability::Sync).unwrap();
    let mut image = Image::take(directory.path());
    drop(store);
    image.journal()[lengths[10]..lengths[11]].fill(0);
    assert_eq!(verdict(image.lay_out().path()), Ok(10));
}

/// A store whose last batch but one, the fourth of five, has only deleted the rows of a session that was over, which is not
/// synced; and where its batches end.
fn swept_history() -> (Image, [usize; 5]) {
    let directory = scratch();
    let store = open(directory.path(), Durability::Sync).unwrap();
    let tell = |group: Vec<Record>| {
        store.append(group);
        store.info(&mut |_| {}).unwrap();
    };
    tell(vec![Record::SessionStarted { session: 1, client_id: "one".into() }]);
    tell(vec![Record::SessionEnded { session: 1 }]);
    while store.engine().rows(Table::States, &[], None).next().is_some() {
        thread::yield_now();
    }
    tell(group(0));
    let mut image = Image::take(directory.path());
    image.empty_log();
    let trailers = image.journal().windows(4).enumerate().filter(|(_, bytes)| bytes == b"FJL\x03");
    let ends: Vec<_> = trailers.map(|(at, trailer)| at + trailer.len()).collect();
    (image, ends.try_into().unwrap())
}

/// What follows it had not reached its sync when power was lost.
#[test]
fn a_hole_where_rows_of_ended_sessions_were_deleted_drops_what_is_behind() {
    let (mut image, [.., third, fourth, _]) = swept_history();
    image.journal()[third..fourth].fill(0);
    assert_eq!(verdict(image.lay_out().path()), Ok(0));
}

#[test]
fn damage_before_batches_that_were_not_synced_is_refused() {
    let (mut image, [first, ..]) = swept_history();
    image.journal()[first] = 0;
    let error = verdict(image.lay_out().path()).unwrap_err().to_string();
    assert!(error.contains("batches 2 to 3 cannot be read") && error.contains("backup"), "{error}");
}

/// A journal's file is synced before the next one is begun, in every mode: no loss of power explains a hole in it.
#[test]
fn damage_in_a_journal_file_that_has_a_successor_is_refused() {
    for durability in [Durability::Sync, Durability::Os] {
        let (mut image, lengths) = history(durability, false);
        let journal = image.journal();
        let second = journal.split_off(lengths[16]);
        journal[lengths[10]] = 0;
        image.0.push(("db/1.jnl".into(), second));
        let directory = image.lay_out();
        let error = verdict(directory.path()).unwrap_err().to_string();
        assert!(error.contains("0.jnl") && error.contains("backup"), "{error}");
        // And nothing was cut off: the next start says the same.
        assert_eq!(verdict(directory.path()).unwrap_err().to_string(), error);
    }
}

/// What the test above changes is what stops the store.
#[test]
fn a_journal_of_two_files_is_read_on() {
    let (mut image, lengths) = history(Durability::Os, false);
    let second = image.journal().split_off(lengths[16]);
    image.0.push(("db/1.jnl".into(), second));
    assert_eq!(verdict(image.lay_out().path()), Ok(GROUPS));
}

#[test]
fn a_journal_that_is_gone_is_missed() {
    for closed in [false, true] {
        let (mut image, _) = history(Durability::Sync, closed);
        image.0.retain(|(path, _)| path.extension().is_none_or(|extension| extension != "jnl"));
        let error = verdict(image.lay_out().path()).unwrap_err().to_string();
        assert!(error.contains("journal is missing"), "{error}");
    }
}

/// A clean end notes what it had synced: even the last batch is missed then.
#[test]
fn a_store_that_was_closed_misses_its_last_batch() {
    let (mut image, lengths) = history(Durability::Os, true);
    image.journal().truncate(lengths[GROUPS as usize] - 1);
    let error = verdict(image.lay_out().path()).unwrap_err().to_string();
    assert!(error.contains("cannot be read"), "{error}");
}

/// It says from where on the last batch is missed.
#[test]
fn a_note_of_what_was_synced_that_says_nothing_is_refused() {
    let (mut image, _) = history(Durability::Sync, true);
    for nonsense in [&b"x"[..], b"", b"\xff\n"] {
        let (_, bytes) = image.0.iter_mut().find(|(path, _)| path.ends_with("synced")).unwrap();
        *bytes = nonsense.to_vec();
        let error = verdict(image.lay_out().path()).unwrap_err().to_string();
        assert!(error.contains("synced") && error.contains("backup"), "{error}");
    }
}

/// As [`history`], with the rows in the engine's sorted files too.
fn sorted_history() -> Image {
    let directory = scratch();
    let store = open(directory.path(), Durability::Os).unwrap();
    for n in 0..GROUPS {
        store.append(group(n));
    }
    store.close().unwrap();
    let store = open(directory.path(), Durability::Os).unwrap();
    assert!(store.engine().sort_into_files(Duration::from_mins(1)).unwrap());
    store.close().unwrap();
    Image::take(directory.path())
}

static KILLED: LazyLock<Image> = LazyLock::new(|| history(Durability::Sync, false).0);
static LOGGED: LazyLock<Image> = LazyLock::new(|| logged_history(Durability::Sync).0);
static CLOSED: LazyLock<Image> = LazyLock::new(|| history(Durability::Sync, true).0);
static SORTED: LazyLock<Image> = LazyLock::new(sorted_history);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// A bit flips anywhere in any file. Only the last batch or frame of a store that was killed may be lost by it: it looks like
    /// one that was never whole.
    #[test]
    fn a_flipped_bit_is_healed_or_refused(image in 0..3_usize, file in any::<Index>(), bit in any::<Index>()) {
        let closed = image == 0;
        let mut image = Image::clone([&CLOSED, &KILLED, &LOGGED][image]);
        let (path, bytes) = pick(&mut image, file);
        if !bytes.is_empty() {
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let what = format!("bit {bit} of {}", path.display());
            let left = verdict(image.lay_out().path());
            let least = if closed { GROUPS } else { GROUPS - 1 };
            prop_assert!(left.as_ref().map_or(true, |left| (least..=GROUPS).contains(left)), "{what}: {left:?}");
            prop_assert!(left.map_or_else(|error| error.message.len() > 20, |_| true));
        }
    }

    /// A file is cut off anywhere.
    #[test]
    fn a_file_that_was_cut_off_is_healed_or_refused(file in any::<Index>(), length in any::<Index>()) {
        let mut image = CLOSED.clone();
        let (path, bytes) = pick(&mut image, file);
        if !bytes.is_empty() {
            let length = length.index(bytes.len());
            bytes.truncate(length);
            let what = format!("{} cut at {length}", path.display());
            let left = verdict(image.lay_out().path());
            prop_assert!(left.as_ref().map_or(true, |left| *left == GROUPS), "{what}: {left:?}");
        }
    }

    /// The same with files that the engine has sorted.
    #[test]
    fn a_flipped_bit_in_sorted_files_is_healed_or_refused(file in any::<Index>(), bit in any::<Index>()) {
        let mut image = SORTED.clone();
        let (path, bytes) = pick(&mut image, file);
        if !bytes.is_empty() {
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let what = format!("bit {bit} of {}", path.display());
            let left = verdict(image.lay_out().path());
            prop_assert!(left.as_ref().map_or(true, |left| *left == GROUPS), "{what}: {left:?}");
        }
    }
}

fn pick(image: &mut Image, file: Index) -> (&Path, &mut Vec<u8>) {
    let file = file.index(image.0.len());
    let (path, bytes) = &mut image.0[file];
    (path, bytes)
}
