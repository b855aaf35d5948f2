//! Room for connections: as many descriptors as the system lets this process have.

use crate::BenchError;

/// Descriptors that are not connections.
const OTHERS: u64 = 32;

/// Raises the soft limit so that `connections` fit; says so if they cannot.
#[cfg(target_os = "linux")]
pub(crate) fn allow(connections: usize) -> Result<(), BenchError> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let needed = connections as u64 + OTHERS;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if limit.maximum.is_some_and(|maximum| maximum < needed) {
        return Err(BenchError::Usage(format!(
            "{connections} connections need {needed} descriptors, and the system allows {} (ulimit -n)",
            limit.maximum.unwrap_or(0)
        )));
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum: limit.maximum })
        .map_err(|error| BenchError::Io(error.into()))
}

/// Other systems say no by themselves when it comes to that.
#[cfg(not(target_os = "linux"))]
pub(crate) fn allow(_connections: usize) -> Result<(), BenchError> {
    let _ = OTHERS;
    Ok(())
}
