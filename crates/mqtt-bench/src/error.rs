//! Why a benchmark could not be run. (A server that loses messages is a result, not an error.)

use std::{io, path::PathBuf, time::Duration};

use mqtt_codec::QoS;

/// Why a benchmark ended without a result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// The operating system said no.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The result could not be written.
    #[error("cannot write the result: {0}")]
    Output(io::Error),
    /// The page could not be written.
    #[error("cannot write {}: {error}", path.display())]
    Page {
        /// Where it was to be.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The server's name has no address.
    #[error("{0} has no address that can be connected to")]
    NoAddress(String),
    /// A connection ended before its work was done.
    #[error("client {client}: the connection failed: {error}")]
    Closed {
        /// The client identifier.
        client: String,
        /// What the socket said.
        error: io::Error,
    },
    /// The server answered with a code that means no.
    #[error("client {client}: the server refused {what} with code {code}")]
    Refused {
        /// The client identifier.
        client: String,
        /// The packet that was refused.
        what: &'static str,
        /// The return code.
        code: u8,
    },
    /// The server granted less than was asked for: what it does then is not what was to be measured.
    #[error("client {client}: the server granted QoS {granted} where {asked} was asked for")]
    Lowered {
        /// The client identifier.
        client: String,
        /// The return code.
        granted: u8,
        /// The QoS in the SUBSCRIBE.
        asked: QoS,
    },
    /// The server sent a packet that is not what the standard says.
    #[error("the server sent a malformed {0}")]
    Malformed(&'static str),
    /// The server answered what it had not been asked.
    #[error("the server sent a {0} that nobody waited for")]
    Unasked(&'static str),
    /// The server said nothing for too long.
    #[error("no {waiting_for} for {} s", after.as_secs())]
    Silence {
        /// What should have come.
        waiting_for: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// `--server-pid` names no process of this machine.
    #[error("there is no process {0} to be read under /proc")]
    NoProcess(u32),
    /// A file does not hold what `--json` prints.
    #[error("not the JSON of a benchmark: {0}")]
    NotAReport(String),
    /// The arguments contradict each other or the machine.
    #[error("{0}")]
    Usage(String),
}
