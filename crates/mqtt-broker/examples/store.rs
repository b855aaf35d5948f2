//! A store of one's own: where persistent sessions, their messages and retained messages are kept.
//!
//! This one hands everything on to the [`MemoryStore`] and prints it; one for a database would write it there. What the broker
//! acknowledges waits until [`Store::durable`] has reached the mark that [`Store::append`] gave. `cargo test --example store`
//! holds it against the contract of all stores. The store of the `gmqtt` program is the crate `mqtt-store`.
//!
//! Try `cargo run -p mqtt-broker --example store`, then `mosquitto_sub -c -i me -q 1 -t news -E` and
//! `mosquitto_pub -q 1 -t news -m hello`.

use std::{env, error::Error, task::Waker, time::Duration};

use mqtt_broker::{
    Broker,
    store::{DeliverPage, Mark, MemoryStore, QueueRead, Record, Store, StoreError},
};

#[derive(Clone, Default)]
struct PrintingStore {
    inner: MemoryStore,
}

impl Store for PrintingStore {
    fn append(&self, group: Vec<Record>) -> Mark {
        for record in &group {
            println!("{record:?}");
        }
        self.inner.append(group)
    }

    fn durable(&self) -> Mark {
        self.inner.durable()
    }

    fn wake_at(&self, mark: Mark, waker: &Waker) {
        self.inner.wake_at(mark, waker);
    }

    fn failure(&self) -> Option<StoreError> {
        self.inner.failure()
    }

    fn recover(&self, visit: &mut dyn FnMut(Record)) -> Result<(), StoreError> {
        self.inner.recover(visit)
    }

    fn read_queue(&self, read: QueueRead, deliver: DeliverPage) {
        self.inner.read_queue(read, deliver);
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:1883".to_owned());
    let broker = Broker::builder().build_on(PrintingStore::default())?;
    println!("listening on {}", broker.listen(&address).await?);
    tokio::select! {
        signal = tokio::signal::ctrl_c() => signal?,
        // From then on nothing that needs the store is acknowledged: better end, and start again.
        failure = broker.store_failed() => eprintln!("the store has failed: {failure}"),
    }
    Ok(broker.shutdown(Duration::from_secs(5)).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_does_what_every_store_has_to_do() {
        let kept = PrintingStore::default();
        mqtt_broker::store::contract::check(|| kept.clone());
    }
}
