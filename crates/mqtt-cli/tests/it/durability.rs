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
    store(&["backup", &original, &path("copy")]).output();
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

/// It stops acknowledging, says why, and ends: on a file system of a few MiB, which takes the right to mount one.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_ends_the_broker_with_a_code_of_its_own() {
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

    let directory = tempfile::tempdir().unwrap();
    if let Err(error) = mount("tmpfs", directory.path(), "tmpfs", MountFlags::empty(), Some(c"size=4194304"))
    {
        println!("not tested: a file system cannot be mounted here: {error}");
        return;
    }
    let broker = broker_on(&directory.path().join("data"));
    let mut socket = broker.socket();
    socket.write_all(CONNECT).unwrap();
    let mut answer = [0; 4];
    socket.read_exact(&mut answer).unwrap();
    let refused = (0..100).find(|n| {
        // QoS 1, retained, 100,000 bytes after the fixed header; identifier 1.
        let mut publish = vec![0x33, 0xa0, 0x8d, 0x06, 0, 7];
        publish.extend_from_slice(format!("kept/{n:02}\0\x01").as_bytes());
        publish.resize(100_004, b'x');
        socket.write_all(&publish).is_err() || socket.read_exact(&mut answer).is_err()
    });
    let ended = broker.process.ended();
    unmount(directory.path(), UnmountFlags::DETACH).unwrap();
    assert!(refused.is_some_and(|first| first > 5), "{refused:?}");
    assert_eq!(ended.status.code(), Some(3), "{ended:?}");
    let last = ended.stderr.last().unwrap();
    assert!(last.starts_with("gmqtt: ") && last.contains("No space left"), "{ended:?}");
}
