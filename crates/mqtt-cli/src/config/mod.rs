//! The configuration: from a file, the environment and the command line, in this order of strength, to a [`Config`].
//!
//! Two steps. [`raw`] reads every key by itself; [`resolved`] makes sense of them together. Both go on after a mistake, so
//! that an operator sees all of them at once.

mod key;
mod mistake;
mod raw;
mod reference;
mod resolved;
mod shown;
mod source;
mod value;

#[cfg(test)]
mod tests;

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

pub(crate) use self::{
    key::{Change, Key, Setting},
    mistake::{Mistakes, Origin},
    raw::{Raw, RawListener, TlsKeys, section_named},
    reference::{example, reference},
    resolved::{Config, Files, Listener, ListenerAccess, Servers, Storage, default_data_dir},
    shown::Changed,
    source::{Argument, File, Sources},
    value::{Authority, Kind, Protocol, Provider, web_origin},
};

/// Where a packaged broker has its configuration.
const OF_THE_SYSTEM: &str = "/etc/gmqtt/gmqtt.toml";

impl Sources {
    /// The environment, and the file that the operator names: by an argument, by `$GMQTT_CONFIG` (empty for none), or by
    /// putting it where a package would.
    pub(crate) fn find(named: Option<&Path>) -> Result<Self, Mistakes> {
        let variables = env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| name.starts_with("GMQTT_"))?;
            Some((name, value.to_string_lossy().into_owned()))
        });
        let sources = Self { variables: variables.collect(), ..Self::default() };
        let path = match (named, env::var_os("GMQTT_CONFIG")) {
            (Some(path), _) => path.to_owned(),
            (None, Some(path)) if path.is_empty() => return Ok(sources),
            (None, Some(path)) => PathBuf::from(path),
            (None, None) if Path::new(OF_THE_SYSTEM).exists() => PathBuf::from(OF_THE_SYSTEM),
            (None, None) => return Ok(sources),
        };
        Ok(Self { file: Some(File::read(&path)?), ..sources })
    }
}

impl File {
    pub(crate) fn read(path: &Path) -> Result<Self, Mistakes> {
        let read = || -> io::Result<Self> {
            Ok(Self { path: std::path::absolute(path)?, text: fs::read_to_string(path)? })
        };
        read().map_err(|error| {
            Mistakes::one(format!("cannot read the configuration {}: {error}", path.display()))
        })
    }
}

impl Config {
    /// Everything, or everything that is wrong.
    pub(crate) fn of(sources: &Sources) -> Result<(Self, Raw), Mistakes> {
        let (mut raw, mut mistakes) = Raw::read(sources);
        let config = Self::resolve(&raw, &mut mistakes);
        raw.fill_in(&config);
        mistakes.or((config, raw))
    }
}
