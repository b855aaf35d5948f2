//! [`Config`]: what the keys mean together. [`Files`] is what stands in the files that it names.

mod access;
mod admin;
mod bans;
mod limits;
mod listeners;
mod storage;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Duration,
};

use mqtt_access::{Acl, FileError, PasswordFile, TokenKeys};
use mqtt_admin::Tokens;
use mqtt_broker::{BanTarget, Limits, Tls};

pub(crate) use self::{
    access::{ListenerAccess, Servers},
    listeners::Listener,
    storage::{Storage, default_data_dir},
};
use super::{
    key::Setting,
    mistake::Mistakes,
    raw::{AdminKeys, Raw},
};
use crate::{logging::LogSettings, serve::admin::AdminSettings};

/// All that `gmqtt serve` needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) listeners: Vec<Listener>,
    pub(crate) limits: Limits,
    pub(crate) bans: Vec<BanTarget>,
    pub(crate) storage: Storage,
    pub(crate) admin: AdminSettings,
    pub(crate) log: LogSettings,
    pub(crate) shutdown_timeout: Duration,
    pub(crate) watch_files: bool,
    pub(crate) access: access::AccessSettings,
    admin_keys: AdminKeys,
    /// Where to note what is wrong with the files that it names.
    no_mistakes: Mistakes,
}

/// What stands in the files that a configuration names, each found to be good.
pub(crate) struct Files {
    /// Of each listener, in their order.
    pub(crate) tls: Vec<Option<Tls>>,
    pub(crate) passwords: HashMap<PathBuf, PasswordFile>,
    pub(crate) acls: HashMap<PathBuf, Acl>,
    pub(crate) token_keys: Option<TokenKeys>,
    pub(crate) servers: Servers,
    pub(crate) admin_tls: Option<Tls>,
    pub(crate) admin_tokens: Option<Tokens>,
}

impl Config {
    /// Notes what does not go together.
    pub(super) fn resolve(raw: &Raw, mistakes: &mut Mistakes) -> Self {
        let limits = limits::resolve(&raw.limits, mistakes);
        let access = access::AccessSettings::resolve(raw, limits.hook_timeout, mistakes);
        Self {
            listeners: listeners::resolve(raw, &access, mistakes),
            bans: bans::resolve(&raw.bans, limits.max_bans, mistakes),
            limits,
            storage: storage::resolve(&raw.storage, mistakes),
            admin: admin::resolve(&raw.admin, &raw.storage, mistakes),
            log: LogSettings { level: raw.log.level.value.clone(), format: raw.log.format.value },
            shutdown_timeout: raw.top.shutdown_timeout.value.0,
            watch_files: raw.top.watch_files.value,
            access,
            admin_keys: raw.admin.clone(),
            no_mistakes: mistakes.none(),
        }
    }

    /// Whether clients are asked for a name and a password, or the like.
    pub(crate) fn asks_for_passwords(&self) -> bool {
        self.listeners.iter().any(|listener| listener.access.asks_who_clients_are())
    }

    /// Whether nobody is asked anything about any client.
    pub(crate) fn asks_nothing(&self) -> bool {
        !self.asks_for_passwords()
            && self.listeners.iter().all(|listener| listener.access.authorize.is_empty())
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
        let access = || self.listeners.iter().map(|listener| &listener.access);
        let password_files = access().map(|access| &access.password_file);
        let acl_files = access().map(|access| &access.acl_file);
        let files = Files {
            tls: self.listeners.iter().map(|listener| listener.load_certificates(&mut mistakes)).collect(),
            passwords: load(password_files, "password file", PasswordFile::load, &mut mistakes),
            acls: load(acl_files, "access list", Acl::load, &mut mistakes),
            token_keys: self.access.load_token_keys(&mut mistakes),
            servers: self.access.load_servers(&mut mistakes),
            admin_tls: self.admin.load_certificate(&self.admin_keys, &mut mistakes),
            admin_tokens: self.admin.load_tokens(&self.admin_keys, &mut mistakes),
        };
        mistakes.or(files)
    }
}

/// Each file once, however many listeners have it.
fn load<'a, T>(
    files: impl Iterator<Item = &'a Setting<Option<PathBuf>>>,
    called: &str,
    load: impl Fn(&Path) -> Result<T, FileError>,
    mistakes: &mut Mistakes,
) -> HashMap<PathBuf, T> {
    let mut all = HashMap::new();
    for file in files {
        let Some(path) = file.value.as_ref().filter(|path| !all.contains_key(*path)) else { continue };
        match load(path) {
            Ok(loaded) => {
                all.insert(path.clone(), loaded);
            }
            Err(error) => mistakes.add(&file.origin, format!("cannot use the {called}: {error}")),
        }
    }
    all
}
