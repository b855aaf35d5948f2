//! Tests that need a look inside.

mod damage;
mod encoding;
mod model;
mod patience;
mod power_loss;
mod records;

/// A directory that is gone afterwards; where syncing costs nothing, if there is such a place.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}
