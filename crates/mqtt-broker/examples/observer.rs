//! Prints what happens in a broker: an observer sees facts, and decides nothing.
//!
//! Try `cargo run -p mqtt-broker --example observer`, and connect a few clients.

use std::{error::Error, time::Duration};

use mqtt_broker::{Broker, Event};

fn print(event: &Event<'_>) {
    match event {
        Event::Connected { client, session_present } => {
            println!("+ {} from {} (session present: {session_present})", client.client_id, client.peer);
        }
        Event::Disconnected { client, reason } => println!("- {}: {reason}", client.client_id),
        Event::Dropped { client_id, message, reason } => {
            println!("! {client_id} will not get {}: {reason}", message.topic());
        }
        other => println!("  {other:?}"),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:1883".to_owned());
    let broker = Broker::builder().observer(print).build();
    println!("listening on {}", broker.listen(&address).await?);
    tokio::signal::ctrl_c().await?;
    broker.shutdown(Duration::from_secs(5)).await?;
    Ok(())
}
