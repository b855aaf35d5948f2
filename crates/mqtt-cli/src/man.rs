//! `gmqtt man`: the manual pages of this program and of its subcommands.

use std::{fs, path::PathBuf};

use anyhow::Context;
use clap::CommandFactory;

use crate::arguments::Arguments;

/// Write the manual pages into a directory
///
/// gmqtt man ~/.local/share/man/man1
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Where to; made if it is not there
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let directory = options.directory.display();
    fs::create_dir_all(&options.directory).with_context(|| format!("cannot make {directory}"))?;
    clap_mangen::generate_to(Arguments::command(), &options.directory)
        .with_context(|| format!("cannot write the manual pages into {directory}"))
}
