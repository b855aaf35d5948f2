//! `gmqtt completions`: the script that lets a shell complete this program's arguments.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::Shell;

use crate::{arguments::Arguments, exit};

/// Print the completion script for a shell
///
/// bash: gmqtt completions bash > ~/.local/share/bash-completion/completions/gmqtt
/// zsh:  gmqtt completions zsh > ~/.zfunc/_gmqtt
/// fish: gmqtt completions fish > ~/.config/fish/completions/gmqtt.fish
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Options {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    // Into memory first: the generator does not expect that a pipe may be closed.
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Arguments::command(), "gmqtt", &mut script);
    exit::output(io::stdout().write_all(&script))
}
