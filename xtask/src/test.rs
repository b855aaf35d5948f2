//! `cargo xtask test`: the one test command; each part in order, its time, and a table at the end.

use crate::bench::cost::{self, Verdict};
use crate::process::{self, Tally, cargo, run_counting};
use crate::{book, conformance, crash, dashboard, deny, features, fuzz, interop, msrv, tidy};
use anyhow::{Result, anyhow, bail};
use clap::ValueEnum;
use std::time::{Duration, Instant};

/// Runs every check that a change must pass.
///
/// A part that fails does not stop the next; the table at the end names what failed. What a part needs and the machine
/// lacks is installed under target/, or by apt-get for Debian packages when run as root; what cannot be installed fails.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The inner loop: fmt, clippy, tidy and unit alone
    #[arg(long, conflicts_with = "only")]
    quick: bool,
    /// Run this part alone (may be given more than once)
    #[arg(long, value_name = "PART")]
    only: Vec<Part>,
    /// Leave this part out (may be given more than once)
    #[arg(long, value_name = "PART")]
    skip: Vec<Part>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// cargo fmt --check
    Fmt,
    /// clippy on every target, warnings denied
    Clippy,
    /// cargo xtask tidy
    Tidy,
    /// unit, integration and property tests of every crate
    Unit,
    /// the examples in the documentation
    Doctest,
    /// cargo doc without warnings
    Docs,
    /// cargo xtask book: docs/ as a book
    Book,
    /// cargo xtask features: the libraries without theirs
    Features,
    /// cargo xtask msrv: the oldest Rust that is promised
    Msrv,
    /// cargo xtask deny: licences and sources of what we depend on
    Deny,
    /// cargo xtask conformance
    Conformance,
    /// the concurrency tests of mqtt-broker, every interleaving tried
    Loom,
    /// cargo xtask crash: the real binary killed under load, twenty times
    Crash,
    /// cargo xtask fuzz: random input for every parser, a minute each
    Fuzz,
    /// cargo xtask interop: foreign clients against the real binary, over each transport
    Interop,
    /// cargo xtask dashboard: the dashboard in headless Chromium
    Dashboard,
    /// cargo xtask bench cost --check: instructions a message against the recorded figures
    Cost,
}

const QUICK: [Part; 4] = [Part::Fmt, Part::Clippy, Part::Tidy, Part::Unit];

/// What became of a part: how many tests it says it ran, and its error if it failed.
type Outcome<T = ()> = (Tally, Result<T>);

pub(crate) fn run(options: &Options) -> Result<()> {
    let wanted = |part: &&Part| {
        !options.skip.contains(part)
            && (options.only.is_empty() || options.only.contains(part))
            && (!options.quick || QUICK.contains(part))
    };
    let mut rows = Vec::new();
    for part in Part::value_variants().iter().filter(wanted) {
        println!("\n=== {}: {}", part.name(), part.about());
        let start = Instant::now();
        let (tally, outcome) = part.run();
        if let Err(error) = &outcome {
            println!("{}: FAILED: {error:#}", part.name());
        }
        rows.push(Row { part: *part, took: start.elapsed(), tally, outcome });
    }
    summarise(&rows)
}

impl Part {
    fn run(self) -> Outcome<Verdict> {
        let (tally, outcome) = match self {
            Part::Fmt => fmt(),
            Part::Clippy => clippy(),
            Part::Tidy => uncounted(tidy::run(&tidy::Options {})),
            Part::Unit => run_counting(&mut cargo(&[
                "test",
                "--workspace",
                "--lib",
                "--bins",
                "--tests",
                "--examples",
                "--no-fail-fast",
            ])),
            Part::Doctest => run_counting(&mut cargo(&["test", "--workspace", "--doc", "--no-fail-fast"])),
            Part::Docs => docs(),
            Part::Book => uncounted(book::run(&book::Options::default())),
            Part::Features => uncounted(features::run(&features::Options::default())),
            Part::Msrv => uncounted(msrv::run(&msrv::Options::default())),
            Part::Deny => uncounted(deny::run(&deny::Options::default())),
            Part::Conformance => uncounted(conformance::run(&conformance::Options::default())),
            Part::Loom => loom(),
            Part::Crash => crash::run(&crash::Options::default()),
            Part::Fuzz => fuzz::run(&fuzz::Options::of_the_test_command()),
            Part::Interop => interop::run(&interop::Options::default()),
            Part::Dashboard => dashboard::run(&dashboard::Options::default()),
            Part::Cost => return (Tally::default(), cost::run(&cost::Options::check())),
        };
        (tally, outcome.map(|()| Verdict::Ok))
    }

    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn about(self) -> String {
        let help = self.to_possible_value().and_then(|value| value.get_help().map(ToString::to_string));
        help.unwrap_or_default()
    }
}

fn uncounted(outcome: Result<()>) -> Outcome {
    (Tally::default(), outcome)
}

fn fmt() -> Outcome {
    let outcome = has_component("fmt", "rustfmt");
    uncounted(outcome.and_then(|()| process::run(&mut cargo(&["fmt", "--all", "--check"]))))
}

fn clippy() -> Outcome {
    let outcome = has_component("clippy", "clippy");
    let mut lint = cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    uncounted(outcome.and_then(|()| process::run(&mut lint)))
}

fn docs() -> Outcome {
    let mut document = cargo(&["doc", "--workspace", "--no-deps"]);
    uncounted(process::run(document.env("RUSTDOCFLAGS", "-D warnings")))
}

fn loom() -> Outcome {
    let mut test = cargo(&["test", "-p", "mqtt-broker", "--lib", "loom_"]);
    // A folder of its own: the flag changes every crate, and would otherwise throw the usual builds away.
    let folder = process::target_folder().join("loom");
    let (tally, outcome) =
        run_counting(test.env("RUSTFLAGS", "--cfg gmqtt_loom").env("CARGO_TARGET_DIR", folder));
    let none = || Err(anyhow!("no loom test ran"));
    (tally, outcome.and_then(|()| if tally.passed > 0 { Ok(()) } else { none() }))
}

/// A minimal toolchain lacks rustfmt and clippy; rustup can add them.
fn has_component(subcommand: &str, component: &str) -> Result<()> {
    if cargo(&[subcommand, "--version"]).output().is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    process::run(process::program("rustup").args(["component", "add", component]))
}

struct Row {
    part: Part,
    took: Duration,
    tally: Tally,
    outcome: Result<Verdict>,
}

/// The table, the count of all tests, and an error that names the parts which failed.
fn summarise(rows: &[Row]) -> Result<()> {
    println!("\n{:<12} {:>8} {:>8} {:>9}", "part", "passed", "failed", "seconds");
    let mut total = Tally::default();
    for row in rows {
        let verdict = match row.outcome {
            Ok(Verdict::Ok) => "ok",
            Ok(Verdict::NotJudged) => "not judged",
            Err(_) => "FAILED",
        };
        let Tally { passed, failed } = row.tally;
        let seconds = row.took.as_secs_f64();
        println!("{:<12} {passed:>8} {failed:>8} {seconds:>9.1}  {verdict}", row.part.name());
        total.add(row.tally);
    }
    println!("\n{} passed, {} failed", total.passed, total.failed);
    if rows.is_empty() {
        bail!("no part was selected: nothing was run");
    }
    let failed: Vec<String> =
        rows.iter().filter(|row| row.outcome.is_err()).map(|row| row.part.name()).collect();
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_of_no_part_is_an_error() {
        assert!(summarise(&[]).is_err());
        let row = |outcome| Row { part: Part::Fmt, took: Duration::ZERO, tally: Tally::default(), outcome };
        assert!(summarise(&[row(Ok(Verdict::Ok)), row(Ok(Verdict::NotJudged))]).is_ok());
        assert!(summarise(&[row(Ok(Verdict::Ok)), row(Err(anyhow!("no")))]).is_err());
    }
}
