//! `gmqtt serve`: the broker, until a signal ends it.

mod access;
pub(crate) mod address;
pub(crate) mod admin;
pub(crate) mod ban_file;
mod contents;
mod key_arguments;
mod listeners;
mod open_files;
mod operations;
mod reload;
mod storage;
mod watch;

use std::{
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context;
use mqtt_admin::ClientEvents;
use mqtt_broker::{Broker, Limits, store::StoreError};
use mqtt_store::FjallStore;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use self::{
    access::Rules, admin::AdminAddress, ban_file::BanFile, contents::Contents, key_arguments::KeyArguments,
    listeners::ListenerArguments, operations::Program, reload::Reloader, watch::Watch,
};
pub(crate) use crate::config::default_data_dir;
use crate::{
    config::{Config, Files, Mistakes, Raw, Sources},
    exit::Ending,
    log_lines,
    logging::{self, LogLevels},
    private_files,
    quantity::{Size, Span},
    runtime,
    signals::{self, EndRequests, Hangups},
    supervisor,
};

/// Run the broker
///
/// Listens on localhost:1883 unless told otherwise. SIGINT and SIGTERM end it: it stops listening, closes its clients'
/// connections, and waits for what is under way; a second one ends it at once.
///
/// Keeps persistent sessions, their messages and retained messages on the disk, and acknowledges nothing before it is there.
/// If the disk fails, it acknowledges nothing more, closes its clients' connections, and ends with exit code 3.
///
/// The configuration file, the environment and these arguments say the same things; what is said here is stronger than what
/// the environment says (`GMQTT_LIMITS_MAX_INFLIGHT=7`), and that than the file.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// The configuration file [default: `$GMQTT_CONFIG`, else /etc/gmqtt/gmqtt.toml if it is there]
    ///
    /// `gmqtt config example` prints one, `gmqtt check-config FILE` checks it.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Serve clients from other machines without asking who they are, and beside a password file those without a name
    #[arg(long)]
    allow_anonymous: bool,

    #[command(flatten)]
    listeners: ListenerArguments,

    #[command(flatten)]
    keys: KeyArguments,
}

impl Options {
    /// What file, environment and arguments say, as they are now.
    fn sources(&self) -> Result<Sources, Mistakes> {
        let mut sources = Sources::find(self.config.as_deref())?;
        sources.arguments.clone_from(&self.keys.0);
        sources.listeners = self.listeners.listeners();
        sources.allow_anonymous = self.allow_anonymous;
        Ok(sources)
    }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let sources = options.sources()?;
    let (config, raw) = Config::of(&sources)?;
    let path = sources.file.as_ref().map(|file| file.path.clone());
    let watch = Watch::new(reload::watched(path.as_ref(), &raw));
    let contents = Contents::of(&raw);
    let files = config.load_files()?;
    if let Some(path) = &path {
        say(&format!("configuration: {}", path.display()));
    }
    let levels = logging::start(&config.log);
    private_files::from_here_on();
    let runtime = runtime::for_broker().context("cannot start the runtime")?;
    let started = Started { file: path, config, raw, files, levels, watch, contents };
    let outcome = runtime.block_on(serve(options, started));
    // Nothing is awaited here: what was to be waited for, the shutdown has waited for.
    runtime.shutdown_background();
    log_lines::write_last();
    outcome
}

/// What a broker is started with.
struct Started {
    /// The configuration file.
    file: Option<PathBuf>,
    config: Config,
    raw: Raw,
    files: Files,
    levels: LogLevels,
    /// The files, as they were seen before they were read.
    watch: Watch,
    contents: Contents,
}

async fn serve(options: &Options, mut started: Started) -> anyhow::Result<()> {
    // Before anything is promised to anybody: from here on a signal means a graceful end, or a reload once all is up.
    let mut end_requests = EndRequests::new().context("cannot wait for signals")?;
    let hangups = Hangups::new().context("cannot wait for signals")?;
    signals::take_size_limit_as_an_error().context("cannot wait for signals")?;
    let config = started.config.clone();
    let mut limits = config.limits.clone();
    let (connections, open_files) = open_files::make_room_for(limits.max_connections);
    limits.max_connections = connections;
    say(&config.storage.describe());
    let events = ClientEvents::default();
    let rules = Rules::new(&config, &started.files, events.clone());
    let workers = runtime::workers().context("cannot start the threads for connections")?;
    let mut builder = Broker::builder().limits(limits.clone()).workers(workers);
    if config.admin.address != Some(AdminAddress::Off) {
        // Who would look at it? It costs each client a few hundred bytes.
        builder = builder.observer(events.clone());
    }
    if let Some(rules) = &rules {
        builder = rules.control().install(builder);
    }
    let (broker, store, backups) = storage::build(&config.storage, builder)?;
    // Before anybody can connect.
    let bans = BanFile::in_force(&broker, config.admin.data_dir.as_deref())?;
    broker.replace_configured_bans(&config.bans).context("[bans]")?;
    let mut websockets = Vec::new();
    for (listener, tls) in config.listeners.iter().zip(&started.files.tls) {
        websockets.extend(listeners::open(&broker, listener, tls.as_ref()).await?);
    }
    let (tokens, tls) = (started.files.admin_tokens.take(), started.files.admin_tls.clone());
    let levels = started.levels.clone();
    if let (Some(rules), Some(interval)) = (&rules, config.access.recheck_interval) {
        rules.recheck_every(interval, &broker);
    }
    let reloader = Reloader::new(&broker, options, started, rules);
    reloader.start(hangups, config.watch_files);
    introduce(&config, &limits, open_files);
    let stop_admin = CancellationToken::new();
    let program = Program { reloader, levels, bans, backups };
    config
        .admin
        .start(&broker, admin::Parts { events, websockets, tokens, tls, program }, stop_admin.clone())
        .await?;
    supervisor::ready();
    let failure = tokio::select! {
        () = end_requests.next() => None,
        failure = broker.store_failed() => Some(failure),
    };
    supervisor::stopping();
    stop_admin.cancel();
    let outcome = shut_down(&broker, store, config.shutdown_timeout, &mut end_requests).await;
    match failure.or_else(|| broker.store_failure()) {
        Some(StoreError { message }) => Err(Ending::StoreFailed(message).into()),
        None => outcome,
    }
}

async fn shut_down(
    broker: &Broker,
    store: Option<FjallStore>,
    deadline: Duration,
    end_requests: &mut EndRequests,
) -> anyhow::Result<()> {
    let connections = broker.snapshot().connections;
    tracing::info!(connections, "shutting down; a second signal ends the program at once");
    let end = async {
        let outcome = broker.shutdown(deadline).await.context("the shutdown is not complete");
        // The API and others hold on to it to the end of the program. What the shutdown itself has left to write may fail, too.
        let closed = spawn_blocking(|| store.map_or(Ok(()), FjallStore::close)).await;
        closed.context("closing the store")?.map_err(|error| Ending::StoreFailed(error.message))?;
        outcome
    };
    tokio::select! {
        outcome = end => outcome,
        () = end_requests.next() => Err(anyhow::anyhow!("ended at once by a second signal")),
    }
}

/// What an operator wants to know before the first client comes.
fn introduce(config: &Config, limits: &Limits, open_files: Option<u64>) {
    let sessions = match limits.session_expiry {
        Some(_) => format!("absent sessions kept for {}", Span(limits.session_expiry)),
        None => "absent sessions kept for ever".to_owned(),
    };
    let of_the_system = match open_files {
        Some(files) => format!(" (the system allows {files} open files: `ulimit -n`)"),
        None => String::new(),
    };
    say(&format!(
        "limits: {} connections{of_the_system}, packets of {}, {} messages inflight and {} or {} queued a client, \
         {} (gmqtt serve --help)",
        limits.max_connections,
        Size(limits.max_packet_size),
        limits.max_inflight,
        limits.max_queued_messages,
        Size(limits.max_queued_bytes),
        sessions,
    ));
    let lets_in_nobodies = config.listeners.iter().any(|listener| listener.allow_anonymous);
    say(match (config.asks_for_passwords(), lets_in_nobodies) {
        (true, false) => "clients need a user name and a password",
        (true, true) => "clients need a password, unless they give no user name",
        _ if config.is_open_to_anybody() => "open to anybody: every client may connect without a password",
        _ if config.is_for_this_machine_alone() => {
            "open to this machine alone; to others, with passwords: \
             gmqtt serve --listen 0.0.0.0:1883 --password-file FILE"
        }
        _ => "clients from other machines need a certificate",
    });
}

/// A broker goes on serving when nobody reads what it says.
fn say(line: &str) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
