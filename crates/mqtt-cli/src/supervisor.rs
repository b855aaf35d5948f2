//! What the program tells a supervisor that started it, such as systemd with `Type=notify`: ready, alive, stopping.
//!
//! Without a supervisor that listens (`$NOTIFY_SOCKET`) all of it does nothing.

use sd_notify::NotifyState;

/// Serves from now on. While it runs it says that it is alive, if it is asked to.
pub(crate) fn ready() {
    tell(NotifyState::Ready);
    if let Some(time_limit) = sd_notify::watchdog_enabled() {
        // On the runtime that serves: if that is stuck, nobody says that it is alive. Twice within the limit, as
        // sd_watchdog_enabled(3) advises.
        let mut ticks = tokio::time::interval((time_limit / 2).max(std::time::Duration::from_millis(1)));
        tokio::spawn(async move {
            loop {
                ticks.tick().await;
                tell(NotifyState::Watchdog);
            }
        });
    }
}

/// Shuts down from now on.
pub(crate) fn stopping() {
    tell(NotifyState::Stopping);
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "cannot tell the supervisor at $NOTIFY_SOCKET");
    }
}
