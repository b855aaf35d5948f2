//! The load generator as a program of its own: the same arguments as `gmqtt bench`.

use std::{env, io, process::ExitCode};

use clap::Parser;
use mqtt_bench::{BenchArgs, args::with_long_flags};

#[derive(Parser)]
#[command(name = "bench", about)]
struct Program {
    #[command(flatten)]
    bench: BenchArgs,
}

fn main() -> ExitCode {
    let program = Program::parse_from(with_long_flags(env::args_os()));
    match mqtt_bench::main(&program.bench, &mut io::stdout()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::from(2)
        }
    }
}
