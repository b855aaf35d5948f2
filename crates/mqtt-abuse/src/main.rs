//! `mqtt-abuse`: one attack on a broker of this machine, for `cargo xtask abuse`. It prints how much it did.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::atomic::AtomicBool, time::Duration};

use clap::{Parser, Subcommand};
use mqtt_abuse::{ATTACKS, Attack, Target};
use test_certificates::CertificateFiles;

/// Hostile traffic for a broker on this machine.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the attacks: a name and what it does, with a tab between them
    List,
    /// Make certificates and keys in this folder: a server's, a client's, and their authority's
    Certificate { folder: PathBuf },
    /// Attack
    Run {
        /// Which
        name: String,
        /// Where the broker listens for MQTT over TCP
        #[arg(long)]
        tcp: SocketAddr,
        /// Over TLS
        #[arg(long)]
        tls: SocketAddr,
        /// Over WebSocket
        #[arg(long)]
        websocket: SocketAddr,
        /// For how long; a minute at most
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..=60))]
        seconds: u64,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mqtt-abuse: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), String> {
    match command {
        Command::List => {
            for attack in ATTACKS {
                println!("{}\t{}", attack.name, attack.about);
            }
        }
        Command::Certificate { folder } => {
            CertificateFiles::create(&folder);
        }
        Command::Run { name, tcp, tls, websocket, seconds } => {
            let attack = Attack::find(&name).ok_or("there is no such attack: `list` prints them")?;
            let target = Target { tcp, tls, websocket };
            let done = attack.run(target, Duration::from_secs(seconds), &AtomicBool::new(false));
            println!("{}", done.map_err(|error| error.to_string())?.acts);
        }
    }
    Ok(())
}
