//! Half-open connections: the other end is gone without a word, and no keep alive of MQTT tells.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// How many times the system asks.
const PROBES: u32 = 5;
/// How long it waits for an answer each time.
const BETWEEN_PROBES: Duration = Duration::from_secs(15);

/// Lets the system ask whether the other end is still there, once it has been silent for this time.
pub(super) fn watch(socket: &SockRef<'_>, silence: Duration) {
    // The system counts in seconds, and takes none for an error.
    let silence = silence.max(Duration::from_secs(1));
    let keep_alive =
        TcpKeepalive::new().with_time(silence).with_interval(BETWEEN_PROBES).with_retries(PROBES);
    if let Err(error) = socket.set_tcp_keepalive(&keep_alive) {
        tracing::debug!(%error, "TCP keep alive");
    }
}
