//! [`Config`]: what the keys mean together. [`Files`] is what stands in the files that it names.

mod admin;
mod limits;
mod listeners;
mod storage;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use mqtt_access::{Acl, FileError, PasswordFile};
use mqtt_admin::Tokens;
use mqtt_broker::{Limits, Tls};

pub(crate) use self::{
    listeners::Listener,
    storage::{Storage, default_data_dir},
};
use super::{
    key::Setting,
    mistake::Mistakes,
    raw::{AccessKeys, AdminKeys, Raw},
};
use crate::{logging::LogSettings, serve::admin::AdminSettings};

/// All that `gmqtt serve` needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) listeners: Vec<Listener>,
    pub(crate) limits: Limits,
    pub(crate) storage: Storage,
    pub(crate) admin: AdminSettings,
    pub(crate) log: LogSettings,
    pub(crate) shutdown_timeout: Duration,
    pub(crate) watch_files: bool,
    access: AccessKeys,
    admin_keys: AdminKeys,
    /// Where to note what is wrong with the files that it names.
    no_mistakes: Mistakes,
}

/// What stands in the files that a configuration names, each found to be good.
pub(crate) struct Files {
    /// Of each listener, in their order.
    pub(crate) tls: Vec<Option<Tls>>,
    pub(crate) passwords: Option<PasswordFile>,
    pub(crate) acl: Option<Acl>,
    pub(crate) admin_tls: Option<Tls>,
    pub(crate) admin_tokens: Option<Tokens>,
}

impl Config {
    /// Notes what does not go together.
    pub(super) fn resolve(raw: &Raw, mistakes: &mut Mistakes) -> Self {
        Self {
            listeners: listeners::resolve(&raw.listeners, raw.access.asks_who_clients_are(), mistakes),
            limits: limits::resolve(&raw.limits, mistakes),
            storage: storage::resolve(&raw.storage, mistakes),
            admin: admin::resolve(&raw.admin, &raw.storage, mistakes),
            log: LogSettings { level: raw.log.level.value.clone(), format: raw.log.format.value },
            shutdown_timeout: raw.top.shutdown_timeout.value.0,
            watch_files: raw.top.watch_files.value,
            access: raw.access.clone(),
            admin_keys: raw.admin.clone(),
            no_mistakes: mistakes.none(),
        }
    }

    /// Whether clients are asked for a name and a password.
    pub(crate) fn asks_for_passwords(&self) -> bool {
        self.access.password_file.value.is_some()
    }

    /// Whether other machines can connect without anybody asking who they are.
    pub(crate) fn is_open_to_anybody(&self) -> bool {
        self.listeners.iter().any(|listener| listener.is_open_to_anybody)
    }

    /// Whether no other machine can connect.
    pub(crate) fn is_for_this_machine_alone(&self) -> bool {
        self.listeners.iter().all(|listener| listener.address.is_loopback())
    }

    /// Reads every file that is named.
    pub(crate) fn load_files(&self) -> Result<Files, Mistakes> {
        let mut mistakes = self.no_mistakes.clone();
        let files = Files {
            tls: self.listeners.iter().map(|listener| listener.load_certificates(&mut mistakes)).collect(),
            passwords: load(&self.access.password_file, "password file", PasswordFile::load, &mut mistakes),
            acl: load(&self.access.acl_file, "access list", Acl::load, &mut mistakes),
            admin_tls: self.admin.load_certificate(&self.admin_keys, &mut mistakes),
            admin_tokens: self.admin.load_tokens(&self.admin_keys, &mut mistakes),
        };
        mistakes.or(files)
    }
}

impl AccessKeys {
    fn asks_who_clients_are(&self) -> bool {
        self.password_file.value.is_some()
    }
}

fn load<T>(
    file: &Setting<Option<PathBuf>>,
    called: &str,
    load: impl Fn(&Path) -> Result<T, FileError>,
    mistakes: &mut Mistakes,
) -> Option<T> {
    match load(file.value.as_ref()?) {
        Ok(loaded) => Some(loaded),
        Err(error) => {
            mistakes.add(&file.origin, format!("cannot use the {called}: {error}"));
            None
        }
    }
}
