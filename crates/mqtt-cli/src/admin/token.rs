//! `gmqtt admin token`: tokens for the HTTP API.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use mqtt_admin::{Role, Token, Tokens};

use crate::{exit, private_files};

/// Tokens for the HTTP API
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make a token
    ///
    /// Prints the token, which is shown this once, and on a second line what makes a broker accept it: add that line to the
    /// file of --admin-token-file, or let --file do so.
    Create {
        /// Whose it is, for the audit log: one word
        #[arg(long, value_name = "NAME", value_parser = word)]
        name: String,
        /// `read`: look at everything, change nothing; `write`: everything
        #[arg(long, value_name = "ROLE", default_value_t = Role::Read)]
        role: Role,
        /// Append the second line to this file in place of printing it
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

pub(super) fn run(options: &Options) -> anyhow::Result<()> {
    let What::Create { name, role, file } = &options.what;
    let token = Token::generate().context("the system has no randomness")?;
    let line = token.line(name, *role);
    let Some(file) = file else {
        return exit::output(writeln!(io::stdout().lock(), "{}\n{line}", token.secret()));
    };
    append(file, &line)?;
    exit::output(writeln!(io::stdout().lock(), "{}", token.secret()))
}

/// Nothing is written unless a broker takes the file as it will be.
fn append(file: &Path, line: &str) -> anyhow::Result<()> {
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        text => text.with_context(|| format!("cannot read {}", file.display()))?,
    };
    let separator = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let added = format!("{separator}{line}\n");
    Tokens::parse(&format!("{text}{added}"))
        .with_context(|| format!("{} is no file of tokens: nothing is written", file.display()))?;
    private_files::from_here_on();
    let mut open = OpenOptions::new();
    let appended =
        open.append(true).create(true).open(file).and_then(|mut file| file.write_all(added.as_bytes()));
    appended.with_context(|| format!("cannot write {}", file.display()))
}

fn word(text: &str) -> Result<String, &'static str> {
    let is_word = !text.is_empty() && !text.starts_with('#') && !text.contains(char::is_whitespace);
    if is_word { Ok(text.to_owned()) } else { Err("a name is one word") }
}
