//! A graceful end: who is being served is told, what is under way is finished, and it is known when all of it is over.
//!
//! Try `cargo run -p mqtt-broker --example shutdown`, connect a client with a Will, and send SIGTERM or press Ctrl-C: the
//! connection is closed, the Will is published, and the program ends. A second signal ends it at once.

use std::{env, error::Error, future::Future, io, time::Duration};

use mqtt_broker::Broker;

/// As long as systemd and Docker would wait, and some to spare.
const TIME_LIMIT: Duration = Duration::from_secs(8);

/// From the call on, a signal does not end the process, but this.
#[cfg(unix)]
fn request_to_end() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => (),
            _ = interrupt.recv() => (),
        }
    })
}

#[cfg(not(unix))]
fn request_to_end() -> io::Result<impl Future<Output = ()>> {
    Ok(async { drop(tokio::signal::ctrl_c().await) })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:1883".to_owned());
    let broker = Broker::builder()
        .on_close(|client, reason| println!("{}: {reason}", client.client_id))
        .on_stop(|| println!("no connection is left"))
        .build();
    // Before anybody can know that it is there.
    let request = request_to_end()?;
    println!("listening on {}", broker.listen(&address).await?);

    request.await;
    println!("ending");
    let second_request = request_to_end()?;
    tokio::select! {
        // Every task of the broker has ended when this returns without an error.
        ended = broker.shutdown(TIME_LIMIT) => ended?,
        () = second_request => (),
    }
    Ok(())
}
