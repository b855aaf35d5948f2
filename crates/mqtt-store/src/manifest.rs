//! Looks through the engine's lists of files before the engine does.
//!
//! The engine believes these lists: it takes a table whose list is missing for one that was never made, and deletes it; at
//! some damaged lists it panics. But it leaves a checksum of each list beside it, which is enough to know better:
//!
//! ```text
//! version              "FJL", 3
//! keyspaces/N/current  V: u64, xxh3-128 of the list: u128, 0                              (integers little endian)
//! keyspaces/N/vV       the list: which sorted files there are, and the checksum of each
//! ```

use std::{fs, path::Path};

use mqtt_broker::store::StoreError;
use xxhash_rust::xxh3::xxh3_128;

use crate::directory::{damage, failed};

const VERSION: &[u8] = b"FJL\x03";

/// Checks that the engine's directory has its lists, for this many keyspaces.
pub(crate) fn check(directory: &Path, keyspaces: usize) -> Result<(), StoreError> {
    let version = directory.join("version");
    if fs::read(&version).map_err(|error| failed("read", &version, &error))? != VERSION {
        return Err(damage(&version, "it names no version of the storage engine that this program can read"));
    }
    let directory = directory.join("keyspaces");
    for entry in fs::read_dir(&directory).map_err(|error| failed("read", &directory, &error))? {
        let path = entry.map_err(|error| failed("read", &directory, &error))?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.parse::<usize>().ok());
        if number.is_none_or(|number| number >= keyspaces) || !path.is_dir() {
            return Err(damage(&path, "it is no part of a store"));
        }
    }
    (0..keyspaces).try_for_each(|number| check_keyspace(&directory.join(number.to_string())))
}

fn check_keyspace(directory: &Path) -> Result<(), StoreError> {
    let current = directory.join("current");
    let bytes = fs::read(&current).map_err(|error| failed("read", &current, &error))?;
    let (list, checksum) = match (bytes.split_first_chunk::<8>(), bytes.len()) {
        (Some((list, [checksum @ .., 0])), 25) => (u64::from_le_bytes(*list), checksum),
        _ => return Err(damage(&current, "it names no list")),
    };
    let path = directory.join(format!("v{list}"));
    let bytes = fs::read(&path).map_err(|error| failed("read", &path, &error))?;
    if xxh3_128(&bytes).to_le_bytes() == *checksum {
        Ok(())
    } else {
        Err(damage(&path, "it does not match its checksum"))
    }
}
