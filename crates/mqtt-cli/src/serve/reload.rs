//! Reload: the whole configuration is read and checked again while the broker runs, and then put into force as far as that
//! is possible without a restart. If anything is wrong, all stays as it was.

use std::{fmt, path::PathBuf, sync::Arc};

use mqtt_admin::Admin;
use mqtt_broker::{Broker, Tls};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::{runtime::Handle, task::spawn_blocking};

use super::{
    Options, Started,
    access::Rules,
    contents::Contents,
    open_files,
    watch::{self, Watch},
};
use crate::{
    config::{Change, Changed, Config, Files, Listener, Mistakes, Raw},
    logging::LogLevels,
    signals::Hangups,
};

/// Reloads when files have changed, and for whoever asks. All clones are the same.
#[derive(Clone)]
pub(super) struct Reloader(Arc<Mutex<Reload>>);

/// What is in force, and what it takes to change it.
pub(super) struct Reload {
    broker: Broker,
    /// Where the broker's own threads are not.
    runtime: Handle,
    options: Options,
    /// What the broker was started with: a change of it that takes a restart is said until there was one.
    started: Raw,
    /// What was read last.
    last: Raw,
    /// Of the files that it names.
    contents: Contents,
    /// Those that listen, each as the file has last named it.
    listeners: Vec<Listener>,
    /// Of each listener that has one, by its name.
    tls: Vec<(String, Tls)>,
    rules: Option<Rules>,
    /// The HTTP API, and its certificate.
    admin: Option<Admin>,
    admin_tls: Option<Tls>,
    /// Where its own token is: that of the start.
    data_dir: Option<PathBuf>,
    levels: LogLevels,
    /// The configuration file.
    file: Option<PathBuf>,
    watch: Watch,
}

/// What a reload came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// What holds something else than before.
    changed: Vec<Changed>,
    /// What holds something else than at the start, and takes a restart.
    waiting: Vec<Changed>,
}

impl Reloader {
    /// Within the runtime that is to hold clients against new rules.
    pub(super) fn new(broker: &Broker, options: &Options, started: Started, rules: Option<Rules>) -> Self {
        let Started { file, config, raw, files, levels, watch, contents } = started;
        let names = config.listeners.iter().map(|listener| listener.name.clone());
        let tls = names.zip(files.tls).filter_map(|(name, tls)| Some((name, tls?))).collect();
        Self(Arc::new(Mutex::new(Reload {
            broker: broker.clone(),
            runtime: Handle::current(),
            options: options.clone(),
            last: raw.clone(),
            started: raw,
            listeners: config.listeners,
            tls,
            rules,
            admin: None,
            admin_tls: files.admin_tls,
            data_dir: config.admin.data_dir,
            levels,
            watch,
            contents,
            file,
        })))
    }

    /// For this API too from here on.
    pub(super) fn serves(&self, admin: &Admin) {
        self.0.lock().admin = Some(admin.clone());
    }

    /// Reloads when files have changed, and at each SIGHUP, for as long as the program runs.
    pub(super) fn start(&self, mut hangups: Hangups, watch_files: bool) {
        let reloader = self.clone();
        tokio::spawn(async move {
            loop {
                let is_asked = tokio::select! {
                    () = hangups.next() => true,
                    () = tokio::time::sleep(watch::INTERVAL), if watch_files => false,
                };
                // It reads files: not on a thread that serves.
                let reloader = reloader.clone();
                let reload = move || reloader.0.lock().reload(is_asked);
                if let Err(error) = spawn_blocking(reload).await {
                    return tracing::error!(%error, "no configuration is read any more");
                }
            }
        });
    }

    /// Reloads now. It blocks for as long as files take to be read.
    pub(super) fn reload(&self) -> Result<Report, Mistakes> {
        self.0.lock().reload_now()
    }

    /// The configuration that was read last: of what takes a restart, what will be in force.
    pub(super) fn config(&self) -> anyhow::Result<Value> {
        self.0.lock().last.to_json()
    }
}

impl Reload {
    fn reload(&mut self, is_asked: bool) {
        if (is_asked || self.watch.has_changed())
            && let Err(mistakes) = self.reload_now()
        {
            for mistake in mistakes.lines() {
                tracing::error!("not reloaded, all stays as it was: {mistake}");
            }
        }
    }

    fn reload_now(&mut self) -> Result<Report, Mistakes> {
        let (config, raw, files, contents) = self.read()?;
        Ok(self.put_into_force(&config, raw, files, contents))
    }

    /// All that can fail.
    fn read(&mut self) -> Result<(Config, Raw, Files, Contents), Mistakes> {
        self.watch.look_again();
        let (mut config, raw) = Config::of(&self.options.sources()?)?;
        // Whether they are good or not: those that are missing may come yet.
        self.watch.look_at(watched(self.file.as_ref(), &raw));
        let contents = Contents::of(&raw);
        let mut files = config.load_files()?;
        // Another directory takes a restart.
        config.admin.data_dir.clone_from(&self.data_dir);
        if self.admin.is_some() {
            let tokens = config.admin.tokens(files.admin_tokens.take());
            files.admin_tokens = tokens.map_err(|error| Mistakes::one(format!("{error:#}")))?;
        }
        Ok((config, raw, files, contents))
    }

    fn put_into_force(&mut self, config: &Config, raw: Raw, files: Files, contents: Contents) -> Report {
        for (listener, tls) in config.listeners.iter().zip(&files.tls) {
            let is_it = |open: &&mut Listener| open.name == listener.name && open.address == listener.address;
            // What is said of another place is not for the one where it listens until the next start.
            let Some(open) = self.listeners.iter_mut().find(is_it) else { continue };
            open.clone_from(listener);
            let tls = tls.as_ref().map(|tls| self.tls_of(listener, tls));
            self.broker.replace_listener(listener.opened_with(tls.as_ref()));
        }
        let mut limits = config.limits.clone();
        (limits.max_connections, _) = open_files::make_room_for(limits.max_connections);
        self.broker.replace_limits(limits);
        if let Err(error) = self.broker.replace_configured_bans(&config.bans) {
            tracing::error!(%error, "[bans] stays as it was, beside those that were banned by hand");
        }
        if let (Some(running), Some(tls)) = (&self.admin_tls, &files.admin_tls) {
            running.replace(tls);
        }
        if let Some(rules) = &mut self.rules {
            rules.replace(&self.listeners, config, &files);
            // Who is connected is held against what is in force now.
            let (control, broker) = (rules.control().clone(), self.broker.clone());
            self.runtime.spawn(async move { control.recheck(&broker).await });
        }
        if let (Some(admin), Some(tokens)) = (&self.admin, files.admin_tokens) {
            admin.set_tokens(tokens);
        }
        // What somebody has set over the API meanwhile stays until the file says something new.
        if config.log.level != self.last.log.level.value
            && let Err(error) = self.levels.change(&config.log.level)
        {
            tracing::error!(error = format!("{error:#}"), "the log");
        }
        let changed = self.changes(&raw, &contents);
        tracing::info!(
            changed = list(&changed),
            "reloaded: configuration, certificates, passwords and access lists"
        );
        let waiting: Vec<Changed> = raw
            .changes_since(&self.started)
            .into_iter()
            .filter(|changed| self.takes_restart(changed, &raw))
            .collect();
        if !waiting.is_empty() {
            tracing::warn!(keys = list(&waiting), "a restart is needed for what has changed of these keys");
        }
        (self.last, self.contents) = (raw, contents);
        Report { changed, waiting }
    }

    /// Which keys hold something else than what was read last, or name a file that does.
    fn changes(&self, now: &Raw, contents: &Contents) -> Vec<Changed> {
        let mut all = now.changes_since(&self.last);
        let is_known = |key: &str| all.iter().any(|changed| changed.key == key);
        let inside: Vec<String> = contents
            .changes_since(&self.contents)
            .filter(|key| !is_known(key))
            .map(|key| format!("{key} (its content)"))
            .collect();
        all.extend(inside.into_iter().map(|key| Changed { key, change: Change::Reload }));
        all
    }

    /// A listener keeps the sessions that its clients may resume, and takes what was read now.
    fn tls_of(&mut self, listener: &Listener, new: &Tls) -> Tls {
        if let Some((_, running)) = self.tls.iter().find(|(name, _)| *name == listener.name) {
            running.replace(new);
            return running.clone();
        }
        self.tls.push((listener.name.clone(), new.clone()));
        new.clone()
    }

    /// Whether a change can only come into force at the next start.
    fn takes_restart(&self, changed: &Changed, now: &Raw) -> bool {
        // Nobody asks rules that were not there at the start.
        let is_of_access = changed.key.starts_with("access.") || changed.key.contains(".access: ");
        // An API does not begin or cease to speak TLS.
        let has_certificate = |raw: &Raw| raw.admin.certificate.value.is_some();
        let is_of_tls = ["admin.certificate", "admin.private_key", "admin.client_authorities"];
        changed.change == Change::Restart
            || (is_of_access && self.rules.is_none())
            || (is_of_tls.contains(&changed.key.as_str())
                && has_certificate(now) != has_certificate(&self.started))
    }
}

/// The configuration's file, and those that it names.
pub(super) fn watched(file: Option<&PathBuf>, raw: &Raw) -> Vec<PathBuf> {
    file.into_iter().cloned().chain(raw.files()).collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reloaded; changed: {}", list(&self.changed))?;
        if !self.waiting.is_empty() {
            write!(f, "; a restart is needed for: {}", list(&self.waiting))?;
        }
        Ok(())
    }
}

fn list(changed: &[Changed]) -> String {
    if changed.is_empty() {
        return "nothing".to_owned();
    }
    changed.iter().map(|changed| changed.key.as_str()).collect::<Vec<_>>().join(", ")
}
