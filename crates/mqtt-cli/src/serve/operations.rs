//! [`Program`]: what the HTTP API asks of this program and not of its broker.

use std::path::Path;

use mqtt_admin::{OperationError, Operations};
use serde_json::Value;

use super::{ban_file::BanFile, reload::Reloader, storage::Backups};
use crate::logging::LogLevels;

/// The program, as far as the HTTP API may steer it.
pub(super) struct Program {
    pub(super) reloader: Reloader,
    pub(super) levels: LogLevels,
    /// Without a data directory there is no place for them.
    pub(super) bans: Option<BanFile>,
    /// Without a store there is nothing to back up.
    pub(super) backups: Option<Backups>,
}

impl Operations for Program {
    fn config(&self) -> Result<Value, OperationError> {
        self.reloader.config().map_err(|error| OperationError::Failed(format!("{error:#}")))
    }

    fn reload(&self) -> Result<String, OperationError> {
        match self.reloader.reload() {
            Ok(report) => Ok(report.to_string()),
            Err(mistakes) => {
                Err(OperationError::Invalid(format!("not reloaded, all stays as it was: {mistakes}")))
            }
        }
    }

    fn log_level(&self) -> Result<String, OperationError> {
        Ok(self.levels.in_force().to_string())
    }

    fn set_log_level(&self, level: &str) -> Result<(), OperationError> {
        let level = level.parse().map_err(|why| OperationError::Invalid(format!("`level` {why}")))?;
        self.levels.change(&level).map_err(|error| OperationError::Failed(format!("{error:#}")))
    }

    fn keep_bans(&self) -> Result<(), OperationError> {
        let Some(bans) = &self.bans else { return Ok(()) };
        bans.write().map_err(|error| OperationError::Failed(format!("{error:#}")))
    }

    fn backup(&self, name: &str) -> Result<String, OperationError> {
        let nothing = "nothing is kept (durability \"memory\"), so there is nothing to back up";
        let backups = self.backups.as_ref().ok_or_else(|| OperationError::Invalid(nothing.into()))?;
        let bans = |copy: &Path| self.bans.as_ref().map_or(Ok(()), |bans| bans.write_into(copy));
        Ok(format!("the store is copied to {}", backups.make(name, bans)?.display()))
    }
}
