//! The command line as a whole: which subcommands there are. Each one's own arguments are in its own file.

use std::{env, ffi::OsString};

use clap::{Parser, Subcommand};

use crate::{bench, completions, publish, serve, subscribe};

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("GMQTT_COMMIT"), ")");

const EXIT_CODES: &str = "\
Exit codes:
  0   done
  1   failed while running: the address is in use, the connection was refused, ...
  2   the arguments make no sense
  27  gmqtt sub -W: the time is over";

/// An MQTT 3.1.1 broker, and its command-line clients.
///
/// Without a subcommand it serves on localhost:1883: `gmqtt` is `gmqtt serve`.
#[derive(Debug, Parser)]
#[command(name = "gmqtt", version = VERSION, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(Box<serve::Options>),
    Pub(Box<publish::Options>),
    Sub(Box<subscribe::Options>),
    Bench(Box<mqtt_bench::BenchArgs>),
    Completions(completions::Options),
}

impl Arguments {
    /// What the user asked for: to serve, if nothing else.
    pub(crate) fn command_line() -> Result<Command, clap::Error> {
        match Self::try_parse_from(bench::words(env::args_os()))?.command {
            Some(command) => Ok(command),
            None => Self::parse_command(["gmqtt", "serve"].map(OsString::from)),
        }
    }

    fn parse_command(line: impl IntoIterator<Item = OsString>) -> Result<Command, clap::Error> {
        let missing = || clap::Error::new(clap::error::ErrorKind::MissingSubcommand);
        Self::try_parse_from(line)?.command.ok_or_else(missing)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn no_two_arguments_contradict_each_other() {
        Arguments::command().debug_assert();
    }
}
