//! The data directory: who may read it, who may use it, and what is said when it cannot be used.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use mqtt_broker::store::{Record, Store, StoreError};
use mqtt_store::{Durability, FjallStore, StoreOptions};

fn open(path: &Path) -> Result<FjallStore, StoreError> {
    FjallStore::open(StoreOptions::new(path).durability(Durability::Os))
}

/// What is said when it cannot be opened. It names the directory or a file in it.
fn refusal(path: &Path) -> String {
    let message = open(path).map(drop).unwrap_err().message;
    assert!(message.contains(path.to_str().unwrap()), "{message}");
    message
}

fn session() -> Vec<Record> {
    vec![Record::SessionStarted { session: 1, client_id: "one".into() }]
}

#[test]
fn is_made_for_its_owner_alone() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("a/b");
    drop(open(&path).unwrap());
    // The second start also restricts what the engine has made meanwhile.
    drop(open(&path).unwrap());
    assert_private(&path);
}

#[test]
fn rights_that_others_have_are_taken() {
    let parent = tempfile::tempdir().unwrap();
    fs::set_permissions(parent.path(), Permissions::from_mode(0o755)).unwrap();
    drop(open(parent.path()).unwrap());
    assert_eq!(fs::metadata(parent.path()).unwrap().permissions().mode() & 0o777, 0o700);
}

/// A folder of the file system's, a backup, what a link leads to: a start as another user than root's could not even look into the first.
#[test]
fn what_is_not_the_stores_is_left_alone() {
    let parent = tempfile::tempdir().unwrap();
    let (path, outside) = (parent.path().join("data"), parent.path().join("outside"));
    drop(open(&path).unwrap());
    for folder in [&path.join("lost+found"), &path.join("backups/monday"), &outside] {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("file"), "x").unwrap();
    }
    symlink(&outside, path.join("link")).unwrap();
    symlink(outside.join("file"), path.join("log/link")).unwrap();
    let others = ["lost+found", "lost+found/file", "backups", "backups/monday/file", "link", "link/file"];
    for other in others {
        fs::set_permissions(path.join(other), Permissions::from_mode(0o755)).unwrap();
    }
    drop(open(&path).unwrap());
    for other in others {
        let mode = fs::metadata(path.join(other)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o755, "{other}");
    }
}

fn assert_private(path: &Path) {
    let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
    if path.is_dir() {
        assert_eq!(mode, 0o700, "{}", path.display());
        for entry in fs::read_dir(path).unwrap() {
            assert_private(&entry.unwrap().path());
        }
    } else {
        assert_eq!(mode, 0o600, "{}", path.display());
    }
}

/// And is not told to be damaged.
#[test]
fn one_that_is_not_there_holds_no_store() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("nothing");
    let message = FjallStore::open_existing(StoreOptions::new(&path)).map(drop).unwrap_err().message;
    assert_eq!(message, format!("{} is not there: name the directory of a store", path.display()));
    assert!(!path.exists());
}

#[test]
fn is_one_stores_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    let refusal = refusal(directory.path());
    assert!(refusal.contains(&format!("in use by process {}", std::process::id())), "{refusal}");
    // Neither harmed the other.
    store.wait_until_durable(store.append(session())).unwrap();
    drop(store);
    assert!(open(directory.path()).is_ok());
}

#[test]
fn may_not_be_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "x").unwrap();
    assert!(refusal(&file).contains("is not a directory"));
    assert!(refusal(&file.join("below")).contains("cannot"));
}

#[test]
fn may_not_hold_anything_else() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("letter.txt"), "x").unwrap();
    assert!(refusal(directory.path()).contains("is not empty and holds no store"));
    let names: Vec<_> =
        fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["letter.txt"], "nothing is left behind");
}

/// What a broker writes beside its store may be there before the store is.
#[test]
fn may_hold_what_an_earlier_start_left() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["admin-token", "bans.json", "bans.json.tmp"] {
        fs::write(directory.path().join(name), "x").unwrap();
    }
    assert!(open(directory.path()).is_ok());
}

#[test]
fn another_version_is_refused() {
    for (version, said) in [("6", "a newer version"), ("4", "an older version")] {
        let directory = tempfile::tempdir().unwrap();
        drop(open(directory.path()).unwrap());
        fs::write(directory.path().join("gmqtt-store"), format!("gmqtt-store {version}\n")).unwrap();
        assert!(refusal(directory.path()).contains(said));
    }
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()).unwrap());
    fs::write(directory.path().join("gmqtt-store"), "x").unwrap();
    assert!(refusal(directory.path()).contains("does not say which format"));
}

/// A first start that was killed half way: nothing was acknowledged, and the next one begins anew.
#[test]
fn a_first_start_that_did_not_get_through_is_begun_again() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()).unwrap());
    fs::write(directory.path().join("gmqtt-store"), "gmqtt-store 5 new\n").unwrap();
    fs::remove_file(directory.path().join("db/0.jnl")).unwrap();
    drop(open(directory.path()).unwrap());
    assert!(open(directory.path()).is_ok());
}

#[test]
fn parts_that_are_gone_are_missed() {
    let parts = [
        "db",
        "db/keyspaces",
        "db/keyspaces/3",
        "db/keyspaces/3/current",
        "db/version",
        "db/0.jnl",
        "log",
        "log/seed",
        "log/2",
    ];
    for part in parts {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path()).unwrap();
        store.wait_until_durable(store.append(session())).unwrap();
        drop(store);
        let path = directory.path().join(part);
        if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }.unwrap();
        assert!(refusal(directory.path()).contains("restore the data directory from a backup"), "{part}");
    }
}

#[test]
fn memory_is_no_durability_of_a_store() {
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions::new(directory.path().join("data")).durability(Durability::Memory);
    assert!(FjallStore::open(options).is_err());
    assert!(!directory.path().join("data").exists());
}
