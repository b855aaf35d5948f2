//! `gmqtt serve`: the broker, until a signal ends it.

mod access;
mod address;
mod admin;
mod limits;
mod listeners;
mod open_files;
mod reload;
mod storage;

use std::{
    io::{self, Write},
    time::Duration,
};

use anyhow::Context;
use mqtt_broker::{Broker, Limits, store::StoreError};
use tokio_util::sync::CancellationToken;

pub(crate) use self::storage::default_data_dir;
use self::{
    access::AccessArguments, admin::AdminArguments, limits::LimitArguments, listeners::ListenerArguments,
    storage::StorageArguments,
};
use crate::{
    exit::Ending,
    logging::{self, LogArguments},
    private_files,
    quantity::{self, Size, Span},
    runtime,
    signals::{self, EndRequests},
    supervisor,
};

/// Run the broker
///
/// Listens on localhost:1883 unless told otherwise. SIGINT and SIGTERM end it: it stops listening, closes its clients'
/// connections, and waits for what is under way; a second one ends it at once.
///
/// Keeps persistent sessions, their messages and retained messages on the disk, and acknowledges nothing before it is there.
/// If the disk fails, it acknowledges nothing more, closes its clients' connections, and ends with exit code 3.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    listeners: ListenerArguments,

    #[command(flatten)]
    access: AccessArguments,

    /// Time for a shutdown
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = quantity::finite)]
    shutdown_timeout: Duration,

    #[command(flatten)]
    admin: AdminArguments,

    #[command(flatten)]
    storage: StorageArguments,

    #[command(flatten)]
    limits: LimitArguments,

    #[command(flatten)]
    log: LogArguments,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    refuse_to_be_open_unasked(options)?;
    logging::start(&options.log);
    private_files::from_here_on();
    let runtime = runtime::for_broker().context("cannot start the runtime")?;
    let outcome = runtime.block_on(serve(options));
    // Nothing is awaited here: what was to be waited for, the shutdown has waited for.
    runtime.shutdown_background();
    outcome
}

fn refuse_to_be_open_unasked(options: &Options) -> anyhow::Result<()> {
    match options.listeners.open_to_others() {
        Some(address) if !options.access.allow_anonymous && !options.access.asks_for_passwords() => Err(Ending::Usage(format!(
            "will not listen on {address}: whoever can reach it could publish and subscribe without a password; \
             make users with `gmqtt passwd FILE USER` and add: --password-file FILE, or, if it is what you want: --allow-anonymous"
        ))
        .into()),
        _ => Ok(()),
    }
}

async fn serve(options: &Options) -> anyhow::Result<()> {
    // Before anything is promised to anybody: from here on a signal means a graceful end.
    let mut end_requests = EndRequests::new().context("cannot wait for signals")?;
    signals::take_size_limit_as_an_error().context("cannot wait for signals")?;
    let mut limits = options.limits.limits();
    let (connections, open_files) = open_files::make_room_for(limits.max_connections);
    limits.max_connections = connections;
    let storage = options.storage.resolve()?;
    say(&storage.describe());
    let rules = options.access.rules(options.listeners.asks_for_certificates())?;
    let workers = runtime::workers().context("cannot start the threads for connections")?;
    let mut builder = Broker::builder().limits(limits.clone()).workers(workers);
    if let Some(rules) = &rules {
        builder = rules.control().install(builder);
    }
    let broker = storage.build(builder)?;
    let tls = options.listeners.start(&broker).await?;
    reload::on_hangup(broker.clone(), tls, rules).context("cannot wait for signals")?;
    introduce(options, &limits, open_files);
    let stop_admin = CancellationToken::new();
    options.admin.start(&broker, options.storage.directory().as_deref(), stop_admin.clone()).await?;
    supervisor::ready();
    let failure = tokio::select! {
        () = end_requests.next() => None,
        failure = broker.store_failed() => Some(failure),
    };
    supervisor::stopping();
    stop_admin.cancel();
    let outcome = shut_down(&broker, options.shutdown_timeout, &mut end_requests).await;
    // What the shutdown itself has left to write may fail too.
    match failure.or_else(|| broker.store_failure()) {
        Some(StoreError { message }) => Err(Ending::StoreFailed(message).into()),
        None => outcome,
    }
}

async fn shut_down(
    broker: &Broker,
    deadline: Duration,
    end_requests: &mut EndRequests,
) -> anyhow::Result<()> {
    let connections = broker.snapshot().connections;
    tracing::info!(connections, "shutting down; a second signal ends the program at once");
    tokio::select! {
        outcome = broker.shutdown(deadline) => outcome.context("the shutdown is not complete"),
        () = end_requests.next() => Err(anyhow::anyhow!("ended at once by a second signal")),
    }
}

/// What an operator wants to know before the first client comes.
fn introduce(options: &Options, limits: &Limits, open_files: Option<u64>) {
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
    say(match (options.access.asks_for_passwords(), options.access.allow_anonymous) {
        (true, false) => "clients need a user name and a password",
        (true, true) => "clients need a password, unless they give no user name",
        (false, true) => "open to anybody: every client may connect without a password",
        (false, false) => {
            "open to this machine alone; to others, with passwords: \
             gmqtt serve --listen 0.0.0.0:1883 --password-file FILE"
        }
    });
}

/// A broker goes on serving when nobody reads what it says.
fn say(line: &str) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
