//! `gmqtt`: an MQTT 3.1.1 broker and its command-line clients.
//!
//! This program parses, wires and runs. What it wires is in the library crates; each subcommand has a file of its own.

mod acl;
mod admin;
mod api_client;
mod arguments;
mod bench;
mod client;
mod client_arguments;
mod completions;
mod config;
mod config_command;
#[cfg(test)]
mod documentation;
mod exit;
mod format;
mod log_lines;
mod logging;
mod man;
mod migrate;
mod passwd;
mod private_files;
mod publish;
mod quantity;
#[cfg(test)]
mod random_text;
mod rest;
mod runtime;
mod serve;
mod signals;
mod store;
mod subscribe;
mod supervisor;
mod top;

use std::process::ExitCode;

use crate::arguments::{Arguments, Command};

/// Smaller for many small objects than most systems' allocator, faster, and gives back what a load has left:
/// docs/adr/0007-mimalloc.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let command = match Arguments::command_line() {
        Ok(command) => command,
        Err(refusal) => return exit::refused(&refusal),
    };
    exit::code(match command {
        Command::Serve(options) => serve::run(&options),
        Command::CheckConfig(options) => config_command::check(&options),
        Command::Config(options) => config_command::run(&options),
        Command::Migrate(options) => migrate::run(&options),
        Command::Pub(options) => publish::run(options),
        Command::Sub(options) => subscribe::run(options),
        Command::Admin(options) => admin::run(&options),
        Command::Top(options) => top::run(&options),
        Command::Passwd(options) => passwd::run(options),
        Command::Acl(options) => acl::run(&options),
        Command::Store(options) => store::run(options),
        Command::Bench(args) => bench::run(&args),
        Command::Completions(options) => completions::run(&options),
        Command::Man(options) => man::run(&options),
    })
}
