//! Where the log goes and what is in it: stderr, since standard output belongs to results.

use std::io;

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{EnvFilter, filter::ParseError};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Log")]
pub(crate) struct LogArguments {
    /// error, warn, info, debug, trace, off, or a level for a part, such as `info,mqtt_broker=debug`
    #[arg(long, value_name = "LEVEL", env = "GMQTT_LOG", default_value = "info", value_parser = directives)]
    log_level: String,

    /// One line of text an event, or one JSON object
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// The log of a broker.
pub(crate) fn start(arguments: &LogArguments) {
    // A closed stderr ends the log, and nothing else: complaining about it there would be a panic.
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&arguments.log_level))
        .with_writer(io::stderr)
        .log_internal_errors(false);
    match arguments.log_format {
        LogFormat::Text => log.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).init(),
        LogFormat::Json => log.json().init(),
    }
}

/// The log of a client: for a person who waits in front of it.
pub(crate) fn start_for_client(debug: bool, quiet: bool) {
    let level = match (debug, quiet) {
        (true, _) => LevelFilter::DEBUG,
        (false, false) => LevelFilter::WARN,
        (false, true) => LevelFilter::OFF,
    };
    let log =
        tracing_subscriber::fmt().with_max_level(level).with_writer(io::stderr).log_internal_errors(false);
    log.without_time().with_target(false).with_ansi(false).init();
}

fn directives(text: &str) -> Result<String, ParseError> {
    EnvFilter::try_new(text).map(|_| text.to_owned())
}
