//! Tests that need a look inside.

mod clean_end;
mod crashes;
mod damage;
mod encoding;
mod log;
mod messages;
mod model;
mod power_loss;
mod readable;
mod reads;
pub(crate) mod records;
mod runs;
mod turns;

/// A directory that is gone afterwards; where syncing costs nothing, if there is such a place.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}
