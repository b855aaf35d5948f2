//! [`Watch`]: whether files have changed. It looks at them now and then: that sees a file whose link, or whose folder's link, was
//! turned to another one (Kubernetes), a new file in the place of the old one (editors), and a network's file system, alike.

use std::{
    collections::HashMap,
    fs::{self, Metadata},
    mem,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// How often it looks.
pub(super) const INTERVAL: Duration = Duration::from_secs(2);

/// A file as it was seen; `None` if it was not there.
type Seen = Option<Facts>;

/// When it was written, how long it is, which it is, its rights, and its owner and group.
type Facts = (Option<SystemTime>, u64, u64, u32, (u32, u32));

/// Files, and how they were when what they hold came into force.
pub(super) struct Watch {
    files: Vec<PathBuf>,
    in_force: Vec<Seen>,
    last: Vec<Seen>,
}

impl Watch {
    /// Has seen these files as they are now. It blocks for as long as the system takes to say how they are.
    pub(super) fn new(files: Vec<PathBuf>) -> Self {
        let seen = look_at_all(&files);
        Self { files, in_force: seen.clone(), last: seen }
    }

    /// What they hold now is about to be read: only what changes from now on is a change.
    pub(super) fn look_again(&mut self) {
        *self = Self::new(mem::take(&mut self.files));
    }

    /// Looks at these from now on. Those among them that it knows are as it has seen them.
    pub(super) fn look_at(&mut self, files: Vec<PathBuf>) {
        let known: HashMap<_, _> =
            mem::take(&mut self.files).into_iter().zip(self.in_force.drain(..)).collect();
        let as_known = |file: &PathBuf| known.get(file).copied().unwrap_or_else(|| look(file));
        let seen: Vec<Seen> = files.iter().map(as_known).collect();
        *self = Self { files, in_force: seen.clone(), last: seen };
    }

    /// Whether they have changed, and are not changing any more: two looks in a row saw the same. Says so once.
    pub(super) fn has_changed(&mut self) -> bool {
        let seen = look_at_all(&self.files);
        let is_settled = seen == self.last;
        self.last.clone_from(&seen);
        let has_changed = is_settled && seen != self.in_force;
        if has_changed {
            self.in_force = seen;
        }
        has_changed
    }
}

fn look_at_all(files: &[PathBuf]) -> Vec<Seen> {
    files.iter().map(|file| look(file)).collect()
}

fn look(file: &Path) -> Seen {
    fs::metadata(file).ok().map(|file| seen(&file))
}

#[cfg(unix)]
fn seen(file: &Metadata) -> Facts {
    use std::os::unix::fs::MetadataExt;

    (file.modified().ok(), file.len(), file.ino(), file.mode(), (file.uid(), file.gid()))
}

#[cfg(not(unix))]
fn seen(file: &Metadata) -> Facts {
    (file.modified().ok(), file.len(), 0, 0, (0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_once_and_only_when_it_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, "1").unwrap();
        let mut watch = Watch::new(vec![file.clone(), folder.path().join("not there")]);
        assert!(!watch.has_changed() && !watch.has_changed());
        fs::write(&file, "22").unwrap();
        assert!(!watch.has_changed(), "it may be changing still");
        assert!(watch.has_changed());
        assert!(!watch.has_changed());
    }

    #[test]
    fn a_change_since_a_file_was_read_is_seen_though_others_are_looked_at_now() {
        let folder = tempfile::tempdir().unwrap();
        let [known, new] = ["known", "new"].map(|name| folder.path().join(name));
        fs::write(&known, "1").unwrap();
        let mut watch = Watch::new(vec![known.clone()]);
        fs::write(&known, "22").unwrap();
        watch.look_at(vec![known.clone(), new.clone()]);
        assert!(!watch.has_changed() && watch.has_changed());
        fs::write(&new, "1").unwrap();
        watch.look_again();
        assert!(!watch.has_changed() && !watch.has_changed());
        fs::write(&new, "22").unwrap();
        assert!(!watch.has_changed() && watch.has_changed());
    }

    /// What could not be read at a reload may be readable now.
    #[cfg(unix)]
    #[test]
    fn other_rights_are_a_change() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("users");
        fs::write(&file, "1").unwrap();
        let mut watch = Watch::new(vec![file.clone()]);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(!watch.has_changed() && watch.has_changed());
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_is_swapped_for_another_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for version in ["1", "2"] {
            fs::create_dir(path(version)).unwrap();
            fs::write(path(version).join("gmqtt.toml"), "").unwrap();
        }
        std::os::unix::fs::symlink("1", path("..data")).unwrap();
        let mut watch = Watch::new(vec![path("..data").join("gmqtt.toml")]);
        std::os::unix::fs::symlink("2", path("new")).unwrap();
        fs::rename(path("new"), path("..data")).unwrap();
        assert!(!watch.has_changed());
        assert!(watch.has_changed());
    }
}
