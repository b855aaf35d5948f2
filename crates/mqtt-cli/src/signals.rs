//! Signals: requests to end, from the terminal or the system, and one that must not end the program.

use std::io;

/// SIGINT and SIGTERM, one after the other. From its making on they do not kill the program.
#[cfg(unix)]
pub(crate) struct EndRequests {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl EndRequests {
    pub(crate) fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next one; may be dropped and asked again.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// SIGHUP, time after time.
#[cfg(unix)]
pub(crate) struct Hangups(tokio::signal::unix::Signal);

#[cfg(unix)]
impl Hangups {
    pub(crate) fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self(signal(SignalKind::hangup())?))
    }

    /// Waits for the next one; may be dropped and asked again.
    pub(crate) async fn next(&mut self) {
        self.0.recv().await;
    }
}

/// There is no such signal.
#[cfg(not(unix))]
pub(crate) struct Hangups;

#[cfg(not(unix))]
impl Hangups {
    #[expect(clippy::unnecessary_wraps, reason = "the same as where signals can fail")]
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self)
    }

    pub(crate) async fn next(&mut self) {
        std::future::pending::<()>().await;
    }
}

/// From here on a write beyond the limit of a file's size (`ulimit -f`, systemd's `LimitFSIZE`) is an error like any other of
/// the disk, and does not kill the program.
#[cfg(unix)]
pub(crate) fn take_size_limit_as_an_error() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    // What was installed stays so when the listener is gone.
    signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw())).map(drop)
}

/// There is no such limit.
#[cfg(not(unix))]
pub(crate) fn take_size_limit_as_an_error() -> io::Result<()> {
    Ok(())
}

/// Ctrl-C, time after time.
#[cfg(not(unix))]
pub(crate) struct EndRequests;

#[cfg(not(unix))]
impl EndRequests {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self)
    }

    /// Waits for the next one; may be dropped and asked again.
    pub(crate) async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
