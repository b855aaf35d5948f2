//! The load generator as a program of its own: the same arguments as `gmqtt bench`.

use std::process::ExitCode;

use clap::Parser;
use mqtt_bench::BenchArgs;

#[derive(Parser)]
#[command(name = "bench", about)]
struct Program {
    #[command(flatten)]
    bench: BenchArgs,
}

fn main() -> ExitCode {
    match mqtt_bench::main(&Program::parse_from(mqtt_bench::args::with_long_flags(std::env::args_os())).bench)
    {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::from(2)
        }
    }
}
