//! [`StoreOptions`]: where a store lives, and how much it survives.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

/// What an acknowledged message survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The loss of power: what was acknowledged was synced to the disk before.
    #[default]
    Sync,
    /// The end of the process, however it ends, but not of the machine: what was acknowledged was written to the operating
    /// system before.
    Os,
    /// Nothing: the broker runs without a store. [`FjallStore`](crate::FjallStore) refuses to be opened with it.
    Memory,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sync => "sync",
            Self::Os => "os",
            Self::Memory => "memory",
        })
    }
}

impl FromStr for Durability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "sync" => Ok(Self::Sync),
            "os" => Ok(Self::Os),
            "memory" => Ok(Self::Memory),
            _ => Err(format!("{text:?} is no durability: it is sync, os or memory")),
        }
    }
}

/// [`StoreOptions::memtable_bytes`] for each of the entries that are worth a sorted file of their own.
const BYTES_FOR_ONE_OF_BULK: usize = 4096;

/// How to open a [`FjallStore`](crate::FjallStore).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoreOptions {
    /// The data directory. It is created with mode 0700 if it is not there; it must be empty or hold a store.
    pub dir: PathBuf,
    /// What a durable group survives. Default [`Durability::Sync`].
    pub durability: Durability,
    /// How many bytes of groups may wait for the engine to be told of them before `append` makes its caller wait. Default 64 MiB.
    /// With a quarter of it the engine is told; with half of it nothing more is acknowledged until it has been.
    ///
    /// Clients that wait for acknowledgements keep it far below: it is there for a disk that hangs.
    pub max_pending_bytes: usize,
    /// How long one write to the log or one batch of the engine may take before the store counts as failed: a disk that hangs says nothing, and
    /// nor does the engine when it waits for room that never comes. In whole seconds. Default 30 s.
    pub max_stall: Duration,
    /// Memory for blocks of the files that were read lately, in bytes. Default 32 MiB.
    pub cache_bytes: u64,
    /// What each table gathers in memory, in bytes, before it is sorted into a file. Default 16 MiB. It stays as it
    /// was when the store was made. A file of the log has half of this.
    pub memtable_bytes: usize,
}

impl StoreOptions {
    /// A store in `dir`, with every default.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            durability: Durability::default(),
            max_pending_bytes: 64 * 1024 * 1024,
            max_stall: Duration::from_secs(30),
            cache_bytes: 32 * 1024 * 1024,
            memtable_bytes: 16 * 1024 * 1024,
        }
    }

    /// The same with this durability.
    #[must_use]
    pub fn durability(self, durability: Durability) -> Self {
        Self { durability, ..self }
    }

    /// So many new entries of queues are worth a sorted file of their own: 4,096 if nothing was said.
    pub(crate) fn bulk(&self) -> usize {
        self.memtable_bytes / BYTES_FOR_ONE_OF_BULK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durability_reads_what_it_prints() {
        for durability in [Durability::Sync, Durability::Os, Durability::Memory] {
            assert_eq!(durability.to_string().parse(), Ok(durability));
        }
        assert!("fsync".parse::<Durability>().is_err());
    }
}
