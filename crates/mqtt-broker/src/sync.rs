//! The locks of a session: those of `parking_lot`, or, where loom runs every interleaving of a test, its own.
//!
//! `RUSTFLAGS="--cfg gmqtt_loom"` and not `--cfg loom`, which tokio takes as meant for itself and does not build with.

#[cfg(not(all(test, gmqtt_loom)))]
mod chosen {
    pub(crate) use parking_lot::{Mutex, MutexGuard};
    pub(crate) use std::sync::atomic::AtomicBool;
}

#[cfg(all(test, gmqtt_loom))]
mod chosen {
    pub(crate) use loom::sync::{MutexGuard, atomic::AtomicBool};

    /// With the face of `parking_lot`'s.
    #[derive(Default)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("a model in which a thread has panicked is over")
        }

        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok()
        }
    }
}

pub(crate) use chosen::{AtomicBool, Mutex, MutexGuard};
