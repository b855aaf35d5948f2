//! Which tokio runtime each half of the program runs on: the one place where that is chosen.

use std::io;

use tokio::runtime::{Builder, Runtime};

/// For the broker.
pub(crate) fn for_broker() -> io::Result<Runtime> {
    Builder::new_multi_thread().enable_all().thread_name("gmqtt").build()
}

/// For a client with one connection.
pub(crate) fn for_client() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}
