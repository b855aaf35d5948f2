//! `gmqtt store`: look at, check and copy what a broker keeps. What it does is done by mqtt-store; here it is told.

mod output;
mod owner;
mod progress;

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use mqtt_store::{Durability, FjallStore, PassedOver, StoreOptions};

use self::{output::Output, progress::Bar};
use crate::{exit, private_files, serve::ban_file};

/// Look at, check and copy a data directory
///
/// The directory is that of a broker that is not running: one process at a time has it, and only its owner, as a look writes
/// too. Progress is shown on a terminal.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, clap::Subcommand)]
enum Act {
    /// Say what is in it, and how much room it takes
    Info {
        #[command(flatten)]
        store: Place,
    },
    /// Read all of it, and compare what has to agree; exit code 1 if something is wrong
    Check {
        #[command(flatten)]
        store: Place,
    },
    /// Write all of it as lines of JSON; exit code 1 if rows cannot be read, which are passed over
    Export {
        #[command(flatten)]
        store: Place,
        /// To this file, which must not be there, instead of standard output
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Make a new data directory out of what was exported
    Import {
        #[command(flatten)]
        store: Place,
        /// From this file instead of standard input
        #[arg(short, long, value_name = "FILE")]
        input: Option<PathBuf>,
    },
    /// Copy it to a new data directory
    Backup {
        #[command(flatten)]
        store: Place,
        /// The new directory
        #[arg(value_name = "TO")]
        to: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct Place {
    /// The data directory
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub(crate) fn run(options: Options) -> anyhow::Result<()> {
    private_files::from_here_on();
    match options.act {
        Act::Info { store } => info(&store.open()?),
        Act::Check { store } => check(&store.open()?),
        Act::Export { store, output } => export(&store.open()?, output.as_deref()),
        Act::Import { store, input } => import(&store, input.as_deref()),
        Act::Backup { store, to } => {
            owner::check_target(&to)?;
            store.open()?.backup(&to, &mut Bar::new("copying").show())?;
            ban_file::copy(&store.dir, &to)
        }
    }
}

impl Place {
    fn open(&self) -> anyhow::Result<FjallStore> {
        owner::check(&self.dir)?;
        Ok(FjallStore::open_existing(StoreOptions::new(&self.dir).durability(Durability::Os))?)
    }
}

fn info(store: &FjallStore) -> anyhow::Result<()> {
    let info = store.info(&mut Bar::new("counting").show())?;
    let mut lines = vec![
        format!("format {}", info.format_version),
        format!("{} on the disk", indicatif::BinaryBytes(info.disk_bytes)),
        format!("{} messages waiting in queues", info.waiting),
    ];
    lines.extend(info.rows.iter().map(|(table, rows)| format!("{rows} rows in {table}")));
    exit::output(writeln!(io::stdout(), "{}", lines.join("\n")))
}

fn check(store: &FjallStore) -> anyhow::Result<()> {
    let report = store.check(&mut Bar::new("checking").show())?;
    let rows: u64 = report.rows.iter().map(|(_, rows)| rows).sum();
    let mut lines = report.problems.clone();
    if report.is_ok() {
        lines.push(format!("{rows} rows, nothing wrong"));
    }
    exit::output(writeln!(io::stdout(), "{}", lines.join("\n")))?;
    anyhow::ensure!(
        report.is_ok(),
        "{} of {rows} rows are wrong: restore the data directory from a backup, or export what can be read",
        report.problem_count
    );
    Ok(())
}

fn export(store: &FjallStore, output: Option<&Path>) -> anyhow::Result<()> {
    let passed_over = if let Some(path) = output {
        export_to(store, path)?
    } else {
        let mut output = Output::new(BufWriter::new(io::stdout().lock()));
        let exported = store.export(&mut output, &mut Bar::new("exporting").show());
        exit::output(output.finish())?;
        exported?
    };
    passed_over.problems.iter().for_each(|problem| exit::complain(format_args!("{problem}")));
    let rows = passed_over.rows;
    anyhow::ensure!(rows == 0, "{rows} rows cannot be read: the export is whole but for what they said");
    Ok(())
}

fn export_to(store: &FjallStore, path: &Path) -> anyhow::Result<PassedOver> {
    let file = File::create_new(path).with_context(|| format!("cannot create {}", path.display()))?;
    let mut file = BufWriter::new(file);
    let exported = store.export(&mut file, &mut Bar::new("exporting").show());
    let synced = file.into_inner().map_err(io::IntoInnerError::into_error).and_then(|file| file.sync_all());
    let synced = synced.with_context(|| format!("cannot write {}", path.display()));
    let outcome = exported.map_err(anyhow::Error::new).and_then(|passed_over| synced.map(|()| passed_over));
    if outcome.is_err() {
        // A part is of no use, and would be in the way of the next attempt.
        let _ = fs::remove_file(path);
    }
    outcome
}

fn import(place: &Place, input: Option<&Path>) -> anyhow::Result<()> {
    owner::check(&place.dir)?;
    let options = StoreOptions::new(&place.dir);
    let mut bar = Bar::new("importing");
    match input {
        None => FjallStore::import(options, &mut io::stdin().lock(), &mut bar.show())?,
        Some(path) => {
            let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
            FjallStore::import(options, &mut BufReader::new(file), &mut bar.show())?;
        }
    }
    Ok(())
}
