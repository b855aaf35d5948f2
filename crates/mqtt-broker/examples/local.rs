//! Publishing and subscribing inside the process, without a socket: one task of the program follows what thermometers publish.
//!
//! Try `cargo run -p mqtt-broker --example local`, then `mosquitto_sub -t warmest/temperature` and, more than once,
//! `mosquitto_pub -t room/kitchen/temperature -m 21.5`.

use std::{collections::HashMap, env, error::Error, time::Duration};

use mqtt_broker::{Broker, LocalSubscriber, Message, QoS, TopicFilter, TopicName};

/// Publishes the highest of the rooms' last temperatures, retained, whenever a room has a new one.
async fn publish_the_warmest(broker: Broker, mut thermometers: LocalSubscriber, topic: TopicName) {
    // One for each room: where strangers may publish, bound it.
    let mut last = HashMap::new();
    // It ends with the broker.
    while let Some(received) = thermometers.recv().await {
        let text = String::from_utf8_lossy(received.message.payload()).into_owned();
        let Ok(degrees) = text.parse::<f64>() else { continue };
        last.insert(received.message.topic().to_owned(), degrees);
        let warmest = last.values().copied().fold(f64::MIN, f64::max);
        let payload = format!("{warmest:.1}");
        broker.publish(&Message::new(&topic, payload.as_bytes(), QoS::AtLeastOnce).retained());
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:1883".to_owned());
    let broker = Broker::builder().build();
    let thermometers = broker.subscriber(&[TopicFilter::try_from("room/+/temperature")?])?;
    let task = tokio::spawn(publish_the_warmest(
        broker.clone(),
        thermometers,
        TopicName::try_from("warmest/temperature")?,
    ));

    println!("listening on {}", broker.listen(&address).await?);
    tokio::signal::ctrl_c().await?;
    broker.shutdown(Duration::from_secs(5)).await?;
    Ok(task.await?)
}
