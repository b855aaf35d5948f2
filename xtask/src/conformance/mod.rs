//! `cargo xtask conformance`: every normative statement of MQTT 3.1.1, where we obey it and which test proves it.

mod foreign;
mod judgement;
mod page;
mod record;
mod statements;
mod tags;

use crate::broker_process::BrokerProcess;
use crate::{debian, process};
use anyhow::{Result, bail};
use judgement::Judgement;

/// Compares the statements of MQTT 3.1.1 with the [MQTT-x.y.z-n] tags in code and tests.
///
/// A statement of docs/mqtt-3.1.1-statements.tsv needs a tag at the line that obeys it and one at a test that proves
/// it, or an exception with its reason in docs/conformance.toml. Fails on a gap, on a tag that names no statement, on an
/// exception that is no longer one, and when docs/conformance.toml or docs/conformance.md is not up to date.
///
/// With --addr or --mosquitto the same socket tests judge another broker; what it does differently is listed, and is
/// no failure of ours.
#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// Print every statement with its tags
    #[arg(long)]
    table: bool,
    /// Bring the written parts of docs/conformance.toml and docs/conformance.md up to date
    #[arg(long)]
    write: bool,
    /// Run the socket tests against the broker that listens there
    #[arg(long, value_name = "HOST:PORT")]
    addr: Option<String>,
    /// Run the socket tests against Debian's mosquitto, installed first if it is missing and we are root
    #[arg(long, conflicts_with = "addr")]
    mosquitto: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let root = process::root();
    let statements = statements::read(&root)?;
    let tags = tags::scan(&root)?;
    if let Some(addr) = &options.addr {
        return foreign::judge(addr, addr, &statements, &tags);
    }
    if options.mosquitto {
        debian::ensure("mosquitto", "mosquitto")?;
        let broker = BrokerProcess::mosquitto()?;
        return foreign::judge("mosquitto", &broker.addr(), &statements, &tags);
    }
    let record = record::read(&root)?;
    let judgement = Judgement::of(&statements, &tags, &record.exceptions);
    if options.table {
        judgement.print_table();
    }
    let mut faults = judgement.faults();
    let written = record.with_entries(&judgement);
    if options.write {
        record::write(&root, &written)?;
        page::write(&root, &judgement)?;
    } else if written != record.text || !page::is_up_to_date(&root, &judgement)? {
        let files = format!("{} or {}", record::PATH, page::PATH);
        faults.push(format!("{files} is out of date; run `cargo xtask conformance --write`"));
    }
    for fault in &faults {
        println!("{fault}");
    }
    println!("conformance: {}", judgement.summary());
    if !faults.is_empty() {
        bail!("conformance: {} to mend", faults.len());
    }
    Ok(())
}
