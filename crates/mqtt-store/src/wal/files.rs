//! [`Files`]: the log's files on a real disk.

use std::{
    fs::{self, File, OpenOptions},
    hash::{BuildHasher, RandomState},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use mqtt_broker::store::StoreError;
use xxhash_rust::xxh3::xxh3_64;

use super::{FILES, Medium};
use crate::directory::{damage, failed, private_file};

/// The file with the seed, which is 8 bytes, and their xxh3-64.
const SEED_FILE: &str = "seed";

pub(crate) struct Files {
    seed: u64,
    files: Vec<(PathBuf, File)>,
}

impl Files {
    /// Opens the files in a directory, all of which have to be there.
    pub(crate) fn open(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join(SEED_FILE);
        let bytes = fs::read(&path).map_err(|error| failed("read", &path, &error))?;
        let seed = match bytes.as_chunks::<8>() {
            ([seed, checksum], []) if xxh3_64(seed).to_be_bytes() == *checksum => u64::from_be_bytes(*seed),
            _ => return Err(damage(&path, "it does not match its checksum")),
        };
        let files = each(directory, OpenOptions::new().read(true).write(true))?;
        Ok(Self { seed, files })
    }

    /// Makes empty ones.
    pub(crate) fn create(directory: &Path) -> Result<Self, StoreError> {
        let files = each(directory, private_file().read(true).truncate(true))?;
        // Keyed by the system's randomness.
        let seed = RandomState::new().hash_one(0);
        let path = directory.join(SEED_FILE);
        let written = private_file().truncate(true).open(&path).and_then(|mut file| {
            let seed = seed.to_be_bytes();
            file.write_all(&[seed, xxh3_64(&seed).to_be_bytes()].concat())?;
            file.sync_all()
        });
        written.map_err(|error| failed("write", &path, &error))?;
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(|error| failed("sync", directory, &error))?;
        Ok(Self { seed, files })
    }

    fn act<T>(
        &self,
        file: usize,
        what: &str,
        act: impl FnOnce(&File) -> io::Result<T>,
    ) -> Result<T, StoreError> {
        let Some((path, file)) = self.files.get(file) else {
            return Err(StoreError::new(format!("the log has no file {file}")));
        };
        act(file).map_err(|error| failed(what, path, &error))
    }
}

fn each(directory: &Path, options: &OpenOptions) -> Result<Vec<(PathBuf, File)>, StoreError> {
    let open = |number: usize| {
        let path = directory.join(number.to_string());
        match options.open(&path) {
            Ok(file) => Ok((path, file)),
            Err(error) => Err(failed("open", &path, &error)),
        }
    };
    (0..FILES).map(open).collect()
}

impl Medium for Files {
    fn seed(&self) -> u64 {
        self.seed
    }

    fn read(&self, file: usize) -> Result<Vec<u8>, StoreError> {
        self.act(file, "read", |mut file| {
            let mut content = Vec::new();
            file.rewind()?;
            file.read_to_end(&mut content).map(|_| content)
        })
    }

    fn len(&self, file: usize) -> Result<u64, StoreError> {
        self.act(file, "look at", |file| Ok(file.metadata()?.len()))
    }

    fn write(&self, file: usize, at: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.act(file, "write", |file| write_all_at(file, bytes, at))
    }

    fn cut(&self, file: usize, len: u64) -> Result<(), StoreError> {
        self.act(file, "shorten", |file| file.set_len(len))
    }

    fn grow(&self, file: usize, from: u64, by: usize) -> Result<(), StoreError> {
        // It is seldom, and a constant of that size would be a fiftieth of the program.
        self.write(file, from, &vec![0; by])
    }

    fn sync(&self, file: usize) -> Result<(), StoreError> {
        self.act(file, "sync", File::sync_data)
    }

    fn clear(&self) -> Result<(), StoreError> {
        (0..FILES).try_for_each(|file| {
            self.act(file, "empty", |file| {
                file.set_len(0)?;
                file.sync_all()
            })
        })
    }

    fn damage(&self, file: usize, at: u64, what: &str) -> StoreError {
        let path = self.files.get(file).map_or(Path::new("?"), |(path, _)| path);
        damage(path, &format!("at byte {at}: {what}"))
    }
}

#[cfg(unix)]
fn write_all_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

#[cfg(not(unix))]
fn write_all_at(mut file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    use std::io::SeekFrom;

    file.seek(SeekFrom::Start(at))?;
    file.write_all(bytes)
}
