//! MQTT in a browser: a listener for WebSocket, and a page that speaks to it without any library.
//!
//! Try `cargo run -p mqtt-broker --example websocket`, open `crates/mqtt-broker/examples/websocket.html` in two windows, and
//! type. Who serves such a page to others names its address as the only origin: see [`WebSocketOptions::origins`].

use std::{env, error::Error, time::Duration};

use mqtt_broker::{Broker, Transport, WebSocketOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8083".to_owned());
    let broker = Broker::builder().build();
    let transport = Transport::tcp().websocket(WebSocketOptions::default());
    println!("listening on {}", broker.listen_with(&address, transport).await?);
    tokio::signal::ctrl_c().await?;
    Ok(broker.shutdown(Duration::from_secs(5)).await?)
}
