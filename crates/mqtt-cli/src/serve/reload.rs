//! Reload: the whole configuration is read and checked again while the broker runs, and then put into force as far as that
//! is possible without a restart. If anything is wrong, all stays as it was.

use std::path::PathBuf;

use mqtt_broker::{Broker, Tls};

use super::{
    Options, Started,
    access::Rules,
    watch::{self, Watch},
};
use crate::{
    config::{Change, Changed, Config, Files, Mistakes, Raw},
    logging::LogLevels,
    signals::Hangups,
};

/// What is in force, and what it takes to change it.
pub(super) struct Reload {
    broker: Broker,
    options: Options,
    /// What the broker was started with: a change of it that takes a restart is said until there was one.
    started: Raw,
    /// What was read last.
    last: Raw,
    /// Of each listener that has one, by its name.
    tls: Vec<(String, Tls)>,
    rules: Option<Rules>,
    levels: LogLevels,
    /// The configuration file.
    file: Option<PathBuf>,
    watch: Watch,
}

impl Reload {
    pub(super) fn new(broker: &Broker, options: &Options, started: Started, rules: Option<Rules>) -> Self {
        let Started { file, config, raw, files, levels } = started;
        let watched = file.iter().cloned().chain(raw.files()).collect();
        let with_tls = config.listeners.into_iter().zip(files.tls);
        Self {
            broker: broker.clone(),
            options: options.clone(),
            last: raw.clone(),
            started: raw,
            tls: with_tls.filter_map(|(listener, tls)| Some((listener.name, tls?))).collect(),
            rules,
            levels,
            watch: Watch::new(watched),
            file,
        }
    }

    /// Reloads when files have changed, and at each SIGHUP, for as long as the program runs.
    pub(super) fn start(mut self, watch_files: bool) -> std::io::Result<()> {
        let mut hangups = Hangups::new()?;
        tokio::spawn(async move {
            loop {
                let is_asked = tokio::select! {
                    () = hangups.next() => true,
                    () = tokio::time::sleep(watch::INTERVAL), if watch_files => false,
                };
                // It reads files: not on a thread that serves.
                let has_new_rules;
                (self, has_new_rules) = match tokio::task::spawn_blocking(move || self.reload(is_asked)).await
                {
                    Ok(reloaded) => reloaded,
                    Err(error) => return tracing::error!(%error, "no configuration is read any more"),
                };
                if let (true, Some(rules)) = (has_new_rules, &self.rules) {
                    // Who is connected is held against what is in force now.
                    rules.control().recheck(&self.broker).await;
                }
            }
        });
        Ok(())
    }

    /// Says whether something else is in force than before.
    fn reload(mut self, is_asked: bool) -> (Self, bool) {
        if !is_asked && !self.watch.has_changed() {
            return (self, false);
        }
        // Before they are read: what changes from now on is seen as a change.
        self.watch = self.watch_of(&self.last);
        match self.read() {
            Ok((config, raw, files)) => {
                self.put_into_force(&config, raw, &files);
                (self, true)
            }
            Err(mistakes) => {
                for mistake in mistakes.lines() {
                    tracing::error!("not reloaded, all stays as it was: {mistake}");
                }
                (self, false)
            }
        }
    }

    fn watch_of(&self, raw: &Raw) -> Watch {
        let files = self.file.iter().cloned().chain(raw.files());
        Watch::new(files.collect())
    }

    /// All that can fail.
    fn read(&self) -> Result<(Config, Raw, Files), Mistakes> {
        let (config, raw) = Config::of(&self.options.sources()?)?;
        let files = config.load_files()?;
        Ok((config, raw, files))
    }

    fn put_into_force(&mut self, config: &Config, raw: Raw, files: &Files) {
        for (listener, tls) in config.listeners.iter().zip(&files.tls) {
            let running = self.tls.iter().find(|(name, _)| *name == listener.name);
            if let (Some((_, running)), Some(tls)) = (running, tls) {
                running.replace(tls);
            }
        }
        if let Some(rules) = &self.rules {
            rules.replace(config, files);
        }
        if let Err(error) = self.levels.change(&config.log.level) {
            tracing::error!(error = format!("{error:#}"), "the log");
        }
        let changed = raw.changes_since(&self.last);
        tracing::info!(
            changed = list(&changed),
            "reloaded: configuration, certificates, passwords and access lists"
        );
        let waiting: Vec<Changed> = raw
            .changes_since(&self.started)
            .into_iter()
            .filter(|changed| self.takes_restart(changed))
            .collect();
        if !waiting.is_empty() {
            tracing::warn!(keys = list(&waiting), "a restart is needed for what has changed of these keys");
        }
        if raw.files() != self.last.files() {
            self.watch = self.watch_of(&raw);
        }
        self.last = raw;
    }

    /// Whether a change can only come into force at the next start.
    fn takes_restart(&self, changed: &Changed) -> bool {
        // Nobody asks rules that were not there at the start.
        let is_of_access = changed.key.starts_with("access.");
        changed.change == Change::Restart || (is_of_access && self.rules.is_none())
    }
}

fn list(changed: &[Changed]) -> String {
    if changed.is_empty() {
        return "nothing".to_owned();
    }
    changed.iter().map(|changed| changed.key.as_str()).collect::<Vec<_>>().join(", ")
}
