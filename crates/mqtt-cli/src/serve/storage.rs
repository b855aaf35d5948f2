//! Where the broker keeps what must outlive it, and how well: from arguments and environment to a broker on its store.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::Context;
use mqtt_broker::{Broker, Builder};
use mqtt_store::{Durability, FjallStore, StoreOptions};

use crate::{exit::Ending, quantity::Size};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Durability")]
pub(crate) struct StorageArguments {
    /// What an acknowledged message survives: sync, the loss of power; os, the end of this process; memory, neither
    #[arg(long, value_name = "MODE", default_value_t)]
    durability: Durability,

    #[arg(long, value_name = "DIR", env = "GMQTT_DATA_DIR", help = DATA_DIR_HELP)]
    data_dir: Option<PathBuf>,

    /// What each of the store's tables gathers in memory before it is sorted into a file; stays as it was when the
    /// data directory was made
    #[arg(long, value_name = "SIZE", default_value_t = Size(StoreOptions::new("").memtable_bytes))]
    memtable_bytes: Size,
}

const DATA_DIR_HELP: &str = "Where sessions and retained messages are kept; one process at a time \
    [default: $STATE_DIRECTORY, else $XDG_STATE_HOME/gmqtt, else ~/.local/state/gmqtt]";

/// What is kept, and where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    Nothing,
    Directory { path: PathBuf, durability: Durability, memtable_bytes: usize },
}

impl StorageArguments {
    pub(crate) fn resolve(&self) -> anyhow::Result<Storage> {
        self.resolve_in(|name| env::var_os(name).map(PathBuf::from), env::home_dir())
    }

    /// The data directory, even if nothing is kept of sessions and messages.
    pub(crate) fn directory(&self) -> Option<PathBuf> {
        self.data_dir.clone().or_else(default_data_dir)
    }

    fn resolve_in(
        &self,
        variable: impl Fn(&str) -> Option<PathBuf>,
        home: Option<PathBuf>,
    ) -> anyhow::Result<Storage> {
        if self.durability == Durability::Memory {
            return Ok(Storage::Nothing);
        }
        let directory =
            self.data_dir.clone().or_else(|| default_directory(variable, home)).ok_or_else(|| {
                Ending::Usage(
                    "nobody says where to keep sessions and messages, and there is no home directory: add \
                 --data-dir DIR, or --durability memory to keep nothing"
                        .into(),
                )
            })?;
        let (durability, memtable_bytes) = (self.durability, self.memtable_bytes.0);
        Ok(Storage::Directory { path: directory, durability, memtable_bytes })
    }
}

/// Where it is unless somebody says otherwise.
pub(crate) fn default_data_dir() -> Option<PathBuf> {
    default_directory(|name| env::var_os(name).map(PathBuf::from), env::home_dir())
}

fn default_directory(variable: impl Fn(&str) -> Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    // systemd names all directories of a unit, with colons between them. A relative path is none: the XDG specification.
    let of_the_system = variable("STATE_DIRECTORY").and_then(|all| env::split_paths(&all).next());
    let absolute = |path: &PathBuf| path.is_absolute();
    of_the_system
        .filter(absolute)
        .or_else(|| variable("XDG_STATE_HOME").filter(absolute).map(|state| state.join("gmqtt")))
        .or_else(|| home.filter(absolute).map(|home| home.join(".local/state/gmqtt")))
}

impl Storage {
    /// One line for the operator.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Nothing => "durability: memory, nothing outlives this process".into(),
            Self::Directory { path, durability, .. } => {
                format!("durability: {durability}, data in {}", absolute(path).display())
            }
        }
    }

    /// The broker, with what an earlier process has left.
    pub(crate) fn build(&self, builder: Builder) -> anyhow::Result<Broker> {
        match self {
            Self::Nothing => Ok(builder.build()),
            Self::Directory { path, durability, memtable_bytes } => {
                let mut options = StoreOptions::new(path).durability(*durability);
                options.memtable_bytes = *memtable_bytes;
                let store = FjallStore::open(options)?;
                builder.build_on(store).context("cannot read what an earlier process has left")
            }
        }
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(durability: Durability, data_dir: Option<&str>) -> StorageArguments {
        StorageArguments { durability, data_dir: data_dir.map(PathBuf::from), memtable_bytes: Size(1) }
    }

    fn resolved(data_dir: Option<&str>, variables: &[(&str, &str)], home: Option<&str>) -> Option<PathBuf> {
        let arguments = arguments(Durability::Sync, data_dir);
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| PathBuf::from(value))
        };
        match arguments.resolve_in(variable, home.map(PathBuf::from)) {
            Ok(Storage::Directory { path, durability: Durability::Sync, .. }) => Some(path),
            Ok(other) => panic!("{other:?}"),
            Err(_) => None,
        }
    }

    #[test]
    fn the_directory_is_the_first_that_somebody_names() {
        let all = [("STATE_DIRECTORY", "/var/lib/gmqtt:/var/lib/other"), ("XDG_STATE_HOME", "/home/a/state")];
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(resolved(Some("here"), &all, Some("/home/a")), path("here"));
        assert_eq!(resolved(None, &all, Some("/home/a")), path("/var/lib/gmqtt"));
        assert_eq!(resolved(None, &all[1..], Some("/home/a")), path("/home/a/state/gmqtt"));
        assert_eq!(resolved(None, &[("XDG_STATE_HOME", "state")], Some("/h")), path("/h/.local/state/gmqtt"));
        assert_eq!(resolved(None, &[], None), None);
    }

    #[test]
    fn memory_needs_no_directory() {
        let arguments = arguments(Durability::Memory, None);
        assert_eq!(arguments.resolve_in(|_| None, None).unwrap(), Storage::Nothing);
    }
}
