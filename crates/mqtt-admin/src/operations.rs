//! [`Operations`]: what only the program around the broker knows and can do.

use std::fmt;

use serde_json::Value;

/// What the API hands on to the program that runs the broker. All of it may block: it is called where that does no harm.
///
/// Each has a default that says that this program cannot do it.
pub trait Operations: Send + Sync + 'static {
    /// The configuration in force, with every secret masked.
    fn config(&self) -> Result<Value, OperationError> {
        Err(OperationError::Unavailable)
    }

    /// Reads the configuration again. The text says what changed, and what takes a restart.
    fn reload(&self) -> Result<String, OperationError> {
        Err(OperationError::Unavailable)
    }

    /// What is logged.
    fn log_level(&self) -> Result<String, OperationError> {
        Err(OperationError::Unavailable)
    }

    /// Logs this from here on, until the next start.
    fn set_log_level(&self, level: &str) -> Result<(), OperationError> {
        let _ = level;
        Err(OperationError::Unavailable)
    }

    /// Bans were made or ended over the API, and are in force: now they may be written down, to outlive the process.
    fn keep_bans(&self) -> Result<(), OperationError> {
        Ok(())
    }

    /// Backs the store up into a directory of this name, below a place that the program chooses; says where it is.
    fn backup(&self, name: &str) -> Result<String, OperationError> {
        let _ = name;
        Err(OperationError::Unavailable)
    }
}

/// Why an operation was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OperationError {
    /// This program cannot do it.
    Unavailable,
    /// What was asked for makes no sense, for this reason.
    Invalid(String),
    /// It was tried, and failed for this reason.
    Failed(String),
}

/// A broker inside another program: there is nothing to reload.
impl Operations for () {}

impl fmt::Display for OperationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable => f.write_str("the program that runs this broker has no such operation"),
            Self::Invalid(why) | Self::Failed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for OperationError {}
