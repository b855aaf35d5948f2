//! `gmqtt admin`: the HTTP API of a broker from the command line.

mod act;
mod look;
mod stream;
mod table;
mod token;

use std::io::{self, Write};

use self::table::Output;
pub(crate) use self::table::printable;
use crate::{api_client::ApiArguments, exit, runtime};

/// Look at a running broker, and act on it, over its HTTP API
///
/// On the machine of the broker, as the user whom it runs as, it needs no argument: it finds the broker's token where the
/// broker has put it.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,

    #[command(flatten)]
    api: ApiArguments,

    /// Print JSON, as the API gives it
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    #[command(flatten)]
    Look(look::Look),
    #[command(flatten)]
    Act(act::Act),
    #[command(flatten)]
    Stream(stream::Stream),
    Token(token::Options),
    /// Say whether the broker serves, by the exit code too
    ///
    /// For a container's health check, and for scripts. It needs no token. The exit code is 1 if no broker answers, or if its
    /// store has failed.
    Health,
}

/// Those parts of a query that have a value.
fn given<'a, const N: usize>(all: [(&'a str, &Option<String>); N]) -> Vec<(&'a str, String)> {
    all.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    match &options.what {
        What::Token(options) => return token::run(options),
        What::Health => {
            runtime::for_client()?.block_on(options.api.ready())?;
            return exit::output(writeln!(io::stdout(), "ready"));
        }
        _ => {}
    }
    let (api, output) = (options.api.client()?, Output { json: options.json });
    runtime::for_client()?.block_on(async {
        match &options.what {
            What::Look(look) => look.run(&api, output).await,
            What::Act(act) => act.run(&api, output).await,
            What::Stream(stream) => stream.run(&api, output).await,
            What::Token(_) | What::Health => Ok(()), // Above.
        }
    })
}
