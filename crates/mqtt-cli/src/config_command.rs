//! `gmqtt check-config` and `gmqtt config`: what a configuration comes to, and what there is to configure.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use crate::{
    config::{Config, Sources, example, reference},
    exit,
};

/// Check a configuration
///
/// Prints what the file and the environment come to, every key with its value, or everything that is wrong with them. The
/// files that it names are read too.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckOptions {
    /// The configuration file [default: the one that `gmqtt serve` would use]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,

    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Show what there is to configure
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Copy, Debug, clap::Subcommand)]
enum What {
    /// Print a configuration file with every key as a comment that holds its default, or an example
    Example,
    /// Print docs/configuration.md
    Reference,
}

pub(crate) fn check(options: &CheckOptions) -> anyhow::Result<()> {
    let sources = Sources::find(options.file.as_deref())?;
    let (config, raw) = Config::of(&sources)?;
    config.load_files()?;
    if options.json { print(&format!("{:#}\n", raw.to_json()?)) } else { print(&raw.to_toml()) }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    print(&match options.what {
        What::Example => example(),
        What::Reference => reference(),
    })
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    exit::output(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
}
