//! `gmqtt admin`: the HTTP API of a broker from the command line.

mod act;
mod look;
mod stream;
mod table;
mod token;

use self::table::Output;
pub(crate) use self::table::printable;
use crate::{api_client::ApiArguments, runtime};

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
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if let What::Token(options) = &options.what {
        return token::run(options);
    }
    let (api, output) = (options.api.client()?, Output { json: options.json });
    runtime::for_client()?.block_on(async {
        match &options.what {
            What::Look(look) => look.run(&api, output).await,
            What::Act(act) => act.run(&api, output).await,
            What::Stream(stream) => stream.run(&api, output).await,
            What::Token(_) => Ok(()), // Above.
        }
    })
}
