//! New files are their owner's alone: what a data directory holds is what clients have told each other.

/// For all files that this process makes from now on, and whoever in it makes them.
#[cfg(unix)]
pub(crate) fn from_here_on() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
}

/// Files have the rights that their directory gives them.
#[cfg(not(unix))]
pub(crate) fn from_here_on() {}
