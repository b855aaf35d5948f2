//! What `gmqtt serve` keeps, where, and what it says when it cannot; and `gmqtt store`.

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::Command,
};

use xxhash_rust::xxh3::xxh3_64;

use super::{
    harness::{Broker, Ended, Gmqtt},
    serve::CONNECT,
};

/// `gmqtt serve` on this data directory.
fn broker_on(directory: &Path) -> Broker {
    Broker::start_with(&["--data-dir", directory.to_str().unwrap()])
}

fn serve_on(directory: &Path) -> Ended {
    Gmqtt::start(&["serve", "--listen", "127.0.0.1:0", "--data-dir", directory.to_str().unwrap()]).ended()
}

fn store(arguments: &[&str]) -> Ended {
    Gmqtt::start(&[&["store"], arguments].concat()).ended()
}

#[test]
fn is_durable_with_no_option_given_and_says_where() {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_gmqtt"));
    command.args(["serve", "--listen", "127.0.0.1:0"]).env("HOME", home.path());
    for variable in ["GMQTT_DATA_DIR", "STATE_DIRECTORY", "XDG_STATE_HOME"] {
        command.env_remove(variable);
    }
    let broker = Gmqtt::start_prepared(command, b"");
    let directory = home.path().join(".local/state/gmqtt");
    assert_eq!(broker.line(), format!("durability: sync, data in {}", directory.display()));
    assert!(broker.line().starts_with("listening"));
    assert!(fs::exists(directory).unwrap());

    let broker = Gmqtt::start(&["serve", "--listen", "127.0.0.1:0", "--durability", "memory"]);
    assert_eq!(broker.line(), "durability: memory, nothing outlives this process");
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    for durability in ["sync", "os"] {
        let directory = tempfile::tempdir().unwrap();
        let arguments = ["--data-dir", directory.path().to_str().unwrap(), "--durability", durability];
        let mut broker = Broker::start_with(&arguments);
        broker.publish(&["-t", "kept", "-m", "still here", "-q", "1", "-r"]);
        broker.process.kill();
        broker.process.ended();
        let broker = Broker::start_with(&arguments);
        assert_eq!(broker.client(&["sub", "-t", "kept", "-C", "1"]).ended().output(), ["still here"]);
    }
}

#[test]
fn a_data_directory_in_use_names_who_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker_on(directory.path());
    let line = serve_on(directory.path()).complaint(1);
    let (path, pid) = (directory.path().display(), broker.process.id());
    let expected = format!("gmqtt: the store in {path} is in use by process {pid}: stop it first, ");
    assert!(line.starts_with(&expected), "{line}");
    let line = store(&["info", directory.path().to_str().unwrap()]).complaint(1);
    assert!(line.starts_with(&expected), "{line}");
}

#[test]
fn what_is_no_data_directory_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "mine").unwrap();
    for (path, part) in [(&*file, "not a directory"), (directory.path(), "is not empty and holds no store")] {
        let line = serve_on(path).complaint(1);
        assert!(line.contains(part) && line.contains(path.to_str().unwrap()), "{line}");
    }
    assert_eq!(fs::read(file).unwrap(), b"mine");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing was left in it");
}

#[cfg(unix)]
#[test]
fn a_damaged_store_is_refused_with_a_word_on_what_to_do() {
    use rustix::process::Signal;

    let directory = tempfile::tempdir().unwrap();
    let broker = broker_on(directory.path());
    broker.publish(&["-t", "kept", "-m", "x", "-q", "1", "-r"]);
    broker.process.signal(Signal::TERM);
    assert!(broker.process.ended().status.success());
    for entry in fs::read_dir(directory.path().join("db")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "jnl") {
            fs::write(path, b"nothing like a journal").unwrap();
        }
    }
    let ended = serve_on(directory.path());
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let line = ended.stderr.last().unwrap();
    assert!(line.contains("damaged") && line.contains("from a backup"), "{line}");
}

/// Whoever else holds on to it, as the API does: what the end itself writes is synced, and the next start has no log to read.
#[cfg(unix)]
#[test]
fn a_store_is_closed_at_the_end_with_the_api_on() {
    use rustix::process::Signal;

    let directory = tempfile::tempdir().unwrap();
    let arguments = ["--admin", "127.0.0.1:0", "--data-dir", directory.path().to_str().unwrap()];
    let broker_that_has_kept = || {
        let broker = Broker::start_with(&arguments);
        broker.publish(&["-t", "kept", "-m", "x", "-q", "1", "-r"]);
        broker.process
    };
    let broker = broker_that_has_kept();
    broker.signal(Signal::TERM);
    assert!(broker.ended().status.success());
    assert!(fs::exists(directory.path().join("synced")).unwrap());
    for file in ["log/0", "log/1", "log/2", "log/3"] {
        assert_eq!(fs::metadata(directory.path().join(file)).unwrap().len(), 0, "{file}");
    }
    let broker = broker_that_has_kept();
    // In the way of the note of what was synced.
    fs::create_dir(directory.path().join("synced.tmp")).unwrap();
    broker.signal(Signal::TERM);
    let last = broker.ended().last_words(3);
    assert!(last.contains("synced.tmp"), "{last}");
}

#[test]
fn a_store_can_be_described_checked_copied_and_exported() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (original, lines) = (path("original"), path("lines"));
    let mut broker = broker_on(Path::new(&original));
    broker.publish(&["-t", "kept", "-m", "still here", "-q", "1", "-r"]);
    broker.process.kill();
    broker.process.ended();

    let info = store(&["info", &original]).output();
    assert!(info.contains(&"1 rows in retained".to_owned()), "{info:?}");
    assert!(store(&["check", &original]).output()[0].ends_with(" rows, nothing wrong"));
    fs::write(path("original/bans.json"), r#"{"bans": []}"#).unwrap();
    store(&["backup", &original, &path("copy")]).output();
    assert!(fs::exists(path("copy/bans.json")).unwrap());
    store(&["export", &original, "--output", &lines]).output();
    assert_eq!(
        store(&["export", &original]).output().join("\n"),
        fs::read_to_string(&lines).unwrap().trim_end()
    );
    store(&["import", &path("imported"), "--input", &lines]).output();
    for copy in ["copy", "imported"] {
        let broker = broker_on(Path::new(&path(copy)));
        assert_eq!(broker.client(&["sub", "-t", "kept", "-C", "1"]).ended().output(), ["still here"]);
    }
    for wrong in [&["info", &path("none")][..], &["import", &original, "--input", &lines]] {
        store(wrong).complaint(1);
    }
}

/// A look writes too. What root left there the broker's own user could not read, and no start came through.
#[cfg(unix)]
#[test]
fn a_store_is_for_its_owner_to_look_at() {
    use std::os::unix::fs::{MetadataExt, chown};

    const NOBODY: Option<u32> = Some(65_534);

    fn owners(directory: &Path) -> Vec<(PathBuf, u32)> {
        let entries = fs::read_dir(directory).into_iter().flatten().map(|entry| entry.unwrap().path());
        let below = entries.flat_map(|path| owners(&path));
        let own = (directory.to_owned(), fs::symlink_metadata(directory).unwrap().uid());
        [own].into_iter().chain(below).collect()
    }

    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (original, lines, copy, empty) = (path("original"), path("lines"), path("copy"), path("empty"));
    broker_on(Path::new(&original)).process.kill();
    store(&["export", &original, "-o", &lines]).output();
    fs::create_dir(&empty).unwrap();
    if chown(&original, NOBODY, NOBODY).is_err() {
        // Nobody may give anything away but root; what is root's is another's then.
        if fs::metadata("/").unwrap().uid() != rustix::process::geteuid().as_raw() {
            assert!(store(&["info", "/"]).complaint(1).contains("belongs to user "));
        }
        return;
    }
    store(&["info", &original]).output(); // Its directory alone is another's: the broker that made it was root's.
    chown(&empty, NOBODY, NOBODY).unwrap();
    assert!(store(&["backup", &original, &empty]).complaint(1).contains("or make it user 0's"));
    for (path, _) in owners(Path::new(&original)) {
        chown(path, NOBODY, NOBODY).unwrap();
    }
    for arguments in [
        &["info", &original][..],
        &["check", &original],
        &["export", &original],
        &["backup", &original, &copy],
        &["import", &original, "-i", &lines],
    ] {
        let complaint = store(arguments).complaint(1);
        assert!(
            complaint.contains("belongs to user 65534") && complaint.contains("sudo -u '#"),
            "{complaint}"
        );
    }
    let owners = owners(Path::new(&original));
    assert!(owners.len() > 5 && owners.iter().all(|(_, owner)| Some(*owner) == NOBODY), "{owners:?}");
}

/// Changes a byte of a row in the engine's journal, and the checksum of the batch that it is in.
#[cfg(unix)]
fn damage_row(directory: &Path, of: &[u8]) {
    const TRAILER: &[u8] = b"FJL\x03";
    const BATCH_HEAD: usize = 13;
    let journal = directory.join("db/0.jnl");
    let mut bytes = fs::read(&journal).unwrap();
    let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|window| window == what);
    let at = find(&bytes, of).unwrap();
    let before = bytes[..at].windows(TRAILER.len()).rposition(|window| window == TRAILER).unwrap();
    // Of the batch, its items: behind them are a tag, the checksum and the trailer.
    let items = before + TRAILER.len() + BATCH_HEAD..at + find(&bytes[at..], TRAILER).unwrap() - 9;
    bytes[at] ^= 1;
    let checksum = xxh3_64(&bytes[items.clone()]).to_le_bytes();
    bytes[items.end + 1..items.end + 9].copy_from_slice(&checksum);
    fs::write(journal, bytes).unwrap();
}

/// As `gmqtt store check` advises.
#[cfg(unix)]
#[test]
fn what_can_be_read_of_a_damaged_store_is_exported() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (damaged, lines, imported) = (path("damaged"), path("lines"), path("imported"));
    let broker = broker_on(Path::new(&damaged));
    for (topic, text) in [("gone", "a text that will be gone"), ("kept", "still here")] {
        broker.publish(&["-t", topic, "-m", text, "-q", "1", "-r"]);
    }
    broker.process.signal(rustix::process::Signal::TERM);
    assert!(broker.process.ended().status.success());
    damage_row(Path::new(&damaged), b"a text that will be gone");

    let said = store(&["check", &damaged]).complaint(1);
    assert!(said.contains("1 of ") && said.contains("export what can be read"), "{said}");
    let said = store(&["export", &damaged, "--output", &lines]).last_words(1);
    assert!(said.contains("1 rows cannot be read"), "{said}");
    store(&["import", &imported, "--input", &lines]).output();
    let broker = broker_on(Path::new(&imported));
    assert_eq!(broker.client(&["sub", "-t", "#", "-C", "1"]).ended().output(), ["still here"]);
}

/// The largest file below a directory.
#[cfg(unix)]
fn largest_below(directory: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter_map(|path| if path.is_dir() { largest_below(&path) } else { Some(path) });
    files.max_by_key(|file| fs::metadata(file).unwrap().len())
}

/// It would be in the way of the next attempt.
#[cfg(unix)]
#[test]
fn an_export_that_fails_leaves_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let (damaged, lines) = (path("damaged"), path("lines"));
    let broker = broker_on(&damaged);
    // Enough that it is in sorted files at the end, of which the engine checks each block when it reads it.
    let text = "x".repeat(100_000);
    for n in 0..12 {
        broker.publish(&["-t", &format!("kept/{n}"), "-m", &text, "-q", "1", "-r"]);
    }
    broker.process.signal(rustix::process::Signal::TERM);
    assert!(broker.process.ended().status.success());
    let file = largest_below(&damaged.join("db/keyspaces")).unwrap();
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();

    let said = store(&["export", damaged.to_str().unwrap(), "-o", lines.to_str().unwrap()]).last_words(1);
    assert!(said.contains("damaged"), "{said}");
    assert!(!fs::exists(lines).unwrap());
}

/// Clients that fill a disk: how many messages of 100,000 bytes were acknowledged before the connection was closed.
#[cfg(target_os = "linux")]
fn fill(broker: &Broker) -> usize {
    let mut socket = broker.socket();
    socket.write_all(CONNECT).unwrap();
    let mut answer = [0; 4];
    socket.read_exact(&mut answer).unwrap();
    let mut is_refused = |n: usize| {
        // QoS 1, retained, 100,000 bytes after the fixed header; identifier 1.
        let mut publish = vec![0x33, 0xa0, 0x8d, 0x06, 0, 8];
        publish.extend_from_slice(format!("kept/{n:03}\0\x01").as_bytes());
        publish.resize(100_004, b'x');
        socket.write_all(&publish).is_err() || socket.read_exact(&mut answer).is_err()
    };
    (0..1000).find(|n| is_refused(*n)).expect("a disk that is full at last")
}

/// It says why once, ends with a code of its own, and what it had acknowledged is there when there is room again.
#[cfg(target_os = "linux")]
fn assert_ended_well(broker: Broker, acknowledged: usize, why: &str, directory: &Path) {
    let ended = broker.process.ended();
    assert!(acknowledged > 5, "{acknowledged}");
    let said = |line: &&String| line.contains(why);
    assert_eq!(ended.stderr.iter().filter(said).count(), 2, "in the log, and as the last word: {ended:?}");
    let last = ended.last_words(3);
    assert!(last.starts_with("gmqtt: ") && last.contains(why) && last.contains("is kept"), "{last}");
    let info = store(&["info", directory.to_str().unwrap()]).output();
    let rows = |n: usize| info.contains(&format!("{n} rows in retained"));
    assert!(rows(acknowledged) || rows(acknowledged + 1), "{acknowledged} acknowledged: {info:?}");
}

/// On a file system of a few MiB, which takes the right to mount one.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_ends_the_broker_with_a_code_of_its_own() {
    use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

    let directory = tempfile::tempdir().unwrap();
    if let Err(error) = mount("tmpfs", directory.path(), "tmpfs", MountFlags::empty(), Some(c"size=4194304"))
    {
        println!("not tested: a file system cannot be mounted here: {error}");
        return;
    }
    let data = directory.path().join("data");
    let broker = broker_on(&data);
    let acknowledged = fill(&broker);
    mount_remount(directory.path(), MountFlags::empty(), c"size=268435456").unwrap();
    assert_ended_well(broker, acknowledged, "No space left", &data);
    unmount(directory.path(), UnmountFlags::DETACH).unwrap();
}

/// The same without any right: the journal may not grow beyond a few MiB.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_may_not_grow_ends_the_broker_with_a_code_of_its_own() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};

    let directory = tempfile::tempdir().unwrap();
    let broker = broker_on(directory.path());
    let limit = Rlimit { current: Some(4 << 20), maximum: Some(4 << 20) };
    prlimit(Pid::from_raw(broker.process.id().cast_signed()), Resource::Fsize, limit).unwrap();
    let acknowledged = fill(&broker);
    assert_ended_well(broker, acknowledged, "File too large", directory.path());
}

/// Also what the engine makes long after the start, and whatever the user's own mask is.
#[cfg(unix)]
#[test]
fn no_file_is_anybody_elses_to_read() {
    use std::os::unix::fs::PermissionsExt;

    fn files(directory: &Path) -> Vec<(PathBuf, u32)> {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        entries
            .flat_map(|path| {
                if path.is_dir() {
                    return files(&path);
                }
                // The engine deletes files too.
                let mode = fs::metadata(&path).ok().map(|metadata| metadata.permissions().mode() & 0o777);
                mode.map(|mode| (path, mode)).into_iter().collect()
            })
            .collect()
    }

    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "umask 000; exec \"$@\"",
        "sh",
        env!("CARGO_BIN_EXE_gmqtt"),
        "serve",
        "--durability",
        "os",
    ]);
    command
        .args(["--listen", "127.0.0.1:0", "--max-packet-size", "4MiB", "--data-dir"])
        .arg(directory.path());
    let broker = Broker::prepared(Gmqtt::start_prepared(command, b""));
    let first = files(directory.path());
    // More than the engine keeps in memory: it writes files for it.
    let payload = "x".repeat(3 << 20);
    for n in 0..8 {
        let topic = format!("kept/{n}");
        let publisher =
            broker.client_with_input(&["pub", "-t", &topic, "-s", "-q", "1", "-r"], payload.as_bytes());
        assert_eq!(publisher.ended().output(), [""; 0]);
    }
    loop {
        let now = files(directory.path());
        assert!(now.iter().all(|(_, mode)| *mode == 0o600), "{now:?}");
        if now.iter().any(|file| !first.contains(file)) {
            break;
        }
        std::thread::yield_now();
    }
}
