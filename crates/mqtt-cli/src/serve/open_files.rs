//! How many connections the system lets this process have: each takes an open file.

/// Open files that are no connections of clients: listeners, standard streams, those of the runtime and of the store, those who are
/// told that there is no place, and some to spare.
const OTHERS: u64 = 128;

/// Raises this process's limit of open files as far as the system lets it. Returns for how many connections it is enough, and
/// what it is now.
#[cfg(unix)]
pub(super) fn make_room_for(connections: usize) -> (usize, Option<u64>) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = (connections as u64).saturating_add(OTHERS);
    // Without an upper limit as far as it is wanted: more than any program opens is not worth asking for.
    let raised = maximum.unwrap_or(wanted);
    if current.is_some_and(|current| current < raised)
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum })
    {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    enough_for(connections, getrlimit(Resource::Nofile).current)
}

/// There is no such limit.
#[cfg(not(unix))]
pub(super) fn make_room_for(connections: usize) -> (usize, Option<u64>) {
    enough_for(connections, None)
}

fn enough_for(connections: usize, open_files: Option<u64>) -> (usize, Option<u64>) {
    match open_files {
        // However few they are, the operator asked for a broker: at least one client can try.
        Some(files) if files < (connections as u64).saturating_add(OTHERS) => {
            (files.saturating_sub(OTHERS).max(1) as usize, Some(files))
        }
        _ => (connections, open_files),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_what_the_open_files_leave() {
        assert_eq!(enough_for(1000, None), (1000, None));
        assert_eq!(enough_for(1000, Some(1128)), (1000, Some(1128)));
        assert_eq!(enough_for(1000, Some(1127)), (999, Some(1127)));
        assert_eq!(enough_for(1000, Some(3)), (1, Some(3)));
        assert_eq!(enough_for(usize::MAX, None), (usize::MAX, None));
    }
}
