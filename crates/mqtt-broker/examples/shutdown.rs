//! A graceful end: who is being served is told, what is under way is finished, and it is known when all of it is over.
//!
//! Try `cargo run -p mqtt-broker --example shutdown`, connect a client with a Will, and send SIGTERM or press Ctrl-C: the
//! connection is closed, the Will is published, and the program ends. A second signal ends it at once.

use std::{env, error::Error, io, time::Duration};

use mqtt_broker::Broker;

/// As long as systemd and Docker would wait, and some to spare.
const TIME_LIMIT: Duration = Duration::from_secs(8);

#[cfg(unix)]
async fn asked_to_end() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted,
    }
}

#[cfg(not(unix))]
async fn asked_to_end() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:1883".to_owned());
    let broker = Broker::builder()
        .on_close(|client, reason| println!("{}: {reason}", client.client_id))
        .on_stop(|| println!("no connection is left"))
        .build();
    println!("listening on {}", broker.listen(&address).await?);

    asked_to_end().await?;
    println!("ending");
    tokio::select! {
        // Every task of the broker has ended when this returns without an error.
        ended = broker.shutdown(TIME_LIMIT) => ended?,
        again = asked_to_end() => again?,
    }
    Ok(())
}
