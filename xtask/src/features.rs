//! `cargo xtask features`: the libraries with and without their features: that they build, and what each feature costs.

use crate::process::{self, cargo};
use anyhow::{Result, bail};
use std::collections::BTreeSet;
use std::fs;
use std::time::Instant;

/// Checks that mqtt-broker and mqtt-access build with each set of their features.
#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// Count what mqtt-broker depends on with each set, and time a build from nothing
    #[arg(long)]
    cost: bool,
}

/// A crate, and a set of features in place of its default.
type Set = (&'static str, &'static str);

/// Without the default ones, which every other build has.
const SETS: [Set; 7] = [
    ("mqtt-broker", ""),
    ("mqtt-broker", "tls"),
    ("mqtt-broker", "websocket"),
    ("mqtt-access", ""),
    ("mqtt-access", "http"),
    ("mqtt-access", "passwords"),
    ("mqtt-access", "tokens"),
];

pub(crate) fn run(options: &Options) -> Result<()> {
    if options.cost {
        let of_broker = SETS.into_iter().filter(|(name, _)| *name == "mqtt-broker");
        return of_broker.chain([("mqtt-broker", "tls,websocket")]).try_for_each(print_cost);
    }
    for (name, features) in SETS {
        let mut lint = cargo(&["clippy", "-p", name, "--all-targets", "--no-default-features"]);
        process::run(lint.args(["--features", features, "--", "-D", "warnings"]))?;
    }
    Ok(())
}

fn print_cost((name, features): Set) -> Result<()> {
    let crates = dependencies(name, features)?;
    process::run(&mut cargo(&["fetch", "--locked"]))?;
    // A folder of its own, which is thrown away, and no cache: what is timed is a first build.
    let folder = process::target_folder().join("features");
    let _ = fs::remove_dir_all(&folder);
    let mut build = cargo(&["build", "-p", name, "--no-default-features", "--features", features]);
    let (begun, used) = (Instant::now(), processor_seconds());
    process::run(build.env("CARGO_TARGET_DIR", &folder).env("RUSTC_WRAPPER", ""))?;
    let seconds = begun.elapsed().as_secs();
    let used = processor_seconds().zip(used).map_or(String::new(), |(after, before)| {
        let seconds = after - before;
        format!(", of processors {seconds} s")
    });
    println!("{name} with [{features}]: {crates} crates, {seconds} s{used}");
    Ok(fs::remove_dir_all(folder)?)
}

/// What the programs that this one has run, and theirs, have used; Linux tells. A busy machine makes it no longer.
fn processor_seconds() -> Option<u64> {
    const TICKS_A_SECOND: u64 = 100;
    let line = fs::read_to_string("/proc/self/stat").ok()?;
    // Behind the name, which stands in brackets, `cutime` and `cstime` are the 14th and 15th field.
    let fields: Vec<&str> = line.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field)?.parse::<u64>().ok();
    Some((ticks(13)? + ticks(14)?) / TICKS_A_SECOND)
}

/// How many other crates go into it.
fn dependencies(name: &str, features: &str) -> Result<usize> {
    let mut tree = cargo(&["tree", "-p", name, "--no-default-features", "--features", features]);
    let output = tree.args(["--edges", "normal", "--prefix", "none"]).output()?;
    if !output.status.success() {
        bail!("cargo tree failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = |line: &str| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let names: BTreeSet<String> = text.lines().filter(|line| !line.is_empty()).map(words).collect();
    Ok(names.len() - 1)
}
