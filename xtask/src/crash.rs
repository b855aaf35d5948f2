//! `cargo xtask crash`: the real binary killed again and again. The test itself is crates/mqtt-cli/tests/crash.

use crate::process::{Tally, cargo, run_counting};
use anyhow::Result;

/// Kills the broker (SIGKILL) under load, round after round, and verifies that nothing acknowledged is lost.
///
/// A failure prints its seed and keeps the data directory. A seed repeats what the clients and the killer do; the
/// machine's timing differs from run to run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often to kill it under load; more kills happen while it starts and while the clients catch up
    #[arg(long, default_value_t = ROUNDS)]
    rounds: u64,
    /// The seed of an earlier run
    #[arg(long)]
    seed: Option<u64>,
}

const ROUNDS: u64 = 20;

impl Default for Options {
    fn default() -> Self {
        Self { rounds: ROUNDS, seed: None }
    }
}

pub(crate) fn run(options: &Options) -> (Tally, Result<()>) {
    let mut test =
        cargo(&["test", "--profile", "fast", "-p", "mqtt-cli", "--test", "crash", "--", "--nocapture"]);
    test.env("GMQTT_CRASH_ROUNDS", options.rounds.to_string());
    if let Some(seed) = options.seed {
        test.env("GMQTT_CRASH_SEED", seed.to_string());
    }
    run_counting(&mut test)
}
