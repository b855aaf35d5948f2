//! How many connections the system lets this process have: each takes an open file.

/// Open files that are no connections: listeners, standard streams, the runtime's own, and some to spare.
const OTHERS: u64 = 64;

/// Raises this process's limit of open files as far as so many connections need it. Returns for how many it is enough, and
/// the limit that stands in the way of more.
#[cfg(unix)]
pub(super) fn make_room_for(connections: usize) -> (usize, Option<u64>) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = (connections as u64).saturating_add(OTHERS);
    if current.is_some_and(|current| current < wanted) {
        let raised = maximum.map_or(wanted, |maximum| wanted.min(maximum));
        if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }) {
            tracing::warn!(%error, "cannot raise the limit of open files");
        }
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
        _ => (connections, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_what_the_open_files_leave() {
        assert_eq!(enough_for(1000, None), (1000, None));
        assert_eq!(enough_for(1000, Some(1064)), (1000, None));
        assert_eq!(enough_for(1000, Some(1063)), (999, Some(1063)));
        assert_eq!(enough_for(1000, Some(3)), (1, Some(3)));
        assert_eq!(enough_for(usize::MAX, None), (usize::MAX, None));
    }
}
