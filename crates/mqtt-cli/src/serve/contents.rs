//! [`Contents`]: what the files that a configuration names held when they came into force. The configuration itself may be as it
//! was when a user or a right is gone, and a reload has to tell that too. The API's own token, which no key names, is not among them.

use std::{
    collections::BTreeMap,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
};

use crate::config::Raw;

/// By key, a hash of what its files hold.
pub(super) struct Contents(BTreeMap<String, u64>);

impl Contents {
    /// As the files are now. It blocks for as long as they take to be read.
    pub(super) fn of(raw: &Raw) -> Self {
        let mut all: BTreeMap<String, DefaultHasher> = BTreeMap::new();
        for (key, file) in raw.files_by_key() {
            read(&file).hash(all.entry(key).or_default());
        }
        Self(all.into_iter().map(|(key, hasher)| (key, hasher.finish())).collect())
    }

    /// The keys that had files before, which hold something else now, in alphabetical order.
    pub(super) fn changes_since<'a>(&'a self, earlier: &'a Self) -> impl Iterator<Item = &'a str> {
        let has_changed =
            |(key, hash): &(&String, &u64)| earlier.0.get(*key).is_some_and(|before| before != *hash);
        self.0.iter().filter(has_changed).map(|(key, _)| key.as_str())
    }
}

/// What comes out of a pipe comes once, and is not for us.
fn read(file: &Path) -> Option<Vec<u8>> {
    let is_file = fs::metadata(file).is_ok_and(|metadata| metadata.is_file());
    is_file.then(|| fs::read(file).ok()).flatten()
}
