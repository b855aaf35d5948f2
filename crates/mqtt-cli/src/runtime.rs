//! Which tokio runtime each half of the program runs on: the one place where that is chosen.

use std::{io, thread};

use tokio::runtime::{Builder, Handle, Runtime};

use crate::{log_lines, rest};

/// For the broker but for its connections: what listens, keeps house and answers operators delays no client.
pub(crate) fn for_broker() -> io::Result<Runtime> {
    single()
}

/// For the broker's connections: one a processor, each with a thread of its own that lasts as long as the process.
pub(crate) fn workers() -> io::Result<Vec<Handle>> {
    let count = thread::available_parallelism().map_or(1, usize::from);
    (0..count).map(worker).collect()
}

/// For a client with one connection.
pub(crate) fn for_client() -> io::Result<Runtime> {
    single()
}

fn worker(number: usize) -> io::Result<Handle> {
    let runtime =
        Builder::new_current_thread().enable_all().on_thread_park(log_lines::write_waiting).build()?;
    let handle = runtime.handle().clone();
    let name = format!("gmqtt-{number}");
    thread::Builder::new().name(name).spawn(move || {
        log_lines::wait_for_rest();
        runtime.block_on(rest::give_back_after_load());
    })?;
    Ok(handle)
}

fn single() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}
