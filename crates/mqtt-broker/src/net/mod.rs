//! The network: sockets, tasks, timers and the clock. All of tokio is in this folder.

mod accept;
mod asked;
mod connection_task;
mod half_open;
mod handshake;
mod housekeeping;
mod listener;
mod listening_tcp;
mod newcomer;
mod proxy_protocol;
mod queue_page;
mod tasks;
#[cfg(feature = "tls")]
mod tls;
mod transport;
mod trusted;
#[cfg(unix)]
mod unix;
mod way;
#[cfg(feature = "websocket")]
mod websocket;
mod workers;

use std::time::{Instant, SystemTime};

pub use self::listener::Listener;
#[cfg(feature = "tls")]
pub use self::tls::{CertificateField, ClientCertificates, Tls, TlsError, TlsOptions};
#[cfg(feature = "websocket")]
pub use self::websocket::WebSocketOptions;
pub(crate) use self::{queue_page::queue_page, tasks::Tasks, workers::Workers};
pub use self::{
    transport::Transport,
    trusted::{InvalidSource, TrustedSources},
};

/// One moment on the clock of this process, and on the one that outlives it.
pub(crate) fn both_clocks() -> (Instant, SystemTime) {
    (Instant::now(), SystemTime::now())
}

/// The clock. Whoever is above the network's layer and has no `now` at hand asks here.
pub(crate) fn now() -> Instant {
    Instant::now()
}
