//! From `[storage]` to where the broker keeps what must outlive it, and how well.

use std::{
    env,
    path::{Path, PathBuf},
};

use mqtt_store::Durability;

use crate::config::{mistake::Mistakes, raw::StorageKeys};

/// What is kept, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    Nothing,
    Directory {
        path: PathBuf,
        durability: Durability,
        memtable_bytes: usize,
        /// Each backup is a folder in it.
        backup_dir: PathBuf,
    },
}

/// In the data directory.
const BACKUPS: &str = "backups";

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
}

/// The data directory, even if nothing is kept of sessions and messages.
pub(super) fn directory(keys: &StorageKeys) -> Option<PathBuf> {
    keys.data_dir.value.clone().or_else(default_data_dir)
}

/// Where it is unless somebody says otherwise.
pub(crate) fn default_data_dir() -> Option<PathBuf> {
    default_directory(|name| env::var_os(name).map(PathBuf::from), env::home_dir())
}

pub(super) fn resolve(keys: &StorageKeys, mistakes: &mut Mistakes) -> Storage {
    let variable = |name: &str| env::var_os(name).map(PathBuf::from);
    resolve_in(keys, variable, env::home_dir(), mistakes)
}

fn resolve_in(
    keys: &StorageKeys,
    variable: impl Fn(&str) -> Option<PathBuf>,
    home: Option<PathBuf>,
    mistakes: &mut Mistakes,
) -> Storage {
    let durability = keys.durability.value;
    if durability == Durability::Memory {
        return Storage::Nothing;
    }
    if let Some(path) = keys.data_dir.value.clone().or_else(|| default_directory(variable, home)) {
        let backup_dir = keys.backup_dir.value.clone().unwrap_or_else(|| path.join(BACKUPS));
        return Storage::Directory {
            path,
            durability,
            memtable_bytes: keys.memtable_bytes.value.0,
            backup_dir,
        };
    }
    let what = "nobody says where to keep sessions and messages, and there is no home directory: add --data-dir DIR, or \
                --durability memory to keep nothing";
    mistakes.add(&keys.data_dir.origin, what);
    Storage::Nothing
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

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::raw;

    fn resolved(text: &str, variables: &[(&str, &str)], home: Option<&str>) -> Option<PathBuf> {
        let mut mistakes = Mistakes::default();
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| PathBuf::from(value))
        };
        let storage = resolve_in(&raw(text).storage, variable, home.map(PathBuf::from), &mut mistakes);
        match mistakes.or(storage).ok()? {
            Storage::Directory { path, durability: Durability::Sync, .. } => Some(path),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_directory_is_the_first_that_somebody_names() {
        let all = [("STATE_DIRECTORY", "/var/lib/gmqtt:/var/lib/other"), ("XDG_STATE_HOME", "/home/a/state")];
        let given = "[storage]\ndata_dir = \"here\"";
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(resolved(given, &all, Some("/home/a")), path("/etc/gmqtt/here"));
        assert_eq!(resolved("", &all, Some("/home/a")), path("/var/lib/gmqtt"));
        assert_eq!(resolved("", &all[1..], Some("/home/a")), path("/home/a/state/gmqtt"));
        assert_eq!(resolved("", &[("XDG_STATE_HOME", "state")], Some("/h")), path("/h/.local/state/gmqtt"));
        assert_eq!(resolved("", &[], None), None);
    }

    #[test]
    fn memory_needs_no_directory() {
        let keys = raw("[storage]\ndurability = \"memory\"").storage;
        assert_eq!(resolve_in(&keys, |_| None, None, &mut Mistakes::default()), Storage::Nothing);
    }
}
