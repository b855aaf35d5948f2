//! [`Directory`]: the data directory: its rights, its lock, its format version. Everything but the engine's own files.
//!
//! ```text
//! DIR/            0700
//!   gmqtt-store   "gmqtt-store" and the format version; with "new" until the first start got through,
//!                 with "unfinished" while it is copied to
//!   lock          locked as long as a process has the store open; holds its process id
//!   synced        the number of a batch that is known to be on the disk; with "sorted" if all up to it is in sorted
//!                 files, and the engine's journal has nothing else
//!   log/          0700, the log's files
//!   db/           0700, the engine's files
//! ```

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process,
};

use mqtt_broker::store::StoreError;

use crate::encoding::FORMAT_VERSION;

const VERSION_FILE: &str = "gmqtt-store";
const LOCK_FILE: &str = "lock";
const SYNCED_FILE: &str = "synced";
const ENGINE_DIR: &str = "db";
const LOG_DIR: &str = "log";
const NEW: &str = "new";
const UNFINISHED: &str = "unfinished";
const SORTED: &str = "sorted";
/// All of it that the store has made. What else is there is not its own: its rights are for others to choose.
const PARTS: [&str; 5] = [VERSION_FILE, LOCK_FILE, SYNCED_FILE, LOG_DIR, ENGINE_DIR];
/// What a file system may have put into a directory that is empty otherwise, and what a first start may have left.
const NOT_OURS_TO_MIND: [&str; 6] =
    ["lost+found", LOCK_FILE, "gmqtt-store.tmp", "admin-token", "bans.json", "bans.json.tmp"];

pub(crate) struct Directory {
    path: PathBuf,
    stage: Stage,
    _lock: File,
}

/// How far the making of a store has come; the last word of the version file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The first start has not got through. Nothing was acknowledged: the next one begins anew.
    New,
    /// It is being copied to. What is there must not be taken for the whole.
    Unfinished,
    Whole,
}

/// What the latest clean end has left.
#[derive(Default)]
pub(crate) struct Synced {
    /// The number of its last batch; 0 if no process has closed the store yet.
    pub(crate) number: u64,
    /// Whether the engine has everything up to that in sorted files.
    pub(crate) is_sorted: bool,
}

impl Directory {
    /// Opens the directory, makes it if need be, and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        make(path)?;
        // First without the lock, so as to leave nothing in a directory that is not for us.
        stage(path)?;
        restrict(path)?;
        let lock = lock(path)?;
        let directory = Self { path: path.to_owned(), stage: stage(path)?, _lock: lock };
        match directory.stage {
            Stage::Whole => Ok(directory),
            Stage::New => directory.begin(NEW),
            Stage::Unfinished => {
                let path = path.display();
                Err(StoreError::new(format!("{path} holds an unfinished copy of a store: delete it")))
            }
        }
    }

    /// An error if there is no store in the directory, or no directory.
    pub(crate) fn expect_store(path: &Path) -> Result<(), StoreError> {
        if matches!(path.try_exists(), Ok(false)) {
            return Err(StoreError::new(format!(
                "{} is not there: name the directory of a store",
                path.display()
            )));
        }
        match stage(path)? {
            Stage::New => Err(StoreError::new(format!("{} holds no store", path.display()))),
            Stage::Unfinished | Stage::Whole => Ok(()),
        }
    }

    /// As `open`, for a copy of a store, which must not find one there.
    pub(crate) fn create(path: &Path) -> Result<Self, StoreError> {
        let directory = Self::open(path)?;
        if directory.stage == Stage::Whole {
            let path = path.display();
            return Err(StoreError::new(format!("{path} holds a store already: name another directory")));
        }
        directory.begin(UNFINISHED)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn engine(&self) -> PathBuf {
        self.path.join(ENGINE_DIR)
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path.join(LOG_DIR)
    }

    /// How long the log's files are, all together.
    pub(crate) fn log_bytes(&self) -> Result<u64, StoreError> {
        let path = self.log();
        let lengths =
            fs::read_dir(&path).and_then(|files| files.map(|file| Ok(file?.metadata()?.len())).sum());
        lengths.map_err(|error| failed("read", &path, &error))
    }

    /// Whether nothing can have been acknowledged yet.
    pub(crate) fn is_new(&self) -> bool {
        self.stage != Stage::Whole
    }

    /// It is a whole store: from here on what is missing is missed.
    pub(crate) fn complete(&self) -> Result<(), StoreError> {
        PARTS.iter().try_for_each(|part| restrict_all(&self.path.join(part)))?;
        if self.is_new() {
            self.write(VERSION_FILE, &format!("gmqtt-store {FORMAT_VERSION}\n"))
        } else {
            Ok(())
        }
    }

    pub(crate) fn synced(&self) -> Result<Synced, StoreError> {
        let path = self.path.join(SYNCED_FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Synced::default()),
            Err(error) => return Err(failed("read", &path, &error)),
        };
        Synced::parse(&bytes).ok_or_else(|| damage(&path, "it does not say which batch was synced"))
    }

    pub(crate) fn set_synced(&self, Synced { number, is_sorted }: Synced) -> Result<(), StoreError> {
        let sorted = if is_sorted { format!(" {SORTED}") } else { String::new() };
        self.write(SYNCED_FILE, &format!("{number}{sorted}\n"))
    }

    /// Makes sure that the engine finds nothing of an earlier first start that did not get through.
    fn begin(self, stage: &str) -> Result<Self, StoreError> {
        self.write(VERSION_FILE, &format!("gmqtt-store {FORMAT_VERSION} {stage}\n"))?;
        let synced = self.path.join(SYNCED_FILE);
        gone(fs::remove_file(&synced)).map_err(|error| failed("delete", &synced, &error))?;
        for part in [self.engine(), self.log()] {
            gone(fs::remove_dir_all(&part)).map_err(|error| failed("empty", &part, &error))?;
            directory_builder().create(&part).map_err(|error| failed("create", &part, &error))?;
        }
        sync(&self.path)?;
        Ok(self)
    }

    /// Replaces a file, so that either the old or the new one survives.
    fn write(&self, name: &str, text: &str) -> Result<(), StoreError> {
        let (path, draft) = (self.path.join(name), self.path.join(format!("{name}.tmp")));
        let written = private_file().truncate(true).open(&draft).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        written.map_err(|error| failed("write", &draft, &error))?;
        fs::rename(&draft, &path).map_err(|error| failed("write", &path, &error))?;
        sync(&self.path)
    }
}

impl Synced {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut words = str::from_utf8(bytes).ok()?.split_whitespace();
        let number = words.next()?.parse().ok()?;
        let is_sorted = match words.next() {
            None => false,
            Some(SORTED) => true,
            Some(_) => return None,
        };
        words.next().is_none().then_some(Self { number, is_sorted })
    }
}

/// What is not there need not be deleted.
fn gone(deleted: io::Result<()>) -> io::Result<()> {
    match deleted {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        deleted => deleted,
    }
}

fn make(path: &Path) -> Result<(), StoreError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => {
            let path = path.display();
            return Err(StoreError::new(format!("{path} is not a directory: name one for the store")));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("look at", path, &error)),
    }
    // Each folder on the way has its entry in the one above, which a loss of power could take with all that is below.
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !above.exists() {
        make(above)?;
    }
    match directory_builder().create(path) {
        Ok(()) => sync(above),
        // Nothing of a store is missing: here is none.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(StoreError::new(format!("cannot create {}: {error}: name another directory", path.display())))
        }
        Err(error) => Err(failed("create", path, &error)),
    }
}

/// What the directory holds.
fn stage(path: &Path) -> Result<Stage, StoreError> {
    let file = path.join(VERSION_FILE);
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return check_empty(path).map(|()| Stage::New);
        }
        Err(error) => return Err(failed("read", &file, &error)),
    };
    let mut words = text.split_whitespace();
    let (Some("gmqtt-store"), Some(Ok(number))) = (words.next(), words.next().map(str::parse::<u32>)) else {
        return Err(damage(&file, "it does not say which format the store has"));
    };
    if number != FORMAT_VERSION {
        let (path, age) = (path.display(), if number > FORMAT_VERSION { "a newer" } else { "an older" });
        return Err(StoreError::new(format!(
            "the store in {path} was written by {age} version of this program (format {number}, this one reads \
             format {FORMAT_VERSION}): export it with that version and import it with this one"
        )));
    }
    match words.next() {
        None => Ok(Stage::Whole),
        Some(NEW) => Ok(Stage::New),
        Some(UNFINISHED) => Ok(Stage::Unfinished),
        Some(_) => Err(damage(&file, "it does not say how far the store has come")),
    }
}

fn check_empty(path: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(path).map_err(|error| failed("read", path, &error))? {
        let name = entry.map_err(|error| failed("read", path, &error))?.file_name();
        if !NOT_OURS_TO_MIND.iter().any(|known| name == *known) {
            let path = path.display();
            return Err(StoreError::new(format!(
                "{path} is not empty and holds no store: name an empty or a new directory"
            )));
        }
    }
    Ok(())
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let file = path.join(LOCK_FILE);
    let mut lock = private_file().read(true).open(&file).map_err(|error| failed("open", &file, &error))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            let known = lock.read_to_string(&mut owner).is_ok() && !owner.trim().is_empty();
            let owner = if known { format!("process {}", owner.trim()) } else { "another process".into() };
            let path = path.display();
            return Err(StoreError::new(format!(
                "the store in {path} is in use by {owner}: stop it first, or name another directory"
            )));
        }
        Err(TryLockError::Error(error)) => return Err(failed("lock", &file, &error)),
    }
    let written = lock.set_len(0).and_then(|()| writeln!(lock, "{}", process::id()));
    written.map_err(|error| failed("write", &file, &error))?;
    Ok(lock)
}

fn sync(directory: &Path) -> Result<(), StoreError> {
    let synced = File::open(directory).and_then(|file| file.sync_all());
    synced.map_err(|error| failed("sync", directory, &error))
}

pub(crate) fn failed(what: &str, path: &Path, error: &io::Error) -> StoreError {
    let hint = match error.kind() {
        io::ErrorKind::NotFound => ": a part of the store is gone; restore the data directory from a backup",
        io::ErrorKind::PermissionDenied => ": give this user the right to, or name another directory",
        io::ErrorKind::ReadOnlyFilesystem => ": name a directory that can be written to",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ": make room, then start again",
        _ => "",
    };
    StoreError::new(format!("cannot {what} {}: {error}{hint}", path.display()))
}

pub(crate) fn damage(path: &Path, what: &str) -> StoreError {
    StoreError::new(format!(
        "the store is damaged, in {}: {what}; restore the data directory from a backup",
        path.display()
    ))
}

fn directory_builder() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

pub(crate) fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Takes from others what rights they have to a file or directory.
#[cfg(unix)]
fn restrict(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::PermissionsExt;

    let mut permissions = fs::metadata(path).map_err(|error| failed("look at", path, &error))?.permissions();
    if permissions.mode() & 0o077 != 0 {
        permissions.set_mode(permissions.mode() & !0o077);
        fs::set_permissions(path, permissions).map_err(|error| failed("restrict", path, &error))?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn restrict(_path: &Path) -> Result<(), StoreError> {
    Ok(())
}

/// Does so below a directory too. The engine makes its files with the process's own mask; nobody else gets into the
/// directory, and what is there at a start is made to look like it.
fn restrict_all(path: &Path) -> Result<(), StoreError> {
    // The engine deletes files in the background, and not all are there from the beginning.
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if metadata.is_symlink() {
        return Ok(()); // Where it leads to is not the store's.
    }
    if let Err(error) = restrict(path)
        && path.exists()
    {
        return Err(error);
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path).map_err(|error| failed("read", path, &error))? {
            restrict_all(&entry.map_err(|error| failed("read", path, &error))?.path())?;
        }
    }
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn all_folders_on_the_way_are_made_for_their_owner_alone() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b/c");
        drop(Directory::open(&path).unwrap());
        for made in path.ancestors().take_while(|made| *made != root.path()) {
            let mode = fs::metadata(made).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{}", made.display());
        }
    }
}
