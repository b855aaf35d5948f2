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
    // The MQTT port is the first that it says.
    let serve = ["serve", "--listen", "127.0.0.1:0", "--listen-ws", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    command.args(serve).args(["--log-level", "warn", "--data-dir"]).arg(&folder);
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
    seen.add(pictures(options)?);
    tally.add(seen);
    let still_runs = broker.still_runs();
    drop(broker);
    let _ = fs::remove_dir_all(&folder);
    outcome?;
    still_runs?;
    if seen.failed > 0 {
        bail!("{} cases failed", seen.failed);
    }
    if seen.passed == 0 {
        bail!("no case ran");
    }
    Ok(())
}

/// Whether the pictures are of the page as it is: beside them stands of which files they were taken.
fn pictures(options: &Options) -> Result<Tally> {
    let note = process::root().join("docs/images/dashboard.txt");
    let shown = assets()?;
    if options.screenshots {
        fs::write(&note, &shown).with_context(|| format!("cannot write {}", note.display()))?;
    }
    let is_of_now = fs::read_to_string(&note).is_ok_and(|noted| noted == shown);
    if is_of_now {
        println!("ok dashboard pictures");
        return Ok(Tally { passed: 1, ..Tally::default() });
    }
    println!("FAILED dashboard pictures: they show an older page: cargo xtask dashboard --screenshots");
    Ok(Tally { failed: 1, ..Tally::default() })
}

/// The files of the page, each with the hash that git gives it.
fn assets() -> Result<String> {
    let folder = process::root().join("crates/mqtt-admin/assets");
    let mut names = Vec::new();
    for folder in [folder.clone(), folder.join("pages")] {
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        names.extend(entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_file()));
    }
    names.sort();
    let mut lines = Vec::new();
    for path in names {
        let hashed = program("git").arg("hash-object").arg(&path).output().context("cannot start git")?;
        let name = path.strip_prefix(&folder).unwrap_or(&path);
        lines.push(format!("{} {}\n", String::from_utf8_lossy(&hashed.stdout).trim(), name.display()));
    }
    Ok(lines.concat())
}

/// What this run's broker keeps, its token too.
fn data_folder() -> Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("gmqtt-xtask-dashboard-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    Ok(folder)
}
