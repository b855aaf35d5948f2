//! `gmqtt admin`: the HTTP API of a broker from the command line.

mod token;

/// Use the HTTP API of a broker
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Token(token::Options),
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    match &options.what {
        What::Token(options) => token::run(options),
    }
}
