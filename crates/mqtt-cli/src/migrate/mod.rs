//! `gmqtt migrate`: the TOML that says what a configuration of mosquitto says, and every line that it could not carry over.

mod mosquitto;
mod output;
#[cfg(test)]
mod tests;

use std::{
    io::{self, Write},
    path::PathBuf,
};

use self::mosquitto::Lines;
use crate::exit;

/// Turn a configuration of mosquitto into one of gmqtt
///
/// Prints TOML; each line that has no equivalent is named in a comment there, and on stderr. Check the result with
/// `gmqtt check-config`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// mosquitto.conf
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// A line that says something that gmqtt does not do, or does otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Note {
    /// The file and the line.
    place: String,
    what: String,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let lines = Lines::read(&options.file)?;
    let migrated = mosquitto::migrate(lines);
    for note in &migrated.notes {
        // Nothing can be done about a closed stderr.
        let _ = writeln!(io::stderr(), "gmqtt: {}: {}", note.place, note.what);
    }
    let mut stdout = io::stdout().lock();
    exit::output(stdout.write_all(migrated.to_toml().as_bytes()).and_then(|()| stdout.flush()))
}
