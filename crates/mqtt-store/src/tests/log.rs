//! The log by itself: what was written is read again, whatever round it is in, and nothing else is.

use mqtt_broker::{
    Message, QoS,
    store::{Record, StoreError},
};
use proptest::{collection::vec, prelude::*};

use super::records::groups;
use crate::{
    Durability,
    engine::double::{Disk, Fault},
    wal::{Frame, GROWTH, Medium, Replayed, Wal, replay},
};

/// So small that most frames fill a file.
const FILE_BYTES: u64 = 200;

fn log(disk: &Disk, durability: Durability) -> Wal<Disk> {
    Wal::new(disk.clone(), 0, FILE_BYTES, durability)
}

fn frame(groups: &[Vec<Record>]) -> Frame {
    let mut frame = Frame::default();
    for group in groups {
        frame.push(group);
    }
    frame
}

/// The groups after the first `known`, and whether there is something behind a hole.
fn replayed(disk: &Disk, known: usize) -> Result<(Vec<Vec<Record>>, bool), StoreError> {
    let mut left = Vec::new();
    let Replayed { groups, has_hole } = replay(disk, known as u64, |number, group| {
        left.push(group);
        assert_eq!(number, (known + left.len()) as u64);
        Ok(())
    })?;
    assert_eq!(groups, (known + left.len()) as u64);
    Ok((left, has_hole))
}

fn retained(payload: &[u8]) -> Vec<Record> {
    let message = Message::new(&"t".try_into().unwrap(), payload, QoS::AtLeastOnce);
    vec![Record::Retained { message, expires_at: None }]
}

proptest! {
    /// Frames of any size, while the engine comes behind by any number of groups.
    #[test]
    fn what_the_engine_does_not_have_is_there(frames in vec((groups(1..4), any::<bool>()), 1..40)) {
        let disk = Disk::default();
        let mut log = log(&disk, Durability::Os);
        let (mut all, mut known) = (Vec::new(), 0);
        for (groups, forgets) in frames {
            log.write(&mut frame(&groups)).unwrap();
            all.extend(groups);
            if forgets {
                known = (known + all.len()).div_ceil(2);
                log.forget(known as u64);
            }
            prop_assert_eq!(replayed(&disk, known).unwrap(), (all[known..].to_vec(), false));
        }
    }

    /// Power is lost before the last frame is synced: it is there to its end, or nothing of it.
    #[test]
    fn a_torn_frame_is_not_there(frames in vec(groups(1..4), 1..10), torn in any::<u8>()) {
        let disk = Disk::default();
        let mut log = log(&disk, Durability::Sync);
        let (last, before) = frames.split_last().unwrap();
        for groups in before {
            log.write(&mut frame(groups)).unwrap();
        }
        disk.fail_after(0, Fault::Sync);
        log.write(&mut frame(last)).unwrap_err();
        let (left, has_hole) = replayed(&disk.after_power_loss(0, |_| torn), 0).unwrap();
        prop_assert!(!has_hole && (left == frames.concat() || left == before.concat()), "{left:?}");
        prop_assert!(torn < u8::MAX || left == frames.concat());
        prop_assert!(torn > 0 || left == before.concat());
    }

    #[test]
    fn no_bytes_are_taken_for_a_frame(bytes in vec(any::<u8>(), 0..300)) {
        let disk = Disk::default();
        disk.write(0, 0, &bytes).unwrap();
        prop_assert_eq!(replayed(&disk, 0).unwrap(), (Vec::new(), false));
    }
}

#[test]
fn files_are_written_again_once_the_engine_has_what_is_in_them() {
    let disk = Disk::default();
    let mut log = log(&disk, Durability::Os);
    for _ in 0..1_000 {
        assert_eq!(log.old_groups(), 0);
        while log.old_groups() == 0 {
            log.write(&mut frame(&[retained(&[7; 90])])).unwrap();
        }
        log.forget(log.groups());
    }
    assert!(disk.log_bytes() < 2_000, "{}", disk.log_bytes());
}

/// What a start has to read must not depend on how fast the disk is.
#[test]
fn it_is_full_until_the_engine_has_what_is_oldest() {
    let disk = Disk::default();
    let mut log = log(&disk, Durability::Os);
    for _ in 0..100 {
        while !log.is_full() {
            log.write(&mut frame(&[retained(&[7; 90])])).unwrap();
            assert!(disk.log_bytes() < 4_000, "{}", disk.log_bytes());
        }
        log.forget(log.old_groups());
        assert!(!log.is_full());
    }
}

/// The engine may have been told of what is not in the log yet: that is no reason to wait for it.
#[test]
fn what_the_engine_was_told_before_takes_no_room() {
    let disk = Disk::default();
    let mut log = log(&disk, Durability::Os);
    log.forget(100);
    for _ in 0..100 {
        log.write(&mut frame(&[retained(&[7; 900])])).unwrap();
        assert_eq!((log.old_groups(), log.is_full()), (0, false));
    }
}

/// Where a file has its length, a sync has less to do.
#[test]
fn a_file_is_longer_than_what_is_in_it_where_that_is_synced() {
    for (durability, expected) in [(Durability::Sync, GROWTH), (Durability::Os, 144)] {
        let disk = Disk::default();
        log(&disk, durability).write(&mut frame(&[retained(&[7; 81])])).unwrap();
        assert_eq!(disk.log_bytes(), expected, "{durability}");
    }
}

/// With nothing to write over, it grows, until the engine has followed.
#[test]
fn a_log_that_the_engine_does_not_follow_loses_nothing() {
    for durability in [Durability::Sync, Durability::Os] {
        let disk = Disk::default();
        let mut log = log(&disk, durability);
        let all: Vec<_> = (0..100).map(|n| retained(&[n; 4_000])).collect();
        for group in &all {
            log.write(&mut frame(std::slice::from_ref(group))).unwrap();
        }
        assert_eq!(replayed(&disk, 0).unwrap().0, all);
        assert!(disk.log_bytes() > 400_000);
        log.forget(100);
        for n in 0..10 {
            log.write(&mut frame(&[retained(&[n; 90])])).unwrap();
            log.forget(101 + u64::from(n));
        }
        let most = if durability == Durability::Sync { 4 * (GROWTH + 8_000) } else { 20_000 };
        assert!(disk.log_bytes() < most, "{durability}: {}", disk.log_bytes());
    }
}

/// What it has grown to in an earlier process is given back, and what it has at rest is not made anew.
#[test]
fn a_log_knows_how_long_its_files_are() {
    let disk = Disk::default();
    let mut earlier = Wal::new(disk.clone(), 0, u64::MAX, Durability::Sync);
    (0..100).for_each(|n| earlier.write(&mut frame(&[retained(&[n; 8_000])])).unwrap());
    assert!(disk.log_bytes() > 800_000);
    let mut log = Wal::new(disk.clone(), 100, 100_000, Durability::Sync);
    assert_eq!(disk.log_bytes(), 100_000);
    log.write(&mut frame(&[retained(&[7; 8_000])])).unwrap();
    assert_eq!(disk.log_bytes(), 100_000, "there was room");
}

#[test]
fn what_follows_a_hole_shows_damage_if_it_was_synced_and_is_dropped_if_not() {
    for durability in [Durability::Sync, Durability::Os] {
        let disk = Disk::default();
        let mut log = log(&disk, durability);
        let all: Vec<_> = (0..6).map(|n| retained(&[n; 150])).collect();
        for group in &all {
            log.write(&mut frame(std::slice::from_ref(group))).unwrap();
        }
        disk.write(2, 50, b"?").unwrap();
        match replayed(&disk, 0) {
            Ok(left) => assert_eq!((durability, left), (Durability::Os, (all[..2].to_vec(), true))),
            Err(error) => {
                assert_eq!(durability, Durability::Sync);
                assert!(error.message.contains("groups 3 to 3 cannot be read"), "{error}");
            }
        }
        assert_eq!(replayed(&disk, 3).unwrap(), (all[3..].to_vec(), false), "the engine has what is lost");
    }
}

/// A client may send whatever it likes: without the seed it is no frame, not even behind a torn one.
#[test]
fn a_payload_is_not_taken_for_a_frame() {
    for (seed, found) in [(0, 1), (1, 0)] {
        let forged = Disk::seeded(seed);
        Wal::new(forged.clone(), 0, FILE_BYTES, Durability::Sync)
            .write(&mut frame(&[retained(b"forged")]))
            .unwrap();
        let forged = forged.read(0).unwrap();
        let disk = Disk::default();
        let mut log = log(&disk, Durability::Sync);
        // At any place of the payload, so that one is where frames begin.
        let payload: Vec<u8> = (0..8).flat_map(|n| [&vec![0; n][..], &forged].concat()).collect();
        log.write(&mut frame(&[retained(&payload)])).unwrap();
        assert_eq!(replayed(&disk, 0).unwrap().0, [retained(&payload)]);
        disk.write(0, 0, b"torn").unwrap();
        let left = replayed(&disk, 0).unwrap().0;
        assert_eq!(left, vec![retained(b"forged"); found], "only the test knows the seed");
    }
}
