//! `cargo xtask dashboard`: the dashboard in a real browser, before the real `gmqtt` binary with a crowd of clients.
//!
//! The cases stand in `xtask/dashboard/check.mjs`; here is what installs browser and driver, and starts the broker.

use crate::broker_process::BrokerProcess;
use crate::process::{self, Tally, cargo, program, run_reading};
use crate::{browser, interop};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::PathBuf;

/// Tests the dashboard in headless Chromium.
///
/// Each page is opened with real data, and an action on it is done to its end; an error on the console or a request to
/// another host fails. What is missing is installed: playwright-core from npm at a fixed version below target/dashboard,
/// Chromium and Node.js by apt-get when run as root.
#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// Take the pictures of the documentation anew: docs/images
    #[arg(long)]
    screenshots: bool,
}

pub(crate) fn run(options: &Options) -> (Tally, Result<()>) {
    let mut tally = Tally::default();
    let outcome = run_all(options, &mut tally);
    if tally != Tally::default() {
        println!("dashboard: {} cases passed, {} failed", tally.passed, tally.failed);
    }
    (tally, outcome)
}

fn run_all(options: &Options, tally: &mut Tally) -> Result<()> {
    let mut node = browser::script("dashboard/check.mjs")?;
    process::run(&mut cargo(&["build", "--profile", "fast", "-p", "mqtt-cli"]))?;
    let folder = data_folder()?;
    let mut command = program(process::target_folder().join("fast/gmqtt"));
    let serve =
        ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log-level", "warn", "--data-dir"];
    command.args(serve).arg(&folder);
    let (mut broker, api) = BrokerProcess::that_serves_http(&mut command)?;
    let token = fs::read_to_string(folder.join("admin-token")).context("the broker has made no token")?;
    node.args([&api, token.trim(), &broker.port().to_string()]);
    if options.screenshots {
        let images = process::root().join("docs/images");
        fs::create_dir_all(&images)?;
        node.arg(images);
    }
    let mut seen = Tally::default();
    let outcome = run_reading(&mut node, |line| {
        println!("{line}");
        seen.add(interop::result_of(line));
    });
    tally.add(seen);
    let still_runs = broker.still_runs();
    drop(broker);
    let _ = fs::remove_dir_all(&folder);
    outcome?;
    still_runs?;
    if seen.passed == 0 {
        bail!("no case ran");
    }
    Ok(())
}

/// What this run's broker keeps, its token too.
fn data_folder() -> Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("gmqtt-xtask-dashboard-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    Ok(folder)
}
