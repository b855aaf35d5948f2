//! A load generator for MQTT 3.1.1 brokers that checks every message it measures.
//!
//! [`run`] takes what was asked for on the command line and gives a [`Report`]; a run in which the server lost, doubled
//! or reordered anything gives one that is not [sound](Report::is_sound), and the caller should say so with its exit
//! code. The generator is one thread with one poll, and costs far less than the brokers it drives: measure it against
//! the [`Relay`] to see how much.
//!
//! It drives a server from outside, over sockets: nothing here knows the broker of this workspace.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "counts become figures for people, which need no more than 52 bits"
)]

use std::{fs, io::Write, path::Path, slice};

pub mod args;
mod client;
mod descriptors;
mod error;
mod frames;
mod keep_alive;
mod latency;
mod link;
mod net;
mod pacer;
mod preset;
mod progress;
mod relay;
mod report;
mod scenario;
mod server_process;
mod stream;
mod traffic;

pub use args::{BenchArgs, BenchCommand};
pub use error::BenchError;
pub use relay::Relay;
pub use report::{Environment, Figure, LatencySummary, Report, Unit, page};

/// Runs a scenario to its end. (The relay has none, and a page is no scenario: see [`main`].)
pub fn run(command: &BenchCommand) -> Result<Report, BenchError> {
    // Of a server that does not last nothing could be read at the end.
    let environment = command.server().map(|server| Environment::read(server.server_pid));
    let mut report = scenario::run(command)?;
    report.label = command.server().and_then(|server| server.label.clone());
    report.environment = environment.unwrap_or_default();
    Ok(report)
}

/// Does what a program with these arguments should: runs, writes the result to `out`, and tells whether the server was
/// found without fault.
pub fn main(args: &BenchArgs, out: &mut impl Write) -> Result<bool, BenchError> {
    match &args.command {
        BenchCommand::Relay(relay) => {
            let mut relay = Relay::bind(relay.listen)?;
            let line = format!("listening on {}\n", relay.address()?);
            out.write_all(line.as_bytes()).and_then(|()| out.flush()).map_err(BenchError::Output)?;
            relay.run()?;
            Ok(true)
        }
        BenchCommand::Page(args) => {
            let read = |file| Report::from_json(&fs::read_to_string(file)?);
            let reports = args.files.iter().map(read).collect::<Result<Vec<_>, _>>()?;
            write_page(&args.html, &reports)?;
            Ok(reports.iter().all(Report::is_sound))
        }
        BenchCommand::Preset(args) if args.name == "list" => {
            out.write_all(preset::list().as_bytes()).map_err(BenchError::Output)?;
            Ok(true)
        }
        command => {
            let report = run(command)?;
            let server = command.server();
            let json = server.is_some_and(|server| server.json);
            let text = if json { report.json() + "\n" } else { report.table() };
            out.write_all(text.as_bytes()).map_err(BenchError::Output)?;
            if let Some(html) = server.and_then(|server| server.html.as_ref()) {
                write_page(html, slice::from_ref(&report))?;
            }
            Ok(report.is_sound())
        }
    }
}

fn write_page(to: &Path, reports: &[Report]) -> Result<(), BenchError> {
    fs::write(to, page(reports)).map_err(|error| BenchError::Page { path: to.into(), error })
}
