//! `gmqtt bench`: the load generator, which is a library of its own.

use std::{ffi::OsString, io};

use mqtt_bench::{BenchArgs, BenchError, args::with_long_flags};

use crate::exit::{self, Ending};

pub(crate) fn run(args: &BenchArgs) -> anyhow::Result<()> {
    match mqtt_bench::main(args, &mut io::stdout()) {
        Ok(true) => Ok(()),
        Ok(false) => anyhow::bail!("the server is at fault: see the faults of the result"),
        Err(BenchError::Output(error)) => exit::output(Err(error)),
        Err(BenchError::Usage(message)) => Err(Ending::Usage(message).into()),
        Err(error) => Err(error.into()),
    }
}

/// The command line, with flags as the stress tools of 2018 took them (`-qos 1`) understood for this subcommand.
pub(crate) fn words(line: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let line: Vec<_> = line.into_iter().collect();
    if line.get(1).is_some_and(|word| word == "bench") { with_long_flags(line) } else { line }
}
