//! The command line as a whole: which subcommands there are. Each one's own arguments are in its own file.

use std::{env, ffi::OsString};

use clap::{Parser, Subcommand};

use crate::{
    acl, admin, bench, completions, config_command, man, migrate, passwd, publish, serve, store, subscribe,
    top,
};

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("GMQTT_COMMIT"), ")");

const EXIT_CODES: &str = "\
Exit codes:
  0   done
  1   failed while running: the address is in use, the connection was refused, ...
  2   the arguments, or the configuration, make no sense
  3   gmqtt serve: the disk failed; what was acknowledged is kept, and nothing was acknowledged since
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
    CheckConfig(config_command::CheckOptions),
    Config(config_command::Options),
    Migrate(migrate::Options),
    Pub(Box<publish::Options>),
    Sub(Box<subscribe::Options>),
    Admin(Box<admin::Options>),
    Top(Box<top::Options>),
    Passwd(passwd::Options),
    Acl(acl::Options),
    Store(store::Options),
    Bench(Box<mqtt_bench::BenchArgs>),
    Completions(completions::Options),
    Man(man::Options),
}

impl Arguments {
    /// What the user asked for: to serve, if nothing else.
    pub(crate) fn command_line() -> Result<Command, clap::Error> {
        Self::command_of(bench::words(env::args_os()))
    }

    fn command_of(line: impl IntoIterator<Item = OsString>) -> Result<Command, clap::Error> {
        match Self::try_parse_from(line)?.command {
            Some(command) => Ok(command),
            None => Self::command_of(["gmqtt", "serve"].map(OsString::from)),
        }
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

    #[test]
    fn without_arguments_it_serves_on_localhost() {
        let Ok(Command::Serve(options)) = Arguments::command_of(["gmqtt".into()]) else { panic!() };
        let options = format!("{options:?}");
        assert!(options.contains("listen: [], listen_ws: [], listen_tls: [], listen_wss: []"), "{options}");
        assert!(options.contains("KeyArguments([])"), "{options}");
    }
}
