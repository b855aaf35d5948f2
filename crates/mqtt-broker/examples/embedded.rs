//! A broker inside your own program: serve clients, publish from inside, look at what is going on, stop.
//!
//! Try it with `cargo run -p mqtt-broker --example embedded`, and in another terminal
//! `mosquitto_sub -t 'clock/#' -v`. Ctrl-C stops it.

use std::{
    error::Error,
    time::{Duration, Instant},
};

use mqtt_broker::{Broker, Message, QoS, TopicName};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:1883".to_owned());
    let broker = Broker::builder().build();
    println!("listening on {}", broker.listen(&address).await?);

    let (started, topic) = (Instant::now(), TopicName::try_from("clock/uptime")?);
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
        let uptime = format!("{} s", started.elapsed().as_secs());
        broker.publish(&Message::new(&topic, uptime.as_bytes(), QoS::AtMostOnce));
        let now = broker.snapshot();
        println!("{uptime}: {} connections, {} subscriptions", now.connections, now.subscriptions);
    }
    broker.shutdown(Duration::from_secs(5)).await?;
    Ok(())
}
