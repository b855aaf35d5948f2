//! `cargo xtask`: every developer command of the project, one file each.
//!
//! Nothing of the broker is linked in: these commands read the sources, start cargo and start foreign programs.

mod abuse;
mod bench;
mod book;
mod broker_process;
mod browser;
mod conformance;
mod crash;
mod dashboard;
mod debian;
mod deny;
mod dist;
mod features;
mod fuzz;
mod interop;
mod machine;
mod marked;
mod median;
mod msrv;
mod process;
mod publish;
mod soak;
mod source;
mod test;
mod tidy;
mod tools;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The developer commands of Gmqtt.
///
/// `cargo xtask test --quick` is the inner loop, `cargo xtask test` is what must pass before a change lands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Test(test::Options),
    Tidy(tidy::Options),
    Conformance(conformance::Options),
    Interop(interop::Options),
    Dashboard(dashboard::Options),
    Crash(crash::Options),
    Fuzz(fuzz::Options),
    Deny(deny::Options),
    Features(features::Options),
    Msrv(msrv::Options),
    Publish(publish::Options),
    Dist(dist::Options),
    Bench(bench::Options),
    Abuse(abuse::Options),
    Soak(soak::Options),
    Book(book::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Test(options) => test::run(&options),
        Command::Tidy(options) => tidy::run(&options),
        Command::Conformance(options) => conformance::run(&options),
        Command::Interop(options) => interop::run(&options).1,
        Command::Dashboard(options) => dashboard::run(&options).1,
        Command::Crash(options) => crash::run(&options).1,
        Command::Fuzz(options) => fuzz::run(&options).1,
        Command::Deny(options) => deny::run(&options),
        Command::Features(options) => features::run(&options),
        Command::Msrv(options) => msrv::run(&options),
        Command::Publish(options) => publish::run(&options),
        Command::Dist(options) => dist::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Abuse(options) => abuse::run(&options),
        Command::Soak(options) => soak::run(&options),
        Command::Book(options) => book::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_commands_are_declared_without_contradiction() {
        Arguments::command().debug_assert();
    }
}
