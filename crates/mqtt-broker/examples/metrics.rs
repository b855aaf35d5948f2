//! Metrics by an observer: what the broker's own counters do not have, here which client loses how many messages.
//!
//! Totals need no observer: [`Broker::counts`] has them, and the crate `mqtt-admin` serves them to Prometheus. Try
//! `cargo run -p mqtt-broker --example metrics`, and connect a few clients; every second it prints what has changed.

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use mqtt_broker::{Broker, Event, Observer};

/// Bounded, as client identifiers are chosen by clients: beyond it all others are counted as one.
const MOST_CLIENTS: usize = 1_000;

#[derive(Clone, Default)]
struct Losses(Arc<Mutex<BTreeMap<String, u64>>>);

impl Observer for Losses {
    // Called in the middle of the data path: it counts, and leaves printing to others.
    fn on_event(&self, event: &Event<'_>) {
        if let Event::Dropped { client_id, .. } = event {
            let mut losses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let is_known = losses.len() < MOST_CLIENTS || losses.contains_key(*client_id);
            let name = if is_known { *client_id } else { "others" };
            *losses.entry(name.to_owned()).or_default() += 1;
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:1883".to_owned());
    let losses = Losses::default();
    let broker = Broker::builder().observer(losses.clone()).build();
    println!("listening on {}", broker.listen(&address).await?);

    let mut printed = String::new();
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
        let counts = broker.counts();
        let by_client = losses.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let line = format!(
            "delivered {}, dropped {} {by_client:?}",
            counts.delivered.iter().sum::<u64>(),
            counts.dropped.iter().sum::<u64>()
        );
        if line != printed {
            println!("{line}");
            printed = line;
        }
    }
    Ok(broker.shutdown(Duration::from_secs(5)).await?)
}
