//! What `gmqtt serve` keeps, where, and what it says when it cannot; and `gmqtt store`.

use std::{
    fs,
    io::{Read, Write},
    path::Path,
    process::Command,
};

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

    fn files(directory: &Path) -> Vec<(std::path::PathBuf, u32)> {
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
