//! A disk that is full, and one that cannot be written to. They need a file system of their own, and so the right to mount
//! one: without it the tests say so, and prove nothing.

use std::{ffi::CString, fs, io::Write, path::Path};

use mqtt_broker::{
    Message, QoS, TopicName,
    store::{Mark, Record, Store},
};
use mqtt_store::{Durability, FjallStore, StoreOptions};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

/// A small file system in memory, gone when this is dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(bytes: u64) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let data = CString::new(format!("size={bytes}")).unwrap();
        match mount("tmpfs", directory.path(), "tmpfs", MountFlags::empty(), Some(data.as_c_str())) {
            Ok(()) => Some(Self(directory)),
            Err(error) => {
                println!("not tested: a file system cannot be mounted here: {error}");
                None
            }
        }
    }

    fn remount(&self, flags: MountFlags, bytes: u64) {
        let data = CString::new(format!("size={bytes}")).unwrap();
        mount_remount(self.0.path(), flags, data.as_c_str()).unwrap();
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(self.0.path(), UnmountFlags::DETACH).unwrap();
    }
}

fn open(disk: &SmallDisk, durability: Durability) -> FjallStore {
    FjallStore::open(StoreOptions::new(disk.path().join("data")).durability(durability)).unwrap()
}

/// Group `n` retains a large message under the topic `n`.
fn group(n: u64) -> Vec<Record> {
    let topic = TopicName::new(format!("topic/{n:04}").into_bytes()).unwrap();
    let message = Message::new(&topic, &vec![b'x'; 64 * 1024], QoS::AtLeastOnce).retained();
    vec![Record::Retained { message, expires_at: None }]
}

#[test]
fn a_full_disk_ends_acknowledgements_and_loses_none() {
    for durability in [Durability::Sync, Durability::Os] {
        let Some(disk) = SmallDisk::new(4 * 1024 * 1024) else { return };
        let store = open(&disk, durability);
        let mut acknowledged = 0;
        let error = loop {
            match store.wait_until_durable(store.append(group(acknowledged))) {
                Ok(()) => acknowledged += 1,
                Err(error) => break error,
            }
            assert!(acknowledged < 100, "more fits than there is");
        };
        assert!(acknowledged > 10, "some fits");
        assert!(error.message.contains("No space left"), "{error}");
        assert_eq!(store.failure(), Some(error));
        // It stays so, even though there is room again.
        disk.remount(MountFlags::empty(), 256 * 1024 * 1024);
        assert!(store.wait_until_durable(store.append(group(0))).is_err());
        assert_eq!(store.durable(), Mark(acknowledged));
        assert!(store.close().is_err());
        // The next start has everything that was acknowledged, and perhaps what was not.
        let store = open(&disk, durability);
        let mut left = Vec::new();
        store.recover(&mut |record| left.push(record)).unwrap();
        let expected: Vec<_> = (0..acknowledged).flat_map(group).collect();
        assert_eq!(left.get(..acknowledged as usize), Some(&expected[..]));
        store.wait_until_durable(store.append(group(0))).unwrap();
        store.close().unwrap();
    }
}

/// To sort what is in the journal takes room. What is not sorted is as safe.
#[test]
fn a_clean_end_needs_no_room_to_speak_of() {
    let Some(disk) = SmallDisk::new(16 * 1024 * 1024) else { return };
    let store = open(&disk, Durability::Os);
    for n in 0..40 {
        store.wait_until_durable(store.append(group(n))).unwrap();
    }
    store.recover(&mut |_| {}).unwrap(); // The engine has been told by then.
    let mut rest = fs::File::create(disk.path().join("rest")).unwrap();
    while rest.write_all(&[b'x'; 4096]).is_ok() {}
    rest.set_len(rest.metadata().unwrap().len() - 8 * 1024).unwrap();
    store.close().unwrap();
    let synced = fs::read_to_string(disk.path().join("data/synced")).unwrap();
    assert!(!synced.contains("sorted"), "there was room for it");
    fs::remove_file(disk.path().join("rest")).unwrap();
    let mut left = Vec::new();
    open(&disk, Durability::Os).recover(&mut |record| left.push(record)).unwrap();
    assert_eq!(left, (0..40).flat_map(group).collect::<Vec<_>>());
}

#[test]
fn a_disk_without_room_for_a_store_is_refused() {
    let Some(disk) = SmallDisk::new(16 * 1024) else { return };
    let options = StoreOptions::new(disk.path().join("data"));
    let error = FjallStore::open(options.clone()).map(drop).unwrap_err();
    assert!(error.message.contains("No space left"), "{error}");
    disk.remount(MountFlags::empty(), 64 * 1024 * 1024);
    assert!(FjallStore::open(options).is_ok());
}

#[test]
fn a_disk_that_cannot_be_written_to_is_refused() {
    let Some(disk) = SmallDisk::new(4 * 1024 * 1024) else { return };
    open(&disk, Durability::Os).close().unwrap();
    disk.remount(MountFlags::RDONLY, 4 * 1024 * 1024);
    let options = StoreOptions::new(disk.path().join("data"));
    let error = FjallStore::open(options).map(drop).unwrap_err();
    assert!(error.message.contains("can be written to"), "{error}");
}
